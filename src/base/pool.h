/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of objects of one size with a ceiling. Given-back objects are kept for the next taker,
 * up to `spare_max`; the rest goes back to malloc, so that a burst's memory is returned.
 * One thread at a time.
 */
#pragma once
#include <stddef.h>

/* Under AddressSanitizer every object comes fresh from malloc, so that a use after give is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define POOL_KEEPS_SPARES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEEPS_SPARES 0
#endif
#endif
#ifndef POOL_KEEPS_SPARES
#define POOL_KEEPS_SPARES 1
#endif

struct pool_spare;

struct pool {
    size_t object_size;
    size_t ceiling; /* objects out at once */
    size_t spare_max;
    size_t in_use;
    size_t peak; /* of in_use since the last pool_trim() */
    size_t spare_count;
    struct pool_spare *spare;
};

/* `object_size` in bytes, raised to a pointer's size if below. Allocates nothing. */
void pool_init(struct pool *p, size_t object_size, size_t ceiling, size_t spare_max);

/* Every object must have been given back. */
void pool_fini(struct pool *p);

/* An object with undefined content, owned by the caller until pool_give(). NULL: the ceiling is
 * reached, or the system has no memory. */
void *pool_take(struct pool *p);
void pool_give(struct pool *p, void *object);

/* Gives back to malloc what was not needed since the last call: afterwards there are as many spare
 * objects as it would take to reach the peak again. Called now and then, a pool follows its use. */
void pool_trim(struct pool *p);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound clean-up for start-up code: `struct x *v CLEANUP(x_freep) = NULL;` frees v when the
 * scope is left, take_ptr(v) moves it out. Never mixed with goto ladders in one function.
 */
#pragma once
#include <stddef.h>
#include <stdlib.h>

#define CLEANUP(f) __attribute__((cleanup(f)))
#define take_ptr(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) *pp_ = &(p);                                                                 \
        __typeof__(p) v_ = *pp_;                                                                   \
        *pp_ = NULL;                                                                               \
        v_;                                                                                        \
    })
#define MUST_CHECK __attribute__((warn_unused_result))

/* The struct that holds `member` at address `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void freep(void *pp)
{
    free(*(void **)pp);
}

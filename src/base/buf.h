/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of bytes in reference-counted chunks.
 *
 * A chunk is 16 KiB, or less for what grows slowly, and belongs to a chunk_pool. A slice is a
 * stretch of a chunk's bytes, held by one buf; bytes written once are never changed, so several
 * bufs may hold slices of one chunk, and moving bytes from one buf to another moves references. A
 * buf that is empty holds no memory.
 *
 * Memory is counted in whole chunks. Two marks: ordinary appends fail at `limit`; appends of a few
 * bytes that must get through (errors, handshakes) may use the reserve above it (`urgent`).
 *
 * One thread at a time for a pool and all bufs filled from it.
 */
#pragma once
#include "base/cleanup.h"
#include "base/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
    /* With its header, and room for malloc's, so that one that is mapped by itself takes four
       pages. */
    CHUNK_BYTES = 16 * 1024 - 32,
    CHUNK_SMALL_KINDS = 3, /* 256 B, 1 KiB, 4 KiB */
    BUF_COPY_MAX = 2048,   /* buf_move() copies up to this, above it moves references */
};

struct chunk;
struct slice;

struct chunk_pool {
    struct pool chunks;
    struct pool small[CHUNK_SMALL_KINDS];
    struct pool slices;
    size_t in_use;        /* bytes of all chunks, the idle shared one included */
    size_t limit;         /* bytes at which ordinary appends fail */
    size_t ceiling;       /* bytes: limit and reserve */
    struct chunk *shared; /* where buf_append_shared() goes on; holds one reference */
    uint64_t limit_hits;  /* appends refused at `limit` */
};

struct buf {
    struct slice *head, *tail;
    size_t len; /* bytes */
};

/* `limit_bytes` is rounded up to chunks; the reserve above it is `reserve_bytes`. */
void chunk_pool_init(struct chunk_pool *p, size_t limit_bytes, size_t reserve_bytes);
/* What is in use above a lower limit stays in use. */
void chunk_pool_set_limit(struct chunk_pool *p, size_t limit_bytes);
void chunk_pool_fini(struct chunk_pool *p);          /* all bufs must be empty */
size_t chunk_pool_bytes(const struct chunk_pool *p); /* in use, the shared chunk excepted */
void chunk_pool_trim(struct chunk_pool *p);          /* pool_trim() for all of it */
bool chunk_pool_has_spares(const struct chunk_pool *p);

static inline void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

/*
 * Copies `len` bytes to the end. 0, or -ENOMEM and the buf is as before.
 *   buf_append          grows in a chunk of its own: best for a buf that gets many appends
 *   buf_append_shared   grows in the pool's shared chunk: best for many bufs with few bytes each
 *   buf_append_slowly   grows in chunks of its own that begin small: for what may stay for long
 *   buf_append_urgent   as shared, and may use the reserve
 */
int buf_append(struct buf *b, struct chunk_pool *p, const void *bytes, size_t len) MUST_CHECK;
int buf_append_shared(struct buf *b, struct chunk_pool *p, const void *bytes,
                      size_t len) MUST_CHECK;
int buf_append_slowly(struct buf *b, struct chunk_pool *p, const void *bytes,
                      size_t len) MUST_CHECK;
int buf_append_urgent(struct buf *b, struct chunk_pool *p, const void *bytes,
                      size_t len) MUST_CHECK;

/* Takes `len` bytes (at most b->len) off the front and gives them to the end of `to`: by reference,
 * or by copy if they are few. 0, or -ENOMEM: both are as before. */
int buf_move(struct buf *to, struct buf *from, struct chunk_pool *p, size_t len) MUST_CHECK;

/* Appends what `from` holds behind its first `skip` bytes (at most from->len), by reference; `from`
 * keeps it. For what goes to many: nothing is copied, and memory counts once. 0, or -ENOMEM: `to`
 * is as before. */
int buf_share(struct buf *to, const struct buf *from, struct chunk_pool *p, size_t skip) MUST_CHECK;

/* Gives all of `from` to the end of `to`, by reference. Cannot fail. */
void buf_move_all(struct buf *to, struct buf *from);

/* Drops `len` bytes (at most b->len) from the front. */
void buf_consume(struct buf *b, struct chunk_pool *p, size_t len);
void buf_drop_slices(struct buf *b, struct chunk_pool *p); /* buf_clear() of one with bytes */
static inline void buf_clear(struct buf *b, struct chunk_pool *p)
{
    if (b->head)
        buf_drop_slices(b, p);
}

/* Drops bytes from the end until `len` are left. */
void buf_truncate(struct buf *b, struct chunk_pool *p, size_t len);

/* Fills at most `max` iovecs with the bytes from offset `skip` on; returns how many were filled.
 * They are loans until the buf is changed. */
int buf_iov(const struct buf *b, size_t skip, struct iovec *iov, int max);

/* How many iovecs buf_iov() needs for the whole. */
size_t buf_pieces(const struct buf *b);

/* Copies bytes [at, at + len) to `to`; they must exist. */
void buf_copy_out(const struct buf *b, size_t at, void *to, size_t len);

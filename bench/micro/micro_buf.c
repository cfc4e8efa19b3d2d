/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way from one connection to another, and the pools beneath. */
#include "micro.h"

#include "base/buf.h"
#include "base/must.h"
#include "base/pool.h"

#include <stdlib.h>

enum {
    BUFS = 64,               /* clients that are served in one turn */
    READ_BYTES = 256 * 1024, /* one read of a large value */
    PIECE_BYTES = 16 * 1024, /* about a chunk */
    STREAM_STEP = 64 * 1024, /* what is handed on and sent at a time */
    STREAM_PIECES = READ_BYTES / PIECE_BYTES,
    IOV_MAX_USED = 64,
    POOL_BATCH = 64,
    POOL_OBJECT_BYTES = 192, /* about a request */
};

static const size_t pool_limit = 64 * 1024 * 1024;

struct shape {
    size_t len; /* bytes of one message */
};

struct bufs {
    struct chunk_pool chunks;
    struct pool pool;
    struct buf from, to;
    struct buf many[BUFS];
    void *taken[POOL_BATCH];
    size_t len;
    char *bytes; /* READ_BYTES of what is appended */
};

static void *bufs_make(const struct micro_case *c)
{
    const struct shape *shape = c->shape;
    struct bufs *b = micro_alloc(sizeof(*b));
    uint64_t random_state = 3;

    b->len = shape->len;
    b->bytes = micro_alloc(READ_BYTES);
    for (size_t i = 0; i < READ_BYTES; i++)
        b->bytes[i] = (char)micro_random(&random_state);
    chunk_pool_init(&b->chunks, pool_limit, 0);
    pool_init(&b->pool, POOL_OBJECT_BYTES, POOL_BATCH, POOL_BATCH);
    buf_init(&b->from);
    buf_init(&b->to);
    for (unsigned i = 0; i < BUFS; i++)
        buf_init(&b->many[i]);
    return b;
}

static void bufs_end(void *state)
{
    struct bufs *b = state;
    must(b->from.len == 0 && b->to.len == 0);
    chunk_pool_fini(&b->chunks);
    pool_fini(&b->pool);
    free(b->bytes);
    free(b);
}

/* One upstream gets the requests of many clients, sends them at once, and is empty again. */
static void append_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    for (uint64_t r = 0; r < rounds; r++) {
        must(buf_append(&b->to, &b->chunks, b->bytes, b->len) == 0);
        if ((r + 1) % BUFS != 0)
            continue;
        must(b->to.len == BUFS * b->len);
        buf_consume(&b->to, &b->chunks, b->to.len);
    }
}

/* Many clients get one reply each; then each is sent its own. */
static void append_shared_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned i = (unsigned)(r % BUFS);
        must(buf_append_shared(&b->many[i], &b->chunks, b->bytes, b->len) == 0);
        if (i + 1 < BUFS)
            continue;
        for (unsigned k = 0; k < BUFS; k++)
            buf_consume(&b->many[k], &b->chunks, b->len);
    }
}

/* A read brings messages; each is handed to its own client, and sent. */
static void move_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    for (uint64_t r = 0; r < rounds; r++) {
        struct buf *to = &b->many[r % BUFS];
        if (b->from.len < b->len)
            must(buf_append(&b->from, &b->chunks, b->bytes, STREAM_STEP - b->from.len) == 0);
        must(buf_move(to, &b->from, &b->chunks, b->len) == 0 && to->len == b->len);
        buf_consume(to, &b->chunks, b->len);
    }
    buf_clear(&b->from, &b->chunks);
}

static void move_all_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    must(buf_append(&b->from, &b->chunks, b->bytes, b->len) == 0);
    for (uint64_t r = 0; r < rounds; r += 2) {
        buf_move_all(&b->to, &b->from);
        buf_move_all(&b->from, &b->to);
    }
    must(b->from.len == b->len);
    buf_clear(&b->from, &b->chunks);
}

/* A large value passes through: read, handed on by reference, sent in steps. */
static void stream_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    struct iovec iov[IOV_MAX_USED];
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t at = 0; at < READ_BYTES; at += PIECE_BYTES)
            must(buf_append(&b->from, &b->chunks, b->bytes + at, PIECE_BYTES) == 0);
        while (b->from.len > 0) {
            must(buf_move(&b->to, &b->from, &b->chunks, STREAM_STEP) == 0);
            must(buf_iov(&b->to, 0, iov, IOV_MAX_USED) > 0);
            buf_consume(&b->to, &b->chunks, STREAM_STEP);
        }
    }
}

static void pool_one_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    for (uint64_t r = 0; r < rounds; r++) {
        void *object = pool_take(&b->pool);
        must(object);
        pool_give(&b->pool, object);
    }
}

static void pool_batch_run(void *state, uint64_t rounds)
{
    struct bufs *b = state;
    for (uint64_t r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < POOL_BATCH; i++) {
            b->taken[i] = pool_take(&b->pool);
            must(b->taken[i]);
        }
        for (unsigned i = 0; i < POOL_BATCH; i++)
            pool_give(&b->pool, b->taken[i]);
    }
}

static const struct shape BYTES_55 = {.len = 55}; /* a GET with a key of 24 bytes */
static const struct shape BYTES_1K = {.len = 1024};
static const struct shape BYTES_8K = {.len = 8 * 1024};
static const struct shape BYTES_16K = {.len = PIECE_BYTES};

#define CASE(name_, run_, shape_, ops_, what_)                                                     \
    {                                                                                              \
        .name = (name_), .what = (what_), .shape = &(shape_), .ops = (ops_), .make = bufs_make,    \
        .run = (run_), .end = bufs_end                                                             \
    }

const struct micro_case MICRO_BUF_CASES[] = {
    CASE("append-55", append_run, BYTES_55, 1, "buf_append and buf_consume: 55 B, 64 in one buf"),
    CASE("append-1k", append_run, BYTES_1K, 1, "the same: 1 KiB"),
    CASE("append-16k", append_run, BYTES_16K, 1, "the same: 16 KiB"),
    CASE("append-shared-55", append_shared_run, BYTES_55, 1,
         "buf_append_shared and buf_consume: 55 B in each of 64 bufs"),
    CASE("append-shared-1k", append_shared_run, BYTES_1K, 1, "the same: 1 KiB"),
    CASE("move-1k", move_run, BYTES_1K, 1, "buf_append, buf_move by copy, buf_consume: 1 KiB"),
    CASE("move-8k", move_run, BYTES_8K, 1, "buf_append, buf_move by reference, …: 8 KiB"),
    CASE("move-all-16k", move_all_run, BYTES_16K, 1, "buf_move_all: 16 KiB that lie there"),
    CASE("stream-256k", stream_run, BYTES_16K, STREAM_PIECES,
         "per 16 KiB of 256 KiB: append, buf_move, buf_iov, consume"),
    CASE("pool-1", pool_one_run, BYTES_55, 1, "pool_take and pool_give"),
    CASE("pool-64", pool_batch_run, BYTES_55, POOL_BATCH, "the same, 64 taken, then 64 given"),
    {0},
};

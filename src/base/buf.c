/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/must.h"

#include <errno.h>
#include <string.h>

struct chunk {
    uint32_t refs; /* slices, and the pool while it is the shared chunk */
    uint32_t used; /* bytes written; never written again */
    uint8_t bytes[];
};

enum { CHUNK_ROOM = CHUNK_BYTES - sizeof(struct chunk), CHUNK_SPARE_MAX = 1024 };

struct slice {
    struct slice *next;
    struct chunk *chunk; /* holds one reference */
    uint32_t at, len;
};

/* Rounded up, and without overflow where "no limit" is said as SIZE_MAX. */
static size_t chunks_of(size_t bytes)
{
    return bytes / CHUNK_BYTES + (bytes % CHUNK_BYTES != 0);
}

void chunk_pool_init(struct chunk_pool *p, size_t limit_bytes, size_t reserve_bytes)
{
    size_t limit = chunks_of(limit_bytes), reserve = chunks_of(reserve_bytes);
    *p = (struct chunk_pool){.limit = limit};
    pool_init(&p->chunks, CHUNK_BYTES, limit + reserve, CHUNK_SPARE_MAX);
    /* A slice may be one byte of a shared chunk, so slices have no ceiling of their own. */
    pool_init(&p->slices, sizeof(struct slice), SIZE_MAX, 16 * CHUNK_SPARE_MAX);
}

static void chunk_unref(struct chunk_pool *p, struct chunk *c)
{
    must(c->refs > 0);
    if (--c->refs == 0)
        pool_give(&p->chunks, c);
}

void chunk_pool_fini(struct chunk_pool *p)
{
    if (p->shared)
        chunk_unref(p, take_ptr(p->shared));
    pool_fini(&p->chunks);
    pool_fini(&p->slices);
}

/* Nobody holds a slice of the shared chunk: it is kept, but counts as free. */
static bool shared_is_idle(const struct chunk_pool *p)
{
    return p->shared && p->shared->refs == 1;
}

static size_t chunks_in_use(const struct chunk_pool *p)
{
    return p->chunks.in_use - (shared_is_idle(p) ? 1 : 0);
}

size_t chunk_pool_bytes(const struct chunk_pool *p)
{
    return chunks_in_use(p) * CHUNK_BYTES;
}

static bool may_take_chunk(struct chunk_pool *p, bool urgent)
{
    if (urgent || chunks_in_use(p) < p->limit)
        return true;
    p->limit_hits++;
    return false;
}

static struct chunk *chunk_new(struct chunk_pool *p, bool urgent)
{
    struct chunk *c;
    if (!may_take_chunk(p, urgent))
        return NULL;
    /* Where only the idle shared chunk is left, it is the one to take: else it would keep the last
     * place under the limit for ever. */
    if (shared_is_idle(p) && p->chunks.in_use >= (urgent ? p->chunks.ceiling : p->limit))
        c = take_ptr(p->shared);
    else
        c = pool_take(&p->chunks);
    if (!c)
        return NULL;
    c->refs = 0;
    c->used = 0;
    return c;
}

static int slice_add(struct buf *b, struct chunk_pool *p, struct chunk *c, uint32_t at,
                     uint32_t len)
{
    struct slice *s = pool_take(&p->slices);
    if (!s)
        return -ENOMEM;
    *s = (struct slice){.chunk = c, .at = at, .len = len};
    c->refs++;
    if (b->tail)
        b->tail->next = s;
    else
        b->head = s;
    b->tail = s;
    b->len += len;
    return 0;
}

/* Can the last slice grow in place? Only if it ends where its chunk's written bytes end. */
static uint32_t room_at_tail(const struct buf *b)
{
    const struct slice *s = b->tail;
    if (!s || s->at + s->len != s->chunk->used)
        return 0;
    return CHUNK_ROOM - s->chunk->used;
}

static void write_bytes(struct chunk *c, const void *bytes, uint32_t len)
{
    memcpy(c->bytes + c->used, bytes, len);
    c->used += len;
}

static struct chunk *shared_chunk(struct chunk_pool *p, bool urgent)
{
    if (shared_is_idle(p)) {
        p->shared->used = 0;
        return may_take_chunk(p, urgent) ? p->shared : NULL;
    }
    if (p->shared && p->shared->used < CHUNK_ROOM)
        return p->shared;
    struct chunk *c = chunk_new(p, urgent);
    if (!c)
        return NULL;
    c->refs = 1;
    if (p->shared)
        chunk_unref(p, p->shared);
    p->shared = c;
    return c;
}

/* The common case, kept apart from the rest so that it is short: it fits behind the last slice. */
static inline bool append_in_place(struct buf *b, const void *bytes, size_t len)
{
    if (len > room_at_tail(b))
        return false;
    write_bytes(b->tail->chunk, bytes, (uint32_t)len);
    b->tail->len += (uint32_t)len;
    b->len += len;
    return true;
}

enum where { OWN, SHARED, SHARED_URGENT };

static int append(struct buf *b, struct chunk_pool *p, const uint8_t *bytes, size_t len,
                  enum where where)
{
    size_t before = b->len;
    while (len > 0) {
        uint32_t room = room_at_tail(b);
        if (room > 0) {
            uint32_t n = len < room ? (uint32_t)len : room;
            write_bytes(b->tail->chunk, bytes, n);
            b->tail->len += n;
            b->len += n;
            bytes += n;
            len -= n;
            continue;
        }
        /* What fills a chunk by itself gains nothing from the shared one. */
        bool own = where == OWN || len >= CHUNK_ROOM / 2;
        struct chunk *c =
            own ? chunk_new(p, where == SHARED_URGENT) : shared_chunk(p, where == SHARED_URGENT);
        if (!c)
            goto fail;
        room = CHUNK_ROOM - c->used;
        uint32_t n = len < room ? (uint32_t)len : room;
        uint32_t at = c->used;
        if (slice_add(b, p, c, at, n) != 0) {
            if (c->refs == 0)
                pool_give(&p->chunks, c);
            goto fail;
        }
        write_bytes(c, bytes, n);
        bytes += n;
        len -= n;
    }
    return 0;
fail:
    buf_truncate(b, p, before);
    return -ENOMEM;
}

int buf_append(struct buf *b, struct chunk_pool *p, const void *bytes, size_t len)
{
    return len > 0 && append_in_place(b, bytes, len) ? 0 : append(b, p, bytes, len, OWN);
}

int buf_append_shared(struct buf *b, struct chunk_pool *p, const void *bytes, size_t len)
{
    return len > 0 && append_in_place(b, bytes, len) ? 0 : append(b, p, bytes, len, SHARED);
}

int buf_append_urgent(struct buf *b, struct chunk_pool *p, const void *bytes, size_t len)
{
    return append(b, p, bytes, len, SHARED_URGENT);
}

static void pop_head(struct buf *b, struct chunk_pool *p)
{
    struct slice *s = b->head;
    b->head = s->next;
    if (!b->head)
        b->tail = NULL;
    b->len -= s->len;
    chunk_unref(p, s->chunk);
    pool_give(&p->slices, s);
}

void buf_consume(struct buf *b, struct chunk_pool *p, size_t len)
{
    must(len <= b->len);
    while (len > 0) {
        struct slice *s = b->head;
        if (len < s->len) {
            s->at += (uint32_t)len;
            s->len -= (uint32_t)len;
            b->len -= len;
            return;
        }
        len -= s->len;
        pop_head(b, p);
    }
}

void buf_clear(struct buf *b, struct chunk_pool *p)
{
    while (b->head)
        pop_head(b, p);
}

void buf_truncate(struct buf *b, struct chunk_pool *p, size_t len)
{
    if (len >= b->len)
        return;
    if (len == 0) {
        buf_clear(b, p);
        return;
    }
    struct slice *last = b->head;
    size_t kept = last->len;
    while (kept < len) {
        last = last->next;
        must(last);
        kept += last->len;
    }
    last->len -= (uint32_t)(kept - len);
    struct slice *s = last->next;
    last->next = NULL;
    b->tail = last;
    b->len = len;
    while (s) {
        struct slice *next = s->next;
        chunk_unref(p, s->chunk);
        pool_give(&p->slices, s);
        s = next;
    }
}

void buf_move_all(struct buf *to, struct buf *from)
{
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->len += from->len;
    buf_init(from);
}

int buf_move(struct buf *to, struct buf *from, struct chunk_pool *p, size_t len)
{
    must(len <= from->len);
    if (len == from->len && len > BUF_COPY_MAX) {
        buf_move_all(to, from);
        return 0;
    }
    size_t before = to->len;
    size_t left = len;
    for (const struct slice *s = from->head; left > 0; s = s->next) {
        uint32_t n = left < s->len ? (uint32_t)left : s->len;
        int err = len <= BUF_COPY_MAX ? buf_append_shared(to, p, s->chunk->bytes + s->at, n)
                                      : slice_add(to, p, s->chunk, s->at, n);
        if (err) {
            buf_truncate(to, p, before);
            return err;
        }
        left -= n;
    }
    buf_consume(from, p, len);
    return 0;
}

int buf_iov(const struct buf *b, size_t skip, struct iovec *iov, int max)
{
    int count = 0;
    for (const struct slice *s = b->head; s && count < max; s = s->next) {
        if (skip >= s->len) {
            skip -= s->len;
            continue;
        }
        iov[count++] = (struct iovec){s->chunk->bytes + s->at + skip, s->len - skip};
        skip = 0;
    }
    return count;
}

size_t buf_pieces(const struct buf *b)
{
    size_t count = 0;
    for (const struct slice *s = b->head; s; s = s->next)
        count++;
    return count;
}

void buf_copy_out(const struct buf *b, size_t at, void *to, size_t len)
{
    uint8_t *out = to;
    for (const struct slice *s = b->head; len > 0; s = s->next) {
        must(s);
        if (at >= s->len) {
            at -= s->len;
            continue;
        }
        size_t n = s->len - at < len ? s->len - at : len;
        memcpy(out, s->chunk->bytes + s->at + at, n);
        out += n;
        len -= n;
        at = 0;
    }
}

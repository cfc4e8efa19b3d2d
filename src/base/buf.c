/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/must.h"

#include <errno.h>
#include <string.h>

struct chunk {
    uint32_t refs; /* slices, and the pool while it is the shared chunk */
    uint32_t used; /* bytes written; never written again */
    uint32_t room; /* bytes that fit in all */
    uint32_t kind; /* index into SMALL_BYTES; CHUNK_SMALL_KINDS: a full-sized one */
    uint8_t bytes[];
};

enum { CHUNK_ROOM = CHUNK_BYTES - sizeof(struct chunk), CHUNK_SPARE_MAX = 1024 };

static const uint32_t SMALL_BYTES[CHUNK_SMALL_KINDS] = {256, 1024, 4096};

struct slice {
    struct slice *next;
    struct chunk *chunk; /* holds one reference */
    uint32_t at, len;
};

/* Rounded up to whole chunks, and without overflow where "no limit" is said as SIZE_MAX. */
static size_t in_chunks(size_t bytes)
{
    size_t chunks = bytes / CHUNK_BYTES + (bytes % CHUNK_BYTES != 0);
    return chunks > SIZE_MAX / 4 / CHUNK_BYTES ? SIZE_MAX / 4 : chunks * CHUNK_BYTES;
}

void chunk_pool_init(struct chunk_pool *p, size_t limit_bytes, size_t reserve_bytes)
{
    *p = (struct chunk_pool){.limit = in_chunks(limit_bytes)};
    p->ceiling = p->limit + in_chunks(reserve_bytes);
    pool_init(&p->chunks, CHUNK_BYTES, SIZE_MAX, CHUNK_SPARE_MAX);
    for (int i = 0; i < CHUNK_SMALL_KINDS; i++)
        pool_init(&p->small[i], SMALL_BYTES[i], SIZE_MAX, CHUNK_SPARE_MAX);
    /* A slice may be one byte of a shared chunk, so slices have no ceiling of their own. */
    pool_init(&p->slices, sizeof(struct slice), SIZE_MAX, 16 * CHUNK_SPARE_MAX);
}

void chunk_pool_set_limit(struct chunk_pool *p, size_t limit_bytes)
{
    size_t reserve = p->ceiling - p->limit;
    p->limit = in_chunks(limit_bytes);
    p->ceiling = p->limit + reserve;
}

static uint32_t bytes_of_kind(uint32_t kind)
{
    return kind < CHUNK_SMALL_KINDS ? SMALL_BYTES[kind] : (uint32_t)CHUNK_BYTES;
}

static struct pool *pool_of_kind(struct chunk_pool *p, uint32_t kind)
{
    return kind < CHUNK_SMALL_KINDS ? &p->small[kind] : &p->chunks;
}

static void chunk_free(struct chunk_pool *p, struct chunk *c)
{
    p->in_use -= bytes_of_kind(c->kind);
    pool_give(pool_of_kind(p, c->kind), c);
}

static void chunk_unref(struct chunk_pool *p, struct chunk *c)
{
    must(c->refs > 0);
    if (--c->refs == 0)
        chunk_free(p, c);
}

void chunk_pool_fini(struct chunk_pool *p)
{
    if (p->shared)
        chunk_unref(p, take_ptr(p->shared));
    pool_fini(&p->chunks);
    for (int i = 0; i < CHUNK_SMALL_KINDS; i++)
        pool_fini(&p->small[i]);
    pool_fini(&p->slices);
}

void chunk_pool_trim(struct chunk_pool *p)
{
    pool_trim(&p->chunks);
    for (int i = 0; i < CHUNK_SMALL_KINDS; i++)
        pool_trim(&p->small[i]);
    pool_trim(&p->slices);
}

bool chunk_pool_has_spares(const struct chunk_pool *p)
{
    size_t spares = p->chunks.spare_count + p->slices.spare_count;
    for (int i = 0; i < CHUNK_SMALL_KINDS; i++)
        spares += p->small[i].spare_count;
    return spares > 0;
}

/* Nobody holds a slice of the shared chunk: it is kept, but counts as free. */
static bool shared_is_idle(const struct chunk_pool *p)
{
    return p->shared && p->shared->refs == 1;
}

size_t chunk_pool_bytes(const struct chunk_pool *p)
{
    return p->in_use - (shared_is_idle(p) ? CHUNK_BYTES : 0);
}

static bool may_take(struct chunk_pool *p, uint32_t bytes, bool urgent)
{
    if (urgent || chunk_pool_bytes(p) + bytes <= p->limit)
        return true;
    p->limit_hits++;
    return false;
}

static struct chunk *chunk_new(struct chunk_pool *p, uint32_t kind, bool urgent)
{
    uint32_t bytes = bytes_of_kind(kind);
    if (!may_take(p, bytes, urgent))
        return NULL;
    /* Where only the idle shared chunk is left, it is the one to take: else it would keep the last
     * place under the limit for ever. */
    if (shared_is_idle(p) && p->in_use + bytes > (urgent ? p->ceiling : p->limit))
        chunk_unref(p, take_ptr(p->shared));
    struct chunk *c = NULL;
    if (p->in_use + bytes <= p->ceiling)
        c = pool_take(pool_of_kind(p, kind));
    if (!c)
        return NULL;
    p->in_use += bytes;
    *c = (struct chunk){.room = bytes - (uint32_t)sizeof(struct chunk), .kind = kind};
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
    return s->chunk->room - s->chunk->used;
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
        return may_take(p, CHUNK_BYTES, urgent) ? p->shared : NULL;
    }
    if (p->shared && p->shared->used < CHUNK_ROOM)
        return p->shared;
    struct chunk *c = chunk_new(p, CHUNK_SMALL_KINDS, urgent);
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

enum where { OWN, OWN_SLOWLY, SHARED, SHARED_URGENT };

/* Small at first, then four times as large each: what is never used is at most three quarters. */
static uint32_t kind_for(const struct buf *b, size_t len)
{
    uint32_t kind = b->tail && b->tail->chunk->kind < CHUNK_SMALL_KINDS ? b->tail->chunk->kind + 1
                    : b->tail                                           ? CHUNK_SMALL_KINDS
                                                                        : 0;
    while (kind < CHUNK_SMALL_KINDS && SMALL_BYTES[kind] - sizeof(struct chunk) < len)
        kind++;
    return kind;
}

static struct chunk *chunk_for(const struct buf *b, struct chunk_pool *p, size_t len,
                               enum where where)
{
    if (where == OWN_SLOWLY)
        return chunk_new(p, kind_for(b, len), false);
    /* What fills a chunk by itself gains nothing from the shared one. */
    if (where == OWN || len >= CHUNK_ROOM / 2)
        return chunk_new(p, CHUNK_SMALL_KINDS, where == SHARED_URGENT);
    return shared_chunk(p, where == SHARED_URGENT);
}

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
        struct chunk *c = chunk_for(b, p, len, where);
        if (!c)
            goto fail;
        room = c->room - c->used;
        uint32_t n = len < room ? (uint32_t)len : room;
        uint32_t at = c->used;
        if (slice_add(b, p, c, at, n) != 0) {
            if (c->refs == 0)
                chunk_free(p, c);
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

int buf_append_slowly(struct buf *b, struct chunk_pool *p, const void *bytes, size_t len)
{
    return append(b, p, bytes, len, OWN_SLOWLY);
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

void buf_drop_slices(struct buf *b, struct chunk_pool *p)
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

int buf_share(struct buf *to, const struct buf *from, struct chunk_pool *p, size_t skip)
{
    must(skip <= from->len);
    size_t before = to->len;
    for (const struct slice *s = from->head; s; s = s->next) {
        if (skip >= s->len) {
            skip -= s->len;
            continue;
        }
        int err = slice_add(to, p, s->chunk, s->at + (uint32_t)skip, s->len - (uint32_t)skip);
        if (err) {
            buf_truncate(to, p, before);
            return err;
        }
        skip = 0;
    }
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of a request: see args.h.
 *
 * The bytes have been judged by frame.c, so what does not fit here is our own mistake: must().
 * A struct args is used by one thread.
 */
#include "resp/args.h"

#include "base/must.h"
#include "resp/frame.h"
#include "resp/number_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    V_ROOM_KEPT = 256,             /* arguments: 6 KiB, enough for all but split commands */
    INLINE_BYTES_KEPT = 64 * 1024, /* one inline line of the longest kind */
    TRIED_MAX = 32,                /* arguments; more are rare, and parsed twice without harm */
    COUNT_TEXT_MAX = 24,           /* a type byte, 20 digits, CR and LF */
    TERMINATOR = 2,
};

/* A copy of an argument that lies in several pieces. They form a list in no order. */
struct gathered {
    struct gathered *next;
    size_t index;
    char bytes[];
};

void args_init(struct args *a)
{
    *a = (struct args){0};
}

static void gathered_free(struct args *a)
{
    for (struct gathered *g = a->gathered, *next; g != NULL; g = next) {
        next = g->next;
        free(g);
    }
    a->gathered = NULL;
}

void args_fini(struct args *a)
{
    gathered_free(a);
    free(a->v);
    free(a->inline_bytes);
    *a = (struct args){0};
}

/* Makes room for `count` arguments, and gives back what a larger request took before. */
static int v_reserve(struct args *a, size_t count)
{
    if (count <= a->v_room && (a->v_room <= V_ROOM_KEPT || count > V_ROOM_KEPT))
        return 0;
    size_t room = count > V_ROOM_KEPT ? count : V_ROOM_KEPT;
    if (count > a->v_room && a->v_room == 0 && count < V_ROOM_KEPT / 8)
        room = V_ROOM_KEPT / 8;
    struct arg *v = malloc(room * sizeof(*v));
    if (v == NULL)
        return -ENOMEM;
    free(a->v);
    a->v = v;
    a->v_room = room;
    return 0;
}

/* Forgets the request before. */
static void start(struct args *a)
{
    if (a->gathered != NULL)
        gathered_free(a);
    if (a->inline_bytes != NULL && a->inline_iov.iov_len > INLINE_BYTES_KEPT) {
        free(a->inline_bytes);
        a->inline_bytes = NULL;
        a->inline_iov = (struct iovec){0};
    }
    a->count = 0;
    a->frame_len = 0;
}

/* ---- parsing ---- */

/* Reads "digits CR LF" at `p`; returns where it ends. */
static inline const char *number_line(const char *p, const char *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (uint32_t d; p < end && (d = (uint32_t)(unsigned char)*p - '0') <= 9; p++)
        v = v * 10 + d;
    must(end - p >= TERMINATOR);
    *ret = v;
    return p + TERMINATOR;
}

static int parse_one(struct args *a)
{
    const char *base = a->iov[0].iov_base;
    const char *p = base, *end = base + a->iov[0].iov_len;
    uint64_t count, len;
    must(end - p > 1 && *p == '*');
    p = number_line(p + 1, end, &count);
    if (v_reserve(a, count) != 0)
        return -ENOMEM;
    struct arg *v = a->v;
    for (size_t i = 0; i < count; i++) {
        must(p < end && *p == '$');
        p = number_line(p + 1, end, &len);
        must((size_t)(end - p) >= len + TERMINATOR);
        v[i] = (struct arg){.piece = 0, .at = (size_t)(p - base), .len = len};
        p += len + TERMINATOR;
    }
    must(p == end);
    a->count = count;
    a->frame_len = a->iov[0].iov_len;
    return 0;
}

/* A place in a request of many pieces; never at the end of a piece but the last. */
struct cursor {
    const struct iovec *iov;
    size_t count;
    size_t piece;
    size_t at;
};

static void cursor_settle(struct cursor *c)
{
    while (c->at == c->iov[c->piece].iov_len && c->piece + 1 < c->count) {
        c->piece++;
        c->at = 0;
    }
}

static void cursor_skip(struct cursor *c, size_t n)
{
    for (;;) {
        size_t here = c->iov[c->piece].iov_len - c->at;
        if (n <= here)
            break;
        must(c->piece + 1 < c->count);
        n -= here;
        c->piece++;
        c->at = 0;
    }
    c->at += n;
    cursor_settle(c);
}

static char cursor_take(struct cursor *c)
{
    must(c->at < c->iov[c->piece].iov_len);
    char byte = ((const char *)c->iov[c->piece].iov_base)[c->at++];
    cursor_settle(c);
    return byte;
}

/* A header line of type `type`: in one piece mostly, else byte by byte. */
static uint64_t cursor_header(struct cursor *c, char type)
{
    const char *base = c->iov[c->piece].iov_base;
    uint64_t v = 0;
    must(c->at < c->iov[c->piece].iov_len && base[c->at] == type);
    if (c->iov[c->piece].iov_len - c->at >= COUNT_TEXT_MAX) {
        const char *end = base + c->iov[c->piece].iov_len;
        c->at = (size_t)(number_line(base + c->at + 1, end, &v) - base);
        cursor_settle(c);
        return v;
    }
    cursor_skip(c, 1);
    for (char byte; (byte = cursor_take(c)) != '\r';) {
        must(byte >= '0' && byte <= '9');
        v = v * 10 + (uint64_t)(byte - '0');
    }
    cursor_skip(c, 1);
    return v;
}

/* The first `max` arguments, or all. */
static int parse_many(struct args *a, size_t max, struct cursor *ret_end)
{
    struct cursor c = {.iov = a->iov, .count = a->iov_count};
    must(a->iov_count > 0 && a->iov_count <= UINT32_MAX);
    cursor_settle(&c);
    uint64_t count = cursor_header(&c, '*');
    if (count > max)
        count = max;
    if (v_reserve(a, count) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        uint64_t len = cursor_header(&c, '$');
        a->v[i] = (struct arg){.piece = (uint32_t)c.piece, .at = c.at, .len = len};
        cursor_skip(&c, len);
        cursor_skip(&c, TERMINATOR);
    }
    a->count = count;
    for (size_t i = 0; i < a->iov_count; i++)
        a->frame_len += a->iov[i].iov_len;
    *ret_end = c;
    return 0;
}

int args_parse_begin(struct args *a, const struct iovec *iov, size_t iov_count, size_t count)
{
    struct cursor end;
    start(a);
    a->iov = iov;
    a->iov_count = iov_count;
    return parse_many(a, count, &end);
}

int args_parse(struct args *a, const struct iovec *iov, size_t iov_count)
{
    start(a);
    a->iov = iov;
    a->iov_count = iov_count;
    if (iov_count == 1)
        return parse_one(a);
    struct cursor c;
    int err = parse_many(a, SIZE_MAX, &c);
    must(err || (c.piece + 1 == c.count && c.at == c.iov[c.piece].iov_len));
    return err;
}

size_t args_try(struct args *a, const void *bytes, size_t len, const struct frame_limits *limits)
{
    const uint8_t *base = bytes, *end = base + len;
    uint32_t count, n;
    if (len < 4 || *base != '*')
        return 0;
    const uint8_t *p = number_line_short(base + 1, end, &count);
    if (p == NULL || count == 0 || count > TRIED_MAX || count > limits->elements_max)
        return 0;
    start(a);
    if (v_reserve(a, TRIED_MAX) != 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        p = p < end && *p == '$' ? number_line_short(p + 1, end, &n) : NULL;
        if (p == NULL || n > limits->bulk_max || (size_t)(end - p) < (size_t)n + TERMINATOR ||
            p[n] != '\r' || p[n + 1] != '\n')
            return 0;
        a->v[i] = (struct arg){.piece = 0, .at = (size_t)(p - base), .len = n};
        p += n + TERMINATOR;
    }
    a->count = count;
    a->frame_len = (size_t)(p - base);
    a->tried = (struct iovec){(void *)(uintptr_t)base, a->frame_len};
    a->iov = &a->tried;
    a->iov_count = 1;
    return a->frame_len;
}

/* ---- looking at arguments ---- */

/* Calls `take` for each stretch of the body of an argument. */
static int each_stretch(const struct args *a, const struct arg *v,
                        int (*take)(void *owner, const void *bytes, size_t len), void *owner)
{
    size_t piece = v->piece, at = v->at, left = v->len;
    while (left > 0) {
        size_t n = a->iov[piece].iov_len - at;
        if (n > left)
            n = left;
        int status = n > 0 ? take(owner, (const char *)a->iov[piece].iov_base + at, n) : 0;
        if (status != 0)
            return status;
        left -= n;
        piece++;
        at = 0;
    }
    return 0;
}

static int copy_stretch(void *owner, const void *bytes, size_t len)
{
    char **to = owner;
    memcpy(*to, bytes, len);
    *to += len;
    return 0;
}

struct str args_gather(struct args *a, size_t index)
{
    const struct arg *v = &a->v[index];
    for (const struct gathered *g = a->gathered; g != NULL; g = g->next)
        if (g->index == index)
            return (struct str){g->bytes, v->len};
    struct gathered *g = malloc(sizeof(*g) + v->len);
    if (g == NULL)
        return (struct str){0};
    char *to = g->bytes;
    (void)each_stretch(a, v, copy_stretch, &to);
    g->index = index;
    g->next = a->gathered;
    a->gathered = g;
    return (struct str){g->bytes, v->len};
}

size_t args_copy_head(const struct args *a, size_t index, char *to, size_t max)
{
    const struct arg *v = &a->v[index];
    size_t len = v->len < max ? v->len : max;
    size_t at = v->at, done = 0;
    for (uint32_t piece = v->piece; done < len; piece++, at = 0) {
        size_t here = a->iov[piece].iov_len - at;
        if (here > len - done)
            here = len - done;
        memcpy(to + done, (const char *)a->iov[piece].iov_base + at, here);
        done += here;
    }
    return len;
}

/* Writes "<type><value>\r\n" to `to`; returns its length, at most COUNT_TEXT_MAX. */
static size_t header_write(char *to, char type, uint64_t value)
{
    to[0] = type;
    size_t len = str_put_u64(to + 1, value);
    memcpy(to + 1 + len, "\r\n", TERMINATOR);
    return len + 1 + TERMINATOR;
}

int args_each_piece(const struct args *a, size_t index,
                    int (*take)(void *owner, const void *bytes, size_t len), void *owner)
{
    must(index < a->count);
    const struct arg *v = &a->v[index];
    const struct iovec *iov = &a->iov[v->piece];
    const char *body = (const char *)iov->iov_base + v->at;
    char header[COUNT_TEXT_MAX];
    size_t header_len = header_write(header, '$', v->len);
    /* Mostly the client wrote the very same bytes, in one piece. */
    if (v->at >= header_len && iov->iov_len - v->at >= v->len + TERMINATOR &&
        memcmp(body - header_len, header, header_len) == 0 &&
        memcmp(body + v->len, "\r\n", TERMINATOR) == 0)
        return take(owner, body - header_len, header_len + v->len + TERMINATOR);
    int status = take(owner, header, header_len);
    if (status == 0)
        status = each_stretch(a, v, take, owner);
    return status != 0 ? status : take(owner, "\r\n", TERMINATOR);
}

/* ---- encoding anew ---- */

/* Makes the one piece that args_make_canonical() and args_parse_inline() fill. */
static int own_bytes(struct args *a, size_t len)
{
    if (a->inline_bytes == NULL || len > INLINE_BYTES_KEPT) {
        size_t room = len > INLINE_BYTES_KEPT ? len : INLINE_BYTES_KEPT;
        char *bytes = malloc(room);
        if (bytes == NULL)
            return -ENOMEM;
        free(a->inline_bytes);
        a->inline_bytes = bytes;
    }
    a->inline_iov = (struct iovec){a->inline_bytes, len};
    return 0;
}

static void use_own_bytes(struct args *a)
{
    a->iov = &a->inline_iov;
    a->iov_count = 1;
    a->frame_len = a->inline_iov.iov_len;
}

/* Writes the arguments of `from`, which is `a` or has its v, to bytes of a's own. `name` stands for
 * argument 0; NULL: that stays. */
static int encode_anew(struct args *a, const struct args *from, const struct str *name)
{
    char text[COUNT_TEXT_MAX];
    size_t first_len = name != NULL ? name->len : a->v[0].len;
    size_t len = header_write(text, '*', a->count);
    for (size_t i = 0; i < a->count; i++) {
        size_t body = i > 0 ? a->v[i].len : first_len;
        len += header_write(text, '$', body) + body + TERMINATOR;
    }
    if (own_bytes(a, len) != 0)
        return -ENOMEM;
    char *to = a->inline_bytes;
    to += header_write(to, '*', a->count);
    for (size_t i = 0; i < a->count; i++) {
        to += header_write(to, '$', i > 0 ? a->v[i].len : first_len);
        size_t at = (size_t)(to - a->inline_bytes);
        if (i > 0 || name == NULL)
            (void)each_stretch(from, &a->v[i], copy_stretch, &to);
        else
            (void)copy_stretch(&to, name->p, name->len);
        memcpy(to, "\r\n", TERMINATOR);
        to += TERMINATOR;
        a->v[i].piece = 0;
        a->v[i].at = at;
    }
    a->v[0].len = first_len;
    must((size_t)(to - a->inline_bytes) == len);
    use_own_bytes(a);
    return 0;
}

int args_make_canonical(struct args *a)
{
    return a->iov == &a->inline_iov ? 0 : encode_anew(a, a, NULL);
}

int args_rename(struct args *a, struct str name)
{
    must(a->count > 0);
    if (a->iov != &a->inline_iov)
        return encode_anew(a, a, &name);
    /* The bytes are our own already: they are read while others are written. */
    struct args old = *a;
    old.iov = &old.inline_iov;
    a->inline_bytes = NULL;
    int err = encode_anew(a, &old, &name);
    if (err == 0)
        free(old.inline_bytes);
    else
        a->inline_bytes = old.inline_bytes;
    return err;
}

/* ---- inline requests ---- */

/* What isspace() is in the C locale. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The rest of a line; `p[0]` past its end reads as NUL, which ends a line like its end does. */
struct line {
    const char *p, *end;
};

static char line_at(const struct line *l, ptrdiff_t ahead)
{
    return l->end - l->p > ahead ? l->p[ahead] : '\0';
}

/* What the escape at the backslash `l` points to stands for; moves to its last byte. */
static char line_escape(struct line *l)
{
    static const char FROM[] = "nrtba", TO[] = "\n\r\t\b\a";
    char c = line_at(l, 1);
    int high = hex_value(line_at(l, 2)), low = hex_value(line_at(l, 3));
    if (c == 'x' && high >= 0 && low >= 0) {
        l->p += 3;
        return (char)(high * 16 + low);
    }
    l->p++;
    const char *found = memchr(FROM, c, sizeof(FROM) - 1);
    return found != NULL ? TO[found - FROM] : c;
}

/*
 * Takes the next argument of a line and writes it to `to` (NULL: only counts). 1: there is one,
 * 0: the line is over, -EINVAL: unbalanced quotes.
 */
static int line_next(struct line *l, char *to, size_t *ret_len)
{
    size_t len = 0;
    char quote = 0;
    while (line_at(l, 0) != '\0' && is_space(*l->p))
        l->p++;
    if (line_at(l, 0) == '\0')
        return 0;
    for (;; l->p++) {
        char c = line_at(l, 0);
        if (c == '\0' && quote != 0)
            return -EINVAL;
        if (quote == 0) {
            /* Here a vertical tab or form feed is text, though it is a blank before and after. */
            if (c == '\0' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
                break;
            if (c == '"' || c == '\'') {
                quote = c;
                continue;
            }
        } else if (c == quote) {
            l->p++;
            if (line_at(l, 0) != '\0' && !is_space(*l->p))
                return -EINVAL;
            break;
        } else if (c == '\\' && quote == '"' && line_at(l, 1) != '\0') {
            c = line_escape(l);
        } else if (c == '\\' && quote == '\'' && line_at(l, 1) == '\'') {
            c = '\'';
            l->p++;
        }
        if (to != NULL)
            to[len] = c;
        len++;
    }
    *ret_len = len;
    return 1;
}

int args_parse_inline(struct args *a, struct str line)
{
    char text[COUNT_TEXT_MAX];
    size_t count = 0, len, total = 0;
    int status;
    start(a);
    a->iov = NULL;
    a->iov_count = 0;
    if (line.len == 0)
        return 0;
    const char *lf = memchr(line.p, '\n', line.len);
    const struct line all = {line.p, lf != NULL ? lf : line.p + line.len};
    /* Once to measure, once to write: inline requests are typed by hand. */
    struct line l = all;
    for (; (status = line_next(&l, NULL, &len)) > 0; count++)
        total += header_write(text, '$', len) + len + TERMINATOR;
    if (status < 0 || count == 0)
        return status;
    total += header_write(text, '*', count);
    if (v_reserve(a, count) != 0 || own_bytes(a, total) != 0)
        return -ENOMEM;
    char *to = a->inline_bytes;
    to += header_write(to, '*', count);
    l = all;
    for (size_t i = 0; i < count; i++) {
        struct line measure = l;
        must(line_next(&measure, NULL, &len) > 0);
        to += header_write(to, '$', len);
        a->v[i] = (struct arg){.piece = 0, .at = (size_t)(to - a->inline_bytes), .len = len};
        must(line_next(&l, to, &len) > 0);
        memcpy(to + len, "\r\n", TERMINATOR);
        to += len + TERMINATOR;
    }
    must((size_t)(to - a->inline_bytes) == total);
    a->count = count;
    use_own_bytes(a);
    return 0;
}

int args_tail(const struct args *a, size_t first, struct args *ret_tail)
{
    must(first < a->count);
    struct args t;
    args_init(&t);
    size_t len = COUNT_TEXT_MAX;
    for (size_t i = first; i < a->count; i++)
        len += COUNT_TEXT_MAX + a->v[i].len + TERMINATOR;
    char *bytes = malloc(len);
    if (bytes == NULL)
        return -ENOMEM;
    char *to = bytes;
    to += header_write(to, '*', a->count - first);
    for (size_t i = first; i < a->count; i++)
        (void)args_each_piece(a, i, copy_stretch, &to); /* copying cannot fail */
    struct iovec iov = {bytes, (size_t)(to - bytes)};
    if (args_parse(&t, &iov, 1) != 0) {
        free(bytes);
        return -ENOMEM;
    }
    /* Only now, as parsing forgets the bytes of the request before. */
    t.inline_bytes = bytes;
    t.inline_iov = iov;
    *ret_tail = t;
    ret_tail->iov = &ret_tail->inline_iov;
    return 0;
}

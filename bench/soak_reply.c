/* SPDX-License-Identifier: Apache-2.0 */
/* Reads replies and checks each byte of each value. */
#include "soak_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int wrong(struct soak *s, const struct soak_client *c, const char *what)
{
    s->counters.wrong++;
    soak_tell(s, c, what);
    return -EPROTO;
}

static struct soak_request *request_of(struct soak_client *c)
{
    return &c->requests[c->answered];
}

static void reply_ends(struct soak *s, struct soak_client *c)
{
    s->counters.replies++;
    c->answered++;
    c->reply = (struct soak_reply){0};
}

/* One value of the reply is read, or is known not to be there. */
static void value_ends(struct soak *s, struct soak_client *c)
{
    struct soak_reply *r = &c->reply;

    r->in_body = false;
    r->line_len = 0;
    r->key_at++;
    if (r->elements_left > 0)
        r->elements_left--;
    if (r->elements_left == 0)
        reply_ends(s, c);
}

static int error_line(struct soak *s, struct soak_client *c)
{
    static const char *const allowed[] = {"-ERR sumcache: ", "-OOM ", "-LOADING "};
    const char *line = c->reply.line;

    soak_error_add(&s->counters, line);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (strncmp(line, allowed[i], strlen(allowed[i])) == 0) {
            s->counters.errors++;
            reply_ends(s, c);
            return 0;
        }
    }
    s->counters.strange++;
    soak_tell(s, c, line);
    reply_ends(s, c);
    return 0;
}

static int value_line(struct soak *s, struct soak_client *c)
{
    struct soak_reply *r = &c->reply;
    const struct soak_request *q = request_of(c);
    char *end = NULL;

    if (strcmp(r->line, "_") == 0 || strcmp(r->line, "$-1") == 0) {
        s->counters.misses++;
        if (q->command == SOAK_GET && soak_chance(&s->random, 60)) {
            c->has_missed = true;
            c->missed_key = q->keys[0];
        }
        value_ends(s, c);
        return 0;
    }
    if (r->line[0] != '$')
        return wrong(s, c, "a reply of the wrong kind to GET or MGET");
    unsigned long len = strtoul(r->line + 1, &end, 10);
    if (*end || len < SOAK_HEAD_BYTES || len > SOAK_VALUE_MAX)
        return wrong(s, c, "a value with a length that none has");
    r->in_body = true;
    r->body_len = len;
    r->body_done = 0;
    return 0;
}

/* HELLO 3 answers a map with strings, numbers and an empty array. Which, is not our business. */
static int hello_line(struct soak *s, struct soak_client *c)
{
    struct soak_reply *r = &c->reply;
    unsigned long count = strtoul(r->line + 1, NULL, 10);

    if (r->skip_left == 0 && r->line[0] != '%')
        return wrong(s, c, "HELLO 3 is not answered by a map");
    if (r->skip_left == 0)
        r->skip_left = 1;
    r->skip_left--;
    if (r->line[0] == '%')
        r->skip_left += 2 * count;
    else if (r->line[0] == '*')
        r->skip_left += count;
    r->line_len = 0;
    if (r->line[0] == '$') {
        r->in_body = true;
        r->body_len = count;
        r->body_done = 0;
    } else if (r->skip_left == 0) {
        reply_ends(s, c);
    }
    return 0;
}

static int line_take(struct soak *s, struct soak_client *c)
{
    const struct soak_request *q = request_of(c);
    struct soak_reply *r = &c->reply;

    if (r->line[0] == '-')
        return r->elements_left > 0 ? wrong(s, c, "an error inside an array") : error_line(s, c);
    switch (q->command) {
    case SOAK_GET:
        return value_line(s, c);
    case SOAK_MGET:
        if (r->elements_left > 0)
            return value_line(s, c);
        if (r->line[0] != '*' || strtoul(r->line + 1, NULL, 10) != q->key_count)
            return wrong(s, c, "MGET is not answered by an array of that length");
        r->elements_left = q->key_count;
        r->line_len = 0;
        return 0;
    case SOAK_SET:
    case SOAK_QUIT:
        if (strcmp(r->line, "+OK") != 0)
            return wrong(s, c, "SET or QUIT is not answered by OK");
        reply_ends(s, c);
        return 0;
    case SOAK_DEL:
        if (r->line[0] != ':' || strtoul(r->line + 1, NULL, 10) > q->key_count)
            return wrong(s, c, "DEL is not answered by a number of keys");
        reply_ends(s, c);
        return 0;
    case SOAK_HELLO:
        return hello_line(s, c);
    }
    return wrong(s, c, "a command of no kind");
}

/* Takes bytes up to and including the line's LF; returns how many. */
static size_t line_feed(struct soak_reply *r, const char *bytes, size_t len, bool *ret_whole)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t used = lf ? (size_t)(lf - bytes) + 1 : len;

    for (size_t i = 0; i < used - (lf ? 1 : 0) && r->line_len + 1 < SOAK_LINE_MAX; i++)
        r->line[r->line_len++] = bytes[i];
    *ret_whole = lf != NULL;
    if (lf) {
        if (r->line_len > 0 && r->line[r->line_len - 1] == '\r')
            r->line_len--;
        r->line[r->line_len] = 0;
    }
    return used;
}

/* The part of the body that is not yet checked begins at r->body_done. */
static int body_check(struct soak *s, struct soak_client *c, const char *bytes, size_t len)
{
    struct soak_reply *r = &c->reply;
    const struct soak_request *q = request_of(c);

    while (len > 0 && r->body_done < SOAK_HEAD_BYTES) {
        r->head[r->body_done++] = *bytes++;
        len--;
        if (r->body_done == SOAK_HEAD_BYTES &&
            soak_value_read(&s->values, q->keys[r->key_at], r->body_len, r->head, &r->value) != 0)
            return wrong(s, c, "a value whose head is not that of its key");
    }
    if (len > 0 && memcmp(r->value.body + (r->body_done - SOAK_HEAD_BYTES), bytes, len) != 0)
        return wrong(s, c, "wrong bytes in a value");
    r->body_done += len;
    return 0;
}

/* Takes what belongs to the bulk string and its CRLF. */
static int body_feed(struct soak *s, struct soak_client *c, const char *bytes, size_t len,
                     size_t *ret_used)
{
    struct soak_reply *r = &c->reply;
    bool is_hello = request_of(c)->command == SOAK_HELLO;
    size_t n = r->body_len > r->body_done ? r->body_len - r->body_done : 0;

    if (n > len)
        n = len;
    if (is_hello)
        r->body_done += n;
    else if (body_check(s, c, bytes, n) != 0)
        return -EPROTO;
    *ret_used = n;
    while (*ret_used < len && r->body_done >= r->body_len && r->body_done < r->body_len + 2) {
        if (bytes[*ret_used] != "\r\n"[r->body_done - r->body_len])
            return wrong(s, c, "a value that does not end where it should");
        r->body_done++;
        ++*ret_used;
    }
    if (r->body_done < r->body_len + 2)
        return 0;
    if (is_hello) {
        r->in_body = false;
        if (r->skip_left == 0)
            reply_ends(s, c);
        return 0;
    }
    s->counters.hits++;
    s->counters.large += r->body_len > SOAK_LARGE;
    s->counters.checked_bytes += r->body_len;
    value_ends(s, c);
    return 0;
}

int soak_reply_take(struct soak *s, struct soak_client *c, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t used = 0;
        bool is_whole = false;
        int err = 0;
        if (c->answered >= c->request_count)
            return wrong(s, c, "bytes that nobody asked for");
        if (c->reply.in_body) {
            err = body_feed(s, c, bytes, len, &used);
        } else {
            used = line_feed(&c->reply, bytes, len, &is_whole);
            if (is_whole)
                err = line_take(s, c);
        }
        if (err)
            return err;
        /* A line that is dealt with makes room for the next one; reply_ends() has done so too. */
        if (is_whole)
            c->reply.line_len = 0;
        bytes += used;
        len -= used;
    }
    return 0;
}

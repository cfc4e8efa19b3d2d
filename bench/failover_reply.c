/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: where each ends, whose it is, and what became of its request. */
#include "failover_load.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "… node 127.0.0.1:7001 timed out" → "… node # timed out": one kind, whichever node it was. */
static void without_numbers(const char *line, char to[FAILOVER_LINE_MAX])
{
    size_t len = 0;

    for (size_t i = 0; line[i] && len + 1 < FAILOVER_LINE_MAX; i++) {
        bool is_number = isdigit((unsigned char)line[i]) ||
                         (strchr(".:", line[i]) && isdigit((unsigned char)line[i + 1]));
        if (!is_number)
            to[len++] = line[i];
        else if (len == 0 || to[len - 1] != '#')
            to[len++] = '#';
    }
    to[len] = 0;
}

void failover_error_add(struct failover *f, const char *line)
{
    char text[FAILOVER_LINE_MAX];

    without_numbers(line, text);
    for (unsigned i = 0; i < FAILOVER_ERROR_KINDS; i++) {
        struct failover_error_kind *kind = &f->kinds[i];
        /* The last one takes what is left over. */
        if (kind->count == 0)
            snprintf(kind->text, sizeof(kind->text), "%s",
                     i == FAILOVER_ERROR_KINDS - 1 ? "others" : text);
        if (strcmp(kind->text, text) == 0 || i == FAILOVER_ERROR_KINDS - 1) {
            kind->count++;
            return;
        }
    }
}

static void record_end(struct failover *f, const struct failover_request *q,
                       enum failover_outcome outcome, unsigned flags)
{
    if (q->record == FAILOVER_NONE) {
        return;
    }
    struct failover_record *r = &f->records[q->record];
    r->latency_ns = f->now_ns > q->due_ns ? f->now_ns - q->due_ns : 0;
    bool is_late = r->latency_ns > f->options.give_up_ns;
    r->lag_us = q->sent_ns > q->due_ns ? (uint32_t)((q->sent_ns - q->due_ns) / 1000) : 0;
    r->flags = (uint8_t)flags;
    r->outcome = (uint8_t)outcome;
    if (is_late && outcome != FAILOVER_UNANSWERED)
        r->outcome = FAILOVER_LATE;
}

void failover_request_fail(struct failover *f, const struct failover_request *q)
{
    if (q->write != FAILOVER_NONE)
        failover_write_end(&f->keys, q->write, false, f->now_ns);
    if (f->start_ns == 0) {
        f->keys.list[q->key].is_busy = false; /* it is filled by somebody else */
        return;
    }
    /* Whose connection broke after the time to give up was not answered in time, nor late. */
    bool has_given_up = f->now_ns > q->due_ns + f->options.give_up_ns;
    record_end(f, q, has_given_up || f->is_over ? FAILOVER_UNANSWERED : FAILOVER_ERROR, 0);
    if (!has_given_up && !f->is_over && q->record != FAILOVER_NONE)
        failover_error_add(f, "connection lost");
}

static void detail_add(struct failover *f, const struct failover_connection *c,
                       const struct failover_request *q, unsigned flags, uint32_t version,
                       const char *text, size_t len)
{
    bool is_wrong = (flags & FAILOVER_WRONG) != 0;
    unsigned alike = is_wrong ? f->wrong_detail_count : f->detail_count - f->wrong_detail_count;

    if (flags == 0 || alike == FAILOVER_DETAILS_MAX)
        return;
    f->wrong_detail_count += is_wrong;
    struct failover_detail *d = &f->details[f->detail_count++];
    *d = (struct failover_detail){.request = *q,
                                  .answered_ns = f->now_ns,
                                  .version = version,
                                  .flags = flags,
                                  .len = len,
                                  .begin_len = len < sizeof(d->begin) ? len : sizeof(d->begin)};
    d->connection = c->probe ? UINT32_MAX : (unsigned)(c - f->connections);
    memcpy(d->begin, text, d->begin_len);
}

/* The reply is whole: the request at the head has its answer. */
static void request_end(struct failover *f, struct failover_connection *c,
                        enum failover_outcome outcome, unsigned flags)
{
    struct failover_request q = c->queue[c->head++ & (c->queue_size - 1)];

    if (q.write != FAILOVER_NONE)
        failover_write_end(&f->keys, q.write, outcome == FAILOVER_DONE, f->now_ns);
    if (c->probe) {
        f->probe_wrong += (flags & FAILOVER_WRONG) != 0;
        f->probe_stale += (flags & (FAILOVER_STALE | FAILOVER_STALE_OTHER)) != 0;
        failover_probe_step(f, c, outcome == FAILOVER_ERROR);
    } else if (f->start_ns > 0) {
        record_end(f, &q, outcome, flags);
    } else {
        struct failover_key *key = &f->keys.list[q.key];
        key->is_busy = false;
        if (outcome == FAILOVER_DONE) {
            key->newest = key->acknowledged[c->address] = 1;
            f->fill_done++;
        }
        failover_fill_more(f, c);
    }
}

static void value_end(struct failover *f, struct failover_connection *c)
{
    const struct failover_request *q = &c->queue[c->head & (c->queue_size - 1)];
    struct failover_reply *r = &c->reply;
    unsigned flags = FAILOVER_WRONG;
    uint32_t version = 0;
    size_t kept = r->body_len < FAILOVER_VALUE_MAX ? r->body_len : FAILOVER_VALUE_MAX;
    bool is_ended =
        r->body_len > FAILOVER_VALUE_MAX || memcmp(r->body + r->body_len, "\r\n", 2) == 0;

    r->in_body = false;
    if (q->command != FAILOVER_GET) {
        /* Inside HELLO's map; or a kind of reply that this command never has. */
        if (r->elements_left > 0 && --r->elements_left > 0)
            return;
        bool is_handshake = q->command >= FAILOVER_HELLO;
        request_end(f, c, is_handshake ? FAILOVER_DONE : FAILOVER_ERROR,
                    is_handshake ? 0 : FAILOVER_WRONG);
        return;
    }
    if (is_ended && r->body_len <= FAILOVER_VALUE_MAX)
        flags = failover_judge(&f->keys, q->key, r->body, r->body_len, q->floor, q->floor_same,
                               &version);
    detail_add(f, c, q, flags, version, r->body, kept);
    if (flags & FAILOVER_WRONG)
        failover_error_add(f, "wrong value");
    request_end(f, c, FAILOVER_HIT, flags);
}

static size_t body_feed(struct failover *f, struct failover_connection *c, const char *bytes,
                        size_t len)
{
    struct failover_reply *r = &c->reply;
    size_t used = r->body_len + 2 - r->body_done;

    if (used > len)
        used = len;
    if (r->body_done < sizeof(r->body)) {
        size_t room = sizeof(r->body) - r->body_done;
        memcpy(r->body + r->body_done, bytes, used < room ? used : room);
    }
    r->body_done += used;
    if (r->body_done == r->body_len + 2)
        value_end(f, c);
    return used;
}

/* A bulk string's, a map's or an array's head. Returns the length, or -1: null, or -EPROTO. */
static int64_t length_of(const char *line)
{
    char *end;

    errno = 0;
    long long len = strtoll(line + 1, &end, 10);
    if (errno != 0 || end == line + 1 || *end || len < -1 || len > 1000000000)
        return -EPROTO;
    return len;
}

/* A line that is a whole reply. */
static void line_end(struct failover *f, struct failover_connection *c)
{
    const struct failover_request *q = &c->queue[c->head & (c->queue_size - 1)];
    const char *line = c->reply.line;
    bool is_right = false;
    bool is_miss = strcmp(line, "$-1") == 0 || strcmp(line, "_") == 0;
    enum failover_outcome outcome = FAILOVER_DONE;

    if (line[0] == '-') {
        failover_error_add(f, line);
        request_end(f, c, FAILOVER_ERROR, 0);
        return;
    }
    switch (q->command) {
    case FAILOVER_GET:
        is_right = is_miss;
        outcome = FAILOVER_MISS;
        break;
    case FAILOVER_SET:
        is_right = strcmp(line, "+OK") == 0;
        break;
    case FAILOVER_DEL:
        is_right = strcmp(line, ":0") == 0 || strcmp(line, ":1") == 0;
        break;
    case FAILOVER_HELLO:
    case FAILOVER_SETINFO:
    case FAILOVER_PING:
        is_right = true;
        break;
    }
    if (!is_right) {
        detail_add(f, c, q, FAILOVER_WRONG, 0, line, strlen(line));
        failover_error_add(f, "wrong kind of reply");
    }
    request_end(f, c, is_right ? outcome : FAILOVER_ERROR, is_right ? 0 : FAILOVER_WRONG);
}

static int line_take(struct failover *f, struct failover_connection *c)
{
    struct failover_reply *r = &c->reply;
    int64_t len = 0;

    if (strchr("$*%~>", r->line[0]) && (len = length_of(r->line)) < -1)
        return -EPROTO;
    if (r->line[0] == '$' && len >= 0) {
        r->in_body = true;
        r->body_len = (size_t)len;
        r->body_done = 0;
        return 0;
    }
    if (strchr("*%~", r->line[0]) && len >= 0) {
        /* HELLO's reply has them, and nothing else that is asked for here. */
        const struct failover_request *q = &c->queue[c->head & (c->queue_size - 1)];
        if (q->command != FAILOVER_HELLO)
            return -EPROTO;
        bool is_nested = r->elements_left > 0;
        r->elements_left += (uint64_t)len * (r->line[0] == '%' ? 2 : 1) - (is_nested ? 1 : 0);
        if (r->elements_left == 0)
            request_end(f, c, FAILOVER_DONE, 0);
        return 0;
    }
    if (!strchr("+-:$*_#,(", r->line[0]))
        return -EPROTO;
    if (r->elements_left == 0)
        line_end(f, c);
    else if (--r->elements_left == 0)
        request_end(f, c, FAILOVER_DONE, 0);
    return 0;
}

static void not_a_reply(struct failover *f, struct failover_connection *c)
{
    const struct failover_request *q = &c->queue[c->head & (c->queue_size - 1)];

    detail_add(f, c, q, FAILOVER_WRONG, 0, c->reply.line, c->reply.line_len);
    failover_error_add(f, "bytes that are no reply");
    request_end(f, c, FAILOVER_ERROR, FAILOVER_WRONG);
}

/* Returns the bytes used; *ret_is_whole: the line is complete, without its CRLF. */
static size_t line_feed(struct failover_reply *r, const char *bytes, size_t len, bool *ret_is_whole)
{
    const char *end = memchr(bytes, '\n', len);
    size_t used = end ? (size_t)(end - bytes) + 1 : len;

    for (size_t i = 0; i < used; i++) {
        if (r->line_len + 1 < sizeof(r->line) && bytes[i] != '\r' && bytes[i] != '\n')
            r->line[r->line_len++] = bytes[i];
    }
    r->line[r->line_len] = 0;
    *ret_is_whole = end != NULL;
    return used;
}

int failover_reply_take(struct failover *f, struct failover_connection *c, const char *bytes,
                        size_t len)
{
    while (len > 0 && c->fd >= 0) {
        size_t used;
        if (c->head == c->unsent) {
            f->stray_count++;
            failover_error_add(f, "a reply that nobody asked for");
            return -EPROTO;
        }
        if (c->reply.in_body) {
            used = body_feed(f, c, bytes, len);
        } else {
            bool is_whole = false;
            used = line_feed(&c->reply, bytes, len, &is_whole);
            if (is_whole && (c->reply.line_len == 0 || line_take(f, c) != 0)) {
                not_a_reply(f, c);
                return -EPROTO;
            }
            if (is_whole)
                c->reply.line_len = 0;
        }
        bytes += used;
        len -= used;
    }
    return 0;
}

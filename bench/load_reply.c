/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the load generator reads replies: incrementally, in whatever pieces they come, checking the
 * kind and length of each, and the bytes if asked to. Knows no sockets. See load.h.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * What a closed loop is answered inside the window counts. Of an open loop counts what was due
 * inside it, even if the answer comes later: to leave out the slowest would be to forget them.
 */
static bool reply_counts(const struct bench *bench, uint64_t due_ns)
{
    if (bench->options.rate > 0)
        return bench->phase != PHASE_WARMUP && due_ns >= bench->window_start_ns;
    return bench->phase == PHASE_MEASURE;
}

static void reply_done(struct bench *bench, struct connection *c, uint64_t now)
{
    uint64_t due_ns = c->due_ns[c->head & (c->queue_size - 1)];

    if (reply_counts(bench, due_ns)) {
        bench->requests++;
        histogram_add(&bench->latency, now - due_ns, 1);
    }
    c->head++;
    c->element_at = 0;
    c->client->waiting--;
    bench->waiting--;
}

/* A whole reply that is no array, or an element of an array, has been read. */
static void value_done(struct bench *bench, struct connection *c, uint64_t now)
{
    c->state = INPUT_LINE;
    if (c->elements_left > 1) {
        c->elements_left--;
        c->element_at++;
        return;
    }
    c->elements_left = 0;
    reply_done(bench, c, now);
}

static void note_error(struct bench *bench, const char *line, size_t len)
{
    if (bench->error_count++ > 0)
        return;
    /* It goes into JSON as it is, so quotes, backslashes and control characters may not stay. */
    for (size_t i = 0; i < len && i < sizeof bench->first_error - 1; i++) {
        char byte = line[i];
        bench->first_error[i] = (byte < ' ' || byte > '~' || strchr("\"\\", byte)) ? '.' : byte;
    }
}

/*
 * Takes the first line of a reply or element, without its CRLF. Returns false when what follows
 * cannot be understood any more.
 */
static bool take_line(struct bench *bench, struct connection *c, const char *line, size_t len,
                      uint64_t now)
{
    const struct load_options *options = &bench->options;
    char kind = len > 0 ? line[0] : '\0';
    long number = 0;

    if (c->head == c->unsent)
        return false; /* a reply nobody asked for */
    if (kind == '$' || kind == '*') {
        char *end;
        number = strtol(line + 1, &end, 10);
        if (end != line + len || number < -1 || number > (512L << 20))
            return false;
    }
    switch (kind) {
    case '+':
        if (options->command != LOAD_SET || len != 3 || memcmp(line, "+OK", 3) != 0)
            bench->wrong_count++;
        value_done(bench, c, now);
        return true;
    case '-':
        note_error(bench, line, len);
        value_done(bench, c, now);
        return true;
    case '$':
        if (options->command == LOAD_SET ||
            (options->command == LOAD_MGET && c->elements_left == 0))
            bench->wrong_count++;
        if (number < 0) {
            bench->miss_count++;
            value_done(bench, c, now);
            return true;
        }
        if ((size_t)number != options->value_size)
            bench->wrong_count++;
        c->body_len = (size_t)number;
        c->body_done = 0;
        c->state = INPUT_BODY;
        return true;
    case '*':
        if (options->command != LOAD_MGET || c->elements_left > 0 ||
            number != (long)options->mget_count)
            return false;
        c->elements_left = (unsigned)number;
        return true;
    default:
        return false;
    }
}

/* Takes `len` bytes of a value and its CRLF. */
static void take_body(struct bench *bench, struct connection *c, const char *bytes, size_t len)
{
    size_t in_value = c->body_done < c->body_len ? c->body_len - c->body_done : 0;
    const char *expected = load_value(bench, load_key_now(bench, c)) + c->body_done;

    if (in_value > len)
        in_value = len;
    if (bench->options.verify && c->body_len == bench->options.value_size &&
        memcmp(bytes, expected, in_value) != 0)
        bench->wrong_count++;
    for (size_t i = in_value; i < len; i++) {
        size_t at = c->body_done + i - c->body_len;
        if (bytes[i] != "\r\n"[at])
            bench->wrong_count++;
    }
    c->body_done += len;
}

/* Takes bytes of a reply's first line. Returns how many, or -EPROTO. */
static ssize_t take_line_bytes(struct bench *bench, struct connection *c, const char *bytes,
                               size_t len, uint64_t now)
{
    const char *newline = memchr(bytes, '\n', len);
    size_t taken = newline ? (size_t)(newline - bytes) + 1 : len;
    size_t room = sizeof c->line - 1 - c->line_len;
    size_t kept = taken < room ? taken : room;

    memcpy(c->line + c->line_len, bytes, kept);
    c->line_len += (unsigned)kept;
    if (!newline)
        return (ssize_t)taken;
    size_t line_len = c->line_len;
    c->line_len = 0;
    while (line_len > 0 && (c->line[line_len - 1] == '\n' || c->line[line_len - 1] == '\r'))
        line_len--;
    c->line[line_len] = '\0';
    return take_line(bench, c, c->line, line_len, now) ? (ssize_t)taken : -EPROTO;
}

int load_take_reply(struct bench *bench, struct connection *c, const char *bytes, size_t len,
                    uint64_t now)
{
    while (len > 0) {
        size_t taken;
        if (c->state == INPUT_LINE) {
            ssize_t rc = take_line_bytes(bench, c, bytes, len, now);
            if (rc < 0)
                return (int)rc;
            taken = (size_t)rc;
        } else {
            taken = c->body_len + 2 - c->body_done;
            if (taken > len)
                taken = len;
            take_body(bench, c, bytes, taken);
            if (c->body_done == c->body_len + 2)
                value_done(bench, c, now);
        }
        bytes += taken;
        len -= taken;
    }
    return 0;
}

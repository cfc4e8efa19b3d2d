/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies: where they end, what their arguments are, which command it is. */
#include "micro.h"

#include "base/must.h"
#include "resp/args.h"
#include "resp/command.h"
#include "resp/frame.h"

#include <stdlib.h>
#include <string.h>

/* The defaults of the proxy; the parsers only compare with them. */
static const struct frame_limits LIMITS = {
    .bulk_max = 512 * 1024 * 1024,
    .elements_max = 1000000,
    .depth_max = 128,
    .line_max = FRAME_LINE_MAX,
};

struct shape {
    const char *command; /* of a request; of a reply NULL */
    const char *line;    /* a reply that is nothing but this */
    unsigned bulk_count; /* keys of a request; elements of a reply: above 1 it is an array */
    size_t bulk_len;     /* bytes of each */
    size_t value_len;    /* bytes of the value behind the key; 0: none */
};

/* MICRO_VARIANTS messages of one shape, one behind the other as a pipeline brings them. */
struct messages {
    struct micro_text text;
    size_t at[MICRO_VARIANTS + 1]; /* where each begins; the last is the end */
    struct frame frame;
    struct args args;                   /* for the cases that parse */
    struct args parsed[MICRO_VARIANTS]; /* for the cases that begin with a parsed request */
    struct command_keys_found keys;
    const struct command *command; /* that of all messages; NULL: the table does not know it */
};

static void message_add(struct messages *m, const struct shape *s, uint64_t *random_state)
{
    if (s->line) {
        micro_text_add(&m->text, s->line, strlen(s->line));
        return;
    }
    if (s->command) {
        micro_text_format(&m->text, "*%u\r\n$%zu\r\n%s\r\n",
                          1 + s->bulk_count + (s->value_len > 0 ? 1 : 0), strlen(s->command),
                          s->command);
    } else if (s->bulk_count > 1) {
        micro_text_format(&m->text, "*%u\r\n", s->bulk_count);
    }
    for (unsigned i = 0; i < s->bulk_count; i++)
        micro_text_add_bulk(&m->text, s->bulk_len, random_state);
    if (s->value_len > 0)
        micro_text_add_bulk(&m->text, s->value_len, random_state);
}

static void *messages_make(const struct micro_case *c)
{
    const struct shape *s = c->shape;
    struct messages *m = micro_alloc(sizeof(*m));
    uint64_t random_state = 1;

    for (unsigned i = 0; i < MICRO_VARIANTS; i++) {
        m->at[i] = m->text.len;
        message_add(m, s, &random_state);
    }
    m->at[MICRO_VARIANTS] = m->text.len;
    frame_init(&m->frame, s->command ? FRAME_REQUEST : FRAME_REPLY, &LIMITS);
    args_init(&m->args);
    for (unsigned i = 0; i < MICRO_VARIANTS; i++)
        args_init(&m->parsed[i]);
    if (!s->command)
        return m;
    for (unsigned i = 0; i < MICRO_VARIANTS; i++) {
        size_t len = m->at[i + 1] - m->at[i];
        must(args_try(&m->parsed[i], m->text.bytes + m->at[i], len, &LIMITS) == len);
    }
    m->command = command_find(&m->parsed[0]);
    return m;
}

static void messages_end(void *state)
{
    struct messages *m = state;
    for (unsigned i = 0; i < MICRO_VARIANTS; i++)
        args_fini(&m->parsed[i]);
    args_fini(&m->args);
    command_keys_fini(&m->keys);
    free(m->text.bytes);
    free(m);
}

/* The rest of the pipeline is there as well, as it is after a read. */
static void args_try_run(void *state, uint64_t rounds)
{
    struct messages *m = state;
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned i = (unsigned)(r % MICRO_VARIANTS);
        size_t len = args_try(&m->args, m->text.bytes + m->at[i], m->text.len - m->at[i], &LIMITS);
        must(len == m->at[i + 1] - m->at[i]);
    }
}

static void frame_run(void *state, uint64_t rounds)
{
    struct messages *m = state;
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned i = (unsigned)(r % MICRO_VARIANTS);
        size_t used = 0;
        frame_reset(&m->frame);
        must(frame_feed(&m->frame, m->text.bytes + m->at[i], m->text.len - m->at[i], &used) ==
             FRAME_READY);
        must(used == m->at[i + 1] - m->at[i]);
    }
}

/* What a request pays that lies across the end of a read: both ways are tried, the long one twice.
 */
static void frame_cut_run(void *state, uint64_t rounds)
{
    struct messages *m = state;
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned i = (unsigned)(r % MICRO_VARIANTS);
        const char *bytes = m->text.bytes + m->at[i];
        size_t len = m->at[i + 1] - m->at[i], half = len / 2, used = 0;
        must(args_try(&m->args, bytes, half, &LIMITS) == 0);
        frame_reset(&m->frame);
        must(frame_feed(&m->frame, bytes, half, &used) == FRAME_MORE);
        must(frame_feed(&m->frame, bytes + half, len - half, &used) == FRAME_READY);
        struct iovec iov[2] = {{m->text.bytes + m->at[i], half},
                               {m->text.bytes + m->at[i] + half, len - half}};
        must(args_parse(&m->args, iov, 2) == 0 && m->args.frame_len == len);
    }
}

static void reply_try_run(void *state, uint64_t rounds)
{
    const struct messages *m = state;
    for (uint64_t r = 0; r < rounds; r++) {
        unsigned i = (unsigned)(r % MICRO_VARIANTS);
        size_t len = frame_try_reply(m->text.bytes + m->at[i], m->text.len - m->at[i], &LIMITS);
        must(len == m->at[i + 1] - m->at[i]);
    }
}

static void command_run(void *state, uint64_t rounds)
{
    struct messages *m = state;
    for (uint64_t r = 0; r < rounds; r++)
        must(command_find(&m->parsed[r % MICRO_VARIANTS]) == m->command);
}

static void keys_run(void *state, uint64_t rounds)
{
    struct messages *m = state;
    size_t wanted = m->parsed[0].count - 1;
    for (uint64_t r = 0; r < rounds; r++) {
        const char *refusal = NULL;
        struct args *a = &m->parsed[r % MICRO_VARIANTS];
        must(command_find_keys(m->command, a, &m->keys, &refusal) == 0);
        must(m->keys.count == wanted);
    }
}

static const struct shape GET = {.command = "GET", .bulk_count = 1, .bulk_len = 24};
static const struct shape SET_64 = {
    .command = "SET", .bulk_count = 1, .bulk_len = 24, .value_len = 64};
static const struct shape SET_1K = {
    .command = "SET", .bulk_count = 1, .bulk_len = 24, .value_len = 1024};
static const struct shape MGET_20 = {.command = "MGET", .bulk_count = 20, .bulk_len = 24};
static const struct shape LONG_NAME = {
    .command = "zrevrangebyscore", .bulk_count = 3, .bulk_len = 24};
static const struct shape UNKNOWN = {.command = "GETT", .bulk_count = 1, .bulk_len = 24};
static const struct shape REPLY_1K = {.bulk_count = 1, .bulk_len = 1024};
static const struct shape REPLY_MGET_20 = {.bulk_count = 20, .bulk_len = 64};
static const struct shape REPLY_NIL = {.line = "$-1\r\n"};
static const struct shape REPLY_OK = {.line = "+OK\r\n"};
static const struct shape REPLY_NUMBER = {.line = ":1048576\r\n"};

#define CASE(name_, run_, shape_, what_)                                                           \
    {                                                                                              \
        .name = (name_), .what = (what_), .shape = &(shape_), .ops = 1, .make = messages_make,     \
        .run = (run_), .end = messages_end                                                         \
    }

const struct micro_case MICRO_RESP_CASES[] = {
    CASE("args-get", args_try_run, GET, "args_try: GET, key of 24 B (the short way)"),
    CASE("args-set-64", args_try_run, SET_64, "args_try: SET, value of 64 B"),
    CASE("args-set-1k", args_try_run, SET_1K, "args_try: SET, value of 1 KiB"),
    CASE("args-mget-20", args_try_run, MGET_20, "args_try: MGET of 20 keys"),
    CASE("frame-get", frame_run, GET, "frame_feed: GET (the long way, without its arguments)"),
    CASE("frame-set-64", frame_run, SET_64, "frame_feed: SET, value of 64 B"),
    CASE("frame-set-1k", frame_run, SET_1K, "frame_feed: SET, value of 1 KiB"),
    CASE("frame-mget-20", frame_run, MGET_20, "frame_feed: MGET of 20 keys"),
    CASE("frame-cut-get", frame_cut_run, GET, "GET in two pieces: both ways, and args_parse"),
    CASE("frame-cut-set-1k", frame_cut_run, SET_1K, "SET 1 KiB in two pieces: the same"),
    CASE("reply-try-1k", reply_try_run, REPLY_1K, "frame_try_reply: value of 1 KiB"),
    CASE("reply-try-nil", reply_try_run, REPLY_NIL, "frame_try_reply: nil"),
    CASE("reply-try-ok", reply_try_run, REPLY_OK, "frame_try_reply: +OK"),
    CASE("reply-frame-1k", frame_run, REPLY_1K, "frame_feed: reply, value of 1 KiB"),
    CASE("reply-frame-number", frame_run, REPLY_NUMBER, "frame_feed: reply, a number"),
    CASE("reply-frame-mget-20", frame_run, REPLY_MGET_20, "frame_feed: reply, 20 values of 64 B"),
    CASE("command-get", command_run, GET, "command_find: GET"),
    CASE("command-long", command_run, LONG_NAME, "command_find: zrevrangebyscore"),
    CASE("command-unknown", command_run, UNKNOWN, "command_find: a name that is not in the table"),
    CASE("keys-get", keys_run, GET, "command_find_keys: GET"),
    CASE("keys-mget-20", keys_run, MGET_20, "command_find_keys: MGET of 20 keys"),
    {0},
};

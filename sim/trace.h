/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened in a simulated run. Every event goes into a running hash, so that two runs can be
 * compared for the price of a multiplication; text is made only when somebody will read it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* clang-format off */
#define TRACE_KINDS(KIND) \
    KIND(LISTEN) KIND(ACCEPT) KIND(CONNECT) KIND(CONNECTED) KIND(REFUSED) KIND(READ) \
    KIND(WRITE) KIND(CLOSE) KIND(RESET) KIND(WAIT) KIND(TIME) KIND(TURN) \
    KIND(FAULT) KIND(VIEW) KIND(DRAIN) KIND(EXEC) KIND(REPLY) KIND(SESSION) \
    KIND(PHASE) KIND(REST)
/* clang-format on */

enum trace_kind {
#define TRACE_MEMBER(name) TRACE_##name,
    TRACE_KINDS(TRACE_MEMBER)
#undef TRACE_MEMBER
};

enum { TRACE_LINES = 200, TRACE_LINE_MAX = 120 }; /* what is shown of a failed run */

struct trace {
    uint64_t hash, count;
    FILE *print;                   /* every line goes there; NULL: nowhere */
    bool keep;                     /* the last TRACE_LINES are kept in lines[] */
    char (*lines)[TRACE_LINE_MAX]; /* owned; NULL until the first line is kept */
};

void trace_init(struct trace *t, FILE *print, bool keep);
void trace_fini(struct trace *t);

/* `note` is shown, not hashed; it may be NULL. */
void trace_event(struct trace *t, uint64_t now_ns, enum trace_kind kind, int64_t a, int64_t b,
                 int64_t c, const char *note);

void trace_show(const struct trace *t, FILE *to); /* the lines that were kept, oldest first */

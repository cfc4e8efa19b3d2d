/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to DNS: a question goes out, its answer comes later. There are two resolvers:
 * net/resolver_ares.h (the real one) and, in sim/, resolver_sim (a virtual DNS).
 *
 * on_answer() is called by the loop that the resolver runs on, once per question, never from inside
 * ask(). From there, anything may be asked and cancelled. One thread.
 */
#pragma once
#include "base/addr.h"
#include "base/list.h"

#include <stddef.h>
#include <stdint.h>

enum { RESOLVER_NAME_MAX = 256 }; /* 253 by RFC 1035, the dot of a name written in full, NUL */

enum resolver_question {
    RESOLVER_A,
    RESOLVER_AAAA,
    RESOLVER_SRV,
};

enum resolver_result {
    RESOLVER_OK,             /* there is at least one record */
    RESOLVER_NXDOMAIN,       /* the name does not exist */
    RESOLVER_NO_DATA,        /* the name exists but has no record of this kind */
    RESOLVER_SERVER_FAILURE, /* SERVFAIL and the like */
    RESOLVER_REFUSED,
    RESOLVER_TIMED_OUT,
    RESOLVER_MALFORMED,   /* the answer is not DNS, or holds what makes no sense */
    RESOLVER_UNREACHABLE, /* no server takes the question */
    RESOLVER_NO_MEMORY,
    RESOLVER_RESULT_COUNT,
};

struct resolver_address {
    struct addr addr; /* its port is 0 */
    uint32_t ttl;     /* s; 0: nothing is known, as of /etc/hosts */
};

struct resolver_service {
    char target[RESOLVER_NAME_MAX]; /* without a dot at its end; "": this service is not offered */
    uint16_t port, priority, weight;
    uint32_t ttl; /* s */
};

/* All of it is a loan for the call of on_answer(). */
struct resolver_answer {
    enum resolver_result result;
    size_t count;                             /* 0 unless RESOLVER_OK */
    const struct resolver_address *addresses; /* RESOLVER_A, RESOLVER_AAAA */
    const struct resolver_service *services;  /* RESOLVER_SRV */
};

/* Owned by who asks; must stay where it is until it is answered or cancelled. */
struct resolver_query {
    void (*on_answer)(struct resolver_query *q, const struct resolver_answer *a);
    /* The resolver's own. */
    void *job;
    struct list link;
};

struct resolver_ops {
    /* `name` is copied. One that ends with a dot is taken as it is; to others, the resolver may
     * add what its configuration says. q->on_answer is set by the caller. Cannot fail: what goes
     * wrong is an answer. */
    void (*ask)(void *ctx, struct resolver_query *q, enum resolver_question what, const char *name);
    /* There will be no answer. Only for a query that is under way. */
    void (*cancel)(void *ctx, struct resolver_query *q);
};

struct resolver {
    const struct resolver_ops *ops;
    void *ctx;
};

/* "NXDOMAIN", "timed out", …: for logs and for people. */
const char *resolver_result_text(enum resolver_result r);
/* "nxdomain", "timed_out", …: for the names of metrics. */
const char *resolver_result_name(enum resolver_result r);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name that is asked for again and again: when, which family, what after a failure, and what is
 * said of it. What an answer means is its owner's business (cluster/discovery.h).
 *
 * After an answer the next question follows when the shortest TTL is over, inside bounds; after a
 * failure, in pauses that double. A failure is logged when it begins and when it is over.
 */
#pragma once
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/loop.h"
#include "net/resolver.h"

#include <stdbool.h>
#include <stdint.h>

/* So many questions are out at once; a large SRV answer would else ask thousands in one moment, and
 * lose most of them in a socket's buffer. */
enum { LOOKUPS_ASKING_MAX = 64 };

enum lookup_family {
    LOOKUP_AUTO, /* IPv4 if there is any such address, else IPv6; never both for one name */
    LOOKUP_V4,
    LOOKUP_V6,
};

struct lookup_settings { /* times in ns */
    enum lookup_family family;
    uint64_t refresh_min, refresh_max; /* bounds of a TTL */
    uint64_t refresh;                  /* where there is no TTL, as in /etc/hosts */
    uint64_t retry_min, retry_max;     /* first and longest pause after failures in a row */
};

/* What the lookups of one owner share. */
struct lookups {
    struct resolver *resolver; /* loans */
    struct loop *loop;
    struct log *log;
    struct lookup_settings settings;
    struct rng rng;
    unsigned asking;
    struct list waiting; /* lookups that are due, while LOOKUPS_ASKING_MAX are out */
};

/* Of all lookups that one source needs. */
struct lookup_counters {
    uint64_t queries;
    uint64_t failures[RESOLVER_RESULT_COUNT]; /* by kind; of RESOLVER_OK there are none */
    uint64_t last_success;                    /* ns, as loop.now; 0: never */
    enum resolver_result last_failure;        /* RESOLVER_OK: none so far */
};

struct lookup {
    struct lookups *shared; /* loans */
    struct lookup_counters *counters;
    const char *label; /* what the log calls it */
    /* Takes an answer, which has at least one record. What it returns instead of RESOLVER_OK is a
     * failure as any other. May stop other lookups, not this one. */
    enum resolver_result (*take)(struct lookup *l, const struct resolver_answer *a);
    void *owner;

    struct resolver_query query;
    struct timer timer;  /* the next question */
    struct list waiting; /* in lookups.waiting */
    enum resolver_question question;
    bool is_service; /* SRV, else an address */
    bool asking;
    bool failing;
    uint64_t retry; /* the next pause, without its jitter */
    char host[RESOLVER_NAME_MAX];
};

/* All but its loans, which the caller has set. */
void lookups_init(struct lookups *s);
/* Before the lookups are finished one by one: none of those that wait takes another's turn. */
void lookups_quit(struct lookups *s);

/* Sets everything but `label`, `take` and `owner`, which are the caller's. `host` is copied. 0, or
 * -ENOMEM: nothing to be undone. */
int lookup_init(struct lookup *l, struct lookups *shared, struct lookup_counters *counters,
                bool is_service, const char *host) MUST_CHECK;
void lookup_fini(struct lookup *l); /* stops it */

void lookup_start(struct lookup *l); /* asks at the loop's next turn; fine if it runs */
void lookup_stop(struct lookup *l);  /* no more questions, no answer to one that is out */

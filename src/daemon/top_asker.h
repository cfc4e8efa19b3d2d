/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the proxy in a thread of its own, so that no key has to wait for a proxy that does not
 * answer. One question at a time. All but top_ask() is for the thread that started it.
 */
#pragma once
#include "base/cleanup.h"
#include "daemon/top_pages.h"

#include <stdbool.h>
#include <stdint.h>

enum { TOP_WHY_MAX = 700 };

/* Asks for all pages, which takes its time. 0, or not and `why` says why; then what is in *ret
 * counts for nothing, and is freed. */
typedef int top_ask(void *owner, struct top_pages *ret, char why[TOP_WHY_MAX]);

struct top_asking {
    top_ask *ask;
    void *owner; /* loan: lives as long as the process, if the thread does not end in time */
    void (*tell)(void *listener); /* in the asking thread: there is an answer */
    void *listener;               /* loan: the same */
};

struct top_asker; /* opaque */

/* 0 or -errno. */
int top_asker_start(const struct top_asking *asking, struct top_asker **ret_asker) MUST_CHECK;
/* Waits for what is under way, at most timeout_ns, and frees it. 0, or -ETIMEDOUT: it is still the
 * caller's, and still asks. */
int top_asker_stop(struct top_asker *a, uint64_t timeout_ns) MUST_CHECK;

/* Puts the question, unless it is being asked already. */
void top_asker_ask(struct top_asker *a);

struct top_answer {
    int status;             /* what top_ask() has returned */
    struct top_pages pages; /* the taker's, to be freed */
    char why[TOP_WHY_MAX];
};

/* True: there was one that nobody had taken yet, and it is in *ret. */
bool top_asker_take(struct top_asker *a, struct top_answer *ret);

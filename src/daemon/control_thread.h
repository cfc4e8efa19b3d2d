/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane's thread: the control plane itself, discovery, and the resolver that it asks,
 * on one loop. Made and freed by the main thread.
 */
#pragma once
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "cluster/control.h"
#include "daemon/generation.h"
#include "daemon/local_nodes.h"

#include <stdatomic.h>
#include <stdbool.h>

struct control_thread; /* opaque */

/* `log` is a loan that outlives it, `g` one until control_thread_post() replaces it. `publish` is
 * called with `owner`, by whoever calls control_thread_begin() and then by its own thread. -errno.
 */
int control_thread_new(const struct generation *g, struct log *log, unsigned worker_count,
                       int (*publish)(void *owner, struct view *v), void *owner,
                       struct control_thread **ret) MUST_CHECK;

/* For workers, who tell it what they see; lives until control_thread_free(). */
struct control *control_thread_control(struct control_thread *t);

/* Begins to discover: the first view, of the nodes that are given by address or name, is published
 * before it returns. `local` may be NULL. Workers must have been made. -errno. */
int control_thread_begin(struct control_thread *t, const struct local_nodes *local) MUST_CHECK;

int control_thread_start(struct control_thread *t) MUST_CHECK; /* the thread; -errno */
/* From the main thread, while it runs: it goes over to these settings, sources of nodes included.
 * Then `done` is called on its thread, and nothing there points to the old ones any more. `g` NULL:
 * all stays as it is, and `done` tells that it turns. 0 or -ENOMEM. */
int control_thread_post(struct control_thread *t, const struct generation *g,
                        void (*done)(void *owner), void *owner) MUST_CHECK;
/* What a successor has to know of nodes: control_write_testament(). Its members are whoever asks's
 * until it is posted, and again when `answered`. */
struct control_thread_testament {
    struct message message;
    bool forgets;
    int err; /* as that says */
    struct text text;
    atomic_bool answered;
};
/* From the main thread, while it runs; answered by control_thread_free() at the latest. */
void control_thread_ask_testament(struct control_thread *t, struct control_thread_testament *ask);

enum control_thread_failure {
    CONTROL_THREAD_WELL,
    CONTROL_THREAD_RELOAD_FAILED,
    CONTROL_THREAD_UPGRADE_FAILED,
};
/* For its counter, which is lost if there is no memory. */
void control_thread_count_failure(struct control_thread *t, enum control_thread_failure what);
/* Ends the thread. Workers may still tell things; nobody listens. Fine if it was not started. */
void control_thread_stop(struct control_thread *t);
/* Workers must be gone. NULL is fine; always returns NULL. */
struct control_thread *control_thread_free(struct control_thread *t);

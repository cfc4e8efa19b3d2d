/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin listener: what the proxy says of itself, over HTTP, to be read only. It lives on the
 * loop of the control plane, so no worker ever waits for it; what workers count is read across
 * threads (docs/decisions/0002). One request a connection, so many connections, so much time each.
 * Why it is made so: docs/decisions/0023-admin-listener.md.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "cluster/view.h"
#include "net/loop.h"
#include "ring/layout.h"

#include <stdbool.h>
#include <stdint.h>

struct admin; /* opaque */
struct control;
struct worker;

enum { ADMIN_TOKEN_MIN = 16 }; /* bytes: nobody slows down who tries them all */

struct admin_config {
    struct addr listen;
    int handle;               /* listens there already, and is taken over; -1: it is opened */
    bool remote;              /* asked by any name; else only by a number or as localhost */
    struct str token;         /* loan, during admin_new(); empty: nobody is asked for one */
    uint32_t connections_max; /* more are closed at once */
    uint64_t timeout;         /* ns: from its connect to the end of its answer */
    bool hash_tags;
    uint32_t databases;
    uint32_t sample_each;  /* as proxy_settings has these two; to be shown */
    uint64_t slow_above;   /* ns */
    unsigned prefix_depth; /* separators in a prefix; 0: none are counted */
    char prefix_separator;
    const struct layout *layout;   /* NULL: Maglev */
    struct loop *loop;             /* the control plane's */
    struct control *control;       /* to read its counters */
    struct worker *const *workers; /* to read theirs */
    unsigned worker_count;
    const struct log_losses *log_losses;
    struct log *log;
};

/* What pointers of `config` point to are loans that outlive it. Before the loop runs, or on its
 * thread. 0, or -errno of listen, or -ENOMEM. */
int admin_new(const struct admin_config *config, struct admin **ret) MUST_CHECK;
/* The loop does not run any more. NULL is fine; always returns NULL. */
struct admin *admin_free(struct admin *a);

/* The loop's thread: the view that workers get. NULL is fine for `a`. */
void admin_see_view(struct admin *a, struct view *v);
/* From any thread: from now on it is not ready. NULL is fine. */
void admin_say_draining(struct admin *a);
/* From any thread, once: another process accepts in its place. Those who are being answered are
 * answered. NULL is fine. */
void admin_leave(struct admin *a);
/* Its listening socket, a loan until it leaves. */
int admin_listener(const struct admin *a);

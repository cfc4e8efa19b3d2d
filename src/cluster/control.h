/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane: who the nodes are, which of them are well, and the views that say so. A host
 * of its own, with a loop, a mailbox and probes; like a worker it has no thread: whoever runs it
 * (daemon: a thread; sim: the world) calls control_turn() again and again.
 *
 * A node's states:
 *
 *   NEW ──well──► UP ──ejected──► OUT ──well again──► JOINING ──cleaned──► UP
 *    └────────────ejected─────────▲─────────────────────┘ fails
 *
 * NEW and UP are in the ring: a node of which nothing is known yet is used as it is. What happens
 * between OUT and UP, and how slots change their owner, so that no reader is ever given an old
 * value: mover.c and cleaner.c, docs/decisions/0007.
 */
#pragma once
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/databases.h"
#include "cluster/member.h"
#include "cluster/scripts.h"
#include "cluster/view.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/tls_context.h"
#include "ring/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control; /* opaque outside cluster/ */

enum on_return { ON_RETURN_REPLAY, ON_RETURN_FLUSH, ON_RETURN_KEEP };

/* Times in ns. Filled by daemon/config. A set never changes; control_set_settings() puts another in
 * its place. */
struct control_settings {
    uint64_t interval;           /* between two checks of a node that is well */
    uint64_t interval_out;       /* … of one that is not */
    uint64_t timeout;            /* of one check */
    uint32_t unhealthy, healthy; /* checks in a row that eject, that admit */
    uint64_t eject_after;        /* silence while requests wait, and … */
    uint32_t eject_misses;       /* … so many missed deadlines: hung */
    uint32_t max_ejected;        /* percent of the nodes that may be out for silence alone */
    uint64_t hold_min, hold_max; /* how long an ejected node stays out at least; doubles */
    enum on_return on_return;
    uint64_t flush_interval;  /* a node is not flushed twice within */
    uint64_t grace;           /* a healthy node that no source names any more is kept so long */
    uint64_t request_timeout; /* of the data plane: after twice that a write is settled, or told */
    uint64_t journal_max;     /* bytes */
    uint32_t jobs_max;        /* that wait or run at a time; at most JOBS_MAX */
    uint64_t scripts_max;     /* bytes: of scripts and functions that are kept for nodes to come */
    uint32_t databases;       /* of each node that clients may use; at most DATABASES_MAX */
    bool hash_tags;
    const struct layout *layout; /* a loan; NULL: Maglev over the nodes' names */
    struct str user, password;   /* of the nodes; loans */
    struct tls_context *tls;     /* a loan; NULL: nodes are spoken to as they are */
};

struct control_settings control_settings_default(void);

struct control_ops {
    /* Hands a view to all workers; takes references of its own. 0, or -ENOMEM: tried again. */
    int (*publish)(void *owner, struct view *v);
    void *owner;
    /* A member that no source names any more has been let go. May be NULL. */
    void (*dropped)(void *dropped_owner, const char *name);
    void *dropped_owner;
};

/* `io` and `log` are loans that outlive it, `settings` one until it is replaced. `worker_count`
 * workers will answer each view with control_tell_adopted(). -ENOMEM. */
int control_new(const struct control_settings *settings, const struct control_ops *ops,
                struct io *io, struct log *log, unsigned worker_count,
                struct control **ret_control) MUST_CHECK;
/* No other thread may still use it. NULL is fine; always returns NULL. */
struct control *control_free(struct control *c);

/* One round. False: it was told to stop. */
bool control_turn(struct control *c, uint64_t max_wait_ns);
/* From any thread. 0 or -ENOMEM. */
int control_post_stop(struct control *c) MUST_CHECK;

/* From any thread: `m->deliver` is called on its thread, with the control plane as receiver; at the
 * latest by control_free(). */
void control_post(struct control *c, struct message *m);

/* Its own thread, between two events. Nothing points to the settings before any more. All but
 * jobs_max, hash_tags, databases, layout and tls may differ from those; who it is at the nodes
 * holds for connections that are made from now on. */
void control_set_settings(struct control *c, const struct control_settings *settings);

/* Its own thread: are all members in the ring, and do all slots have their last owner? */
bool control_is_calm(const struct control *c);

/* Any thread may read. */
struct control_metrics;
const struct control_metrics *control_metrics(const struct control *c);
/* Its own thread: for what is counted beside it there. */
struct control_metrics *control_own_metrics(struct control *c);

/* For what lives on its thread (discovery). */
struct loop *control_loop(struct control *c);

/* Its own thread (or before the first turn): from now on these are the members. Sorted or not; no
 * two of one name. The first call publishes the first view before it returns. -ENOMEM, -E2BIG:
 * nothing has changed. */
int control_set_members(struct control *c, const struct member *members, uint32_t count) MUST_CHECK;

/* ---- from one process to the next: testament.c ---- */

struct text;
/*
 * What whoever takes its place has to know of nodes, as text: which of them are out, or have left,
 * so that what they hold is old, and what may yet be done there. Its own thread. With `forgets` the
 * successor is also told that any node may hold old values of slots that are not its own: it
 * flushes those that are out when they are back, and sweeps the others. 0; -EAGAIN: slots are
 * moving, or a job runs; -EBUSY: without `forgets` the successor would lack what only this process
 * knows, keys that nodes are to forget; -E2BIG: too many nodes are out; -ENOMEM.
 */
int control_write_testament(struct control *c, bool forgets, struct text *ret) MUST_CHECK;
/* Takes over what that says. Before the first members. -EINVAL: it is no such text, or of another
 * version; -ENOMEM. Either way nothing but control_free() may follow. */
int control_inherit(struct control *c, struct str testament) MUST_CHECK;

/* ---- what workers tell, from any thread ---- */

/* What is posted is owned by the one who posts it until then; these never fail. */
struct control_adopted {
    struct message message;
    unsigned worker;
    uint64_t version;
    bool refused; /* it has no memory for that view, and goes on by the one before */
};
/* The worker works by that view from now on, or not. `a` is malloc'ed, and given away. */
void control_tell_adopted(struct control *c, struct control_adopted *a);

enum trouble {
    TROUBLE_MISSED,  /* deadlines were missed: look at the pulse */
    TROUBLE_UNREADY, /* it said that it cannot serve: ask it */
    TROUBLE_REFUSED, /* it could not be connected to, or did not greet */
};
/* May be lost if there is no memory: it is told again when it goes on. */
void control_tell_trouble(struct control *c, const struct pulse *p, enum trouble what,
                          const char *why);

/* An upstream was closed with writes on it that the node may yet execute. Its owner mallocs it
 * before it is needed, counts `writes` in pulse.unsettled, and gives it away. */
struct control_ghost {
    struct message message;
    struct pulse *pulse; /* a reference, given away too */
    uint64_t client_id;  /* at the node; 0: not known */
    unsigned writes;
    struct list link; /* of the control plane */
};
void control_tell_ghost(struct control *c, struct control_ghost *g);

/* ---- jobs: job.h ---- */

struct job_order;
/* From any thread. A job that removes what its pattern matches. It is in the table when this
 * returns. 0; -EAGAIN: jobs_max are waiting or running; -ENOMEM. */
int control_start_job(struct control *c, const struct job_order *order,
                      uint64_t *ret_id) MUST_CHECK;
/* From any thread. Soon it is CANCELLED, if it has not ended before. 0 or -ENOMEM. */
int control_cancel_job(struct control *c, uint64_t id) MUST_CHECK;
/* Any thread may read. */
struct job_table;
const struct job_table *control_jobs(const struct control *c);

/* A client wants all keys gone. Before any node is told: whoever is not in the ring is noted, to be
 * flushed before it comes back (wiper.c). */
struct control_flush {
    struct message message;
    struct list link; /* of the control plane */
    uint64_t version; /* in the answer: of the view by which all workers go. The nodes that are not
                         out in it are the asker's to flush */
    /* On the control plane's thread: it is the asker's again. Never called after control_free(),
     * which frees what has no answer. */
    void (*answer)(struct control_flush *f);
};
/* From any thread; `f` is malloc'ed, and given away. */
void control_tell_flush(struct control *c, struct control_flush *f);

/* Keys written to slots that are not at home or on their way; see written.h. */
struct written;
void control_tell_written(struct control *c, struct written *w);

/* All nodes that could be asked have taken a script or functions: those that come later, or come
 * back, get it too. */
struct control_script {
    struct message message;
    enum script_kind kind;
    bool flushes_functions; /* before it (FUNCTION RESTORE … FLUSH) */
    uint32_t *nodes;        /* owned: the numbers (pulse.node) of those that have taken it */
    uint32_t node_count;
    char *name; /* owned; NULL: none */
    size_t name_len, body_len;
    char body[];
};
/* With room for so many nodes. NULL: out of memory. */
struct control_script *control_script_new(enum script_kind kind, struct str body,
                                          uint32_t node_room);
/* 0 or -ENOMEM. */
int control_script_set_name(struct control_script *s, struct str name) MUST_CHECK;
void control_script_free(struct control_script *s); /* NULL is fine; one that is not told */
void control_tell_script(struct control *c, struct control_script *s); /* given away */

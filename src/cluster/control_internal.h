/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the control plane, for the files of cluster/ that make it up only. */
#pragma once
#include "base/pool.h"
#include "base/rng.h"
#include "cluster/control.h"
#include "cluster/control_metrics.h"
#include "cluster/job_table.h"
#include "cluster/journal.h"
#include "cluster/probe.h"
#include "cluster/written.h"

enum { CONTROL_NO_NODE = JOURNAL_NO_NODE, CONTROL_WHY_MAX = PROBE_WHY_MAX };

enum node_state { NODE_NEW, NODE_UP, NODE_OUT, NODE_JOINING };

/* The proxies' own keys on a node. */
#define CONTROL_LOCK_KEY "sumcache:flush"   /* one of them is about to flush it */
#define CONTROL_MARK_KEY "sumcache:flushed" /* … and has, not long ago */

static inline bool control_is_own_key(struct str key)
{
    return str_eq(key, STR(CONTROL_LOCK_KEY)) || str_eq(key, STR(CONTROL_MARK_KEY));
}

/* UNLINKs that somebody waits for: unlinker.c. Embedded in whoever that is, and kept while any are
 * out. */
struct unlink_group {
    unsigned out;     /* calls out */
    bool failed;      /* one of them was refused or lost; whoever waits takes it back */
    uint64_t removed; /* keys that were there; the same */
    /* The last one that was out has been answered, or lost. */
    void (*done)(struct unlink_group *g);
    /* The node says that it does not do it; before `done`. */
    void (*refused)(struct unlink_group *g, const char *why);
};

/* What a node that comes back still has to go through. */
enum join_step {
    JOIN_NONE,
    JOIN_SETTLE, /* old connections are killed, so that nothing old is executed any more */
    JOIN_SCAN,   /* it is gone through for the jobs that it has missed */
    JOIN_UNLINK, /* the journal's keys are UNLINKed */
    JOIN_LOCK,   /* it will be flushed: who does it? */
    JOIN_ASK,    /* has somebody done it since it went out? */
    JOIN_FLUSH,
    JOIN_MARK,
    JOIN_LOAD, /* scripts and functions that it lacks are loaded */
};

struct control_node {
    struct control *control;
    uint32_t number;
    struct member member;
    struct pulse *pulse; /* one reference */
    struct probe probe;
    struct timer check; /* when it is asked next */
    struct timer look;  /* when its silence will have been long enough */
    struct grave grave;

    uint8_t state; /* enum node_state; only health.c writes it */
    uint64_t since;
    char why[CONTROL_WHY_MAX];
    bool soft;         /* out for silence alone: counts against max_ejected */
    uint32_t failures; /* checks in a row */
    uint32_t successes;
    uint32_t ejections;   /* in a row: halts at times of health that are long enough */
    uint64_t hold_until;  /* not admitted before */
    uint64_t kept_at;     /* ns: when it last stayed because of max_ejected; 0: never */
    uint64_t out_since;   /* ns: when it was ejected last */
    uint64_t out_version; /* the first view in which it was out */
    uint64_t settled_at;  /* ns: when a ghost was last killed there; 0: never */
    uint64_t lost_at;     /* ns: when the journal last forgot what it had missed; 0: never */
    char run_id[PROBE_RUN_ID_MAX]; /* of the process that served last; "": not known */
    uint64_t run_at;               /* ns: that was alive then, as far as is known */
    uint64_t latency;              /* ns: of the last check */

    bool twin;           /* another name of a server that is in the ring */
    bool lacks_rights;   /* … at the node, for what keeps old values away; told */
    bool leaving;        /* no source names it and its grace is over: not in the ring */
    uint64_t wiped_at;   /* ns: when a client last wanted it flushed while it was out; 0: never */
    uint64_t wipe_sent;  /* wiped_at when the present JOIN_FLUSH was sent */
    uint64_t flush_sent; /* ns: when that was */
    bool lost;           /* it may hold old values that the journal does not know */
    bool to_sweep;       /* it holds keys of slots that are no longer its own */
    bool swept_early; /* … for the sweep of when it was `lost` may have been overtaken by some */

    struct list ghosts; /* connections to be killed, by control_ghost.link */
    struct probe_call kill_call;
    unsigned killing; /* ghosts at the front of the list that a CLIENT KILL is out for */

    uint8_t join; /* enum join_step */
    struct probe_call join_call, relock_call, unlock_call;
    uint64_t mark_asked_at; /* ns */
    struct timer wait;      /* a step of joining or cleaning that is tried again */

    struct unlink_group cleaning; /* of the mover's fenced slots, of a joining node, of a sweep */

    struct list scans; /* of jobs, by job_scan.of_node: those that are not done */

    struct probe_call figures_call;

    /* Numbers of the script store: up to which it has all, up to which it was sent. */
    uint64_t loaded, load_sent;
    unsigned loads; /* calls out */
    bool load_failed;
    char load_run_id[PROBE_RUN_ID_MAX]; /* of the process that has them */
    bool fresh; /* it was new when it had to wait for its scripts: used as it is, never flushed */

    struct probe_call sweep_call;
    uint64_t sweep_cursor, sweep_moves;
    uint8_t sweep_database;
    bool sweep_late; /* it began when no write of before the last move was under way */
    bool sweeping;
    bool cannot_scan; /* the node refuses SCAN; told */
    bool swept;       /* all of it has been seen; its last UNLINKs are out */
};

enum move_stage { MOVE_REST, MOVE_PART, MOVE_FENCE };

struct mover {
    uint16_t *owner, *target, *home; /* owned; by slot: a node's number or CONTROL_NO_NODE */
    uint8_t *fenced;                 /* owned; by slot */
    uint32_t fenced_count;
    uint8_t stage;     /* enum move_stage */
    uint64_t barrier;  /* the view that all workers have to adopt before it goes on */
    uint64_t moves;    /* how often slots were given to others */
    uint64_t moved_at; /* ns: when it last came to rest with nothing fenced */
    bool home_is_old;  /* the members are others than those `home` was made of */
    uint64_t overflow_told_at, overflows_untold; /* ns, 0: never; since then */
    bool forgot;       /* the journal overflowed, and slots have not all been at home since */
    bool retarget_due; /* who is well has changed in this turn */
    bool republish;    /* the last view could not be handed out */
    bool stale_view; /* what it says of nodes, beside where they are in the ring, is out of date */
    struct timer timer; /* tidy, retry */
};

struct jobs {
    struct job_table table;
    struct list all; /* jobs that run, and ended ones that nodes owe */
    unsigned active;
};

/*
 * A node that has left. Should it come back as it was, what it holds is old, and what it was sent
 * may yet be done: it gets its number back, with the pulse and the ghosts, to which workers may add
 * while it is away.
 */
struct departed {
    char name[VIEW_NODE_NAME_MAX];
    char run_id[PROBE_RUN_ID_MAX];
    uint64_t run_at;
    uint64_t left_at; /* ns; 0: nobody */
    uint32_t number;
    struct pulse *pulse; /* one reference; NULL: nobody */
    struct list ghosts;
    bool wiped; /* a client wanted it flushed before that, and it was not */
};

enum { DEPARTED_MAX = 256 };

struct control {
    const struct control_settings *settings;
    struct control_ops ops;
    struct log *log;
    struct loop loop;
    struct mailbox mailbox;
    struct rng rng;
    struct chunk_pool chunks;
    struct list dirty; /* probes to be flushed */
    unsigned worker_count;
    bool ends;                   /* there are no workers any more to post a view to */
    uint64_t *adopted;           /* owned; by worker: the newest view it works by */
    uint64_t version;            /* of the newest view */
    struct control_node **nodes; /* owned; by number; NULL: free */
    uint32_t node_room;          /* numbers used so far */
    struct departed *departed;   /* owned; DEPARTED_MAX */
    struct mover mover;
    struct journal journal;
    struct jobs jobs;
    struct scripts scripts;
    struct list wipes;          /* struct control_flush */
    uint64_t wiped_at;          /* ns: when the last of them was answered; 0: never */
    struct timer members_timer; /* when the next member's grace is over */
    struct control_metrics metrics;
    bool stopping;
    bool began; /* the first members have come */
    bool heir;  /* of a process that wrote where nobody knows: any node may hold what is old */
};

static inline uint64_t control_now(const struct control *c)
{
    return c->loop.now;
}

/* Comes back to what it waits for (cleaner_on_wait) after so many ns, if not sooner. */
static inline void node_retry(struct control_node *n, uint64_t after)
{
    if (!timer_is_set(&n->wait))
        timer_set(&n->wait, control_now(n->control) + after);
}

static inline bool node_is_in_ring(const struct control_node *n)
{
    return (n->state == NODE_NEW || n->state == NODE_UP) && !n->leaving;
}

/* From now on it may hold old values that the journal does not know. */
static inline void node_lose(struct control_node *n)
{
    n->lost = n->to_sweep = true;
    n->lost_at = control_now(n->control);
}

/* The node of a number, or NULL. */
static inline struct control_node *control_node(const struct control *c, uint32_t number)
{
    return number < c->node_room ? c->nodes[number] : NULL;
}

/* ---- health.c ---- */
extern const struct probe_events HEALTH_PROBE_EVENTS;
void health_start(struct control_node *n);            /* a new node: it is asked soon */
void health_interval_changed(struct control_node *n); /* the settings' */
void health_trouble(struct control_node *n, enum trouble what, const char *why);
void health_eject(struct control_node *n, bool soft, const char *why);
void health_admit(struct control_node *n); /* JOINING → UP */
void health_on_check_time(struct timer *t);
void health_on_look_time(struct timer *t);
const char *node_state_name(enum node_state s);

/* ---- mover.c ---- */
int mover_init(struct mover *m, struct control *c) MUST_CHECK;
void mover_fini(struct mover *m);
/* Who is in the ring, or how heavy, has changed. */
void mover_retarget(struct control *c);
/* The members have changed: the first time, the ring over all of them is everybody's home. */
void mover_members_changed(struct control *c);
/* A worker has adopted a view, a node has been cleaned: goes on as far as it can. */
void mover_step(struct control *c);
/* Publishes the present state anew (a node's address or state has changed); soon: with others. */
void mover_publish(struct control *c);
void mover_publish_soon(struct control *c);
void mover_note(struct control *c, const struct written *w);
void mover_overflow(struct control *c);
/* At the end of the turn: if many nodes go or come at once, the ring is made once. */
void mover_retarget_soon(struct control *c);
void mover_end_turn(struct control *c);
/* Do all workers go by this view, or a newer one? */
bool mover_all_have_adopted(const struct control *c, uint64_t version);
void mover_forget_node(struct control *c, uint32_t number);
/* The ring over all members, by slot. 0 or -ENOMEM. */
int mover_home(const struct control *c, uint16_t *ret_home) MUST_CHECK;

/* ---- cleaner.c ---- */
void cleaner_join(struct control_node *n);   /* begins with the first step */
void cleaner_unjoin(struct control_node *n); /* it is out again */
/* UNLINKs at `n` the journal's keys of its fenced slots, unless it is under way. True: there is
 * nothing left to be done there. */
bool cleaner_clean(struct control_node *n);
void cleaner_settle(struct control_node *n); /* kills ghosts, if there are any and it is ready */
bool cleaner_is_settled(const struct control_node *n);
void cleaner_on_wait(struct timer *t);
void cleaner_init(struct control_node *n); /* a new node */
/* It has been gone through for all jobs that it missed; or could not be, and is lost. */
void cleaner_scanned(struct control_node *n);
/* All UNLINKs that were out for it have been answered, or lost. */
void cleaner_unlinked(struct control_node *n);

/* All that it lacked has been loaded. */
void cleaner_loaded(struct control_node *n);

/* ---- loader.c ---- */
void loader_go_on(struct control_node *n); /* loads what it lacks, if it is ready */
bool loader_is_done(const struct control_node *n);

/* ---- wiper.c ---- */
void wiper_step(struct control *c);        /* answers, if it can */
void wiper_recall(struct control_node *n); /* one that left is back: what it missed */
void wiper_fini(struct control *c);

/* ---- unlinker.c ---- */
struct unlink_batch {
    struct control_node *node;  /* its probe is ready */
    struct unlink_group *group; /* who waits for it */
    struct {
        struct buf keys; /* encoded: "$3\r\nabc\r\n" … */
        uint32_t count;
    } of[DATABASES_MAX];
    uint64_t sent; /* keys */
    bool failed;   /* out of memory: not all were sent */
};
void unlink_begin(struct unlink_batch *b, struct control_node *n, struct unlink_group *group);
void unlink_add(struct unlink_batch *b, uint8_t database, struct str key);
void unlink_send(struct unlink_batch *b); /* what is left in it */
void unlink_drop(struct unlink_batch *b); /* the same: it is not sent */

/* ---- jobs.c: what becomes of jobs as nodes go and come ---- */
int jobs_init(struct jobs *jobs, const struct control_settings *settings) MUST_CHECK; /* -ENOMEM */
void jobs_fini(struct jobs *jobs); /* nodes are gone by then */
void jobs_node_added(struct control_node *n);
void jobs_node_stops(struct control_node *n); /* it is out: its passes are made anew, later */
bool jobs_node_joins(struct control_node *n); /* goes through it. False: it owes nothing */
/* It was flushed after `at` (ns), or is another process: it owes no job that is older. */
void jobs_node_emptied(struct control_node *n, uint64_t at);
void jobs_node_gone(struct control_node *n); /* its probe is closed */

/* A number that nobody has, and nobody had lately. -E2BIG. */
int control_free_number(const struct control *c);

/* ---- departed.c ---- */
/* One that somebody else knew; run_id "": not of which process. NULL: out of memory, or numbers. */
struct departed *departed_new(struct control *c, const char *name, const char *run_id);
struct departed *departed_find(struct control *c, const char *name); /* NULL: nobody's */
bool departed_has_number(const struct control *c, uint32_t number);
void departed_remember(struct control_node *n); /* it leaves, and its ghosts stay here */
/* It is a member again, `n`, which is new: out, until it is clean. Forgets it here. */
void departed_return(struct departed *d, struct control_node *n);
void departed_forget(struct departed *d); /* one that is nobody is fine */
/* A connection of one that has left, at which a write may yet be done. False: no memory. */
bool departed_add_ghost(struct departed *d, uint64_t client_id);
/* A connection of one that has left, or of nobody who is known. Owned now. */
void departed_take_ghost(struct control *c, struct control_ghost *g);
void departed_free_ghosts(struct list *ghosts);

/* ---- sweeper.c ---- */
void sweeper_go_on(struct control_node *n); /* or begins */
void sweeper_stop(struct control_node *n);  /* it is ejected: from the beginning, later */
void sweeper_ends(struct control_node *n);  /* all of it was seen, and what was to go has gone */
void sweeper_tidy(struct control *c);       /* now and then, at rest */
bool sweeper_has_work(const struct control *c);

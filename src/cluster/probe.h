/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe: the control thread's own upstream to a node. It asks whether the node is well, and
 * carries what has to be told to a node beside requests (UNLINK, CLIENT KILL, SCAN, FLUSHALL). No
 * client's request ever goes on it, so a node that is full of those is still asked.
 *
 *   IDLE ──probe_check()──► CONNECTING ──► GREETING ──► READY ──probe_check()──► (PING) READY
 *     ▲────────────── refused, closed, late, a reply that is not what it should be ──────┘
 *
 * One question at a time decides: probe_check() ends in events.well or events.failed, within the
 * time-out. Whoever owns it decides when to ask again. One thread, its owner's loop.
 */
#pragma once
#include "base/str.h"
#include "net/conn.h"
#include "resp/frame.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROBE_WHY_MAX = 120, PROBE_RUN_ID_MAX = 48 };

/* Why a probe failed. */
enum probe_fault {
    PROBE_LOST,    /* a connection that was ready is closed or reset: ask again at once */
    PROBE_GONE,    /* refused or reset before it was ready: nobody is there */
    PROBE_SILENT,  /* no answer in time */
    PROBE_UNREADY, /* it answers, but cannot serve: -LOADING, -NOAUTH, … */
    PROBE_NOWHERE, /* its name has no address yet: nobody was asked */
};

struct probe_reply {
    uint8_t type; /* '+', '-', ':', '$', '*' */
    bool is_null;
    int64_t number;   /* of ':' */
    struct str text;  /* of '+', '-' and '$'; loan */
    struct str whole; /* all of its bytes; loan */
};

/* A command under way. Its owner embeds it, and keeps it until `done`. */
struct probe_call {
    struct list link;
    uint8_t database; /* in which it is to be done; to be set before it is sent */
    bool selects;     /* the probe's own: the answer to a SELECT comes before its own … */
    bool refused;     /* … and said no; then that is the reply */
    /* `r` NULL: the connection was lost; whether the node did it is not known. */
    void (*done)(struct probe_call *call, const struct probe_reply *r);
};

struct probe;

struct probe_events {
    void (*well)(struct probe *p, uint64_t took_ns);
    /* The connection is closed, calls have been told. */
    void (*failed)(struct probe *p, enum probe_fault fault, const char *why);
};

enum probe_state { PROBE_IDLE, PROBE_CONNECTING, PROBE_GREETING, PROBE_READY };

struct probe {
    struct conn conn;
    struct loop *loop;                 /* loan */
    struct chunk_pool *chunks;         /* loan */
    struct list *dirty;                /* loan: its loop's list of connections to flush */
    const struct probe_events *events; /* loan */
    struct addr addr;
    struct str user, password; /* loans; empty: none */
    struct tls_context *tls;   /* loan; NULL: it is spoken to as it is */
    const char *name;          /* loan: "host:port", which its certificate is asked for */
    uint64_t timeout;          /* ns */
    struct timer timer;
    struct frame frame;
    struct frame_limits limits;
    struct buf in;
    struct list calls;              /* in the order of their replies */
    uint8_t database;               /* of the last command that was sent */
    char select_why[PROBE_WHY_MAX]; /* of a call that is `refused`, until its own reply comes */
    struct probe_call greeting_calls[6], ping;
    uint64_t asked_at;
    uint8_t state;                        /* enum probe_state */
    bool asking;                          /* a PING is out */
    uint64_t connections;                 /* begun so far */
    char run_id[PROBE_RUN_ID_MAX];        /* of the process it last talked to; "": not known */
    char why[PROBE_WHY_MAX];              /* what the greeting found wrong */
    bool may_unlink, may_kill, may_flush; /* the node lets us */
};

/* -ENOMEM. `dirty` is a list on which it puts its connection when there is something to send. */
int probe_init(struct probe *p, struct loop *loop, struct chunk_pool *chunks, struct list *dirty,
               const struct probe_events *events) MUST_CHECK;
void probe_fini(struct probe *p); /* calls under way are told */

/* Asks whether the node is well. Does nothing while that is being asked. */
void probe_check(struct probe *p);
/* Closes it: calls under way are told, no event. */
void probe_close(struct probe *p);

static inline bool probe_is_ready(const struct probe *p)
{
    return p->state == PROBE_READY;
}

/* Sends a command (RESP, whole) in call->database; must be READY. 0, or -ENOMEM: it is not sent,
 * and `command` is empty. */
int probe_send(struct probe *p, struct probe_call *call, struct buf *command) MUST_CHECK;
int probe_send_words(struct probe *p, struct probe_call *call, const struct str *words,
                     size_t count) MUST_CHECK;

/* Is this the reply of a node that has fewer databases? Then it holds nothing in that one. */
bool probe_lacks_database(const struct probe_call *call, const struct probe_reply *r);

void probe_flush(struct probe *p);

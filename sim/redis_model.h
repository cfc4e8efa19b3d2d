/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node: a model of redis-server that knows a dozen commands and all the ways in which one can
 * misbehave. It parses strictly: what the proxy sends must be what a client library would write.
 * It tells the checker what it executes, for whom, and what came of it.
 */
#pragma once
#include "bytes.h"
#include "checker.h"
#include "io_sim.h"

enum {
    REDIS_MODEL_CONNECTIONS_MAX = 256,
    REDIS_MODEL_ARGS_MAX = 300,
    REDIS_NOTES_MAX = 8,
    REDIS_WATCHED_MAX = 8,
    REDIS_NOTE_NAME_MAX = 64,
};

enum redis_sabotage {
    SABOTAGE_NONE,
    SABOTAGE_GARBAGE,    /* the next reply is no RESP */
    SABOTAGE_PUSH,       /* a push message comes before the next reply */
    SABOTAGE_HALF_REPLY, /* the next reply ends in the middle, and so does the connection */
    SABOTAGE_HALT,       /* the next reply stops in the middle, and goes on much later */
    SABOTAGE_STRAY,      /* a reply although nothing was asked */
    SABOTAGE_EARLY,      /* an error in the middle of a request, and the end of the connection */
};

struct redis_arg {
    const char *p; /* loan: in the connection's input */
    size_t len;
};

/* A reply on its way: for whom, and where in the stream of the connection it lies. */
struct redis_mark {
    uint64_t from, to;
    uint16_t client;
    uint32_t seq;
    bool begun;
};

/* What a connection is subscribed to: redis_pubsub.c. */
struct redis_topic {
    int kind;
    char *name; /* owned */
};

struct redis_connection {
    struct redis_model *model;
    struct io *io;
    int handle;   /* -1: free */
    uint64_t id;  /* as CLIENT ID tells */
    bool control; /* it called itself the proxy's own: redis_control.h */
    struct bytes in, out;
    uint64_t written;    /* bytes ever put into `out` */
    uint64_t sent;       /* … and out of it, to the proxy */
    uint64_t send_at;    /* not before: the rest of a reply that drips */
    size_t halt_after;   /* bytes of `out` that still go before it halts; 0: it does not */
    uint64_t died_step;  /* checker.step when the proxy closed it; 0: lives */
    size_t frame_len;    /* of the complete request at the front of `in`; 0: none */
    uint64_t read_at;    /* not before */
    uint64_t sips_until; /* till then it reads little at a time */
    bool readable, dripping, close_when_sent, ended, tainted;
    uint8_t proto;
    uint8_t database;   /* that it has selected */
    uint8_t sabotage;   /* enum redis_sabotage */
    struct bytes queue; /* requests behind MULTI … */
    unsigned queued;    /* … and how many */
    bool multi;
    bool executes;                /* what was behind it: nothing waits now */
    bool touched;                 /* a watched key was written */
    struct check_key queue_owner; /* whose the requests behind MULTI are */
    struct check_key owner;       /* of the WATCH or EXEC that it executes, if it is tagged */
    bool waits;                   /* in BLPOP, until … */
    struct check_key waits_for;
    uint64_t waits_until;
    unsigned watch_count;
    struct check_key watched[REDIS_WATCHED_MAX];
    struct redis_topic *topics; /* owned */
    uint32_t topic_count;
    struct redis_mark *marks; /* owned */
    uint32_t mark_head, mark_count, mark_room;
};

struct redis_value {
    bool exists;
    struct bytes bytes;
    struct check_key named; /* as it was when last written */
};

/* A key of the proxy's own. */
struct redis_note {
    char name[REDIS_NOTE_NAME_MAX]; /* "": free */
    struct bytes value;
    uint64_t expires_at; /* ns; NSEC_NEVER: does not */
};

struct redis_model {
    struct io *io;
    struct checker *checker;
    const struct sim_options *options;
    unsigned number;
    struct addr addr;
    int listener;           /* -1: down */
    unsigned tainted_count; /* connections on which it spoke out of turn */
    uint64_t up_at;         /* NSEC_NEVER: it is up */
    uint64_t loading_until, out_of_memory_until, busy_until;
    uint64_t executed;
    uint32_t life;         /* how often it has lost its memory */
    uint64_t clients_seen; /* connections in this life */
    uint64_t flushes;
    uint64_t flushed_on;      /* the connection of a flush whose next command is yet to come; 0 */
    uint64_t lock_slipped_at; /* ns: another took the lock between the two; 0: never */
    struct redis_connection connections[REDIS_MODEL_CONNECTIONS_MAX];
    uint32_t connection_count; /* those above have never been used */
    struct redis_value values[4][CHECK_KEYS_MAX];
    struct redis_note notes[REDIS_NOTES_MAX];
    struct redis_arg args[REDIS_MODEL_ARGS_MAX];
    uint32_t arg_count;
};

/* Listens at `addr`. The io and the checker are loans. */
struct redis_model *redis_model_new(struct io *io, struct checker *checker, unsigned number,
                                    const struct addr *addr);
struct redis_model *redis_model_free(struct redis_model *m);

void redis_model_turn(struct redis_model *m);

/* Dies now, comes up again at `up_at`. With its memory it is the same process, as after a
 * partition: ids of connections go on and its run_id stays. */
void redis_model_crash(struct redis_model *m, uint64_t up_at, bool lose_memory,
                       uint64_t loading_until);
/* One of its connections misbehaves with its next reply. False: there is none it could be. */
bool redis_model_sabotage(struct redis_model *m, enum redis_sabotage what);
/* One of its connections reads slowly until then. */
void redis_model_sip(struct redis_model *m, uint64_t until);
/* For redis_commands.c, redis_control.c and redis_sessions.c. */
/* A whole request at the front: its length, and its arguments are in m->args. 0: there is none. */
size_t redis_model_parse(struct redis_model *m, const uint8_t *p, size_t len);
struct redis_value *redis_model_value(struct redis_model *m, const struct check_key *key);
void redis_model_forget(struct redis_model *m); /* everything */
/* Ends the connection with this id, unless it is `by` itself: what it has sent is dropped. */
bool redis_model_kill(struct redis_model *m, const struct redis_connection *by, uint64_t id);
/* Ends what is wrong with it, except that what is frozen thaws by itself. */
void redis_model_heal(struct redis_model *m);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client: sends drawn commands in drawn ways, in one or more sessions (connections) one after
 * another. Every byte that the proxy writes to it is judged when it is written; what the client
 * then does with it (reads it slowly, never, or is gone) is another matter.
 */
#pragma once
#include "bytes.h"
#include "checker.h"
#include "io_sim.h"

enum client_model_state { MODEL_WAITING, MODEL_CONNECTING, MODEL_OPEN, MODEL_FINISHED };

enum client_model_end {
    END_CLEAN, /* closes when all is answered */
    END_QUIT,
    END_HALF_CLOSE,     /* shuts its side down with replies to come */
    END_VANISH_REQUEST, /* closes in the middle of a command */
    END_VANISH_REPLY,   /* closes with replies to come */
    END_SILENCE,        /* half a command, and then nothing for a while */
    END_MALFORMED,
    END_KINDS,
};

/* What it does after it has stopped in the middle of a request. */
enum client_model_stop { STOP_GO_ON, STOP_VANISH, STOP_HALF_CLOSE, STOP_RESET, STOP_KINDS };

struct client_session {
    int handle; /* -1: none */
    uint32_t first, generated, judged,
        received;   /* sequence numbers; first ≤ received ≤ judged ≤ … */
    uint32_t begun; /* commands of which the first byte was sent */
    uint32_t read_by_proxy;
    uint32_t budget;    /* commands still to be made */
    uint32_t depth;     /* commands under way at most */
    struct bytes out;   /* to be sent */
    uint64_t queued;    /* bytes ever put into `out` */
    struct bytes heard; /* written by the proxy, not yet a whole reply */
    uint64_t heard_total, heard_need, consumed;
    uint64_t send_at, read_at, end_at; /* not before */
    uint64_t think_at;                 /* nothing more to say before */
    uint64_t heard_at, taken_at;       /* when the proxy last wrote, read */
    uint64_t nothing_since; /* when it last had nothing to read, or other things to do first */
    uint64_t dry_since;     /* the proxy has read all it sent; 0: not so */
    uint64_t stop_at;       /* offset in the stream at which it will stop; UINT64_MAX: none */
    uint64_t stop_for;      /* ns */
    uint8_t process;        /* of the proxy it is connected to, as the checker counts them */
    uint8_t proto;
    uint8_t database; /* that it has selected */
    uint8_t end;      /* enum client_model_end */
    uint8_t stop;     /* enum client_model_stop */
    bool errors;      /* SUMCACHE.FAILURES error */
    bool vague;       /* see check_command.vague */
    bool readable, writable, piecewise, slow;
    bool last_words; /* what the end calls for is in `out` */
    bool shut, may_be_closed;
    bool cut; /* a fault may end it at any time */
};

struct client_model {
    struct io *io;
    struct checker *checker;
    const struct sim_options *options;
    unsigned number;
    struct addr proxy;
    unsigned proxy_number;
    uint8_t state; /* enum client_model_state */
    bool strict;   /* looks whether all is well: nothing may fail */
    bool draining; /* the proxy is told to end: it may close us */
    uint32_t sessions_left, commands_left;
    uint64_t start_at;
    uint16_t session;           /* how many were begun */
    uint64_t closed_for_limits; /* sessions that one of the proxy's limits may have ended */
    uint8_t *scratch;           /* owned; where bytes go that were judged already */
    struct client_session s;
};

struct client_model *client_model_new(struct io *io, struct checker *checker, unsigned number,
                                      const struct addr *proxy);
struct client_model *client_model_free(struct client_model *m);

void client_model_turn(struct client_model *m);

/* Is anything overdue? Asked whenever time has moved. In client_due.c, as the next one. */
void client_model_check(struct client_model *m);

/* When the answer to a command of the present session is due. Those before it are answered. */
uint64_t client_model_due(const struct client_model *m, uint32_t seq);

/* Strict sessions: each sends `commands` and then closes. */
void client_model_begin_strict(struct client_model *m, uint32_t sessions, uint32_t commands);

/* For workload.c: a command's bytes. */
struct check_command *client_model_add(struct client_model *m, enum check_kind kind, uint32_t parts,
                                       uint32_t *ret_seq);
void client_model_added(struct client_model *m, struct check_command *c);
/* The client may stop in the middle of this one, for a while or for good. */
void client_model_may_stop(struct client_model *m, const struct check_command *c);

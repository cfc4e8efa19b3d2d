/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client: who connects to us. Reads requests, keeps the order of replies, is not read while it
 * has too much under way.
 */
#pragma once
#include "base/addr.h"
#include "net/conn.h"
#include "proxy/request.h"
#include "resp/frame.h"

#include <stdbool.h>
#include <stdint.h>

/* CLIENT REPLY: which requests get no answer. */
enum client_mute { CLIENT_MUTE_NONE, CLIENT_MUTE_NEXT, CLIENT_MUTE_ALL };

struct client {
    struct grave grave;
    struct list link;           /* in worker.clients */
    struct list idle_link;      /* in worker.idle, least recently active first */
    struct list header_link;    /* in worker.headers while that is due, the oldest first */
    struct list handshake_link; /* in worker.handshakes while that is under way: client_tls.h */
    struct list review_link;    /* in worker.reviewed: see lanes.h */
    uint64_t id;                /* as CLIENT ID; unique in the process */
    struct addr peer;
    char *name;                     /* owned; CLIENT SETNAME; NULL: none */
    char *lib_name, *lib_ver;       /* owned; CLIENT SETINFO; NULL: none */
    uint64_t since;                 /* ns: when it came */
    const struct access_user *user; /* loan; NULL: nobody, or there are no users */
    uint64_t rate_due;              /* ns: see rate.h */
    uint64_t reserved;              /* bytes of large replies on their way that will have to wait */
    uint32_t retry_round;           /* of the worker, in which one of them could not be sent */
    uint32_t retries; /* parts that wait to be sent again: what came later waits for them */

    /* From here on what each request touches, in few cache lines. */
    struct conn conn;
    struct worker *worker;              /* loan */
    struct list blocked_link;           /* in worker.blocked while conn.blocked, longest first */
    struct buf in;                      /* bytes not yet made into requests … */
    size_t in_fed;                      /* … of which the frame has seen so many */
    uint64_t last_active;               /* ns: last byte from it */
    uint64_t blocked_since;             /* ns: last byte it took */
    struct list requests;               /* in order; the first is the next to be answered */
    struct list parts;                  /* of its requests, in their order, tombstones included */
    uint32_t pending;                   /* requests */
    uint32_t apart;                     /* parts that are not on their node's shared upstream */
    uint32_t held_parts;                /* parts that wait for others of its own */
    uint32_t batch;                     /* counts reads */
    uint32_t answered_batch;            /* of the request that was answered last */
    const struct command *last_command; /* NULL: none yet */
    struct session *session;            /* owned: what it is in the middle of; NULL: nothing */
    struct subscriber *subscriber;      /* owned; NULL: it never subscribed to anything */
    struct request *upload;   /* it is in the middle of sending it, and it is sent on; NULL: none */
    struct upstream *paused;  /* not read until this client has taken more; NULL: none */
    uint64_t gathering_since; /* ns: since when its replies wait for more; 0: they do not */
    uint64_t held;            /* bytes of replies that wait in requests for their turn */
    uint64_t may_owe;         /* bytes it may be owed before others come first: see must_stop() */

    uint8_t proto;      /* 2 or 3 */
    uint8_t database;   /* SELECT */
    uint8_t lane;       /* by both: upstream_set.h */
    uint8_t on_failure; /* enum on_failure */
    uint8_t mute;       /* enum client_mute */
    uint8_t discarding; /* enum discard: why the present request is dropped, then refused */
    uint8_t guards;     /* GUARD_…: what its requests have to pass (guard.h) */
    /* In one byte, so that must_wait() is one look. */
    bool closing : 1;   /* no further request is taken; closed when all is sent */
    bool waits : 1;     /* what it sends next waits for the answer to its last request */
    bool postponed : 1; /* CLIENT PAUSE: its next request waits in `in` */
    bool readable;      /* the socket may have more */
    bool hung_up;       /* the peer closed its side: read to the end */
    bool eof;           /* nothing more will come; what is pending is still answered */
    bool buried;        /* dead, and only kept in memory for the parts that point to it */
    bool hurry;         /* what it is owed now must not wait for more */
    bool gathering;     /* the present request is long, and has to be whole before it is sent */
    bool counted;       /* in worker.peers */
    bool header_due;    /* it begins with a header of the PROXY protocol: see client_header.h */
    bool tls_due;       /* … and what comes then with a handshake of TLS */

    /* Last, because requests need no frame.left: see frame.h and client_bytes(). */
    struct frame frame;
};

/* What a client takes of memory while it is idle. */
static inline size_t client_bytes(void)
{
    return offsetof(struct client, frame) + offsetof(struct frame, left);
}

/* Takes `handle`. `tls`: it speaks TLS. NULL: out of memory, and the handle is closed. */
struct client *client_new(struct worker *w, int handle, const struct addr *peer, bool tls);
/* Closes it at once and buries it at the end of the turn. */
void client_close(struct client *c);
/* The same; but what it was sent gets to it, even if it still sends. */
void client_finish(struct client *c);
/* It is in the middle of nothing: no request, no reply, no transaction, no subscription. */
bool client_is_at_rest(const struct client *c);

/* Its address is known, or has turned out to be this one: counts it. It may be one too many, and
 * closed then. */
void client_enter(struct client *c);

/* Writing a reply that is ready now: it goes out behind what is still pending. */
struct reply_out client_reply_begin(struct client *c, struct request **ret_request);
void client_reply_end(struct client *c, struct request *r, const struct reply_out *o);

/* The first requests in the queue may be done: answers them. */
void client_advance(struct client *c);
/* No further requests; closes it as soon as all replies are sent. */
void client_close_after_replies(struct client *c);
/* It may go on reading, if it can: called after what held it up has changed. */
void client_wake(struct client *c);

/* It was kept in memory for its parts, and the last of them has left its upstream. */
void client_last_part_left(struct client *c);

/* Bytes of replies that it has not taken. */
static inline uint64_t client_owed(const struct client *c)
{
    return c->conn.out.len + c->held;
}

/* A stretch of the reply that it gets next: sent at once as far as it takes it, the rest is kept.
 * 0, or -ENOMEM: none of it was sent. May close the client: look at conn.source.dead. */
int client_pass_on(struct client *c, const void *bytes, size_t len) MUST_CHECK;
/* Closes it if it is owed more than limits.client_output. */
void client_check_owed(struct client *c);

void client_flush(struct client *c);

/* Now and then, while w->blocked is not empty: who does not read may have to be read from. */
void client_wake_blocked(struct worker *w);

/* The worker drains: it is closed when it has nothing under way. */
void client_drain(struct client *c);

/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a worker, for the files of proxy/ only. */
#pragma once
#include "base/pool.h"
#include "base/rng.h"
#include "cluster/control.h"
#include "cluster/written.h"
#include "net/listener.h"
#include "net/mailbox.h"
#include "proxy/client.h"
#include "proxy/client_pause.h"
#include "proxy/outcomes_run.h"
#include "proxy/pace.h"
#include "proxy/pubsub.h"
#include "proxy/samples.h"
#include "proxy/size_table.h"
#include "proxy/upstream_set.h"
#include "proxy/worker.h"
#include "resp/args.h"

enum {
    CLIENT_READ_BYTES = 64 * 1024, /* one read; fits the longest inline request */
    UPSTREAM_READ_BYTES =
        256 * 1024, /* one read; larger gains nothing (data-plane prototypes, §3) */
    CLIENT_PASS_ON_MIN = 32 * 1024, /* a reply this long is sent on without being copied first */
    /* What a streamed value may have waiting on its way out before its source is not read, and how
     * little of that must be left before it is read again. A read may add another 256 KiB. */
    STREAM_PAUSE = 64 * 1024,
    STREAM_RESUME = 32 * 1024,
    CLIENT_OUTPUT_PAUSE = 256 * 1024, /* a client owed more than this is not read further */
    WORKER_LISTENERS_MAX = 64, /* 16 addresses, and more of each from a process of more workers */
};

struct worker {
    const struct proxy_settings *settings;
    struct log *log;
    unsigned index, count;
    struct worker *const *all; /* loan; all workers, this one at [index] */
    unsigned all_count;

    struct loop loop;
    struct mailbox mailbox;
    struct rng rng;
    struct metrics metrics;
    struct outcomes outcomes;
    struct outcomes_run run;
    struct samples samples;
    /* Clients here or on their way here; others read it to find the worker with the fewest. */
    atomic_uint load;

    struct chunk_pool chunks;
    struct pool clients_pool, requests_pool, parts_pool;

    struct view *view;       /* one reference; NULL before the first */
    struct control *control; /* loan; NULL: there is nobody to tell */
    struct written *written; /* keys to be told to it; NULL: none yet */
    struct list retries;     /* parts: see retry.h */
    struct list early;       /* parts whose deadlines are not in the order of their queues */
    bool retry_due;          /* something that they wait for may have come */
    uint32_t retry_round;    /* counts retry_run() */
    struct upstream_set upstreams;
    struct pubsub pubsub;
    struct size_table sizes;
    uint64_t reserved; /* bytes that large replies on their way may have to be kept in */

    struct listener listeners[WORKER_LISTENERS_MAX];
    unsigned listener_count;

    struct list clients;
    struct list idle;          /* clients, by last_active; only if there is an idle time-out */
    struct list sessions;      /* by session.link: what a new view may concern */
    struct list headers;       /* clients, by header_link */
    struct list handshakes;    /* clients, by handshake_link, the oldest first */
    uint32_t handshakes_count; /* of them */
    uint32_t handshakes_max;   /* this worker's share */
    struct tls_report client_tls, node_tls;
    struct list reviewed;      /* clients, by review_link: see lanes.h */
    struct list changed_nodes; /* nodes, by changed_link: see lanes.h */
    struct list blocked;       /* clients that take no bytes, by blocked_since */
    uint64_t next_deadline;    /* ns: no part's deadline is before; NSEC_NEVER: there is none */
    struct list dirty_clients, dirty_upstreams; /* conn.dirty: to be flushed this turn */
    uint64_t gathered_at; /* ns: when the first of the dirty clients has gathered long enough */
    struct pace pace;     /* whether to rest before the next poll */
    uint64_t last_client_id;
    uint64_t last_unblock; /* number of the last CLIENT UNBLOCK: see blocking.c */
    uint64_t started;      /* ns */

    /* Scratch for one request or one read at a time. */
    uint8_t *client_scratch;
    uint8_t *upstream_scratch;
    struct args args;
    struct command_keys_found keys;
    struct iovec *iov; /* of a request that lies in many chunks */
    size_t iov_room;
    uint32_t *node_of_key;
    size_t node_of_key_room;
    struct buf behind;     /* what policy.rules want to be sent behind the present request … */
    uint32_t behind_count; /* … so many commands */

    struct frame_limits request_limits, reply_limits;
    struct frame_limits stranger_limits; /* of clients that have not logged in: as redis-server */
    struct peers *peers;                 /* loan, of all workers; NULL: addresses are not counted */
    uint64_t auth_told;                  /* ns: when a failed AUTH was last logged */
    struct io_socket_options client_options, node_options;
    uint32_t node_requests_max; /* this worker's share */
    uint64_t node_bytes_max;    /* this worker's share */
    uint32_t private_max;       /* this worker's share */

    struct timer trim_timer;    /* gives back spare memory, once a second while there is any */
    struct timer blocked_timer; /* client_wake_blocked() */
    struct timer drain_timer;   /* of both: retire.h */
    uint64_t retired_at;        /* ns: when it drains; 0: it does not retire */
    uint64_t retire_clients;    /* that it had when it began to close them */
    struct timer pause_timer;   /* client_pause_over() */
    struct client_pause pause;
    struct list roll_calls; /* of its own clients */
    uint32_t roll_call_count;
    uint64_t roll_call_last; /* number */
    bool ending;             /* its messages are only freed */
    bool draining;
    bool ended; /* the drain time is over */
};

static inline uint64_t worker_now(const struct worker *w)
{
    return w->loop.now;
}

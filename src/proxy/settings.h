/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every time-out and limit of the data plane, in one place, so that tests can make them tiny.
 * Filled by daemon/config, read by workers. A set never changes: others come in its place, between
 * two turns (new_settings.h), so nobody keeps a pointer into it for longer. Durations in ns, sizes
 * in bytes. Limits that are meant for the whole process are divided among the workers.
 */
#pragma once
#include "base/addr_range.h"
#include "base/str.h"
#include "net/tls_context.h"
#include "proxy/access.h"
#include "proxy/command_rules.h"
#include "proxy/policy.h"
#include "ring/layout.h"

#include <stdbool.h>
#include <stdint.h>

enum on_failure { ON_FAILURE_MISS, ON_FAILURE_ERROR };

enum { BALANCERS_MAX = 16 };

struct proxy_settings {
    struct str node_user, node_password; /* loans; empty: none */
    bool hash_tags;
    uint32_t databases;          /* that clients may SELECT; at most DATABASES_MAX */
    const struct layout *layout; /* a loan; NULL: Maglev over the nodes' names */
    enum on_failure reads;       /* what a client gets when the node of a read has failed */

    struct command_rules commands;     /* its owner calls command_rules_fini() */
    uint64_t connect_timeout;          /* connect and greeting of an upstream */
    uint64_t request_timeout;          /* from a request's last byte to its reply's first */
    uint64_t fanout_timeout;           /* the same of what all nodes are asked, or gone through */
    uint64_t database_idle_timeout;    /* an upstream of another database than the first that
                                          carries nothing is closed after that */
    uint64_t stall_timeout;            /* without a byte inside a reply */
    uint64_t feed_timeout;             /* without a byte from a feed: it is asked, then closed */
    uint64_t drain_timeout;            /* after SIGTERM */
    uint64_t client_idle_timeout;      /* without a byte from a client; 0: never */
    uint64_t client_stall_timeout;     /* a client that takes no byte of what it is owed */
    uint64_t tcp_keepalive;            /* 0: off */
    uint64_t tcp_user_timeout;         /* 0: the kernel's */
    uint64_t gather_window;            /* a worker's longest rest to gather requests; 0: none */
    uint32_t gather_share;             /* and that is at most one share-th of what clients wait
                                          anyway: see pace.h. Of no use to operators: no row */
    uint64_t backoff_min, backoff_max; /* between two connects to one node */
    uint64_t tag_ttl;                  /* of a tag's generation, since it was last handed out */
    uint32_t sample_each; /* every so many requests for one key become a sample; 0: none */
    uint64_t slow_above;  /* a request that takes so long is told as slow; 0: none */
    uint64_t gather_time; /* the first replies of a pipeline wait so long for the rest; 0: never */

    struct tls_context *client_tls; /* loan; NULL: no listener speaks TLS */
    struct tls_context *node_tls;   /* loan; NULL: nodes are spoken to as they are */
    uint32_t handshakes_max;        /* whole process: of clients, under way */
    const struct access *access;  /* loan; NULL: there are no users, and nobody needs a password */
    uint32_t auth_failures_max;   /* of one address in a minute; 0: no limit */
    uint32_t client_rate_max;     /* requests a second of one client; 0: no limit */
    uint32_t address_clients_max; /* clients of one address; 0: no limit */
    struct addr_range balancers[BALANCERS_MAX]; /* from there a connection begins with a header of
                                                   the PROXY protocol */
    uint32_t balancer_count;
    uint64_t header_timeout;           /* for that to come */
    uint32_t clients_max;              /* whole process */
    uint32_t client_pending_max;       /* requests of one client under way; then it is not read */
    uint32_t roll_calls_max;           /* CLIENT LIST, KILL, PAUSE that a worker has under way */
    uint64_t client_output_max;        /* bytes owed to one client; above, it is closed */
    uint64_t client_pubsub_output_max; /* the same of one that gets messages it subscribed to */
    uint32_t client_subscriptions_max; /* of one client */
    uint32_t subscriptions_max;        /* whole process */
    uint64_t memory_max;               /* whole process: bytes in buffers */
    uint64_t value_max;                /* one bulk string */
    uint32_t elements_max;             /* of one message */
    uint64_t split_request_max; /* bytes of a request that has to be gathered before it is sent:
                                   one that is split, or whose key does not come first */
    uint64_t fanout_reply_max;  /* bytes that all nodes together may answer to one request */
    uint64_t bulk_above;        /* bytes; a longer request or reply takes a bulk upstream */
    uint32_t bulk_max;          /* bulk upstreams per worker, node and RESP version */
    uint64_t client_min_rate;   /* bytes/s; who is slower loses the bulk upstream that others wait
                                   for; 0: nobody does */
    struct policy policy;       /* per prefix of keys */
    uint32_t private_max;       /* whole process: private upstreams to one node */
    uint32_t transaction_commands_max; /* queued behind one MULTI; keys one client watches, or
                                          waits for */
    uint64_t transaction_bytes_max;    /* queued behind one MULTI */
    uint32_t node_requests_max;        /* whole process: in flight to one node */
    uint64_t node_bytes_max;           /* whole process: of requests in flight to one node */
};

/* The defaults of docs/operations.md. */
struct proxy_settings proxy_settings_default(void);

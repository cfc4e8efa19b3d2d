/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/settings.h"

#include "base/nsec.h"

struct proxy_settings proxy_settings_default(void)
{
    struct proxy_settings s = {
        .hash_tags = true,
        .databases = 1,
        .reads = ON_FAILURE_MISS,
        .connect_timeout = 1 * NSEC_S,
        .request_timeout = 100 * NSEC_MS,
        .fanout_timeout = 1 * NSEC_S, /* a node goes through some million keys in that time */
        .database_idle_timeout = 60 * NSEC_S,
        .stall_timeout = 250 * NSEC_MS,
        .feed_timeout = 2 * NSEC_S,
        .drain_timeout = 5 * NSEC_S,
        .client_idle_timeout = 0,
        .client_stall_timeout = 5 * NSEC_S,
        .tcp_keepalive = 60 * NSEC_S,
        .tcp_user_timeout = 10 * NSEC_S,
        .gather_window = 50 * NSEC_US, /* twice as long gains no more */
        .gather_share = 8,             /* 4 took 15 % of the throughput of 16 clients, 8 none */
        .backoff_min = 50 * NSEC_MS,
        .backoff_max = 1 * NSEC_S,
        .tag_ttl = UINT64_C(30) * 24 * 3600 * NSEC_S,
        .sample_each = 64,
        .slow_above = 10 * NSEC_MS,   /* as redis-server */
        .gather_time = 100 * NSEC_US, /* a part of what a request takes on a network */
        .header_timeout = 5 * NSEC_S,
        .auth_failures_max = 60, /* an application with a wrong one tries once a second */
        .handshakes_max = 1024,  /* half a second of four CPUs' work, that of 2048-bit RSA */
        .clients_max = 10000,    /* as redis-server */
        .client_pending_max = 1024,
        .roll_calls_max = 4, /* each may gather a line for every client */
        .client_output_max = UINT64_C(256) << 20,
        .client_pubsub_output_max = UINT64_C(32) << 20, /* as redis-server */
        .client_subscriptions_max = 100000,
        .subscriptions_max = 1000000, /* some 300 MB, with short names and one feed each */
        .memory_max = UINT64_C(1) << 30,
        .value_max = UINT64_C(512) << 20, /* proto-max-bulk-len of redis-server */
        .elements_max = 1000000,
        .split_request_max = UINT64_C(64) << 20,
        .fanout_reply_max = UINT64_C(16) << 20, /* to be gone through in one turn */
        .bulk_above = 64 * 1024,
        .bulk_max = 2, /* one keeps small requests fastest, two keep a node busy between values */
        .client_min_rate = 1024 * 1024,
        .private_max = 1024,
        .transaction_commands_max = 10000, /* some 10 ms of a worker's time at EXEC */
        .transaction_bytes_max = UINT64_C(16) << 20,
        .node_requests_max = 16384,
        .node_bytes_max = UINT64_C(256) << 20,
    };
    command_rules_init(&s.commands);
    return s;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of a worker. Written by its own thread alone, read by any (docs/decisions/0002): a
 * relaxed load and store, which costs what a plain increment costs.
 *
 * METRIC(name, kind, text): kind is COUNTER (only grows) or GAUGE.
 */
#pragma once
#include "base/metric.h"

#define METRICS(METRIC)                                                                            \
    METRIC(clients, GAUGE, "clients connected")                                                    \
    METRIC(clients_accepted, COUNTER, "clients accepted")                                          \
    METRIC(clients_handed_over, COUNTER, "accepted sockets given to another worker")               \
    METRIC(clients_refused, COUNTER, "clients refused: limits.clients")                            \
    METRIC(clients_address_limit, COUNTER, "clients refused: limits.clients_per_address")          \
    METRIC(clients_idle_closed, COUNTER, "clients closed: timeouts.client_idle")                   \
    METRIC(clients_stalled, COUNTER, "clients closed: timeouts.client_stall")                      \
    METRIC(clients_output_limit, COUNTER, "clients closed: limits.client_output")                  \
    METRIC(clients_too_slow, COUNTER, "clients closed: limits.client_min_rate")                    \
    METRIC(clients_reply_cut, COUNTER, "clients closed: a reply broke off in the middle")          \
    METRIC(clients_pending_limit, COUNTER, "times a client was not read: limits.client_pending")   \
    METRIC(clients_protocol_error, COUNTER, "clients closed: protocol error")                      \
    METRIC(clients_header_error, COUNTER, "clients closed: no header of the PROXY protocol")       \
    METRIC(tls_handshakes, COUNTER, "TLS handshakes that succeeded, of clients and with nodes")    \
    METRIC(tls_handshakes_failed, COUNTER, "TLS handshakes that did not")                          \
    METRIC(tls_handshakes_refused, COUNTER, "clients closed: limits.tls_handshakes")               \
    METRIC(tls_connections, GAUGE, "connections that speak TLS")                                   \
    METRIC(clients_killed, COUNTER, "clients closed: CLIENT KILL")                                 \
    METRIC(clients_user_gone, COUNTER, "clients closed: a reload took their user away")            \
    METRIC(roll_calls_refused, COUNTER, "CLIENT LIST, KILL, PAUSE refused: limits.roll_calls")     \
    METRIC(accept_pauses, COUNTER, "accepting paused: out of descriptors or memory")               \
    METRIC(requests, COUNTER, "requests read")                                                     \
    METRIC(requests_local, COUNTER, "answered from memory")                                        \
    METRIC(requests_split, COUNTER, "split over nodes")                                            \
    METRIC(requests_all_nodes, COUNTER,                                                            \
           "made of what all nodes answer, or one of them: SCAN, ...")                             \
    METRIC(requests_refused, COUNTER, "commands we do not send on")                                \
    METRIC(requests_denied, COUNTER, "commands that are shut: commands.allow, commands.deny")      \
    METRIC(requests_forbidden, COUNTER, "commands and keys that are not their user's: auth.users") \
    METRIC(requests_rate_limit, COUNTER, "refused: limits.client_rate, or rate= of auth.users")    \
    METRIC(auth_required, COUNTER, "requests of clients that have not logged in")                  \
    METRIC(auth_failed, COUNTER, "AUTHs with a wrong user or password")                            \
    METRIC(auth_slowed, COUNTER, "AUTHs not looked at: auth.failures_per_minute")                  \
    METRIC(requests_unknown, COUNTER, "commands the table does not know")                          \
    METRIC(requests_crossslot, COUNTER, "keys on different nodes")                                 \
    METRIC(jobs_refused, COUNTER, "jobs not begun: limits.jobs")                                   \
    METRIC(mget_hits, COUNTER, "keys of MGETs that had a value")                                   \
    METRIC(mget_misses, COUNTER, "keys of MGETs that had none, or whose node failed")              \
    METRIC(tagged_hits, COUNTER, "SUMCACHE.GETs that gave a value")                                \
    METRIC(tagged_misses, COUNTER, "SUMCACHE.GETs that gave none")                                 \
    METRIC(tagged_outdated, COUNTER, "of those: the generation of a tag was another, or lost")     \
    METRIC(requests_timed_out, COUNTER, "no first byte before the deadline")                       \
    METRIC(requests_node_down, COUNTER, "answered at once: the node is down")                      \
    METRIC(requests_node_closed, COUNTER, "the node closed the connection")                        \
    METRIC(requests_moving, COUNTER,                                                               \
           "answered at once: their keys were on the way to another node")                         \
    METRIC(requests_retried, COUNTER, "reads sent again, because their upstream broke")            \
    METRIC(requests_unsettled, COUNTER,                                                            \
           "writes answered at once: earlier ones of others may yet be done by the node")          \
    METRIC(requests_node_limit, COUNTER, "answered at once: limits.node_requests or node_bytes")   \
    METRIC(requests_masked, COUNTER, "failed reads answered as a miss: on_failure.reads")          \
    METRIC(requests_split_limit, COUNTER, "refused: limits.max_split_request")                     \
    METRIC(policy_denied, COUNTER, "refused: deny of policy.rules")                                \
    METRIC(policy_too_long, COUNTER, "refused: max_value of policy.rules")                         \
    METRIC(policy_lives_cut, COUNTER, "keys that got a life by policy.rules")                      \
    METRIC(policy_lives_uncut, COUNTER, "commands for that which the node refused")                \
    METRIC(requests_reply_limit, COUNTER, "parts given up: limits.fan_out_reply")                  \
    METRIC(requests_bulk, COUNTER, "took a bulk upstream")                                         \
    METRIC(requests_streamed, COUNTER, "sent on before their last byte was there")                 \
    METRIC(requests_too_slow, COUNTER, "requests cut off: their body came too slowly")             \
    METRIC(requests_held, COUNTER, "waited for earlier ones of their client")                      \
    METRIC(bulk_waits, COUNTER, "waited for a bulk upstream: limits.bulk_max")                     \
    METRIC(transactions, COUNTER, "EXECs sent to nodes")                                           \
    METRIC(transactions_aborted, COUNTER, "EXECs answered EXECABORT without a node")               \
    METRIC(transactions_unwatched, COUNTER, "EXECs answered nil: watched keys may have changed")   \
    METRIC(transactions_limit, COUNTER,                                                            \
           "refused: limits.transaction_commands or transaction_bytes")                            \
    METRIC(requests_blocking, COUNTER, "commands that may block, sent to nodes")                   \
    METRIC(requests_unblocked, COUNTER, "blocked commands that were ended before their time")      \
    METRIC(clients_blocked, GAUGE, "clients in a command that blocks")                             \
    METRIC(private_refused, COUNTER, "refused: limits.private")                                    \
    METRIC(replies_streamed, COUNTER, "passed on before their last byte was there")                \
    METRIC(replies_absorbed, COUNTER, "read whole for a slow client, to free an upstream")         \
    METRIC(memory_limit_hits, COUNTER, "refused: limits.memory")                                   \
    METRIC(replies_loading, COUNTER, "nodes answered -LOADING")                                    \
    METRIC(replies_busy, COUNTER, "nodes answered -BUSY")                                          \
    METRIC(replies_masterdown, COUNTER, "nodes answered -MASTERDOWN")                              \
    METRIC(replies_oom, COUNTER, "nodes answered -OOM: maxmemory without eviction")                \
    METRIC(replies_misconf, COUNTER, "nodes answered -MISCONF: they cannot write their snapshot")  \
    METRIC(replies_readonly, COUNTER, "nodes answered -READONLY: they are replicas")               \
    METRIC(replies_moved, COUNTER, "nodes answered -MOVED: they are of a Redis Cluster")           \
    METRIC(late_replies, COUNTER, "replies dropped because their request had timed out or gone")   \
    METRIC(upstreams_opened, COUNTER, "connects to nodes begun")                                   \
    METRIC(upstreams_ready, GAUGE, "upstreams ready")                                              \
    METRIC(upstreams_databases, GAUGE, "of those: in other databases than the first")              \
    METRIC(upstreams_idle_closed, COUNTER, "upstreams closed: timeouts.database_idle")             \
    METRIC(upstreams_bulk, GAUGE, "bulk upstreams open")                                           \
    METRIC(upstreams_private, GAUGE, "private upstreams open")                                     \
    METRIC(upstreams_promoted, COUNTER, "shared upstreams that a large reply made bulk ones")      \
    METRIC(upstreams_paused, COUNTER, "times a node was not read: its client took no more")        \
    METRIC(upstreams_connect_failed, COUNTER, "connects or greetings that failed")                 \
    METRIC(upstreams_closed_by_node, COUNTER, "upstreams the node closed")                         \
    METRIC(upstreams_silent, COUNTER, "upstreams closed: no byte for several deadlines")           \
    METRIC(upstreams_stalled, COUNTER, "upstreams closed: timeouts.stall inside a reply")          \
    METRIC(upstreams_protocol_error, COUNTER, "upstreams closed: protocol error")                  \
    METRIC(subscribers, GAUGE, "clients that have subscribed to something")                        \
    METRIC(subscriptions, GAUGE, "subscriptions of clients")                                       \
    METRIC(subscriptions_refused, COUNTER,                                                         \
           "refused: limits.subscriptions or client_subscriptions, or a name too long")            \
    METRIC(subscriptions_unfed, COUNTER, "confirmed to their client before their node could")      \
    METRIC(subscriptions_moved, COUNTER, "kept for a while at a node that does not own them now")  \
    METRIC(clients_pubsub_limit, COUNTER, "clients closed: limits.client_pubsub_output")           \
    METRIC(messages_published, COUNTER, "PUBLISH and SPUBLISH sent to a node")                     \
    METRIC(messages_sent, COUNTER, "messages given to subscribers")                                \
    METRIC(feed_messages, COUNTER, "messages that nodes sent to feeds")                            \
    METRIC(feed_messages_dropped, COUNTER,                                                         \
           "of these dropped: longer than any client may be owed, or no memory")                   \
    METRIC(feeds_ready, GAUGE, "feeds (subscriber connections to nodes) ready")                    \
    METRIC(feeds_waiting, GAUGE, "feeds connecting, or waiting to try again")                      \
    METRIC(feeds_failed, COUNTER, "feeds that broke or could not connect")                         \
    METRIC(feeds_refused, COUNTER, "subscriptions that a node refused")                            \
    METRIC(bytes_from_clients, COUNTER, "bytes read from clients")                                 \
    METRIC(bytes_to_clients, COUNTER, "bytes written to clients")                                  \
    METRIC(bytes_from_nodes, COUNTER, "bytes read from nodes")                                     \
    METRIC(bytes_to_nodes, COUNTER, "bytes written to nodes")                                      \
    METRIC(buffer_bytes, GAUGE, "bytes in buffers")                                                \
    METRIC(turns, COUNTER, "rounds of the event loop")                                             \
    METRIC(rests, COUNTER, "rests before a round, to find more at once: timeouts.gather")          \
    METRIC(turns_slow, COUNTER, "rounds of more than 50 ms")

struct metrics {
#define METRIC_MEMBER(name, kind, text) atomic_uint_least64_t name;
    METRICS(METRIC_MEMBER)
#undef METRIC_MEMBER
};

extern const struct metric_info METRIC_INFO[];
extern const unsigned METRIC_COUNT;

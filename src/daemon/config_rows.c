/* SPDX-License-Identifier: Apache-2.0 */
/* Long: one table of all settings. How each kind of them is shown: config_show.c; read:
 * config_set.c, config_lists.c. */
#include "daemon/config_rows.h"

#include "base/nsec.h"
#include "cluster/databases.h"
#include "cluster/discovery.h"
#include "cluster/job_table.h"
#include "ring/maglev.h"

#include <stdio.h>
#include <string.h>

#define KB         (UINT64_C(1) << 10)
#define MB         (UINT64_C(1) << 20)
#define GB         (UINT64_C(1) << 30)
#define TB         (UINT64_C(1) << 40)
#define MINUTE     (60 * NSEC_S)
#define AT(m)      offsetof(struct config, m)
#define PROXY(m)   offsetof(struct config, proxy.m)
#define CONTROL(m) offsetof(struct config, control.m)

static const char *const LEVELS[] = {"debug", "info", "warn", "error", NULL}; /* enum log_level */
static const char *const FORMATS[] = {"text", "json", NULL}; /* enum config_log_format */
static const char *const READS[] = {"miss", "error", NULL};  /* enum on_failure */
static const char *const WRITES[] = {"error", NULL};
static const char *const RETURNS[] = {"replay", "flush", "keep", NULL};  /* enum on_return */
static const char *const KINDS[] = {"maglev", "ketama", "modula", NULL}; /* enum layout_kind */
static const char *const HASHES[] = {                                    /* enum hash32_kind */
                                     "one_at_a_time", "md5",      "crc16",   "crc32",    "crc32a",
                                     "fnv1_64",       "fnv1a_64", "fnv1_32", "fnv1a_32", "hsieh",
                                     "murmur",        "jenkins",  NULL};
static const char *const CERTIFICATES[] = {"off", "optional", "required",
                                           NULL};                 /* enum tls_certificates */
static const char *const VERSIONS[] = {"1.2", "1.3", NULL};       /* enum tls_version */
static const char *const VERIFY[] = {"name", "ca", NULL};         /* CONFIG_VERIFY_… */
static const char *const FAMILIES[] = {"auto", "v4", "v6", NULL}; /* enum lookup_family */

/* clang-format off */
const struct config_row CONFIG_ROWS[] = {
    {NULL, "listen", CONFIG_LISTEN, false, 0, 1, CONFIG_LISTEN_MAX, NULL,
     "where clients connect",
     CONFIG_RESTART},
    {"nodes", "static", CONFIG_NODES, false, 0, 0, MAGLEV_NODES_MAX, NULL,
     "the Redis servers; the name, else the host's text as given, is the identity in the ring",
     CONFIG_AT_ONCE},
    {"nodes", "dns", CONFIG_NAMES, false, AT(node_names), 0, CONFIG_NAMES_MAX, NULL,
     "names of which each address is a node, as of a Kubernetes headless service", CONFIG_AT_ONCE},
    {"nodes", "srv", CONFIG_SERVICES, false, AT(node_services), 0, CONFIG_NAMES_MAX, NULL,
     "names of SRV records; each target is a node, known in the ring by its name", CONFIG_AT_ONCE},
    {"nodes", "family", CONFIG_CHOICE, false, AT(node_family), 0, 0, FAMILIES,
     "addresses to look up; auto: IPv4 where a name has any, else IPv6", CONFIG_AT_ONCE},
    {"nodes", "grace", CONFIG_DURATION, true, CONTROL(grace), NSEC_MS, 60 * MINUTE, NULL,
     "a node that is gone from DNS but well is kept for so long", CONFIG_AT_ONCE},
    {"nodes", "user", CONFIG_WORD, false, AT(node_user), 0, CONFIG_WORD_MAX - 1, NULL,
     "who we are at the nodes (AUTH); none: their default user", CONFIG_FOR_NEW},
    {"nodes", "password_file", CONFIG_WORD, false, AT(node_password_file), 0, CONFIG_WORD_MAX - 1,
     NULL, "the file whose first line is our password at the nodes; none: no AUTH", CONFIG_FOR_NEW},
    {"nodes", "password", CONFIG_SECRET, false, AT(node_password), 0, 0, NULL,
     "the same from a variable of the environment", CONFIG_FOR_NEW},
    {"nodes", "logins", CONFIG_LOGINS, false, 0, 0, CONFIG_LOGINS_MAX, NULL,
     "who we are at the nodes of one source (of static, dns or srv), if not that",
     CONFIG_FOR_NEW},
    {NULL, "protected_mode", CONFIG_SWITCH, false, AT(protected_mode), 0, 0, NULL,
     "without a password sumcache listens on loopback only",
     CONFIG_RESTART},
    {NULL, "workers", CONFIG_AUTO, false, AT(workers), 1, CONFIG_WORKERS_MAX, NULL,
     "threads that serve clients; auto: one per CPU it may use, by affinity and quota",
     CONFIG_RESTART},
    {NULL, "log_level", CONFIG_CHOICE, false, AT(log_level), 0, 0, LEVELS,
     "lines below it are not written", CONFIG_AT_ONCE},
    {NULL, "log_format", CONFIG_CHOICE, false, AT(log_format), 0, 0, FORMATS,
     "lines for people, or one JSON object a line", CONFIG_RESTART},
    {NULL, "log_rate", CONFIG_COUNT, true, AT(log_rate), 1, 1000000, NULL,
     "lines of one event in a second; more are counted, and told with the next; 0: no limit",
     CONFIG_RESTART},
    {NULL, "databases", CONFIG_COUNT, false, PROXY(databases), 1, DATABASES_MAX, NULL,
     "that clients may SELECT; the nodes must have as many, and each takes upstreams of its own",
     CONFIG_RESTART},
    {"ring", "hash_tags", CONFIG_SWITCH, false, PROXY(hash_tags), 0, 0, NULL,
     "of a key with {tag} only the tag chooses the node",
     CONFIG_RESTART},
    {"ring", "kind", CONFIG_CHOICE, false, AT(layout_kind), 0, 0, KINDS,
     "how keys find their nodes: as Envoy's Maglev has it, or twemproxy's ketama or modula",
     CONFIG_RESTART},
    {"ring", "hash", CONFIG_CHOICE, false, AT(layout_hash), 0, 0, HASHES,
     "twemproxy's hash of keys, for ketama and modula; maglev has its own",
     CONFIG_RESTART},

    /* Ceilings of durations are far beyond any use; they catch a wrong unit. */
    {"timeouts", "connect", CONFIG_DURATION, false, PROXY(connect_timeout), NSEC_MS, MINUTE, NULL,
     "connect to a node and greet it; a TLS handshake of a client", CONFIG_AT_ONCE},
    {"timeouts", "request", CONFIG_DURATION, false, PROXY(request_timeout), NSEC_MS, MINUTE, NULL,
     "from the last byte of a request to the first of its reply", CONFIG_AT_ONCE},
    {"timeouts", "fan_out", CONFIG_DURATION, false, PROXY(fanout_timeout), NSEC_MS, 10 * MINUTE,
     NULL, "the same of what goes through all keys of nodes: SCAN, KEYS, FLUSHALL, ...",
     CONFIG_AT_ONCE},
    {"timeouts", "stall", CONFIG_DURATION, false, PROXY(stall_timeout), NSEC_MS, 10 * MINUTE, NULL,
     "without a byte inside a reply of a node", CONFIG_AT_ONCE},
    {"timeouts", "feed", CONFIG_DURATION, false, PROXY(feed_timeout), 10 * NSEC_MS, 10 * MINUTE,
     NULL, "a node that sends nothing to subscribers for so long is asked if it is there",
     CONFIG_AT_ONCE},
    {"timeouts", "drain", CONFIG_DURATION, true, PROXY(drain_timeout), NSEC_MS, 60 * MINUTE, NULL,
     "after SIGTERM for what is under way", CONFIG_AT_ONCE},
    {"timeouts", "client_idle", CONFIG_DURATION, true, PROXY(client_idle_timeout), 10 * NSEC_MS,
     24 * 60 * MINUTE, NULL, "without a byte from a client, then it is closed; 0: never",
     CONFIG_AT_ONCE},
    {"timeouts", "client_stall", CONFIG_DURATION, false, PROXY(client_stall_timeout), 10 * NSEC_MS,
     60 * MINUTE, NULL, "a client takes no byte of its replies, then it is closed", CONFIG_AT_ONCE},
    /* The kernel counts keepalive in seconds and to 32767 only (TCP_KEEPIDLE in tcp(7)). */
    {"timeouts", "tcp_keepalive", CONFIG_DURATION, true, PROXY(tcp_keepalive), NSEC_S,
     9 * 60 * MINUTE, NULL, "idle time before the first TCP keepalive probe; 0: no probes",
     CONFIG_FOR_NEW},
    {"timeouts", "tcp_user", CONFIG_DURATION, true, PROXY(tcp_user_timeout), NSEC_MS, 60 * MINUTE,
     NULL, "sent data not acknowledged for that long resets a connection; 0: the kernel's",
     CONFIG_FOR_NEW},
    {"timeouts", "gather", CONFIG_DURATION, true, PROXY(gather_window), NSEC_US, NSEC_MS, NULL,
     "longest rest of a worker to gather requests, where they come densely; 0: none",
     CONFIG_AT_ONCE},
    {"timeouts", "backoff_min", CONFIG_DURATION, false, PROXY(backoff_min), NSEC_MS, MINUTE, NULL,
     "pause after the first failed connect to a node", CONFIG_AT_ONCE},
    {"timeouts", "backoff_max", CONFIG_DURATION, false, PROXY(backoff_max), NSEC_MS, 10 * MINUTE,
     NULL, "the pause doubles up to this", CONFIG_AT_ONCE},
    {"timeouts", "gather_replies", CONFIG_DURATION, true, PROXY(gather_time), NSEC_US, 10 * NSEC_MS,
     NULL, "the first replies of a pipeline wait so long for the rest of them; 0: never",
     CONFIG_AT_ONCE},

    {"timeouts", "database_idle", CONFIG_DURATION, false, PROXY(database_idle_timeout),
     10 * NSEC_MS, 24 * 60 * MINUTE, NULL,
     "an upstream of another database than 0 that carries nothing for so long is closed",
     CONFIG_AT_ONCE},
    {"timeouts", "tag", CONFIG_DURATION, false, PROXY(tag_ttl), NSEC_S, 365 * 24 * 60 * MINUTE,
     NULL, "a tag that was not asked for so long by SUMCACHE.SET or TAGS is forgotten",
     CONFIG_AT_ONCE},

    {"on_failure", "reads", CONFIG_CHOICE, false, PROXY(reads), 0, 0, READS,
     "what a read gets when its node failed: as if the key were not there, or an error",
     CONFIG_FOR_NEW},
    {"on_failure", "writes", CONFIG_CHOICE, false, AT(failed_writes), 0, 0, WRITES,
     "what a write gets when its node failed", CONFIG_AT_ONCE},

    {"health", "interval", CONFIG_DURATION, false, CONTROL(interval), 10 * NSEC_MS, 10 * MINUTE,
     NULL, "between two checks (PING) of a node that is well", CONFIG_AT_ONCE},
    {"health", "interval_out", CONFIG_DURATION, false, CONTROL(interval_out), 10 * NSEC_MS,
     10 * MINUTE, NULL, "between two checks of one that is not", CONFIG_AT_ONCE},
    {"health", "timeout", CONFIG_DURATION, false, CONTROL(timeout), NSEC_MS, MINUTE, NULL,
     "of one check, connecting included", CONFIG_AT_ONCE},
    {"health", "unhealthy", CONFIG_COUNT, false, CONTROL(unhealthy), 1, 1000, NULL,
     "silent checks in a row after which a node is ejected; a refusal ejects at once",
     CONFIG_AT_ONCE},
    {"health", "healthy", CONFIG_COUNT, false, CONTROL(healthy), 1, 1000, NULL,
     "good checks in a row before it may come back", CONFIG_AT_ONCE},
    {"health", "eject_after", CONFIG_DURATION, false, CONTROL(eject_after), NSEC_MS, 10 * MINUTE,
     NULL, "a node that gives no byte for so long while requests wait is ejected, if …",
     CONFIG_AT_ONCE},
    {"health", "eject_misses", CONFIG_COUNT, false, CONTROL(eject_misses), 1, 1000000, NULL,
     "… so many of them missed their deadline and none was answered since", CONFIG_AT_ONCE},
    {"health", "max_ejected", CONFIG_COUNT, true, CONTROL(max_ejected), 1, 100, NULL,
     "percent of the nodes that may be out for silence alone; at least one may", CONFIG_AT_ONCE},
    {"health", "hold_min", CONFIG_DURATION, true, CONTROL(hold_min), NSEC_MS, 60 * MINUTE, NULL,
     "an ejected node stays out for so long at least; doubles each time it flaps", CONFIG_AT_ONCE},
    {"health", "hold_max", CONFIG_DURATION, true, CONTROL(hold_max), NSEC_MS, 60 * MINUTE, NULL,
     "… up to this", CONFIG_AT_ONCE},
    {"health", "on_return", CONFIG_CHOICE, false, CONTROL(on_return), 0, 0, RETURNS,
     "what a returning node is made to forget: keys written meanwhile, everything, nothing",
     CONFIG_AT_ONCE},
    {"health", "flush_interval", CONFIG_DURATION, true, CONTROL(flush_interval), NSEC_MS,
     60 * MINUTE, NULL, "no node is flushed twice within", CONFIG_AT_ONCE},

    {"limits", "journal", CONFIG_SIZE, true, CONTROL(journal_max), 64 * KB, TB, NULL,
     "bytes to remember keys that were written away from home; above, nodes are flushed",
     CONFIG_AT_ONCE},
    {"limits", "jobs", CONFIG_COUNT, false, CONTROL(jobs_max), 1, JOBS_MAX, NULL,
     "jobs of SUMCACHE.UNLINK that run at a time; above, an error",
     CONFIG_RESTART},
    {"limits", "scripts", CONFIG_SIZE, true, CONTROL(scripts_max), KB, GB, NULL,
     "bytes of scripts and functions that are kept, for nodes that come later", CONFIG_AT_ONCE},
    {"limits", "clients", CONFIG_COUNT, false, PROXY(clients_max), 1, 1000000, NULL,
     "connected clients", CONFIG_AT_ONCE},
    {"limits", "tls_handshakes", CONFIG_COUNT, false, PROXY(handshakes_max), 1, 1000000, NULL,
     "TLS handshakes of clients under way; above, new clients are closed", CONFIG_AT_ONCE},
    {"limits", "clients_per_address", CONFIG_COUNT, true, PROXY(address_clients_max), 1, 1000000,
     NULL, "clients of one address (IPv6: of 64 bits of it); 0: no limit", CONFIG_AT_ONCE},
    {"limits", "client_rate", CONFIG_COUNT, true, PROXY(client_rate_max), 1, ACCESS_RATE_MAX, NULL,
     "requests a second of one client, and as many at once; 0: no limit", CONFIG_AT_ONCE},
    {"limits", "client_pending", CONFIG_COUNT, false, PROXY(client_pending_max), 1, 1000000, NULL,
     "requests of one client under way; at the limit it is not read", CONFIG_AT_ONCE},
    {"limits", "roll_calls", CONFIG_COUNT, false, PROXY(roll_calls_max), 1, 1000, NULL,
     "CLIENT LIST, KILL and PAUSE under way at a time, per worker; more are refused",
     CONFIG_AT_ONCE},
    {"limits", "client_output", CONFIG_SIZE, false, PROXY(client_output_max), MB, TB, NULL,
     "bytes owed to one client; above, it is closed", CONFIG_AT_ONCE},
    {"limits", "client_pubsub_output", CONFIG_SIZE, false, PROXY(client_pubsub_output_max), MB, TB,
     NULL, "bytes owed to a client that is sent a message; above, it is closed", CONFIG_AT_ONCE},
    {"limits", "client_subscriptions", CONFIG_COUNT, false, PROXY(client_subscriptions_max), 1,
     100000000, NULL, "channels and patterns that one client subscribes to", CONFIG_AT_ONCE},
    {"limits", "subscriptions", CONFIG_COUNT, false, PROXY(subscriptions_max), 1, 100000000, NULL,
     "the same of all clients together", CONFIG_AT_ONCE},
    {"limits", "memory", CONFIG_SIZE, false, PROXY(memory_max), MB, 64 * TB, NULL,
     "bytes in all buffers; at the limit requests are refused", CONFIG_AT_ONCE},
    {"limits", "max_value", CONFIG_SIZE, false, PROXY(value_max), KB, 4 * GB, NULL,
     "one bulk string", CONFIG_AT_ONCE},
    {"limits", "max_elements", CONFIG_COUNT, false, PROXY(elements_max), 16, 100000000, NULL,
     "elements of one message", CONFIG_AT_ONCE},
    {"limits", "max_split_request", CONFIG_SIZE, false, PROXY(split_request_max), KB, 4 * GB, NULL,
     "a request that is gathered whole: one that is split, or whose key does not come first",
     CONFIG_AT_ONCE},
    {"limits", "fan_out_reply", CONFIG_SIZE, false, PROXY(fanout_reply_max), KB, TB, NULL,
     "what all nodes together answer to one request, such as KEYS; above, it gets an error",
     CONFIG_AT_ONCE},
    {"limits", "bulk_above", CONFIG_SIZE, false, PROXY(bulk_above), 4 * KB, GB, NULL,
     "longer requests and replies are streamed, on upstreams of their own", CONFIG_AT_ONCE},
    {"limits", "bulk_max", CONFIG_COUNT, false, PROXY(bulk_max), 1, 64, NULL,
     "upstreams for those: per node, worker and RESP version; one large value at a time each",
     CONFIG_AT_ONCE},
    {"limits", "client_min_rate", CONFIG_SIZE, true, PROXY(client_min_rate), KB, TB, NULL,
     "bytes a second; a slower client loses a bulk upstream that others wait for; 0: never",
     CONFIG_AT_ONCE},
    {"limits", "private", CONFIG_COUNT, false, PROXY(private_max), 1, 100000, NULL,
     "upstreams to one node for clients that watch keys or wait in a command that blocks",
     CONFIG_AT_ONCE},
    {"limits", "transaction_commands", CONFIG_COUNT, false, PROXY(transaction_commands_max), 1,
     1000000, NULL, "commands behind one MULTI; keys that one client watches or waits for",
     CONFIG_AT_ONCE},
    {"limits", "transaction_bytes", CONFIG_SIZE, false, PROXY(transaction_bytes_max), KB, GB, NULL,
     "bytes of the commands behind one MULTI", CONFIG_AT_ONCE},
    {"limits", "node_requests", CONFIG_COUNT, false, PROXY(node_requests_max), 1, 10000000, NULL,
     "requests under way to one node; above, the answer is an error at once", CONFIG_AT_ONCE},
    {"limits", "node_bytes", CONFIG_SIZE, false, PROXY(node_bytes_max), 64 * KB, TB, NULL,
     "bytes of requests under way to one node; above, the same", CONFIG_AT_ONCE},

    {"dns", "servers", CONFIG_SERVERS, false, 0, 0, CONFIG_SERVERS_MAX, NULL,
     "DNS servers to ask instead of those of /etc/resolv.conf",
     CONFIG_RESTART},
    {"dns", "timeout", CONFIG_DURATION, false, AT(dns.timeout), 10 * NSEC_MS, MINUTE, NULL,
     "a question is given up after this, over all servers and tries",
     CONFIG_RESTART},
    {"dns", "min_refresh", CONFIG_DURATION, false, AT(dns.min_refresh), 10 * NSEC_MS, 60 * MINUTE,
     NULL, "a name is asked for again when the TTL of its answer is over, not earlier than this",
     CONFIG_AT_ONCE},
    {"dns", "max_refresh", CONFIG_DURATION, false, AT(dns.max_refresh), 10 * NSEC_MS, 60 * MINUTE,
     NULL, "and not later than this", CONFIG_AT_ONCE},
    {"dns", "refresh", CONFIG_DURATION, false, AT(dns.refresh), 10 * NSEC_MS, 60 * MINUTE, NULL,
     "where there is no TTL: /etc/hosts, or a TTL of 0", CONFIG_AT_ONCE},
    {"dns", "retry_min", CONFIG_DURATION, false, AT(dns.retry_min), 10 * NSEC_MS, 60 * MINUTE, NULL,
     "pause after a question that failed", CONFIG_AT_ONCE},
    {"dns", "retry_max", CONFIG_DURATION, false, AT(dns.retry_max), 10 * NSEC_MS, 60 * MINUTE, NULL,
     "the pause doubles up to this", CONFIG_AT_ONCE},

    {"auth", "password", CONFIG_SECRET, false, AT(auth_password), 0, 0, NULL,
     "of clients, as user default, which may do everything; from a variable", CONFIG_AT_ONCE},
    {"auth", "password_file", CONFIG_WORD, false, AT(auth_password_file), 0, CONFIG_WORD_MAX - 1,
     NULL, "the same from a file: each line a password, or # and its SHA-256", CONFIG_AT_ONCE},
    {"auth", "users", CONFIG_USERS, false, 0, 0, ACCESS_USERS_MAX, NULL,
     "who else may enter, and what they may do there: see Who may do what", CONFIG_AT_ONCE},
    {"auth", "failures_per_minute", CONFIG_COUNT, true, PROXY(auth_failures_max), 1, 1000000, NULL,
     "an address that fails more often to log in has to wait; 0: it need not", CONFIG_AT_ONCE},

    {"tls", "certificate_file", CONFIG_WORD, false, AT(tls.certificate_file), 0,
     CONFIG_WORD_MAX - 1, NULL,
     "PEM: our certificate for clients, then those between it and its CA", CONFIG_FOR_NEW},
    {"tls", "key_file", CONFIG_WORD, false, AT(tls.key_file), 0, CONFIG_WORD_MAX - 1, NULL,
     "PEM: its key; none: it is in certificate_file too", CONFIG_FOR_NEW},
    {"tls", "client_certificates", CONFIG_CHOICE, false, AT(tls.client_certificates), 0, 0,
     CERTIFICATES, "are clients asked for one; if required, who has none is not served",
     CONFIG_FOR_NEW},
    {"tls", "ca_file", CONFIG_WORD, false, AT(tls.ca_file), 0, CONFIG_WORD_MAX - 1, NULL,
     "PEM: the CAs that clients' certificates are judged by", CONFIG_FOR_NEW},
    {"tls", "min_version", CONFIG_CHOICE, false, AT(tls.min_version), 0, 0, VERSIONS,
     "older versions are refused", CONFIG_FOR_NEW},
    {"nodes_tls", "enabled", CONFIG_SWITCH, false, AT(nodes_tls.enabled), 0, 0, NULL,
     "TLS to all nodes: requests, checks and subscriptions", CONFIG_RESTART},
    {"nodes_tls", "ca_file", CONFIG_WORD, false, AT(nodes_tls.ca_file), 0, CONFIG_WORD_MAX - 1,
     NULL, "PEM: the CAs that nodes' certificates are judged by; none: those of the system",
     CONFIG_FOR_NEW},
    {"nodes_tls", "verify", CONFIG_CHOICE, false, AT(nodes_tls.verify), 0, 0, VERIFY,
     "name: a node's certificate must have its name or address; ca: one of that CA is enough",
     CONFIG_FOR_NEW},
    {"nodes_tls", "server_name", CONFIG_WORD, false, AT(nodes_tls.server_name), 0,
     CONFIG_WORD_MAX - 1, NULL,
     "the name in the certificates of all nodes, also asked for (SNI); none: each its own host",
     CONFIG_FOR_NEW},
    {"nodes_tls", "certificate_file", CONFIG_WORD, false, AT(nodes_tls.certificate_file), 0,
     CONFIG_WORD_MAX - 1, NULL, "PEM: our certificate for nodes that ask for one", CONFIG_FOR_NEW},
    {"nodes_tls", "key_file", CONFIG_WORD, false, AT(nodes_tls.key_file), 0, CONFIG_WORD_MAX - 1,
     NULL, "PEM: its key; none: it is in certificate_file too", CONFIG_FOR_NEW},
    {"nodes_tls", "min_version", CONFIG_CHOICE, false, AT(nodes_tls.min_version), 0, 0, VERSIONS,
     "older versions are refused", CONFIG_FOR_NEW},

    {"proxy_protocol", "from", CONFIG_RANGES, false, 0, 0, BALANCERS_MAX, NULL,
     "TCP balancers: connections from there begin with a header that says who the client is",
     CONFIG_FOR_NEW},
    {"proxy_protocol", "timeout", CONFIG_DURATION, false, PROXY(header_timeout), 10 * NSEC_MS,
     MINUTE, NULL, "for that header to come", CONFIG_AT_ONCE},

    {"policy", "rules", CONFIG_RULES, false, 0, 0, POLICY_RULES_MAX, NULL,
     "what keys of a prefix may do; of several that fit the longest prefix counts", CONFIG_AT_ONCE},

    {"commands", "allow", CONFIG_COMMAND_LIST, false, CONFIG_COMMANDS_ALLOW, 0,
     CONFIG_COMMANDS_MAX, NULL,
     "commands that touch all data or stop all, and are shut without this; all: each of them",
     CONFIG_AT_ONCE},
    {"commands", "deny", CONFIG_COMMAND_LIST, false, CONFIG_COMMANDS_DENY, 0, CONFIG_COMMANDS_MAX,
     NULL, "commands that no client may use; a container stands for its subcommands",
     CONFIG_AT_ONCE},
    {"commands", "rename", CONFIG_COMMAND_MAP, false, CONFIG_COMMANDS_RENAME, 0,
     CONFIG_COMMANDS_MAX, NULL,
     "commands that clients have to call by another name; their own is then unknown",
     CONFIG_AT_ONCE},
    {"commands", "unknown", CONFIG_COMMAND_MAP, false, CONFIG_COMMANDS_UNKNOWN, 0,
     CONFIG_COMMANDS_MAX, NULL,
     "commands of modules: where their keys are, as in COMMAND INFO (json.get: 1)", CONFIG_AT_ONCE},

    {"admin", "listen", CONFIG_WORD, false, AT(admin_listen), 0, CONFIG_WORD_MAX - 1, NULL,
     "PORT or ADDRESS:PORT for /metrics, /readyz and the like, to be read only; none: nowhere",
     CONFIG_RESTART},
    {"admin", "remote", CONFIG_SWITCH, false, AT(admin_remote), 0, 0, NULL,
     "admin.listen may be an address that other hosts reach; whoever does may read it all",
     CONFIG_RESTART},
    {"admin", "token", CONFIG_SECRET, false, AT(admin_token), 0, 0, NULL,
     "what /metrics and /api ask for, as Bearer or as the password of Basic; from a variable",
     CONFIG_RESTART},
    {"admin", "token_file", CONFIG_WORD, false, AT(admin_token_file), 0, CONFIG_WORD_MAX - 1, NULL,
     "the same from a file, its first line; with one, admin.listen may be any address",
     CONFIG_RESTART},
    {"admin", "connections", CONFIG_COUNT, false, AT(admin_connections), 1, 1000, NULL,
     "to the admin listener at a time; more are closed", CONFIG_RESTART},
    {"admin", "sample_each", CONFIG_COUNT, true, PROXY(sample_each), 1, 1000000, NULL,
     "every so many requests for one key are looked at, for hot keys and prefixes; 0: none",
     CONFIG_RESTART},
    {"admin", "slow_above", CONFIG_DURATION, true, PROXY(slow_above), NSEC_US, 10 * MINUTE, NULL,
     "requests that take so long are listed in /api/slowlog; 0: none", CONFIG_RESTART},
    {"admin", "prefix_separator", CONFIG_WORD, false, AT(admin_separator), 1, 1, NULL,
     "what ends a prefix of a key, a character", CONFIG_RESTART},
    {"admin", "prefix_depth", CONFIG_COUNT, true, AT(admin_depth), 1, 8, NULL,
     "so many separators are in a prefix; 0: reads are not counted by prefix", CONFIG_RESTART},
    {"admin", "timeout", CONFIG_DURATION, false, AT(admin_timeout), 10 * NSEC_MS, MINUTE, NULL,
     "of such a connection, from its beginning to the last byte of its answer", CONFIG_RESTART},

    {"local", "nodes", CONFIG_COUNT, true, AT(local_nodes), 1, CONFIG_LOCAL_NODES_MAX, NULL,
     "redis-server children to start and sum",
     CONFIG_RESTART},
    {"local", "memory", CONFIG_SIZE, false, AT(local_memory), MB, 64 * TB, NULL,
     "maxmemory of each of them",
     CONFIG_RESTART},
};
/* clang-format on */

const unsigned CONFIG_ROW_COUNT = sizeof(CONFIG_ROWS) / sizeof(CONFIG_ROWS[0]);
_Static_assert(sizeof(CONFIG_ROWS) / sizeof(CONFIG_ROWS[0]) <= CONFIG_ROWS_MAX,
               "struct config has a mark for every row");
_Static_assert(sizeof(enum on_failure) == sizeof(uint32_t), "a choice is stored as uint32_t");
_Static_assert(sizeof(enum on_return) == sizeof(uint32_t), "a choice is stored as uint32_t");

const struct config_row *config_row_find(const char *section, struct str name)
{
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        bool here =
            section ? row->section && strcmp(row->section, section) == 0 : row->section == NULL;
        if (here && str_eq(str_of(row->name), name))
            return row;
    }
    return NULL;
}

bool config_row_is_list(const struct config_row *row)
{
    return row->kind <= CONFIG_USERS;
}

bool config_row_takes_one(const struct config_row *row)
{
    return row->kind == CONFIG_NAMES || row->kind == CONFIG_SERVICES ||
           row->kind == CONFIG_SERVERS || row->kind == CONFIG_RANGES ||
           row->kind == CONFIG_COMMAND_LIST;
}

char *config_row_name(const struct config_row *row, char to[CONFIG_TEXT_MAX])
{
    snprintf(to, CONFIG_TEXT_MAX, "%s%s%s", row->section ? row->section : "",
             row->section ? "." : "", row->name);
    return to;
}

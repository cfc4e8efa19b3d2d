/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings: a YAML file and flags → struct config, by one table of rows (config_rows.c). The
 * table drives reading, checking, printing, --help and the table in docs/operations.md.
 *
 * Pure: no file is opened here, no address looked up. Used at start-up by the main thread only.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cluster/control.h"
#include "cluster/lookup.h"
#include "cluster/view.h"
#include "daemon/config_commands.h"
#include "daemon/config_users.h"
#include "proxy/settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    CONFIG_FILE_MAX = 1 << 20, /* bytes of a file; 4096 nodes with long names fit */
    CONFIG_LISTEN_MAX = 16,
    CONFIG_WORKERS_MAX = 256,
    CONFIG_LOGINS_MAX = 16,
    CONFIG_SOCKET_MAX = 108, /* the path of a Unix socket, with its NUL: as the kernel has it */
    CONFIG_LOCAL_NODES_MAX = 64,
    CONFIG_PORT = 6379, /* where none is given: Redis's own */
    CONFIG_ROWS_MAX = 128,
    CONFIG_NAMES_MAX = 32, /* names to look nodes up by; of each kind */
    CONFIG_SERVERS_MAX = 8,
    CONFIG_DNS_PORT = 53,
    CONFIG_WORD_MAX = 128,
    CONFIG_PASSWORD_MAX = 512,
    CONFIG_ERROR_MAX = 1200, /* the names of all settings of a section are in one */
};

struct config_error {
    unsigned line, column; /* from 1; 0: the error has no place in the file */
    char text[CONFIG_ERROR_MAX];
};

enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

struct config_mark {
    unsigned line, column; /* from 1; 0: not from the file */
};

/* Where a Unix socket is; of listen[] with ADDR_UNIX. */
struct config_socket {
    char path[CONFIG_SOCKET_MAX];
    uint32_t mode;
};

struct config_node {
    char name[VIEW_NODE_NAME_MAX]; /* "host:port", the host as given */
    struct addr addr;              /* ADDR_NONE if the host is a name */
    uint32_t weight;
    char id[VIEW_NODE_NAME_MAX]; /* what places it in the ring; empty: its name */
};

struct config_names {
    uint32_t count;
    char names[CONFIG_NAMES_MAX][VIEW_NODE_NAME_MAX];
};

/* TLS on listeners. Of files "": none. */
struct config_tls {
    char certificate_file[CONFIG_WORD_MAX], key_file[CONFIG_WORD_MAX], ca_file[CONFIG_WORD_MAX];
    uint32_t client_certificates; /* enum tls_certificates */
    uint32_t min_version;         /* enum tls_version */
};

enum { CONFIG_VERIFY_NAME, CONFIG_VERIFY_CA };

/* The same to nodes. */
struct config_nodes_tls {
    bool enabled;
    char certificate_file[CONFIG_WORD_MAX], key_file[CONFIG_WORD_MAX], ca_file[CONFIG_WORD_MAX];
    char server_name[CONFIG_WORD_MAX];
    uint32_t verify;      /* CONFIG_VERIFY_… */
    uint32_t min_version; /* enum tls_version */
};

/* How names are looked up; times in ns. */
struct config_dns {
    struct addr servers[CONFIG_SERVERS_MAX]; /* none: those of resolv.conf */
    uint32_t server_count;
    uint64_t timeout; /* of one question */
    uint64_t min_refresh, max_refresh, refresh;
    uint64_t retry_min, retry_max;
};

struct config {
    struct proxy_settings proxy;
    struct control_settings control;
    uint32_t failed_writes; /* on_failure.writes; `error` is its only value */
    uint32_t log_level;     /* enum log_level */
    uint32_t log_format;    /* enum config_log_format */
    uint32_t log_rate;      /* lines of one event in a second; 0: no limit */
    uint32_t workers;       /* 0: auto */
    uint32_t local_nodes;
    uint64_t local_memory; /* bytes, each */
    struct addr listen[CONFIG_LISTEN_MAX];
    struct config_socket sockets[CONFIG_LISTEN_MAX]; /* by the same index */
    bool listen_tls[CONFIG_LISTEN_MAX];              /* the same */
    uint32_t listen_count;
    struct config_tls tls;
    struct config_nodes_tls nodes_tls;
    struct config_node *nodes; /* owned */
    uint32_t node_count, node_room;
    struct config_names node_names;    /* nodes.dns: "host:port" */
    struct config_names node_services; /* nodes.srv */
    uint32_t node_family;              /* enum lookup_family */
    uint32_t layout_kind;              /* enum layout_kind */
    uint32_t layout_hash;              /* enum hash32_kind; Maglev has its own */
    struct policy_rule *rules;         /* owned; proxy.policy is a loan of them */
    char node_user[CONFIG_WORD_MAX];
    char node_password_file[CONFIG_WORD_MAX];
    struct config_login logins[CONFIG_LOGINS_MAX]; /* nodes.logins */
    uint32_t login_count;
    char node_password[CONFIG_WORD_MAX]; /* "${NAME}"; empty: none */
    struct config_users *users;          /* owned; NULL: none */
    char auth_password_file[CONFIG_WORD_MAX], auth_password[CONFIG_WORD_MAX];
    bool protected_mode;
    char admin_listen[CONFIG_WORD_MAX]; /* config_admin_addr() reads it */
    char admin_token[CONFIG_WORD_MAX], admin_token_file[CONFIG_WORD_MAX];
    bool admin_remote;
    uint32_t admin_connections, admin_depth;
    char admin_separator[CONFIG_WORD_MAX];
    uint64_t admin_timeout; /* ns */
    struct config_dns dns;
    struct config_commands commands; /* as given; proxy.commands follows from them */
    /* Per row: where it stands in the file, and whether the file or a flag gave it at all. */
    struct config_mark mark[CONFIG_ROWS_MAX];
    bool given[CONFIG_ROWS_MAX];
};

void config_init(struct config *c); /* the defaults */
void config_fini(struct config *c);

/* Reads a file's text into `c`. 0, or -EINVAL or -ENOMEM with *ret_error; `c` is then half read and
 * of no use but for config_fini(). */
int config_read(struct config *c, struct str yaml, struct config_error *ret_error) MUST_CHECK;

/*
 * Sets one setting by its full name ("limits.clients"), as a flag does. A list takes its items
 * separated by commas; with `add` they join those that are there, else they replace them.
 * 0, or -EINVAL or -ENOMEM with *ret_error.
 */
int config_set(struct config *c, const char *setting, struct str value, bool add,
               struct config_error *ret_error) MUST_CHECK;

/* What no single setting shows: is there a node, do the settings fit each other? 0 or -EINVAL with
 * *ret_error. */
int config_check(const struct config *c, struct config_error *ret_error) MUST_CHECK;

/* Of nodes.logins, by the name of a source; NULL: it has none of its own. */
const struct config_login *config_login_of(const struct config *c, const char *source);

/* Where the admin listener is; ADDR_NONE: nowhere. 0 or -EINVAL. */
int config_admin_addr(const struct config *c, struct addr *ret) MUST_CHECK;

bool config_is_given(const struct config *c, const char *setting); /* by the file or a flag */

/* Writes all settings as a file that reads back equal, each with its range and meaning. */
void config_print(const struct config *c, FILE *out);

/* Writes the settings with their defaults, ranges and meanings for --help. */
void config_print_help(FILE *out);

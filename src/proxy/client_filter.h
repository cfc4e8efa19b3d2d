/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which clients CLIENT LIST and CLIENT KILL mean: their options, judged as redis-server judges
 * them. Immutable once parsed, so any thread may ask it.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "proxy/access.h"
#include "proxy/client.h"
#include "resp/args.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client_filter {
    bool nobody;          /* a kind of client that there is none of here: replicas, masters */
    bool skips_me;        /* not the one who asks */
    bool old_style;       /* CLIENT KILL addr:port, which is answered by OK or an error */
    bool by_type, pubsub; /* subscribers, or all others */
    bool by_age;
    bool by_addr, by_laddr;
    bool by_user;
    uint64_t me;      /* id of the one who asks */
    uint64_t age_min; /* s */
    char addr[ADDR_TEXT_MAX], laddr[ADDR_TEXT_MAX];
    char user[ACCESS_NAME_MAX + 1];
    uint64_t *ids; /* owned */
    size_t id_count;
    bool by_id;
};

enum { CLIENT_FILTER_ERROR_MAX = 256 };
struct client_filter_error {
    char text[CLIENT_FILTER_ERROR_MAX]; /* "ERR …" */
};

/* CLIENT LIST …, CLIENT KILL …, from argument 2 on. 0, -ENOMEM, or -EINVAL with *ret_error. On 0
 * the caller ends with client_filter_fini(). */
int client_filter_parse_list(struct client_filter *f, struct args *a,
                             struct client_filter_error *ret_error) MUST_CHECK;
/* `users` as proxy_settings.access. */
int client_filter_parse_kill(struct client_filter *f, struct args *a, uint64_t me,
                             const struct access *users,
                             struct client_filter_error *ret_error) MUST_CHECK;
void client_filter_fini(struct client_filter *f);

/* The thread of the client's worker. */
bool client_filter_matches(const struct client_filter *f, struct client *c);

/* SPDX-License-Identifier: Apache-2.0 */
/* Asks one node what advice.h judges: INFO, CONFIG GET, LATENCY DOCTOR, and some of its keys. Reads
 * only. Blocks; for the command line. */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/member.h"
#include "daemon/advice.h"
#include "net/tls_context.h"

#include <stdint.h>

enum {
    ADVISE_SAMPLE_MAX = 100, /* keys of one node that are looked at */
    ADVISE_ERROR_MAX = 200,
};

#define ADVISE_PATIENCE (5 * NSEC_S) /* for all answers of one connection */

struct advise_node {
    struct advice_facts facts;    /* loans of what is below, and of the member */
    char error[ADVISE_ERROR_MAX]; /* why it could not be asked; "": it was */
    char host[ADDR_TEXT_MAX];
    char *bytes;                     /* owned: its answers */
    struct advice_setting *settings; /* owned */
};

/* How nodes are asked; all of it are loans. */
struct advise_way {
    const struct node_login *login; /* unless a node has its own; an empty password: no AUTH */
    struct tls_context *tls;        /* NULL: no TLS */
};

/* `m` is a loan, as long as *n. At most `sample` keys (up to ADVISE_SAMPLE_MAX) are looked at. 0,
 * also if it cannot be asked (n->error), or -ENOMEM. Call advise_node_fini() in both cases. */
int advise_node_ask(const struct advise_way *way, const struct member *m, uint32_t sample,
                    struct advise_node *n) MUST_CHECK;
void advise_node_fini(struct advise_node *n);

/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the admin listener, for the files of admin/ only. */
#pragma once
#include "admin/admin.h"
#include "admin/authorization.h"
#include "admin/history.h"
#include "admin/http_request.h"
#include "admin/keys.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/text.h"
#include "net/listener.h"
#include "net/mailbox.h"
#include "proxy/outcomes.h"

#include <stdatomic.h>

struct admin {
    struct admin_config config;
    struct listener listener;
    struct message leave; /* of admin_leave() */
    struct chunk_pool chunks;
    struct list visits;
    uint32_t visit_count;
    uint64_t unauthorized;
    bool has_token;
    uint8_t token_hash[SECRET_HASH_BYTES];
    uint64_t answered, refused; /* requests; connections: admin.connections */
    atomic_bool draining;
    uint64_t started; /* ns */
    struct timer second, collect;
    uint64_t seconds; /* that have passed */
    struct keys keys;
    struct view *view; /* one reference; NULL before the first */
    struct history history;
};

/* What is counted, summed over the workers (sums.c). */
uint64_t admin_sum(const struct admin *a, uint32_t offset);
struct outcomes_sum {
    uint64_t of[OUTCOME_CLASSES][OUTCOME_COUNT];
    struct histogram_sum queue, total, turn;
};
struct outcomes_sum admin_outcomes(const struct admin *a);
struct history_totals admin_totals(const struct admin *a);
struct history_gauges admin_gauges(const struct admin *a);
/* Keys of all databases of a node, as it last said. */
uint64_t admin_keys_of(const struct admin *a, const struct pulse *p);
/* Some node is in the ring and well enough to be asked, and we are not about to go. */
bool admin_is_ready(const struct admin *a);
uint64_t admin_wall_ms(const struct admin *a);

/* The pages. Each writes its whole body. */
void page_metrics(const struct admin *a, struct text *t);
void page_summary(const struct admin *a, struct text *t);
void page_nodes(const struct admin *a, struct text *t);
void page_history(const struct admin *a, struct text *t);
void page_events(const struct admin *a, struct text *t);
void page_keys(const struct admin *a, struct text *t);
void page_slowlog(const struct admin *a, struct text *t);
void page_prefixes(const struct admin *a, struct text *t); /* of /metrics */
/* False: no key was asked for, or it makes no sense. */
bool page_where(const struct admin *a, struct str query, struct text *t);

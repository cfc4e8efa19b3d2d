/* SPDX-License-Identifier: Apache-2.0 */
/* /api/keys and /api/slowlog, and the prefixes of /metrics. */
#include "admin/admin_internal.h"
#include "base/nsec.h"
#include "resp/command.h"

#include <inttypes.h>

static void add_top(struct text *t, const char *name, const struct top *top)
{
    uint32_t order[TOP_MAX];
    top_order(top, order);
    text_add(t, ",\"%s\":[", name);
    for (uint32_t i = 0; i < top->count; i++) {
        const struct top_entry *e = &top->of[order[i]];
        text_add(t, "%s{\"key\":", i > 0 ? "," : "");
        text_add_json(t, (struct str){e->text, e->text_len});
        text_add(t,
                 ",\"cut\":%s,\"count\":%" PRIu64 ",\"over\":%" PRIu64 ",\"hits\":%" PRIu64
                 ",\"misses\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
                 e->cut ? "true" : "false", e->count, e->over, e->hits, e->misses, e->bytes);
    }
    text_add(t, "]");
}

void page_keys(const struct admin *a, struct text *t)
{
    const struct keys *k = &a->keys;
    text_add(t, "{\"sample_each\":%" PRIu32 ",\"samples\":%" PRIu64, a->config.sample_each,
             k->samples);
    add_top(t, "hot", &k->hot);
    add_top(t, "prefixes", &k->prefixes);
    text_add(t, ",\"largest\":[");
    for (uint32_t i = 0; i < k->large_count; i++) {
        text_add(t, "%s{\"key\":", i > 0 ? "," : "");
        text_add_json(t, (struct str){k->large[i].text, k->large[i].text_len});
        text_add(t, ",\"cut\":%s,\"bytes\":%" PRIu64 "}", k->large[i].cut ? "true" : "false",
                 k->large[i].bytes);
    }
    text_add(t, "]}\n");
}

static const char *node_name(const struct admin *a, uint32_t number)
{
    for (uint32_t i = 0; a->view && i < a->view->node_count; i++)
        if (a->view->nodes[i].pulse && a->view->nodes[i].pulse->node == number)
            return a->view->nodes[i].name;
    return ""; /* none answered, or it has left */
}

static void add_slow_key(struct text *t, const struct slow_key *k)
{
    struct str key = slow_key_text(k);
    text_add(t, ",\"keys\":%" PRIu32 ",\"key\":", k->count);
    if (k->count == 0) {
        text_add(t, "null");
        return;
    }
    text_add_json(t, key);
    text_add(t, ",\"cut\":%s,\"key_bytes\":%" PRIu32, key.len < k->len ? "true" : "false", k->len);
}

void page_slowlog(const struct admin *a, struct text *t)
{
    uint64_t wall = admin_wall_ms(a), now = a->config.loop->now;
    text_add(t, "{\"slow_above_us\":%" PRIu64 ",\"count\":%" PRIu64 ",\"entries\":[",
             a->config.slow_above / NSEC_US, a->keys.slow_last);
    for (uint32_t age = 0; age < KEYS_SLOW_MAX; age++) {
        const struct slow_request *s = keys_slow(&a->keys, age);
        if (!s)
            break;
        char peer[ADDR_TEXT_MAX];
        uint64_t ago = (now > s->ended ? now - s->ended : 0) / NSEC_MS;
        uint64_t apart = (uint64_t)s->queue_us + s->node_us;
        text_add(t, "%s{\"at_ms\":%" PRIu64 ",\"command\":", age > 0 ? "," : "", wall - ago);
        text_add_json(t, str_of(command_at(s->command)->name));
        add_slow_key(t, &s->key);
        text_add(t, ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64, s->bytes_in, s->bytes_out);
        text_add(t, ",\"result\":\"%s\",\"node\":", outcome_name((enum outcome)s->outcome));
        text_add_json(t, str_of(node_name(a, s->node)));
        text_add(t, ",\"client_id\":%" PRIu64 ",\"client\":", s->client_id);
        text_add_json(t, str_of(addr_print(&s->client, peer)));
        text_add(t,
                 ",\"total_us\":%" PRIu64 ",\"queue_us\":%" PRIu32 ",\"node_us\":%" PRIu32
                 ",\"rest_us\":%" PRIu64 "}",
                 s->total_us, s->queue_us, s->node_us,
                 s->total_us > apart ? s->total_us - apart : 0);
    }
    text_add(t, "]}\n");
}

void page_prefixes(const struct admin *a, struct text *t)
{
    const struct top *p = &a->keys.prefixes;
    text_add(
        t, "# HELP sumcache_prefix_sampled_reads_total reads among samples, by prefix of the key\n"
           "# TYPE sumcache_prefix_sampled_reads_total counter\n");
    for (uint32_t i = 0; i < p->count; i++) {
        for (unsigned miss = 0; miss < 2; miss++) {
            text_add(t, "sumcache_prefix_sampled_reads_total{prefix=");
            text_add_label(t, (struct str){p->of[i].text, p->of[i].text_len});
            text_add(t, ",result=\"%s\"} %" PRIu64 "\n", miss ? "miss" : "hit",
                     miss ? p->of[i].misses : p->of[i].hits);
        }
    }
    text_add(t,
             "# HELP sumcache_samples_total requests that were looked at: admin.sample_each\n"
             "# TYPE sumcache_samples_total counter\nsumcache_samples_total %" PRIu64 "\n",
             a->keys.samples);
    text_add(t,
             "# HELP sumcache_slow_requests_total requests listed as slow: admin.slow_above\n"
             "# TYPE sumcache_slow_requests_total counter\n"
             "sumcache_slow_requests_total %" PRIu64 "\n",
             a->keys.slow_last);
}

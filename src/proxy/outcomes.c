/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/outcomes.h"

#include "base/nsec.h"
#include "proxy/request.h"
#include "proxy/worker_internal.h"

const char *outcome_class_name(enum outcome_class c)
{
    static const char *const NAMES[] = {"read", "write", "other"};
    return NAMES[c];
}

const char *outcome_name(enum outcome o)
{
    static const char *const NAMES[] = {"ok",         "hit",   "miss", "failover_miss",
                                        "node_error", "failed"};
    return NAMES[o];
}

enum outcome_class outcome_class_of(const struct command *c)
{
    return c->flags & COMMAND_READ    ? OUTCOME_READS
           : c->flags & COMMAND_WRITE ? OUTCOME_WRITES
                                      : OUTCOME_OTHERS;
}

static bool begins(struct str s, struct str with)
{
    return s.len >= with.len && memcmp(s.p, with.p, with.len) == 0;
}

static bool is_nil(struct str s)
{
    return begins(s, STR("$-1\r")) || begins(s, STR("_\r")) || begins(s, STR("*-1\r"));
}

/* An aggregate of any kind without elements. */
static bool is_empty(struct str s)
{
    return s.len >= 3 && (s.p[0] == '*' || s.p[0] == '%' || s.p[0] == '~') && s.p[1] == '0' &&
           s.p[2] == '\r';
}

enum outcome outcome_of_reply(const struct command *c, struct str reply)
{
    bool miss = false;
    if (reply.len > 0 && (reply.p[0] == '-' || reply.p[0] == '!'))
        return OUTCOME_NODE_ERROR;
    if (!(c->flags & COMMAND_READ) || c->id == COMMAND_ID_MGET)
        return OUTCOME_ANSWERED;
    switch ((enum command_miss)c->miss) {
    case MISS_NIL:
    case MISS_RANK:
    case MISS_NIL_ARRAY:
        miss = is_nil(reply);
        break;
    case MISS_ZERO:
        miss = begins(reply, STR(":0\r"));
        break;
    case MISS_MINUS_TWO:
        miss = begins(reply, STR(":-2\r"));
        break;
    case MISS_EMPTY:
        miss = begins(reply, STR("$0\r"));
        break;
    case MISS_ARRAY:
    case MISS_SET:
    case MISS_MAP:
        miss = is_empty(reply);
        break;
    case MISS_NONE_TYPE:
        miss = begins(reply, STR("+none\r"));
        break;
    case MISS_NIL_EACH:
    case MISS_NILS_EACH:
    case MISS_ZERO_EACH:
    case MISS_GONE_EACH:
    case MISS_SCAN:
    case MISS_NEVER:
        return OUTCOME_ANSWERED;
    }
    return miss ? OUTCOME_MISS : OUTCOME_HIT;
}

static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

/*
 * A part's deadline is set when it may be sent, so it tells when that was. One that blocks, or is
 * still coming from its client, has another kind of deadline and tells nothing.
 */
void outcomes_note_first_byte(struct worker *w, const struct part *p)
{
    if (!p->request || p->swallow > 0 || p->deadline == NSEC_NEVER || p->blocks || p->again)
        return;
    if (p->request->gather && p->early) /* it has what other parts left of the time of the whole */
        return;
    struct request *r = p->request;
    uint64_t sent = since(p->deadline, part_timeout(p));
    uint64_t queue = since(sent, r->came), node = since(worker_now(w), sent);
    histogram_add(&w->outcomes.queue, queue);
    if (p->node->pulse) {
        histogram_add(&p->node->pulse->of[w->index].first_byte, node);
        if (node >= r->node_ns) {
            r->queue_ns = queue;
            r->node_ns = node;
            r->node = p->node->pulse->node + 1;
        }
    }
}

uint64_t outcomes_note_end(struct worker *w, const struct request *r)
{
    if (!r->command) /* an answer from memory that waited for its turn */
        return 0;
    metric_add(&w->outcomes.of[outcome_class_of(r->command)][r->outcome], 1);
    if (r->command->flags & COMMAND_BLOCKS)
        return 0;
    uint64_t took = since(worker_now(w), r->came);
    histogram_add(&w->outcomes.total, took);
    return took;
}

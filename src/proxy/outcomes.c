/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/outcomes.h"

#include "base/nsec.h"
#include "proxy/outcomes_run.h"
#include "proxy/worker_internal.h"

const char *outcome_class_name(enum outcome_class c)
{
    static const char *const NAMES[] = {"read", "write", "other"};
    return NAMES[c];
}

const char *outcome_name(enum outcome o)
{
    static const char *const NAMES[] = {"ok",         "hit",    "miss",
                                        "node_error", "failed", "failover_miss"};
    return NAMES[o];
}

enum outcome_class outcome_class_of(const struct command *c)
{
    return c->flags & COMMAND_READ    ? OUTCOME_READS
           : c->flags & COMMAND_WRITE ? OUTCOME_WRITES
                                      : OUTCOME_OTHERS;
}

static bool is_nil(struct str s)
{
    return str_begins(s, STR("$-1\r")) || str_begins(s, STR("_\r")) || str_begins(s, STR("*-1\r"));
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
        miss = str_begins(reply, STR(":0\r"));
        break;
    case MISS_MINUS_TWO:
        miss = str_begins(reply, STR(":-2\r"));
        break;
    case MISS_EMPTY:
        miss = str_begins(reply, STR("$0\r"));
        break;
    case MISS_ARRAY:
    case MISS_SET:
    case MISS_MAP:
        miss = is_empty(reply);
        break;
    case MISS_NONE_TYPE:
        miss = str_begins(reply, STR("+none\r"));
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

void outcomes_note_mget(struct worker *w, struct str reply)
{
    uint64_t keys = 0, hits = 0;
    const char *at = reply.len > 0 ? memchr(reply.p, '\n', reply.len) : NULL;
    struct str rest = at ? (struct str){at + 1, reply.len - (size_t)(at + 1 - reply.p)} : STR("");
    while (rest.len > 0) {
        size_t len = rest.p[0] == '_' ? 3 : frame_try_reply(rest.p, rest.len, &w->reply_limits);
        if (len == 0 || len > rest.len) /* no value at all: then nobody knows how long it is */
            break;
        keys++;
        hits += !reply_len_is_nil(len);
        rest = (struct str){rest.p + len, rest.len - len};
    }
    metric_add(&w->metrics.mget_hits, hits);
    metric_add(&w->metrics.mget_misses, keys - hits);
}

void outcomes_run_init(struct outcomes_run *o)
{
    *o = (struct outcomes_run){.came = NSEC_NEVER};
}

void outcomes_note_queue(struct worker *w, const struct part *p)
{
    if (!p->request)
        return;
    histogram_add(&w->outcomes.queue, since(worker_now(w), p->request->came), 1);
    w->run.queued++;
}

static uint64_t sent_at(const struct worker *w)
{
    return since(w->run.deadline, w->settings->request_timeout);
}

void outcomes_count_begun(struct worker *w)
{
    struct outcomes_run *o = &w->run;
    struct pulse *p = o->node->pulse;
    uint64_t begun = o->begun;
    if (p)
        histogram_add(&p->of[w->index].first_byte, since(worker_now(w), sent_at(w)), begun);
    if (o->queued > 0) { /* the others went out as they came */
        uint64_t queued = nsec_min(o->queued, begun);
        o->queued -= queued;
        begun -= queued;
    }
    metric_add(&w->outcomes.queue.count[0], begun);
    o->deadline = 0;
    o->begun = 0;
}

/* One that blocks, or is still coming from its client, has another kind of deadline; a second try,
 * or a part of a fan-out, has what was left of the time: `early`. */
void outcomes_begin_other(struct worker *w, const struct part *p)
{
    struct outcomes_run *o = &w->run;
    outcomes_read_over(w, o);
    if (!p->request || p->swallow > 0 || p->deadline == NSEC_NEVER || p->blocks || p->early)
        return;
    o->deadline = p->deadline;
    o->begun = 1;
    o->node = p->node;
}

void outcomes_keep(struct worker *w, struct request *r)
{
    const struct outcomes_run *o = &w->run;
    if (o->begun == 0)
        return;
    r->sent = sent_at(w);
    r->first_byte = worker_now(w);
    r->node = o->node->pulse ? o->node->pulse->node + 1 : 0;
}

void outcomes_count_ended(struct worker *w)
{
    struct outcomes_run *o = &w->run;
    metric_add(&w->outcomes.of[outcome_class_of(o->command)][o->outcome], o->ended);
    histogram_add(&w->outcomes.total, worker_now(w) - o->came, o->ended + o->others);
    o->came = NSEC_NEVER;
}

void outcomes_end_other(struct worker *w, struct request *r)
{
    struct outcomes_run *o = &w->run;
    const struct command *c = r->command;
    if (!c) /* an answer from memory that waited for its turn */
        return;
    bool blocks = c->flags & COMMAND_BLOCKS;
    uint64_t took = since(worker_now(w), r->came);
    /* 0 less 1 is more than anything takes */
    if (took <= w->settings->slow_above - 1 && !blocks && (r->came != o->came || c != o->command)) {
        outcomes_turn_over(w, o);
        o->came = r->came;
        o->command = c;
        o->outcome = r->outcome;
        o->ended = 1;
        o->others = 0;
        return;
    }
    metric_add(&w->outcomes.of[outcome_class_of(c)][r->outcome], 1);
    if (blocks)
        return;
    if (took <= w->settings->slow_above - 1) {
        o->others++;
        return;
    }
    histogram_add(&w->outcomes.total, took, 1);
    if (r->first_byte == 0 && r->outcome < OUTCOME_FAILED)
        outcomes_keep(w, r);
    samples_give_slow(w, r, took);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/job_table.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <stdlib.h>

const char *job_state_name(enum job_state s)
{
    static const char *const NAMES[] = {
        [JOB_FREE] = "free",       [JOB_TAKEN] = "taken", [JOB_QUEUED] = "queued",
        [JOB_RUNNING] = "running", [JOB_DONE] = "done",   [JOB_CANCELLED] = "cancelled",
        [JOB_FAILED] = "failed",
    };
    return NAMES[s];
}

int job_table_init(struct job_table *t, unsigned active_max)
{
    must(active_max >= 1 && active_max <= JOBS_MAX);
    *t = (struct job_table){.count = 2 * active_max, .active_max = active_max};
    t->slots = calloc(t->count, sizeof(*t->slots));
    return t->slots ? 0 : -ENOMEM;
}

void job_table_fini(struct job_table *t)
{
    free(t->slots);
    t->slots = NULL;
}

/* ---- texts in words ---- */

static void store_text(atomic_uint_least64_t *to, size_t words, struct str s)
{
    for (size_t i = 0; i < words; i++) {
        uint64_t word = 0;
        size_t at = i * sizeof(word);
        if (at < s.len)
            memcpy(&word, s.p + at, s.len - at < sizeof(word) ? s.len - at : sizeof(word));
        atomic_store_explicit(&to[i], word, memory_order_release);
    }
}

static void load_text(const atomic_uint_least64_t *from, size_t words, char *to)
{
    for (size_t i = 0; i < words; i++) {
        uint64_t word = atomic_load_explicit(&from[i], memory_order_acquire);
        memcpy(to + i * sizeof(word), &word, sizeof(word));
    }
}

/* ---- writing ---- */

static bool is_active(const struct job_slot *s)
{
    enum job_state state = (enum job_state)job_slot_get(s, JOB_STATE);
    return state == JOB_TAKEN || job_state_is_active(state);
}

/* Of those that are not in use the one whose job is oldest. Others may be at the same; whoever
 * changes its state first has it. */
static struct job_slot *take(struct job_table *t)
{
    for (;;) {
        struct job_slot *oldest = NULL;
        uint64_t oldest_id = 0;
        for (unsigned i = 0; i < t->count; i++) {
            struct job_slot *s = &t->slots[i];
            uint64_t id = atomic_load_explicit(&s->id, memory_order_acquire);
            if (is_active(s) || (oldest && id >= oldest_id))
                continue;
            oldest = s;
            oldest_id = id;
        }
        if (!oldest)
            continue; /* another thread has taken it in between; there are more than are in use */
        uint64_t was = job_slot_get(oldest, JOB_STATE);
        if (was != JOB_TAKEN && !job_state_is_active((enum job_state)was) &&
            atomic_compare_exchange_strong(&oldest->figures[JOB_STATE], &was, JOB_TAKEN))
            return oldest;
    }
}

int job_table_add(struct job_table *t, const struct job_order *order, struct job_slot **ret_slot)
{
    must(order->pattern.len <= JOB_PATTERN_MAX);
    if (atomic_fetch_add(&t->active, 1) >= t->active_max) {
        atomic_fetch_sub(&t->active, 1);
        return -EAGAIN;
    }
    struct job_slot *s = take(t);
    atomic_store_explicit(&s->id, 0, memory_order_relaxed);
    for (unsigned i = JOB_STATE + 1; i < JOB_FIGURE_COUNT; i++)
        job_slot_set(s, (enum job_figure)i, 0);
    job_slot_set(s, JOB_PATTERN_LEN, order->pattern.len);
    job_slot_set(s, JOB_DATABASE, order->database);
    job_slot_set(s, JOB_COUNT, order->count);
    job_slot_set(s, JOB_RATE, order->rate);
    job_slot_set(s, JOB_SINCE, order->since_ms);
    store_text(s->pattern, JOB_PATTERN_MAX / 8, order->pattern);
    store_text(s->why, JOB_WHY_MAX / 8, STR(""));
    job_slot_set(s, JOB_STATE, JOB_QUEUED);
    atomic_store_explicit(&s->id, atomic_fetch_add(&t->last_id, 1) + 1, memory_order_release);
    *ret_slot = s;
    return 0;
}

void job_table_end(struct job_table *t, struct job_slot *s, enum job_state state, uint64_t now,
                   const char *why)
{
    must(job_state_is_active((enum job_state)job_slot_get(s, JOB_STATE)));
    char text[JOB_WHY_MAX];
    str_fill(text, sizeof(text), str_of(state == JOB_FAILED ? why : ""));
    store_text(s->why, JOB_WHY_MAX / 8, str_of(text));
    job_slot_set(s, JOB_ENDED, now);
    job_slot_set(s, JOB_STATE, state);
    atomic_fetch_sub(&t->active, 1);
}

/* ---- reading ---- */

/* False: it is nobody's, or was given away meanwhile. */
static bool read_slot(const struct job_slot *s, struct job_info *to)
{
    to->id = atomic_load_explicit(&s->id, memory_order_acquire);
    if (to->id == 0)
        return false;
    for (unsigned i = 0; i < JOB_FIGURE_COUNT; i++) /* the state first: what else is, is as new */
        to->figures[i] = job_slot_get(s, (enum job_figure)i);
    load_text(s->pattern, JOB_PATTERN_MAX / 8, to->pattern);
    load_text(s->why, JOB_WHY_MAX / 8, to->why);
    to->why[JOB_WHY_MAX - 1] = '\0';
    return to->figures[JOB_STATE] >= JOB_QUEUED &&
           to->figures[JOB_PATTERN_LEN] <= JOB_PATTERN_MAX &&
           atomic_load_explicit(&s->id, memory_order_relaxed) == to->id;
}

static int by_id(const void *a, const void *b)
{
    const struct job_info *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

unsigned job_table_list(const struct job_table *t, struct job_info *to)
{
    unsigned count = 0;
    for (unsigned i = 0; i < t->count; i++)
        count += read_slot(&t->slots[i], &to[count]);
    qsort(to, count, sizeof(*to), by_id);
    return count;
}

bool job_table_find(const struct job_table *t, uint64_t id, struct job_info *ret)
{
    for (unsigned i = 0; i < t->count && id != 0; i++)
        if (atomic_load_explicit(&t->slots[i].id, memory_order_acquire) == id)
            return read_slot(&t->slots[i], ret) && ret->id == id;
    return false;
}

int64_t job_info_eta_ms(const struct job_info *j, uint64_t now)
{
    const uint64_t *f = j->figures;
    if (!job_state_is_active((enum job_state)f[JOB_STATE]))
        return 0;
    if (f[JOB_SCANNED] == 0 || f[JOB_BEGAN] == 0 || now <= f[JOB_BEGAN])
        return -1;
    uint64_t left = f[JOB_KEYS] > f[JOB_SCANNED] ? f[JOB_KEYS] - f[JOB_SCANNED] : 0;
    double took_ms = (double)(now - f[JOB_BEGAN]) / NSEC_MS;
    double eta = took_ms * (double)left / (double)f[JOB_SCANNED];
    return eta < 1e15 ? (int64_t)eta : -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "flights.h"

#include "clock.h"
#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINGER_NS                                                                                  \
    (INT64_C(1000) * NS_PER_MS) /* longer than any look that could have begun before */

void flights_init(struct flights *f)
{
    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
}

static void unref(struct flight *flight)
{
    if (--flight->shares == 0) {
        for (struct job *j; (j = flight->waiting) != NULL;) { /* of a cache that is closed */
            flight->waiting = j->next;
            job_unref(j);
        }
        bytes_unref(flight->result.value);
        pthread_cond_destroy(&flight->ended);
        free(flight);
    }
}

static void unlist(struct flights *f, struct flight **at)
{
    struct flight *flight = *at;
    *at = flight->next;
    flight->is_listed = false;
    f->ended_count -= flight->is_ended;
    unref(flight);
}

void flights_fini(struct flights *f)
{
    for (int i = 0; i < FLIGHT_ROWS; i++) {
        while (f->rows[i] != NULL) {
            unlist(f, &f->rows[i]);
        }
    }
    pthread_mutex_destroy(&f->lock);
}

/* Ended loads of one row that nobody can ask for any more. */
static void sweep_row(struct flights *f, int row, int64_t now_ns)
{
    for (struct flight **at = &f->rows[row]; *at != NULL;) {
        if ((*at)->is_ended &&
            (now_ns - (*at)->ended_ns > LINGER_NS || f->ended_count > FLIGHTS_ENDED_MAX)) {
            unlist(f, at);
        } else {
            at = &(*at)->next;
        }
    }
}

static struct flight *begin(const struct flight_key *k, bool has_leader_thread)
{
    struct flight *flight = malloc(sizeof(*flight) + k->key_len);
    if (flight == NULL) {
        return NULL;
    }
    memset(flight, 0, sizeof(*flight));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&flight->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    flight->store = k->store;
    flight->hash = k->hash;
    flight->shares = 2; /* the leader's and the table's */
    flight->is_listed = true;
    flight->mark = *k->mark;
    flight->leader = pthread_self();
    flight->has_leader_thread = has_leader_thread;
    flight->key_len = k->key_len;
    memcpy(flight->key, k->key, k->key_len);
    return flight;
}

static struct load_result shared(const struct load_result *result)
{
    struct load_result copy = *result;
    if (copy.value != NULL) {
        bytes_ref(copy.value);
    }
    return copy;
}

static struct flight **find(struct flights *f, const struct flight_key *k)
{
    int row = (int)(k->hash % FLIGHT_ROWS);
    sweep_row(f, row, clock_ns());
    struct flight **at = &f->rows[row];
    while (*at != NULL &&
           !((*at)->hash == k->hash && (*at)->store == k->store && (*at)->key_len == k->key_len &&
             memcmp((*at)->key, k->key, k->key_len) == 0)) {
        at = &(*at)->next;
    }
    return at;
}

static bool has_same_mark(const struct flight *flight, const struct fence_mark *mark)
{
    return flight->mark.slot_seen == mark->slot_seen && flight->mark.all_seen == mark->all_seen;
}

/* Puts a new flight in the place of the one that was found, if there is memory. */
static struct flight *lead(struct flights *f, struct flight **at, const struct flight_key *k,
                           bool has_leader_thread)
{
    if (*at != NULL && (*at)->is_ended) {
        unlist(f, at);
    } /* one of before an invalidation that has not ended stays, behind the new one */
    struct flight *flight = begin(k, has_leader_thread);
    if (flight != NULL) {
        flight->next = f->rows[k->hash % FLIGHT_ROWS];
        f->rows[k->hash % FLIGHT_ROWS] = flight;
    }
    return flight;
}

enum flight_role flight_join(struct flights *f, const struct flight_key *k, struct job *job,
                             struct flight **ret_flight, struct load_result *ret_result)
{
    enum flight_role role = FLIGHT_LEAD;
    pthread_mutex_lock(&f->lock);
    struct flight **at = find(f, k);
    struct flight *flight = *at;
    if (flight != NULL && has_same_mark(flight, k->mark)) {
        if (flight->is_ended && flight->ended_ns >= k->began_ns) {
            *ret_result = shared(&flight->result);
            role = FLIGHT_ENDED;
        } else if (!flight->is_ended) {
            bool is_own = job == NULL && flight->has_leader_thread &&
                          pthread_equal(flight->leader, pthread_self());
            role = is_own ? FLIGHT_ALONE : FLIGHT_WAIT; /* a loader that asks for its own key */
        }
    }
    if (role == FLIGHT_WAIT && job != NULL) {
        job->next = flight->waiting;
        flight->waiting = job;
        f->waiting_count++;
    } else if (role == FLIGHT_WAIT) {
        flight->shares++;
        *ret_flight = flight;
    } else if (role == FLIGHT_LEAD) {
        flight = lead(f, at, k, job == NULL);
        role = flight == NULL ? FLIGHT_ALONE : FLIGHT_LEAD;
        *ret_flight = flight;
    }
    pthread_mutex_unlock(&f->lock);
    return role;
}

struct flight *flight_try_lead(struct flights *f, const struct flight_key *k,
                               bool has_leader_thread)
{
    struct flight *flight = NULL;
    pthread_mutex_lock(&f->lock);
    struct flight **at = find(f, k);
    bool is_led = *at != NULL && has_same_mark(*at, k->mark) &&
                  (!(*at)->is_ended || (*at)->ended_ns >= k->began_ns);
    if (!is_led) {
        flight = lead(f, at, k, has_leader_thread);
    }
    pthread_mutex_unlock(&f->lock);
    return flight;
}

void flight_move(struct flights *f, struct flight *flight)
{
    pthread_mutex_lock(&f->lock);
    flight->leader = pthread_self();
    pthread_mutex_unlock(&f->lock);
}

bool flight_wait(struct flights *f, struct flight *flight, int64_t deadline_ns,
                 struct load_result *ret_result)
{
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    pthread_mutex_lock(&f->lock);
    while (!flight->is_ended &&
           pthread_cond_timedwait(&flight->ended, &f->lock, &until) != ETIMEDOUT) {
    }
    bool is_ended = flight->is_ended;
    if (is_ended) {
        *ret_result = shared(&flight->result);
    }
    unref(flight);
    pthread_mutex_unlock(&f->lock);
    return is_ended;
}

struct job *flight_end(struct flights *f, struct flight *flight, const struct load_result *result)
{
    pthread_mutex_lock(&f->lock);
    flight->result = shared(result);
    flight->is_ended = true;
    flight->ended_ns = clock_ns();
    f->ended_count += flight->is_listed;
    struct job *waiting = flight->waiting;
    flight->waiting = NULL;
    for (struct job *j = waiting; j != NULL; j = j->next) {
        f->waiting_count--;
    }
    pthread_cond_broadcast(&flight->ended);
    unref(flight);
    pthread_mutex_unlock(&f->lock);
    return waiting;
}

/* Those of one load; returns the list, to which they are added. */
static struct job *take_late(struct flights *f, struct flight *flight, int64_t now_ns,
                             struct job *late)
{
    for (struct job **at = &flight->waiting; *at != NULL;) {
        struct job *j = *at;
        if (j->deadline_ns > now_ns) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        j->next = late;
        late = j;
        f->waiting_count--;
    }
    return late;
}

struct job *flights_take_late(struct flights *f, int64_t now_ns)
{
    struct job *late = NULL;
    pthread_mutex_lock(&f->lock);
    for (int row = 0; f->waiting_count > 0 && row < FLIGHT_ROWS; row++) {
        for (struct flight *flight = f->rows[row]; flight != NULL; flight = flight->next) {
            late = take_late(f, flight, now_ns, late);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return late;
}

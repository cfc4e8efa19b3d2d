/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single flight: of the calls that miss one key, one loads, the others wait for it, each up to its
 * own deadline. A load is shared only with calls that began before it ended, and that have seen no
 * invalidation since it began. Any thread.
 */
#pragma once

#include "fence.h"
#include "value.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FLIGHT_ROWS = 64, FLIGHTS_ENDED_MAX = 64 };

struct job;

/* What a load has come to. */
struct load_result {
    int answer; /* SC_LOADED, SC_NONE, SC_FAILED, SC_STALE */
    int loader_error;
    struct bytes *value; /* a share; NULL if there is none */
    size_t offset;
    int64_t created_ms;
    uint32_t soft_ms;
};

struct flight {
    struct flight *next;
    uint64_t store, hash;
    unsigned shares; /* of its leader, of those who wait, of the table */
    bool is_ended, is_listed;
    int64_t ended_ns;
    pthread_t leader;
    bool has_leader_thread; /* not for a load that ends somewhere else */
    struct fence_mark mark;
    struct load_result result;
    struct job *waiting; /* asynchronous calls */
    pthread_cond_t ended;
    size_t key_len;
    char key[];
};

struct flights {
    pthread_mutex_t lock;
    unsigned ended_count;
    unsigned waiting_count; /* asynchronous calls that wait */
    struct flight *rows[FLIGHT_ROWS];
};

/* Who asks: a call that has looked at began_ns for the last time. Loans. */
struct flight_key {
    uint64_t store, hash;
    const void *key;
    size_t key_len;
    const struct fence_mark *mark;
    int64_t began_ns;
};

enum flight_role {
    FLIGHT_LEAD,  /* load, then flight_end() */
    FLIGHT_WAIT,  /* flight_wait(), or the job is told */
    FLIGHT_ENDED, /* *ret_result is the answer: its value is a new share */
    FLIGHT_ALONE  /* load, for this call only: no flight */
};

void flights_init(struct flights *f);
/* No call is under way. */
void flights_fini(struct flights *f);
/*
 * Joins, or begins, the load of a key.
 * `job`: an asynchronous call, which is put among those that wait.
 */
enum flight_role flight_join(struct flights *f, const struct flight_key *k, struct job *job,
                             struct flight **ret_flight, struct load_result *ret_result);
/* Begins the load of a key if nobody loads it, nor has since began_ns; NULL otherwise. The leader
 * is this thread, or none. */
struct flight *flight_try_lead(struct flights *f, const struct flight_key *k,
                               bool has_leader_thread);
/* This thread is its leader from now on. */
void flight_move(struct flights *f, struct flight *flight);
/* For FLIGHT_WAIT: true and the result (a new share), or false at the deadline. */
bool flight_wait(struct flights *f, struct flight *flight, int64_t deadline_ns,
                 struct load_result *ret_result);
/* For FLIGHT_LEAD: tells all. Takes a share of result->value. Returns the jobs that waited. */
struct job *flight_end(struct flights *f, struct flight *flight, const struct load_result *result);
/* Takes those jobs out whose deadline is over: they load by themselves. */
struct job *flights_take_late(struct flights *f, int64_t now_ns);

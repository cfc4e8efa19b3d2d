/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, and a lock with a condition to wait for. The data path uses neither: what threads tell
 * each other there goes through mailboxes.
 */
#pragma once
#include "base/cleanup.h"

#include <pthread.h>
#include <stdint.h>

enum { THREAD_NAME_MAX = 16 }; /* the kernel's limit, NUL included; longer names are cut */

struct thread; /* opaque */

/* Starts run(arg) in a new thread. The caller owns *ret_thread until thread_join() has returned 0
 * or thread_abandon() was called. 0 or -errno. */
int thread_start(const char *name, void (*run)(void *arg), void *arg,
                 struct thread **ret_thread) MUST_CHECK;

/* Waits until it has ended, at most timeout_ns (NSEC_NEVER: for ever), and frees `t`. 0, or
 * -ETIMEDOUT: it still runs, `t` is still the caller's. */
int thread_join(struct thread *t, uint64_t timeout_ns) MUST_CHECK;

/* Nobody will wait for it. What it uses must live until it ends, or the process does. */
void thread_abandon(struct thread *t);

/* A mutex and one condition. */
struct thread_lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

void thread_lock_init(struct thread_lock *l);
void thread_lock_fini(struct thread_lock *l); /* nobody holds it or waits */
void thread_lock_take(struct thread_lock *l);
void thread_lock_give(struct thread_lock *l);
/* Held: gives the lock, sleeps until thread_lock_notify() or the time is over (NSEC_NEVER: for
 * ever), takes it again. May also return for no reason: look again at what you wait for. */
void thread_lock_wait(struct thread_lock *l, uint64_t timeout_ns);
void thread_lock_notify(struct thread_lock *l); /* wakes all who wait; held or not */

/* SPDX-License-Identifier: Apache-2.0 */
#include "os/thread.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    char name[THREAD_NAME_MAX];
    /* Two ends hold it: the thread itself and whoever may join. The last one frees it. */
    struct thread_lock lock;
    bool ended, abandoned;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NSEC_S + (uint64_t)t.tv_nsec;
}

static void thread_free(struct thread *t)
{
    thread_lock_fini(&t->lock);
    free(t);
}

static void *thread_main(void *owner)
{
    struct thread *t = owner;
    pthread_setname_np(pthread_self(), t->name); /* only a name: a failure changes nothing */
    t->run(t->arg);
    thread_lock_take(&t->lock);
    t->ended = true;
    bool mine = t->abandoned;
    thread_lock_notify(&t->lock);
    thread_lock_give(&t->lock);
    if (mine)
        thread_free(t);
    return NULL;
}

int thread_start(const char *name, void (*run)(void *arg), void *arg, struct thread **ret_thread)
{
    struct thread *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->run = run;
    t->arg = arg;
    snprintf(t->name, sizeof(t->name), "%s", name);
    thread_lock_init(&t->lock);
    int err = pthread_create(&t->id, NULL, thread_main, t);
    if (err) {
        thread_free(t);
        return -err;
    }
    *ret_thread = t;
    return 0;
}

int thread_join(struct thread *t, uint64_t timeout_ns)
{
    uint64_t start = now_ns();
    thread_lock_take(&t->lock);
    while (!t->ended) {
        uint64_t passed = now_ns() - start;
        if (timeout_ns != NSEC_NEVER && passed >= timeout_ns)
            break;
        thread_lock_wait(&t->lock, timeout_ns == NSEC_NEVER ? NSEC_NEVER : timeout_ns - passed);
    }
    bool ended = t->ended;
    thread_lock_give(&t->lock);
    if (!ended)
        return -ETIMEDOUT;
    must(pthread_join(t->id, NULL) == 0); /* the few instructions after `ended` */
    thread_free(t);
    return 0;
}

void thread_abandon(struct thread *t)
{
    must(pthread_detach(t->id) == 0);
    thread_lock_take(&t->lock);
    t->abandoned = true;
    bool mine = t->ended;
    thread_lock_give(&t->lock);
    if (mine)
        thread_free(t);
}

void thread_lock_init(struct thread_lock *l)
{
    must(pthread_mutex_init(&l->mutex, NULL) == 0);
    pthread_condattr_t attr;
    must(pthread_condattr_init(&attr) == 0);
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    must(pthread_cond_init(&l->changed, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void thread_lock_fini(struct thread_lock *l)
{
    must(pthread_cond_destroy(&l->changed) == 0);
    must(pthread_mutex_destroy(&l->mutex) == 0);
}

void thread_lock_take(struct thread_lock *l)
{
    must(pthread_mutex_lock(&l->mutex) == 0);
}

void thread_lock_give(struct thread_lock *l)
{
    must(pthread_mutex_unlock(&l->mutex) == 0);
}

void thread_lock_wait(struct thread_lock *l, uint64_t timeout_ns)
{
    if (timeout_ns == NSEC_NEVER) {
        must(pthread_cond_wait(&l->changed, &l->mutex) == 0);
        return;
    }
    uint64_t until = now_ns() + timeout_ns;
    struct timespec t = {.tv_sec = (time_t)(until / NSEC_S), .tv_nsec = (long)(until % NSEC_S)};
    int err = pthread_cond_timedwait(&l->changed, &l->mutex, &t);
    must(err == 0 || err == ETIMEDOUT);
}

void thread_lock_notify(struct thread_lock *l)
{
    must(pthread_cond_broadcast(&l->changed) == 0);
}

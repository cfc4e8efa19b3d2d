/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_asker.h"

#include "base/nsec.h"
#include "os/thread.h"

#include <errno.h>
#include <stdlib.h>

struct top_asker {
    struct top_asking asking;
    struct thread *thread;
    struct thread_lock lock; /* of what follows */
    bool is_wanted, is_ending;
    bool is_answered;
    struct top_answer answer; /* valid if is_answered */
};

/* Locked. False: there are no more questions. */
static bool wait_for_question(struct top_asker *a)
{
    while (!a->is_wanted && !a->is_ending)
        thread_lock_wait(&a->lock, NSEC_NEVER);
    return !a->is_ending;
}

static void run(void *arg)
{
    struct top_asker *a = arg;
    thread_lock_take(&a->lock);
    while (wait_for_question(a)) {
        struct top_answer answer = {0};
        thread_lock_give(&a->lock);
        answer.status = a->asking.ask(a->asking.owner, &answer.pages, answer.why);
        if (answer.status != 0)
            top_pages_fini(&answer.pages);
        thread_lock_take(&a->lock);
        if (a->is_answered)
            top_pages_fini(&a->answer.pages);
        a->answer = answer;
        a->is_answered = true;
        a->is_wanted = false;
        a->asking.tell(a->asking.listener);
    }
    thread_lock_give(&a->lock);
}

int top_asker_start(const struct top_asking *asking, struct top_asker **ret_asker)
{
    struct top_asker *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->asking = *asking;
    thread_lock_init(&a->lock);
    int err = thread_start("top-asker", run, a, &a->thread);
    if (err) {
        thread_lock_fini(&a->lock);
        free(a);
        return err;
    }
    *ret_asker = a;
    return 0;
}

int top_asker_stop(struct top_asker *a, uint64_t timeout_ns)
{
    thread_lock_take(&a->lock);
    a->is_ending = true;
    thread_lock_notify(&a->lock);
    thread_lock_give(&a->lock);
    int err = thread_join(a->thread, timeout_ns);
    if (err)
        return err;
    if (a->is_answered)
        top_pages_fini(&a->answer.pages);
    thread_lock_fini(&a->lock);
    free(a);
    return 0;
}

void top_asker_ask(struct top_asker *a)
{
    thread_lock_take(&a->lock);
    a->is_wanted = true;
    thread_lock_notify(&a->lock);
    thread_lock_give(&a->lock);
}

bool top_asker_take(struct top_asker *a, struct top_answer *ret)
{
    thread_lock_take(&a->lock);
    bool is_answered = a->is_answered;
    if (is_answered)
        *ret = a->answer;
    a->is_answered = false;
    thread_lock_give(&a->lock);
    return is_answered;
}

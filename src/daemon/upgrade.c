/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/upgrade.h"

#include "base/nsec.h"
#include "os/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKETS_PER_WORKER = 64, WHY_MAX = 512 };

#define REST_WAIT  (10 * NSEC_S) /* for what the journal knows to be cleared away: mostly 1 s */
#define READY_WAIT (30 * NSEC_S) /* for a process that is started to serve: mostly 50 ms */

void upgrade_init(struct upgrade *u)
{
    *u = (struct upgrade){.admin = -1, .successor.ready = -1};
    if (handover_program(u->program) != 0)
        u->program[0] = '\0';
}

void upgrade_fini(struct upgrade *u)
{
    text_fini(&u->testament.text);
}

static bool __attribute__((format(printf, 2, 3))) fail(struct upgrade *u, const char *text, ...)
{
    char why[WHY_MAX];
    va_list ap;
    va_start(ap, text);
    vsnprintf(why, sizeof(why), text, ap);
    va_end(ap);
    u->state = UPGRADE_REST;
    control_thread_count_failure(u->control, CONTROL_THREAD_UPGRADE_FAILED);
    log_event(u->log, LOG_ERROR, "upgrade-failed", "reason=\"%s\"", why);
    notify_answer(u->asker, true, why);
    return false;
}

void upgrade_ask(struct upgrade *u)
{
    if (upgrade_is_under_way(u)) {
        notify_answer(process_events_upgrader(u->events), true, "another is under way");
        return;
    }
    u->asker = process_events_upgrader(u->events);
    u->until = process_now_ns() + REST_WAIT;
    u->testament.forgets = process_events_upgrade_value(u->events) == UPGRADE_FLUSH_OUT;
    if (u->has_children)
        (void)fail(u, "the nodes of --local are children of this process, and end with it");
    else if (!u->program[0])
        (void)fail(u, "/proc/self/exe does not say which program this is");
    else
        u->state = UPGRADE_WAITS;
}

static int spawn(struct upgrade *u)
{
    size_t room = (size_t)u->worker_count * SOCKETS_PER_WORKER + 1;
    int *handles CLEANUP(freep) = calloc(room, sizeof(*handles));
    struct handover_estate estate = {.handles = handles, .activated = u->activated};
    if (!handles)
        return -ENOMEM;
    for (unsigned i = 0; i < u->worker_count; i++)
        estate.count += worker_listeners(u->workers[i], handles + estate.count, SOCKETS_PER_WORKER);
    if (u->admin >= 0)
        handles[estate.count++] = u->admin;
    estate.testament = (struct str){u->testament.text.bytes, u->testament.text.len};
    return handover_spawn(u->program, &estate, &u->successor);
}

static bool start(struct upgrade *u)
{
    int err = spawn(u);
    if (err)
        return fail(u, "cannot start %s: %s", u->program, strerror(-err));
    u->state = UPGRADE_STARTED;
    u->until = process_now_ns() + READY_WAIT;
    log_event(u->log, LOG_INFO, "upgrade-started", "pid=%d program=%s", u->successor.pid,
              u->program);
    return false;
}

/* Why there is no testament. */
static bool fail_to_leave(struct upgrade *u)
{
    const struct control_metrics *m = control_metrics(control_thread_control(u->control));
    uint64_t jobs = metric_get(&m->jobs_active);
    if (u->testament.err != -EAGAIN && u->testament.err != -EBUSY)
        return fail(u, "cannot say what nodes are to forget: %s", strerror(-u->testament.err));
    if (jobs > 0)
        return fail(u, "%" PRIu64 " jobs run, and would end with this process", jobs);
    return fail(u,
                "%s (nodes_out=%" PRIu64 " slots_away=%" PRIu64 " slots_fenced=%" PRIu64
                " journal_keys=%" PRIu64 ")%s",
                u->testament.err == -EAGAIN ? "slots are moving"
                                            : "nodes are out, or not clean yet, and what they are "
                                              "to forget only this process knows",
                metric_get(&m->nodes_out), metric_get(&m->slots_away), metric_get(&m->slots_fenced),
                metric_get(&m->journal_keys),
                u->testament.forgets ? ""
                                     : "; with --flush-out they are emptied when they are back");
}

static bool wait_for_testament(struct upgrade *u)
{
    struct control_thread_testament *t = &u->testament;
    if (!u->has_asked) {
        u->has_asked = true;
        control_thread_ask_testament(u->control, t);
        return false;
    }
    if (!atomic_load_explicit(&t->answered, memory_order_acquire))
        return false;
    u->has_asked = false;
    if ((t->err == -EAGAIN || t->err == -EBUSY) && process_now_ns() < u->until) {
        text_fini(&t->text);
        return false; /* asked again with the next step */
    }
    bool over = t->err ? fail_to_leave(u) : start(u);
    text_fini(&t->text);
    return over;
}

/* It takes over the place that the service manager has for this process. */
static bool hand_over(struct upgrade *u)
{
    char line[32];
    snprintf(line, sizeof(line), "MAINPID=%d", u->successor.pid);
    (void)notify_manager(line);
    log_event(u->log, LOG_INFO, "upgraded", "pid=%d", u->successor.pid);
    notify_answer(u->asker, false, strchr(line, '=') + 1);
    handover_let_go(&u->successor);
    u->state = UPGRADE_REST;
    return true;
}

static bool await(struct upgrade *u)
{
    int ready = handover_poll(&u->successor);
    int pid = u->successor.pid;
    struct process_end end;
    if (ready > 0)
        return hand_over(u);
    if (ready == 0 && process_now_ns() < u->until)
        return false;
    if (ready == 0)
        process_kill(pid);
    handover_let_go(&u->successor);
    while (!process_has_ended(pid, &end)) /* it closes its descriptors as it ends */
        process_sleep_ns(NSEC_MS);
    if (ready == 0)
        return fail(u, "process %d does not serve after %d s", pid, (int)(READY_WAIT / NSEC_S));
    return fail(u, "process %d ended with %s %d; what it said is in the log", pid,
                end.by_signal ? "signal" : "status", end.code);
}

bool upgrade_step(struct upgrade *u)
{
    switch (u->state) {
    case UPGRADE_WAITS:
        return wait_for_testament(u);
    case UPGRADE_STARTED:
        return await(u);
    case UPGRADE_REST:
        break;
    }
    return false;
}

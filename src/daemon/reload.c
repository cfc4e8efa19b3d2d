/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include "base/nsec.h"
#include "daemon/config_reload.h"
#include "daemon/file_limit.h"
#include "os/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)CONFIG_LOAD_ERROR_MAX < (int)NOTIFY_ANSWER_MAX, "it is an answer as a whole");
_Static_assert((int)CONFIG_LOAD_ERROR_MAX >= (int)TLS_ERROR_MAX, "certificates.h writes into it");

void reload_init(struct reload *r, const struct options *options, struct generation *first,
                 struct lasting *lasting, struct log *log)
{
    *r = (struct reload){.options = options, .now = first, .lasting = lasting, .log = log};
    atomic_init(&r->waiting, 0);
}

void reload_fini(struct reload *r)
{
    r->past = generation_free(r->past);
    r->now = generation_free(r->now);
}

/* A worker's or the control plane's thread: nothing there points to the past any more. */
static void went_over(void *owner)
{
    struct reload *r = owner;
    if (atomic_fetch_sub(&r->waiting, 1) == 1)
        process_events_poke(r->events);
}

/* What is read is checked as a whole, after the running values have been put in: a file may be
 * right by itself and not go with what needs a restart. */
static int read_next(struct reload *r, struct generation **ret, struct certificates *certificates,
                     char kept[CONFIG_KEPT_MAX])
{
    struct config c;
    struct config_error e = {0};
    config_init(&c);
    int err = config_load(r->options, true, &c, r->why);
    if (!err) {
        err = config_keep(&c, &r->now->config, kept);
        if (err)
            snprintf(r->why, sizeof(r->why), "%s", strerror(-err));
    }
    if (!err) {
        err = config_check(&c, &e);
        if (err)
            config_load_say(r->options, &e, r->why);
    }
    if (!err)
        err = file_limit_raise(&c, r->worker_count, r->why);
    if (!err)
        err = certificates_read(&c, certificates, r->why);
    if (err) {
        config_fini(&c);
        return err;
    }
    err = generation_new(&c, r->lasting, ret, r->why);
    if (err)
        certificates_free(certificates);
    return err;
}

/* Those for whom there is no memory now are told at the next step. */
static void post(struct reload *r)
{
    int err = 0;
    for (; r->posted < r->worker_count && !err; r->posted += !err)
        err = worker_post_settings(r->workers[r->posted], &r->now->proxy, went_over, r);
    if (!err && r->posted == r->worker_count) {
        err = control_thread_post(r->control, r->now, went_over, r);
        r->posted += !err;
    }
}

static bool is_posted(const struct reload *r)
{
    return r->posted > r->worker_count;
}

static bool has_ended(struct reload *r, bool failed)
{
    r->count++;
    r->failed = failed;
    if (failed)
        log_event(r->log, LOG_ERROR, "reload-failed", "reason=\"%s\"", r->why);
    else if (r->why[0])
        log_event(r->log, LOG_WARN, "reload-kept", "settings=%s reason=\"they need a restart\"",
                  r->why);
    if (!failed)
        log_event(r->log, LOG_INFO, "reloaded", "count=%" PRIu64, r->count);
    (void)notify_manager("READY=1");
    notify_answer(r->asker, failed, r->why);
    return true;
}

static bool begin(struct reload *r)
{
    struct generation *next;
    struct certificates certificates = {0};
    char kept[CONFIG_KEPT_MAX] = "", lines[80];
    snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             process_now_ns() / NSEC_US);
    (void)notify_manager(lines);
    r->asker = process_events_reloader(r->events);
    r->why[0] = '\0';
    if (read_next(r, &next, &certificates, kept) != 0) {
        control_thread_count_failure(r->control, CONTROL_THREAD_RELOAD_FAILED);
        return has_ended(r, true);
    }
    certificates_renew(&r->lasting->certificates, &certificates);
    r->past = r->now;
    r->now = next;
    snprintf(r->why, sizeof(r->why), "%s", kept);
    atomic_store(&r->log->level, (int)next->config.log_level);
    atomic_store(&r->waiting, r->worker_count + 1);
    r->posted = 0;
    post(r);
    return false;
}

void reload_ask(struct reload *r)
{
    r->asked = true;
}

bool reload_step(struct reload *r)
{
    if (reload_is_under_way(r)) {
        if (!is_posted(r))
            post(r);
        if (atomic_load(&r->waiting) > 0)
            return false;
        r->past = generation_free(r->past);
        return has_ended(r, false);
    }
    if (!r->asked)
        return false;
    r->asked = false;
    return begin(r);
}

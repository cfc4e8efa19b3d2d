/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the settings are read anew, and workers and control plane go over to them, each between
 * two of its turns, with clients and requests as they are. A file that is wrong in any way changes
 * nothing.
 *
 *   REST ──reload_ask()──► (read, checked) ──posted to all──► UNDER_WAY ──all went over──► REST
 *     ▲────────── wrong: told, nothing has changed ──┘
 *
 * Main thread only.
 */
#pragma once
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/control_thread.h"
#include "daemon/generation.h"
#include "os/process.h"
#include "proxy/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct reload {
    const struct options *options; /* loans */
    struct lasting *lasting;
    struct log *log;
    struct process_events *events; /* poked when the last one went over */
    struct worker *const *workers;
    unsigned worker_count;
    struct control_thread *control;

    struct generation *now;  /* owned: by which all go, or will soon */
    struct generation *past; /* owned; NULL: not under way */
    bool asked;              /* again, while one is under way */
    unsigned asker;          /* process that is to be answered; 0: nobody */
    unsigned posted;         /* so many of the workers and the control plane have been told … */
    atomic_uint waiting;     /* … and so many have to go over yet */
    uint64_t count;          /* reloads that came to their end, well or not */
    bool failed;             /* the last one */
    char why[CONFIG_LOAD_ERROR_MAX]; /* it failed; else the settings that need a restart */
};

/* Owns `first`. The rest of the members that are loans may be set later, before reload_ask(). */
void reload_init(struct reload *r, const struct options *options, struct generation *first,
                 struct lasting *lasting, struct log *log);
/* No thread may use the settings any more. */
void reload_fini(struct reload *r);

/* A signal asked for it. One that comes while another is under way follows it. */
void reload_ask(struct reload *r);

/* Call it after each wait. True: one has come to its end just now (`count`, `failed`, `why`). */
bool reload_step(struct reload *r);

static inline bool reload_is_under_way(const struct reload *r)
{
    return r->past != NULL;
}

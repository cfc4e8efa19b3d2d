/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager that we live (WATCHDOG=1 of sd_notify(3)), if it wants to know: only
 * when each worker and the control plane has answered in this round, so that one that hangs is
 * enough to be found. Main thread only.
 */
#pragma once
#include "daemon/control_thread.h"
#include "os/process.h"
#include "proxy/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watchdog {
    uint64_t each; /* ns; 0: nobody wants to know */
    uint64_t next; /* ns: when a round begins */
    bool asking;
    atomic_uint waiting;           /* so many have to answer yet */
    struct process_events *events; /* loans; poked when the last one has answered */
    struct worker *const *workers;
    unsigned worker_count;
    struct control_thread *control;
};

/* All loans outlive the threads. */
void watchdog_begin(struct watchdog *d, struct process_events *events,
                    struct worker *const *workers, unsigned worker_count,
                    struct control_thread *control);

/* Call it after each wait. → when it wants to be called again at the latest, ns; NSEC_NEVER: not
 * before an event. */
uint64_t watchdog_step(struct watchdog *d);

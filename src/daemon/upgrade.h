/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGUSR2: the program is started anew, from the file that is there now, with the listening sockets
 * of this process. When it serves, this one accepts no more, and ends as its clients leave
 * (worker_post_retire()). If it does not come to serve, nothing has changed.
 *
 *   REST ──upgrade_ask()──► WAITS for a testament ──started──► STARTED ──it serves──► over
 *     ▲────────── told why not ──┴───────────────────────────────┘
 *
 * A testament (control_write_testament()) can be had when slots are at rest, and at home too unless
 * the signal came with UPGRADE_FLUSH_OUT: docs/decisions/0021-upgrade-in-place.md. Main thread
 * only.
 */
#pragma once
#include "base/cleanup.h"
#include "base/log.h"
#include "base/nsec.h"
#include "cluster/control_metrics.h"
#include "daemon/control_thread.h"
#include "os/handover.h"
#include "os/process.h"
#include "proxy/worker.h"

#include <stdbool.h>
#include <stdint.h>

#define UPGRADE_STEP (10 * NSEC_MS)

enum { UPGRADE_FLUSH_OUT = 1 }; /* process_upgrade() */

enum upgrade_state { UPGRADE_REST, UPGRADE_WAITS, UPGRADE_STARTED };

struct upgrade {
    struct log *log; /* loans */
    struct process_events *events;
    struct worker *const *workers;
    unsigned worker_count;
    struct control_thread *control;
    int admin;         /* its listening socket; -1: there is none */
    bool has_children; /* nodes of --local, which no successor could take over */
    bool activated;    /* handover.activated */

    enum upgrade_state state;
    unsigned asker; /* process that is to be answered; 0: nobody */
    uint64_t until; /* ns: how long it waits */
    bool has_asked; /* … the control plane, and has no answer yet */
    struct control_thread_testament testament;
    struct handover_successor successor;
    char program[HANDOVER_PROGRAM_MAX];
};

/* Notes which file this process runs; the members that are loans are set before upgrade_ask(). */
void upgrade_init(struct upgrade *u);
/* The control plane must be gone. */
void upgrade_fini(struct upgrade *u);

/* A signal asked for it. One that comes while another is under way is told so. */
void upgrade_ask(struct upgrade *u);

/* Call it after each wait, which is to last UPGRADE_STEP at most while one is under way. True: the
 * successor serves, and this process is to retire. */
bool upgrade_step(struct upgrade *u);

static inline bool upgrade_is_under_way(const struct upgrade *u)
{
    return u->state != UPGRADE_REST;
}

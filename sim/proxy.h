/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One proxy: the process as it is in earnest, with its workers, its control plane and its sources
 * of members, all of them hosts of the virtual world. Several work over the same nodes, and know
 * nothing of each other. One may be killed and started again: then it is another process, which
 * knows nothing of what was. Or another takes its place and is told what nodes are to forget: to
 * the checker they are one.
 */
#pragma once
#include "agreement.h"
#include "cluster/control_metrics.h"
#include "ejections.h"
#include "job_draws.h"
#include "proxy/metrics.h"
#include "proxy/worker.h"
#include "sources.h"
#include "view_post.h"

enum host_kind { HOST_STRANGER, HOST_WORKER, HOST_CONTROL, HOST_NODE, HOST_CLIENT, HOST_INSPECTOR };

/* Whose a host of the world is. What scenarios make and run themselves are strangers. */
struct host_role {
    uint8_t kind; /* enum host_kind */
    uint8_t proxy, index;
};

struct sim_proxy {
    struct io_sim *world;
    const struct sim_options *options;
    struct checker *checker;
    struct log *log;
    struct host_role *roles; /* loan; by host */
    unsigned number;
    unsigned process; /* as the checker counts them */
    struct addr addr;
    bool alive;
    uint64_t up_at;          /* when it is started again; NSEC_NEVER: it is alive */
    uint64_t upgrade_until;  /* it is to be upgraded, at the first moment that fits; 0: it is not */
    unsigned upgrades;       /* so far */
    unsigned upgrades_owing; /* … while nodes had something to forget */
    uint64_t started_at;

    struct worker *workers[SIM_WORKERS_MAX];
    struct io *worker_ios[SIM_WORKERS_MAX];
    bool worker_ended[SIM_WORKERS_MAX];
    struct control *control; /* NULL: there is none */
    struct io *control_io;
    struct sources sources;
    struct ejections ejections;
    struct job_draws jobs;
    struct view_post view_post;
    uint64_t view_version;
    struct agreement *agreement; /* loan; of all proxies */
    uint64_t told_at;            /* when it hears of the newest members; NSEC_NEVER: it has */

    uint64_t connects_checked[SIM_WORKERS_MAX];
    uint64_t paused_until[SIM_WORKERS_MAX]; /* when a worker's last pause ended */
    uint64_t control_paused_until;
    uint64_t road_until[SIM_NODES_MAX]; /* its own way there; 0: open */
    /* Counters of its processes that have ended. */
    struct metrics past;
    struct control_metrics control_past;
};

/* Makes its hosts, and nothing else. */
void proxy_init(struct sim_proxy *p, struct io_sim *world, const struct sim_options *options,
                struct checker *checker, struct log *log, struct host_role *roles,
                struct agreement *agreement, unsigned number);
/* After proxy_init(), and when the models are there. */
void proxy_begin(struct sim_proxy *p);
void proxy_fini(struct sim_proxy *p);

/* Its process ends at once, as by SIGKILL, and another begins at `up_at` by proxy_revive(). */
void proxy_kill(struct sim_proxy *p, uint64_t up_at);
void proxy_revive(struct sim_proxy *p);
/* Another process takes its place at this moment. False: it can't be done now, for something is
 * under way at nodes or in the control plane. */
bool proxy_upgrade(struct sim_proxy *p);
/* No way to this node for its hosts: what is open is clogged until then, connects meet `road`.
 * Ended by IO_SIM_ROAD_OPEN. */
void proxy_cut_off(struct sim_proxy *p, unsigned node, enum io_sim_road road, uint64_t until);

/* From now on these nodes are its members; without a control plane: posts a view of them. */
void proxy_tell_members(struct sim_proxy *p, const bool *present, const uint32_t *weights);
int proxy_publish(void *owner, struct view *v); /* to all workers */

/* A turn of one of its hosts. */
void proxy_run_worker(struct sim_proxy *p, unsigned index);
void proxy_run_control(struct sim_proxy *p);

/* Of all that is no host: when something is next, and that time has come there. */
uint64_t proxy_next(const struct sim_proxy *p);
void proxy_time_moved(struct sim_proxy *p);

bool proxy_is_calm(const struct sim_proxy *p); /* all nodes are in, and slots at rest */
void proxy_post_drain(struct sim_proxy *p);
bool proxy_has_ended(const struct sim_proxy *p); /* all workers have */

/* Sum over all workers it ever had of a counter at this offset of struct metrics. */
uint64_t proxy_metric(const struct sim_proxy *p, size_t offset);
uint64_t proxy_control_metric(const struct sim_proxy *p, size_t offset); /* the same */

/* ---- proxy_check.c: what it may hold, and do. All tell the checker ---- */
void proxy_check_worker(struct sim_proxy *p, unsigned index); /* after each of its turns */
void proxy_check_debts(struct sim_proxy *p); /* when all is over: nothing may be left */

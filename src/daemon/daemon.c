/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads: the main thread (here) starts all, waits for signals and looks after local nodes; one
 * thread per worker; one for the control plane (control_thread.h).
 */
#include "daemon/daemon.h"

#include "admin/admin.h"
#include "base/buf.h"
#include "base/log_json.h"
#include "base/log_limit.h"
#include "base/must.h"
#include "base/nsec.h"
#include "base/secret.h"
#include "daemon/certificates.h"
#include "daemon/config_node.h"
#include "daemon/control_thread.h"
#include "daemon/file_limit.h"
#include "daemon/local_nodes.h"
#include "daemon/reload.h"
#include "daemon/secrets.h"
#include "daemon/sockets.h"
#include "daemon/upgrade.h"
#include "daemon/watchdog.h"
#include "os/cgroup.h"
#include "os/io_epoll.h"
#include "os/notify.h"
#include "os/process.h"
#include "os/thread.h"
#include "proxy/peers.h"
#include "proxy/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_WAIT      (2 * NSEC_S) /* for local nodes to answer; then we start without */
#define LOCAL_WAIT_STEP (10 * NSEC_MS)
#define NODES_WAIT      (5 * NSEC_S)
#define NODES_WAIT_STEP NSEC_MS
#define RELOAD_STEP     (100 * NSEC_MS) /* whom there was no memory to tell is tried again */
#define DRAIN_GRACE     NSEC_S /* over timeouts.drain, for workers to see that it is over */

struct daemon_worker {
    struct daemon *daemon;
    struct io io;
    struct worker *worker; /* owned; posts and counters may be used while its thread runs */
    struct thread *thread; /* NULL: not started, or joined */
};

struct daemon {
    struct reload reload; /* has the present settings; see config_of() */
    struct watchdog watchdog;
    FILE *out, *err;
    struct log log;
    struct thread_lock log_lock;  /* one line at a time; guards log_lost */
    struct log_limit log_limit;   /* the same lock guards it */
    struct log_losses log_losses; /* the same lock, to write */
    uint64_t log_lost;            /* lines that standard error would not take */
    bool log_json;
    struct lasting lasting;
    struct peers *peers; /* owned; what workers count by address */
    struct process_events *events;
    struct sockets sockets;
    struct upgrade upgrade;
    struct local_nodes *local;
    struct control_thread *control;
    char admin_token[CONFIG_PASSWORD_MAX]; /* wiped when it is known to the listener */
    struct admin *admin;                   /* owned; NULL: there is none */
    unsigned worker_count;
    struct daemon_worker *workers; /* owned */
    struct worker **all;           /* owned; what worker_meet() is given */
    atomic_uint running;           /* worker threads */
};

/* A loan until the next reload. */
static const struct config *config_of(const struct daemon *d)
{
    return &d->reload.now->config;
}

static int __attribute__((format(printf, 2, 3))) fail(struct daemon *d, const char *text, ...)
{
    va_list ap;
    va_start(ap, text);
    fputs("sumcache: ", d->err);
    vfprintf(d->err, text, ap);
    fputc('\n', d->err);
    va_end(ap);
    return -ECANCELED; /* told; only that it failed counts from here on */
}

/* In the form that the operator wants. False: standard error would not take it. */
static bool write_line(struct daemon *d, const char *line, size_t len)
{
    char json[LOG_JSON_MAX];
    if (!d->log_json)
        return process_write_stderr(line, len);
    return process_write_stderr(json, log_to_json(line, len, json));
}

static void lose_line(struct daemon *d)
{
    d->log_lost++;
    metric_add(&d->log_losses.lost, 1);
}

static bool write_lost(struct daemon *d, uint64_t lines)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "warn log-lost lines=%" PRIu64 "\n", lines);
    return write_line(d, line, (size_t)n);
}

static void write_suppressed(struct daemon *d, struct str event, uint64_t lines)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "warn log-suppressed event=%.*s lines=%" PRIu64 "\n",
                     (int)event.len, event.p, lines);
    if (!write_line(d, line, (size_t)n))
        lose_line(d);
}

/* A log that nobody reads must not stop a worker: lines that do not fit are lost, and counted. */
static void log_sink(void *owner, const char *line, size_t len)
{
    struct daemon *d = owner;
    struct str event = log_limit_event_of(line, len);
    uint64_t suppressed;
    thread_lock_take(&d->log_lock);
    if (!log_limit_allows(&d->log_limit, event, process_now_ns(), &suppressed)) {
        metric_add(&d->log_losses.suppressed, 1);
        thread_lock_give(&d->log_lock);
        return;
    }
    if (d->log_lost > 0 && write_lost(d, d->log_lost))
        d->log_lost = 0;
    if (suppressed > 0)
        write_suppressed(d, event, suppressed);
    if (d->log_lost > 0 || !write_line(d, line, len))
        lose_line(d);
    thread_lock_give(&d->log_lock);
}

static uint32_t node_count(const struct daemon *d)
{
    return config_of(d)->node_count + config_of(d)->local_nodes;
}

static int raise_file_limit(struct daemon *d)
{
    char error[CONFIG_LOAD_ERROR_MAX];
    int err = file_limit_raise(config_of(d), d->worker_count, error);
    return err ? fail(d, "%s", error) : 0;
}

static int fail_sockets(struct daemon *d)
{
    return fail(d, "%s", d->sockets.error);
}

static int choose_sockets(struct daemon *d)
{
    if (sockets_choose(&d->sockets, config_of(d), d->out) != 0)
        return fail_sockets(d);
    if (d->sockets.admin_at.family == ADDR_NONE) { /* nobody would look at what workers collect */
        d->lasting.unwatched = true;
        generation_last(d->reload.now, &d->lasting);
    }
    return 0;
}

static int start_local_nodes(struct daemon *d)
{
    char error[LOCAL_NODES_ERROR_MAX];
    if (config_of(d)->local_nodes == 0)
        return 0;
    if (local_nodes_start(config_of(d)->local_nodes, config_of(d)->local_memory, &d->log, &d->local,
                          error) != 0)
        return fail(d, "%s", error);
    return 0;
}

static int new_worker(struct daemon *d, unsigned index)
{
    struct daemon_worker *w = &d->workers[index];
    struct worker_config config = {.settings = &d->reload.now->proxy,
                                   .log = &d->log,
                                   .index = index,
                                   .count = d->worker_count,
                                   .peers = d->peers,
                                   .control = control_thread_control(d->control)};
    w->daemon = d;
    int err = io_epoll_new(&w->io);
    if (err)
        w->io = (struct io){0};
    else
        err = worker_new(&config, &w->io, &w->worker);
    if (err)
        return fail(d, "cannot start worker %u: %s", index, strerror(-err));
    d->all[index] = w->worker;
    if (sockets_listen(&d->sockets, config_of(d), w->worker, index, d->worker_count) != 0)
        return fail_sockets(d);
    return 0;
}

static int new_workers(struct daemon *d)
{
    d->workers = calloc(d->worker_count, sizeof(*d->workers));
    d->all = calloc(d->worker_count, sizeof(struct worker *));
    if (!d->workers || !d->all)
        return fail(d, "out of memory");
    for (unsigned i = 0; i < d->worker_count; i++) {
        int err = new_worker(d, i);
        if (err)
            return err;
    }
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_meet(d->all[i], d->all, d->worker_count);
    return 0;
}

/* Gives local nodes the moment they need, so that the first client finds them there. True: a signal
 * said stop meanwhile. */
static bool wait_for_local_nodes(struct daemon *d)
{
    uint64_t until = process_now_ns() + LOCAL_WAIT;
    bool ready = false;
    if (!d->local)
        return false;
    while (!ready && process_now_ns() < until) {
        if (process_events_wait(d->events, LOCAL_WAIT_STEP) & PROCESS_STOP)
            return true;
        local_nodes_step(d->local);
        ready = local_nodes_are_ready(d->local);
    }
    local_nodes_settle(d->local);
    if (!ready)
        log_event(&d->log, LOG_WARN, "local-node-slow", "waited=2s");
    return false;
}

static int publish(void *owner, struct view *v)
{
    struct daemon *d = owner;
    admin_see_view(d->admin, v);
    for (unsigned i = 0; i < d->worker_count; i++) {
        int err = worker_post_view(d->all[i], v);
        if (err)
            return err;
    }
    log_event(&d->log, LOG_DEBUG, "view", "version=%" PRIu64 " nodes=%" PRIu32, v->version,
              v->node_count);
    return 0;
}

/* Is read at the start only, as all that the admin listener has. */
static int read_admin_token(struct daemon *d)
{
    const struct config *c = config_of(d);
    char error[SECRETS_ERROR_MAX];
    if (secrets_read("admin.token", c->admin_token_file, c->admin_token, d->admin_token,
                     sizeof(d->admin_token), error) != 0)
        return fail(d, "%s", error);
    size_t token_len = strlen(d->admin_token);
    if (token_len > 0 && token_len < ADMIN_TOKEN_MIN)
        return fail(d, "admin.token: expected at least %d bytes", ADMIN_TOKEN_MIN);
    return 0;
}

static int new_control(struct daemon *d)
{
    int err = control_thread_new(d->reload.now, &d->log, d->worker_count, publish, d, &d->control);
    return err ? fail(d, "cannot start the control plane: %s", strerror(-err)) : 0;
}

static int new_admin(struct daemon *d)
{
    struct control *control = control_thread_control(d->control);
    const struct config *c = config_of(d);
    const struct proxy_settings *proxy = &d->reload.now->proxy;
    struct admin_config config = {
        .listen = d->sockets.admin_at,
        .remote = c->admin_remote,
        .token = str_of(d->admin_token),
        .connections_max = c->admin_connections,
        .timeout = c->admin_timeout,
        .hash_tags = proxy->hash_tags,
        .databases = proxy->databases,
        .sample_each = proxy->sample_each,
        .slow_above = proxy->slow_above,
        .prefix_depth = c->admin_depth,
        .prefix_separator = c->admin_separator[0],
        .layout = d->lasting.layout,
        .loop = control_loop(control),
        .control = control,
        .workers = d->all,
        .worker_count = d->worker_count,
        .log_losses = &d->log_losses,
        .log = &d->log,
    };
    if (config.listen.family == ADDR_NONE)
        return 0;
    config.handle = sockets_take_admin(&d->sockets);
    int err = admin_new(&config, &d->admin);
    secret_wipe(d->admin_token, sizeof(d->admin_token));
    if (err) {
        (void)sockets_refuse_admin(&d->sockets, err);
        return fail_sockets(d);
    }
    return 0;
}

/* What the process whose place it takes knows of nodes. */
static int inherit(struct daemon *d)
{
    char *testament CLEANUP(freep) = NULL;
    size_t len = 0;
    int err = handover_read_testament(&d->sockets.inherited, &testament, &len);
    if (!err && testament)
        err = control_inherit(control_thread_control(d->control), (struct str){testament, len});
    if (!err)
        return 0;
    return fail(d, "cannot take over what the process before knows of nodes: %s",
                err == -EINVAL ? "it is of a version that this one does not understand"
                               : strerror(-err));
}

static int begin_control(struct daemon *d)
{
    int err = inherit(d);
    if (err)
        return err;
    err = control_thread_begin(d->control, d->local);
    if (err)
        return fail(d, "cannot build the ring: %s", strerror(-err));
    err = control_thread_start(d->control);
    return err ? fail(d, "cannot start a thread: %s", strerror(-err)) : 0;
}

static bool has_nodes(const struct daemon *d)
{
    const struct control_metrics *m = control_metrics(control_thread_control(d->control));
    uint64_t up = metric_get(&m->nodes_up);
    return up > 0 && up == metric_get(&m->nodes_in_ring);
}

/* Whose place it takes serves, so it can wait until it knows nodes, and that they are well. True: a
 * signal said stop meanwhile. */
static bool wait_for_nodes(struct daemon *d)
{
    uint64_t until = process_now_ns() + NODES_WAIT;
    if (!d->sockets.inherited.by_a_process)
        return false;
    while (!has_nodes(d) && process_now_ns() < until)
        if (process_events_wait(d->events, NODES_WAIT_STEP) & PROCESS_STOP)
            return true;
    return false;
}

static void run_worker(void *owner)
{
    struct daemon_worker *w = owner;
    while (worker_turn(w->worker, NSEC_NEVER))
        ;
    atomic_fetch_sub(&w->daemon->running, 1);
    process_events_poke(w->daemon->events);
}

static int start_threads(struct daemon *d)
{
    for (unsigned i = 0; i < d->worker_count; i++) {
        char name[32]; /* longer than the kernel takes, which cuts it */
        snprintf(name, sizeof(name), "sumcache-w%u", i);
        atomic_fetch_add(&d->running, 1);
        int err = thread_start(name, run_worker, &d->workers[i], &d->workers[i].thread);
        if (err) {
            atomic_fetch_sub(&d->running, 1);
            return fail(d, "cannot start a thread: %s", strerror(-err));
        }
    }
    return 0;
}

/* What somebody who tries it out wants to know. */
static void greet(struct daemon *d)
{
    const struct addr *at = &d->sockets.listen[0];
    char address[SOCKETS_TEXT_MAX], memory[24], host[ADDR_TEXT_MAX] = "", look[ADDR_TEXT_MAX];
    const struct addr any = {.family = at->family, .port = at->port};
    const struct addr loopback = {ADDR_V4, at->port, {127, 0, 0, 1}};
    sockets_text(&d->sockets, config_of(d), 0, address);
    if (at->family != ADDR_UNIX && !addr_eq(at, &loopback) &&
        !(at->family == ADDR_V4 && addr_eq(at, &any))) {
        bool v6 = at->family == ADDR_V6;
        int len = (int)(strrchr(address, ':') - address); /* without the port */
        snprintf(host, sizeof(host), " -h %.*s", v6 ? len - 2 : len, address + (v6 ? 1 : 0));
    }
    fprintf(d->out,
            "\nsumcache " SUMCACHE_VERSION ": %u redis-server nodes of %s, one cache on %s\n\n",
            local_nodes_count(d->local),
            str_from_size(config_of(d)->local_memory, memory, sizeof(memory)), address);
    for (unsigned i = 0; i < local_nodes_count(d->local); i++) {
        char node[ADDR_TEXT_MAX];
        fprintf(d->out, "  node     %s\n", addr_print(local_nodes_addr(d->local, i), node));
    }
    for (uint32_t i = 0; i < config_of(d)->node_count; i++)
        fprintf(d->out, "  node     %s\n", config_of(d)->nodes[i].name);
    if (at->family == ADDR_UNIX)
        fprintf(d->out, "  connect  redis-cli -s %s\n", config_of(d)->sockets[0].path);
    else
        fprintf(d->out, "  connect  redis-cli%s -p %u\n", host, (unsigned)at->port);
    if (d->admin)
        fprintf(d->out, "  look     http://%s/\n", addr_print(&d->sockets.admin_at, look));
    fprintf(d->out, "  stop     Ctrl-C stops everything\n\n");
    fflush(d->out);
}

static void announce(struct daemon *d)
{
    const struct config *c = config_of(d);
    char text[SOCKETS_TEXT_MAX];
    for (uint32_t i = 0; i < d->sockets.listen_count; i++)
        log_event(&d->log, LOG_INFO, "listening", "address=%s tls=%s",
                  sockets_text(&d->sockets, c, i, text), c->listen_tls[i] ? "on" : "off");
    if (d->admin)
        log_event(&d->log, LOG_INFO, "listening-admin", "address=%s",
                  addr_print(&d->sockets.admin_at, text));
    log_event(&d->log, LOG_INFO, "ready", "workers=%u nodes=%" PRIu32, d->worker_count,
              node_count(d));
    if (d->local)
        greet(d);
}

/* 0; or what fail() gave; or -EINTR: a signal said stop before it was done. */
static int start(struct daemon *d)
{
    int err = process_events_new(&d->events);
    if (err)
        return fail(d, "cannot catch signals: %s", strerror(-err));
    /* Free ports first: what fails most often fails before anything has been started. */
    if ((err = read_admin_token(d)) || (err = raise_file_limit(d)) || (err = choose_sockets(d)) ||
        (err = start_local_nodes(d)) || (err = new_control(d)) || (err = new_workers(d)) ||
        (err = new_admin(d)))
        return err;
    if (sockets_settle(&d->sockets) != 0)
        return fail_sockets(d);
    if (wait_for_local_nodes(d))
        return -EINTR;
    if ((err = begin_control(d)))
        return err;
    if (wait_for_nodes(d))
        return -EINTR;
    if ((err = start_threads(d)))
        return err;
    d->reload.events = d->events;
    d->reload.workers = d->all;
    d->reload.worker_count = d->worker_count;
    d->reload.control = d->control;
    d->upgrade.log = &d->log;
    d->upgrade.events = d->events;
    d->upgrade.workers = d->all;
    d->upgrade.worker_count = d->worker_count;
    d->upgrade.control = d->control;
    d->upgrade.admin = d->admin ? admin_listener(d->admin) : -1;
    d->upgrade.has_children = d->local != NULL;
    d->upgrade.activated = d->sockets.inherited.activated;
    watchdog_begin(&d->watchdog, d->events, d->all, d->worker_count, d->control);
    announce(d);
    (void)notify_manager("READY=1");
    handover_say_ready(&d->sockets.inherited);
    return 0;
}

/* True: a successor serves. */
static bool wait_for_stop(struct daemon *d)
{
    for (;;) {
        uint64_t next = d->local ? local_nodes_step(d->local) : NSEC_NEVER;
        next = nsec_min(next, watchdog_step(&d->watchdog));
        uint64_t now = process_now_ns();
        uint64_t timeout = next == NSEC_NEVER ? NSEC_NEVER : next > now ? next - now : 0;
        if (reload_is_under_way(&d->reload))
            timeout = nsec_min(timeout, RELOAD_STEP);
        if (upgrade_is_under_way(&d->upgrade))
            timeout = nsec_min(timeout, UPGRADE_STEP);
        unsigned seen = process_events_wait(d->events, timeout);
        if (seen & PROCESS_STOP)
            return false;
        if (seen & PROCESS_RELOAD)
            reload_ask(&d->reload);
        while (reload_step(&d->reload))
            ;
        if (seen & PROCESS_UPGRADE)
            upgrade_ask(&d->upgrade);
        if (!reload_is_under_way(&d->reload) && upgrade_step(&d->upgrade))
            return true;
    }
}

/* Who asks twice does not want to wait: no draining, no freeing. Local nodes still must go. */
static void stop_at_once(struct daemon *d)
{
    local_nodes_stop(d->local, true);
    fflush(d->out);
    process_exit_now(DAEMON_FAILED);
}

static void tell_workers(struct daemon *d, int (*post)(struct worker *w))
{
    for (unsigned i = 0; i < d->worker_count && d->workers; i++)
        if (d->workers[i].thread && post(d->workers[i].worker) != 0)
            log_event(&d->log, LOG_ERROR, "drain-failed", "worker=%u reason=\"out of memory\"", i);
}

/* Lets workers finish what is under way, and with a successor first whom they serve. False: some
 * did not in time. */
static bool drain(struct daemon *d, bool has_successor)
{
    uint64_t each = config_of(d)->proxy.drain_timeout;
    uint64_t until = process_now_ns() + each + DRAIN_GRACE + (has_successor ? each : 0);
    bool retires = has_successor;
    tell_workers(d, retires ? worker_post_retire : worker_post_drain);
    while (atomic_load(&d->running) > 0) {
        uint64_t now = process_now_ns();
        if (now >= until)
            return false;
        if (!(process_events_wait(d->events, until - now) & PROCESS_STOP))
            continue;
        if (!retires)
            stop_at_once(d);
        retires = false;
        tell_workers(d, worker_post_drain);
        until = process_now_ns() + each + DRAIN_GRACE;
    }
    for (unsigned i = 0; i < d->worker_count && d->workers; i++) {
        struct daemon_worker *w = &d->workers[i];
        if (w->thread && thread_join(take_ptr(w->thread), NSEC_NEVER) != 0)
            unreachable();
    }
    return true;
}

static void free_workers(struct daemon *d)
{
    for (unsigned i = 0; i < d->worker_count && d->workers; i++)
        worker_free(d->workers[i].worker);
    for (unsigned i = 0; i < d->worker_count && d->workers; i++)
        if (d->workers[i].io.ops)
            io_epoll_free(&d->workers[i].io);
    free(d->workers);
    free(d->all);
    /* What workers told last is delivered when the control plane is freed, which may publish a view
     * then: there is nobody left to get it. */
    d->worker_count = 0;
}

/* Whole CPUs only: threads beyond the quota use it up together, and then all of them stand still
 * for the rest of its period, which is longer than a request may take. */
static unsigned count_cpus(void)
{
    unsigned cpus = process_cpu_count();
    uint64_t quota = cgroup_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota == 0 || quota / 1000 >= cpus)
        return cpus;
    return quota < 2000 ? 1 : (unsigned)(quota / 1000);
}

static int lay_out(struct daemon *d, const struct config *config)
{
    const char *why;
    int err = config_layout(config, &d->lasting.layout, &why);
    if (err)
        return fail(d, "cannot lay out the ring: %s", err == -EINVAL ? why : strerror(-err));
    return 0;
}

static int read_certificates(struct daemon *d, const struct config *config)
{
    struct certificates *all = &d->lasting.certificates;
    char error[TLS_ERROR_MAX];
    if (certificates_read(config, all, error) != 0)
        return fail(d, "%s", error);
    /* OpenSSL takes buffers of a bit more than a record for each message, and gives them back: to
     * the system and from there again that would cost more than all the rest of a request. */
    if (all->clients || all->nodes)
        process_give_back_memory_from(2 * CHUNK_BYTES);
    return 0;
}

/* The settings as they are at the start. Takes what `config` owns. */
static int begin_with(struct daemon *d, struct config *config, const struct options *options)
{
    char error[CONFIG_LOAD_ERROR_MAX];
    struct generation *first;
    int err = sockets_receive(&d->sockets) == 0 ? 0 : fail_sockets(d);
    d->peers = peers_new(process_random());
    if (!err && !d->peers)
        err = fail(d, "out of memory");
    if (err || (err = lay_out(d, config)) || (err = read_certificates(d, config))) {
        config_fini(config);
        return err;
    }
    if (generation_new(config, &d->lasting, &first, error) != 0)
        return fail(d, "%s", error);
    reload_init(&d->reload, options, first, &d->lasting, &d->log);
    d->log_json = first->config.log_format == CONFIG_LOG_JSON;
    d->log_limit.per_second = first->config.log_rate;
    atomic_init(&d->log.level, (int)first->config.log_level);
    d->worker_count = first->config.workers ? first->config.workers : count_cpus();
    if (d->worker_count > CONFIG_WORKERS_MAX)
        d->worker_count = CONFIG_WORKERS_MAX;
    d->reload.worker_count = d->worker_count;
    return 0;
}

static void end(struct daemon *d)
{
    reload_fini(&d->reload);
    certificates_free(&d->lasting.certificates);
    layout_free(d->lasting.layout);
    peers_free(d->peers);
    process_events_free(d->events);
    sockets_fini(&d->sockets);
    thread_lock_fini(&d->log_lock);
}

enum daemon_status daemon_run(struct config *config, const struct options *options, FILE *out,
                              FILE *err)
{
    struct daemon d = {.out = out, .err = err};
    upgrade_init(&d.upgrade);
    process_give_back_memory_from(CHUNK_BYTES);
    thread_lock_init(&d.log_lock);
    d.log.sink = log_sink;
    d.log.owner = &d;
    if (begin_with(&d, config, options) != 0) {
        end(&d);
        return DAEMON_FAILED;
    }

    int failed = start(&d);
    bool has_successor = !failed && wait_for_stop(&d);
    if (!failed)
        log_event(&d.log, LOG_INFO, has_successor ? "retiring" : "stopping", "drain_ms=%" PRIu64,
                  config_of(&d)->proxy.drain_timeout / NSEC_MS);
    if (has_successor) {
        admin_leave(d.admin);
    } else {
        admin_say_draining(d.admin);
        (void)notify_manager("STOPPING=1");
        sockets_remove(&d.sockets, config_of(&d));
    }
    enum daemon_status status = !failed || failed == -EINTR ? DAEMON_OK : DAEMON_FAILED;
    if (!drain(&d, has_successor)) {
        /* Their memory is still in use, so nothing is freed. */
        log_event(&d.log, LOG_WARN, "drain-unfinished", "workers=%u", atomic_load(&d.running));
        local_nodes_stop(d.local, false);
        fflush(out);
        process_exit_now((int)status);
    }
    control_thread_stop(d.control);
    d.admin = admin_free(d.admin);
    free_workers(&d);
    control_thread_free(d.control);
    upgrade_fini(&d.upgrade);
    local_nodes_stop(d.local, false);
    secret_wipe(d.admin_token, sizeof(d.admin_token)); /* if nobody was given it */
    if (!failed)
        log_event(&d.log, LOG_INFO, "stopped", "status=%d", (int)status);
    end(&d);
    return status;
}

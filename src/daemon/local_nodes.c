/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/local_nodes.h"

#include "base/must.h"
#include "base/nsec.h"
#include "daemon/config.h"
#include "os/file.h"
#include "os/host.h"
#include "os/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_MAX_LEN = 1024,
    PORTS_MAX = 5, /* a child that dies on so many ports does not die of its port */
};

/* A child that cannot live must not keep us busy with starting it. */
#define RESTART_PAUSE NSEC_S
/* redis-server looks for its SIGTERM ten times a second, and has nothing to save. */
#define TERM_PATIENCE NSEC_S
#define PING_PATIENCE (20 * NSEC_MS)

struct local_node {
    struct addr addr;
    int pid;              /* 0: not running */
    uint64_t restart_ns;  /* when it is not running */
    bool ready;           /* it has answered since it was started */
    unsigned ports_tried; /* beside its first one */
    char dir[PATH_MAX_LEN];
};

struct local_nodes {
    struct log *log;
    uint64_t memory;
    bool settled;
    char program[PATH_MAX_LEN];
    char dir[PATH_MAX_LEN - 16]; /* room for the children's names behind it */
    unsigned count;
    struct local_node nodes[];
};

static int start_child(struct local_nodes *l, struct local_node *n)
{
    char port[8], memory[24];
    snprintf(port, sizeof(port), "%u", (unsigned)n->addr.port);
    snprintf(memory, sizeof(memory), "%" PRIu64, l->memory);
    /* clang-format off: a flag and its value on one line */
    const char *const argv[] = {"redis-server",
                                "--port",
                                port,
                                "--bind",
                                "127.0.0.1",
                                "--protected-mode",
                                "yes",
                                "--daemonize",
                                "no",
                                "--save",
                                "",
                                "--appendonly",
                                "no",
                                "--maxmemory",
                                memory,
                                "--maxmemory-policy",
                                "allkeys-lru",
                                "--dir",
                                n->dir,
                                "--loglevel",
                                "warning",
                                NULL};
    /* clang-format on */
    n->ready = false;
    int err = process_spawn(l->program, argv, &n->pid);
    if (err)
        n->pid = 0;
    return err;
}

static int make_dirs(struct local_nodes *l)
{
    int err = file_temp_dir("sumcache-local-", l->dir, sizeof(l->dir));
    for (unsigned i = 0; i < l->count && !err; i++) {
        snprintf(l->nodes[i].dir, sizeof(l->nodes[i].dir), "%s/%u", l->dir, i);
        err = file_make_dir(l->nodes[i].dir);
    }
    return err;
}

static int choose_ports(struct local_nodes *l)
{
    uint16_t ports[CONFIG_LOCAL_NODES_MAX];
    int err = host_free_ports(ports, l->count);
    for (unsigned i = 0; i < l->count && !err; i++)
        l->nodes[i].addr = (struct addr){ADDR_V4, ports[i], {127, 0, 0, 1}};
    return err;
}

int local_nodes_start(unsigned count, uint64_t memory, struct log *log,
                      struct local_nodes **ret_nodes, char error[LOCAL_NODES_ERROR_MAX])
{
    must(count <= CONFIG_LOCAL_NODES_MAX);
    struct local_nodes *l = calloc(1, sizeof(*l) + count * sizeof(l->nodes[0]));
    if (!l) {
        snprintf(error, LOCAL_NODES_ERROR_MAX, "out of memory");
        return -ENOMEM;
    }
    l->log = log;
    l->memory = memory;
    l->count = count;
    const char *what = "--local: no redis-server in $PATH (Debian: apt install redis-server)";
    int err = process_find_program("redis-server", l->program, sizeof(l->program));
    if (!err && (err = make_dirs(l)))
        what = "--local: cannot make a directory";
    if (!err && (err = choose_ports(l)))
        what = "--local: cannot find free ports";
    for (unsigned i = 0; i < count && !err; i++)
        if ((err = start_child(l, &l->nodes[i])))
            what = "--local: cannot start redis-server";
    if (err) {
        bool told = err == -ENOENT && !l->dir[0]; /* `what` says it all */
        snprintf(error, LOCAL_NODES_ERROR_MAX, "%s%s%s", what, told ? "" : ": ",
                 told ? "" : strerror(-err));
        local_nodes_stop(l, true);
        return err;
    }
    *ret_nodes = l;
    return 0;
}

static void note_death(struct local_nodes *l, struct local_node *n)
{
    struct process_end end;
    char at[ADDR_TEXT_MAX];
    if (!process_has_ended(n->pid, &end))
        return;
    n->pid = 0;
    n->restart_ns = process_now_ns() + RESTART_PAUSE;
    log_event(l->log, LOG_WARN, "local_node_died", "node=%s %s=%d", addr_print(&n->addr, at),
              end.by_signal ? "signal" : "status", end.code);
    uint16_t port;
    if (l->settled || n->ready || n->ports_tried == PORTS_MAX || host_free_ports(&port, 1) != 0)
        return;
    n->ports_tried++;
    n->addr.port = port;
    n->restart_ns = process_now_ns();
}

static void restart(struct local_nodes *l, struct local_node *n)
{
    char at[ADDR_TEXT_MAX];
    int err = start_child(l, n);
    if (err) {
        n->restart_ns = process_now_ns() + RESTART_PAUSE;
        log_event(l->log, LOG_ERROR, "local_node_start_failed", "node=%s reason=\"%s\"",
                  addr_print(&n->addr, at), strerror(-err));
        return;
    }
    log_event(l->log, LOG_INFO, "local_node_started", "node=%s pid=%d", addr_print(&n->addr, at),
              n->pid);
}

uint64_t local_nodes_step(struct local_nodes *l)
{
    uint64_t next = NSEC_NEVER;
    for (unsigned i = 0; i < l->count; i++) {
        struct local_node *n = &l->nodes[i];
        if (n->pid)
            note_death(l, n);
        if (!n->pid && n->restart_ns <= process_now_ns())
            restart(l, n);
        if (!n->pid)
            next = nsec_min(next, n->restart_ns);
    }
    return next;
}

bool local_nodes_are_ready(struct local_nodes *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        struct local_node *n = &l->nodes[i];
        if (!n->pid)
            return false;
        if (!n->ready)
            n->ready = host_answers(&n->addr, STR("PING\r\n"), STR("+PONG\r\n"), PING_PATIENCE);
        if (!n->ready)
            return false; /* one look at a time: the others are asked when this one is there */
    }
    return true;
}

void local_nodes_settle(struct local_nodes *l)
{
    l->settled = true;
}

unsigned local_nodes_count(const struct local_nodes *l)
{
    return l->count;
}

const struct addr *local_nodes_addr(const struct local_nodes *l, unsigned index)
{
    must(index < l->count);
    return &l->nodes[index].addr;
}

/* How many still run. */
static unsigned reap(struct local_nodes *l)
{
    unsigned running = 0;
    for (unsigned i = 0; i < l->count; i++) {
        struct local_node *n = &l->nodes[i];
        if (n->pid && process_has_ended(n->pid, NULL))
            n->pid = 0;
        running += n->pid != 0;
    }
    return running;
}

static void signal_all(struct local_nodes *l, void (*send)(int pid))
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->nodes[i].pid)
            send(l->nodes[i].pid);
}

struct local_nodes *local_nodes_stop(struct local_nodes *l, bool at_once)
{
    if (!l)
        return NULL;
    uint64_t until = process_now_ns() + TERM_PATIENCE;
    reap(l);
    if (!at_once)
        signal_all(l, process_terminate);
    while (!at_once && reap(l) > 0 && process_now_ns() < until)
        process_sleep_ns(5 * NSEC_MS);
    signal_all(l, process_kill);
    while (reap(l) > 0) /* SIGKILL cannot be held up for long */
        process_sleep_ns(NSEC_MS);
    if (l->dir[0])
        file_remove_tree(l->dir);
    free(l);
    return NULL;
}

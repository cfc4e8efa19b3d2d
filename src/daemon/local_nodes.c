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
    /* Below the ports that the kernel gives to outgoing connections: to connect to such a port on
     * which nobody listens can end in a connection with oneself. */
    PORT_FIRST = 16384,
    PORT_LAST = 32767,
    PORTS_MAX = 5, /* a child that dies on so many ports does not die of its port */
};

/* A child that cannot live must not keep us busy with starting it. */
#define RESTART_PAUSE NSEC_S
/* redis-server looks for its SIGTERM ten times a second, and has nothing to save. */
#define TERM_PATIENCE NSEC_S
#define PING_PATIENCE (20 * NSEC_MS)
#define LOOK_PAUSE    (100 * NSEC_MS) /* between two looks at a child that does not answer yet */

struct local_node {
    struct addr addr;
    int pid;              /* 0: not running */
    uint64_t restart_ns;  /* when it is not running */
    bool ready;           /* it has answered since it was started */
    unsigned ports_tried; /* beside its first one */
};

struct local_nodes {
    struct log *log;
    uint64_t memory;
    bool settled;
    char program[PATH_MAX_LEN];
    unsigned count;
    struct local_node nodes[];
};

/*
 * A child works in a directory that exists no more: whatever it is told later, it cannot write a
 * file, and nothing stays behind even if we are killed.
 */
static int spawn_nowhere(const char *program, const char *const argv[], int *ret_pid)
{
    char dir[PATH_MAX_LEN];
    int err = file_temp_dir("sumcache-local-", dir, sizeof(dir));
    if (err)
        return err;
    err = process_spawn(program, dir, argv, ret_pid);
    file_remove_tree(dir);
    return err;
}

static int start_child(struct local_nodes *l, struct local_node *n)
{
    char port[8], memory[24];
    snprintf(port, sizeof(port), "%u", (unsigned)n->addr.port);
    snprintf(memory, sizeof(memory), "%" PRIu64, l->memory);
    /* clang-format off */
    const char *const argv[] = {
        l->program, /* in full, for it cannot find out where it is */
        "--port", port,
        "--bind", "127.0.0.1",
        "--protected-mode", "yes",
        "--daemonize", "no",
        "--save", "",
        "--appendonly", "no",
        "--maxmemory", memory,
        "--maxmemory-policy", "allkeys-lru",
        "--loglevel", "warning",
        NULL};
    /* clang-format on */
    n->ready = false;
    int err = spawn_nowhere(l->program, argv, &n->pid);
    if (err)
        n->pid = 0;
    return err;
}

/* The next free port for a child, `after` the last one that was given out. */
static int next_port(uint16_t after, uint16_t *ret_port)
{
    uint16_t from = (uint16_t)(after >= PORT_LAST ? PORT_FIRST : after + 1);
    int err = host_free_port(from, PORT_LAST, ret_port);
    return err == -EADDRINUSE ? host_free_port(PORT_FIRST, PORT_LAST, ret_port) : err;
}

static int choose_ports(struct local_nodes *l)
{
    /* Two processes that start at the same time should not look at the same ports. */
    unsigned start = process_id() * CONFIG_LOCAL_NODES_MAX % (PORT_LAST - PORT_FIRST + 1);
    uint16_t port = (uint16_t)(PORT_FIRST + start);
    for (unsigned i = 0; i < l->count; i++) {
        int err = next_port(port, &port);
        if (err)
            return err;
        l->nodes[i].addr = (struct addr){ADDR_V4, port, {127, 0, 0, 1}};
    }
    return 0;
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
    bool found = !err;
    if (!err && (err = choose_ports(l)))
        what = "--local: cannot find free ports";
    for (unsigned i = 0; i < count && !err; i++)
        if ((err = start_child(l, &l->nodes[i])))
            what = "--local: cannot start redis-server";
    if (err) {
        snprintf(error, LOCAL_NODES_ERROR_MAX, "%s%s%s", what, found ? ": " : "",
                 found ? strerror(-err) : "");
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
    bool was_ready = n->ready;
    n->pid = 0;
    n->ready = false;
    n->restart_ns = process_now_ns() + RESTART_PAUSE;
    log_event(l->log, LOG_WARN, "local-node-died", "node=%s %s=%d", addr_print(&n->addr, at),
              end.by_signal ? "signal" : "status", end.code);
    uint16_t port;
    if (l->settled || was_ready || n->ports_tried == PORTS_MAX ||
        next_port(n->addr.port, &port) != 0)
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
        log_event(l->log, LOG_ERROR, "local-node-start-failed", "node=%s reason=\"%s\"",
                  addr_print(&n->addr, at), strerror(-err));
        return;
    }
    log_event(l->log, LOG_INFO, "local-node-started", "node=%s pid=%d", addr_print(&n->addr, at),
              n->pid);
}

static void look_whether_ready(struct local_nodes *l, struct local_node *n)
{
    char at[ADDR_TEXT_MAX];
    n->ready = host_answers(&n->addr, STR("PING\r\n"), STR("+PONG\r\n"), PING_PATIENCE);
    if (!n->ready)
        return;
    log_event(l->log, LOG_DEBUG, "local-node-ready", "node=%s", addr_print(&n->addr, at));
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
        if (n->pid && !n->ready)
            look_whether_ready(l, n);
        if (!n->pid)
            next = nsec_min(next, n->restart_ns);
        else if (!n->ready)
            next = nsec_min(next, process_now_ns() + LOOK_PAUSE);
    }
    return next;
}

bool local_nodes_are_ready(const struct local_nodes *l)
{
    for (unsigned i = 0; i < l->count; i++)
        if (!l->nodes[i].ready)
            return false;
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
    free(l);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c-ares has a channel: the servers, their sockets, the queries under way. Here is what it lacks.
 *
 * A query of c-ares ends when all servers have been tried for all search domains, which may take
 * half a minute, and cannot be cancelled alone. So a job, which is one question, has a timer of its
 * own, and when that is over, or the query is cancelled, it lets go of its owner and is freed
 * whenever c-ares is done with it. A channel that has let somebody down takes no new questions; it
 * is destroyed when nobody waits for an answer of it, so such left-overs do not pile up.
 *
 * c-ares (1.18) asks the next server after SERVFAIL or REFUSED, which is right, but then says
 * "connection refused" when all have failed, as if there were none. So a question that ended so is
 * asked once more over a channel of the other kind, which passes on the first reply it gets, to
 * learn the reason.
 *
 * c-ares may call back from inside a call; so answers are kept in the job and handed out by a
 * timer.
 */
#include "net/resolver_ares.h"

#include "base/list.h"
#include "base/must.h"
#include "base/nsec.h"
#include "net/dns_srv.h"
#include "os/file.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    SERVERS_MAX = 8,
    TRIES = 3,         /* of each server; the pause between them doubles */
    READS_A_EVENT = 4, /* c-ares reads the length of a TCP answer and its body in two calls */
    CLASS_IN = 1,
    TYPE_SRV = 33,
};

/* c-ares reads a TCP socket once a call, and events come once (edge-triggered), so its sockets are
 * looked at every so often as well, while questions are out. */
#define TICK          (20 * NSEC_MS)
#define CONF_INTERVAL (5 * NSEC_S) /* resolv.conf is looked at once in this */

enum channel_kind {
    CHANNEL_PATIENT, /* goes on to the next server after an error */
    CHANNEL_BLUNT,   /* tells the first error there is */
    CHANNEL_KINDS,
};

struct channel {
    struct resolver_ares *resolver;
    struct list link; /* in resolver.channels */
    ares_channel ares;
    struct list sockets;
    unsigned waiting; /* jobs whose owners wait for them */
    bool retired;     /* takes no new questions */
};

struct channel_socket {
    struct source source;
    struct grave grave;
    struct list link; /* in channel.sockets */
    struct channel *channel;
    int fd;
};

struct job {
    struct resolver_ares *resolver;
    struct channel *channel;      /* NULL once c-ares is done with it */
    struct resolver_query *query; /* NULL: nobody waits any more */
    struct list done;             /* in resolver.done, to be handed out */
    struct timer timer;           /* until it is given up */
    enum resolver_question what;
    enum channel_kind kind; /* what it was asked over last */
    bool ended;             /* `result` and what follows are set */
    enum resolver_result result;
    struct resolver_address *addresses; /* owned */
    struct resolver_service *services;  /* owned */
    size_t count;
    char name[RESOLVER_NAME_MAX];
};

struct resolver_ares {
    struct resolver resolver;
    struct loop *loop;
    struct addr servers[SERVERS_MAX];
    unsigned server_count;
    uint64_t timeout;
    char *resolv_conf; /* owned */
    struct file_stamp conf_stamp;
    uint64_t conf_looked_at;
    struct channel *current[CHANNEL_KINDS]; /* NULL: to be made */
    struct list channels;                   /* all, the retired ones too */
    struct list done;                       /* jobs whose owners are to be told */
    struct list failed;                     /* queries for which there was no memory */
    unsigned jobs;
    struct timer deliver, tick;
};

/* ---- jobs ---- */

static void job_free(struct job *j)
{
    must(!j->channel && !j->query);
    list_remove(&j->done);
    timer_unmake(&j->timer);
    free(j->addresses);
    free(j->services);
    j->resolver->jobs--;
    free(j);
}

/* Nobody waits any more. */
static void job_let_go(struct job *j)
{
    j->query->job = NULL;
    j->query = NULL;
    timer_clear(&j->timer);
    if (j->channel)
        j->channel->waiting--;
}

/* The answer is there; its owner is told by the loop. */
static void job_end(struct job *j, enum resolver_result result)
{
    must(!j->ended);
    j->ended = true;
    j->result = result;
    timer_clear(&j->timer);
    list_push_tail(&j->resolver->done, &j->done);
    timer_set(&j->resolver->deliver, j->resolver->loop->now);
}

static void retire(struct resolver_ares *r, struct channel *c)
{
    c->retired = true;
    for (int kind = 0; kind < CHANNEL_KINDS; kind++)
        if (r->current[kind] == c)
            r->current[kind] = NULL;
}

static void on_give_up(struct timer *t)
{
    struct job *j = container_of(t, struct job, timer);
    if (j->channel)
        retire(j->resolver, j->channel);
    job_end(j, RESOLVER_TIMED_OUT);
}

/* ---- what c-ares says ---- */

static enum resolver_result result_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return RESOLVER_OK;
    case ARES_ENOTFOUND:
    case ARES_ENONAME:
    case ARES_EBADNAME: /* no name of this form can exist */
        return RESOLVER_NXDOMAIN;
    case ARES_ENODATA:
        return RESOLVER_NO_DATA;
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
        return RESOLVER_SERVER_FAILURE;
    case ARES_EREFUSED:
        return RESOLVER_REFUSED;
    case ARES_ETIMEOUT:
        return RESOLVER_TIMED_OUT;
    case ARES_EBADRESP:
        return RESOLVER_MALFORMED;
    case ARES_ENOMEM:
        return RESOLVER_NO_MEMORY;
    default: /* ARES_ECONNREFUSED, or a file of the configuration that cannot be read */
        return RESOLVER_UNREACHABLE;
    }
}

static void job_ask(struct job *j, enum channel_kind kind);

/*
 * c-ares is done with the job, which took nothing from its answer yet. False: there is nothing to
 * be taken, because nobody waits, it failed, or it was asked again. It may be gone then.
 */
static bool take_status(struct job *j, int status)
{
    struct channel *c = j->channel;
    j->channel = NULL;
    if (!j->query) {
        job_free(j);
        return false;
    }
    c->waiting--;
    if (j->ended) /* given up, and on its way to its owner */
        return false;
    if (status == ARES_ECONNREFUSED && j->kind == CHANNEL_PATIENT) {
        job_ask(j, CHANNEL_BLUNT);
        return false;
    }
    if (status != ARES_SUCCESS) {
        if (status == ARES_ETIMEOUT)
            retire(j->resolver, c);
        job_end(j, result_of(status));
        return false;
    }
    return true;
}

static uint32_t shorter_ttl(uint32_t a, int b)
{
    return b >= 0 && (uint32_t)b < a ? (uint32_t)b : a;
}

static enum resolver_result take_addresses(struct job *j, const struct ares_addrinfo *info)
{
    size_t count = 0;
    uint32_t alias_ttl = INT32_MAX; /* also what c-ares says where it knows none */
    for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next)
        count++;
    for (const struct ares_addrinfo_cname *n = info->cnames; n; n = n->next)
        alias_ttl = shorter_ttl(alias_ttl, n->ttl);
    if (count == 0)
        return RESOLVER_NO_DATA;
    j->addresses = calloc(count, sizeof(*j->addresses));
    if (!j->addresses)
        return RESOLVER_NO_MEMORY;
    for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
        struct resolver_address *a = &j->addresses[j->count];
        const void *at = n->ai_addr;
        if (n->ai_family == AF_INET && j->what == RESOLVER_A) {
            a->addr.family = ADDR_V4;
            memcpy(a->addr.ip, &((const struct sockaddr_in *)at)->sin_addr, 4);
        } else if (n->ai_family == AF_INET6 && j->what == RESOLVER_AAAA) {
            a->addr.family = ADDR_V6;
            memcpy(a->addr.ip, &((const struct sockaddr_in6 *)at)->sin6_addr, 16);
        } else {
            continue; /* "1.2.3.4" given as a name comes back whatever was asked for */
        }
        a->ttl = shorter_ttl(alias_ttl, n->ai_ttl);
        j->count++;
    }
    return j->count > 0 ? RESOLVER_OK : RESOLVER_NO_DATA;
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct job *j = arg;
    (void)timeouts;
    if (take_status(j, status))
        job_end(j, info ? take_addresses(j, info) : RESOLVER_NO_DATA);
    if (info)
        ares_freeaddrinfo(info);
}

static void on_services(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct job *j = arg;
    (void)timeouts;
    if (!take_status(j, status))
        return;
    int err = dns_srv_parse(bytes, len > 0 ? (size_t)len : 0, &j->services, &j->count);
    job_end(j, err == -ENOMEM  ? RESOLVER_NO_MEMORY
               : err           ? RESOLVER_MALFORMED
               : j->count == 0 ? RESOLVER_NO_DATA
                               : RESOLVER_OK);
}

/* ---- channels and their sockets ---- */

static void bury_socket(struct grave *g)
{
    free(container_of(g, struct channel_socket, grave));
}

static void on_socket_ready(struct source *source, unsigned ready)
{
    struct channel_socket *s = container_of(source, struct channel_socket, source);
    (void)ready;
    for (int i = 0; i < READS_A_EVENT && !source->dead; i++)
        ares_process_fd(s->channel->ares, s->fd, s->fd);
}

/* c-ares opens a socket, wants something else of one, or is about to close it (neither). One that
 * cannot be watched is served by the tick alone if there is memory for that, else its questions
 * time out. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = arg;
    struct loop *loop = c->resolver->loop;
    list_for_each (link, &c->sockets) {
        struct channel_socket *s = list_item(link, struct channel_socket, link);
        if (s->fd != fd)
            continue;
        if (!readable && !writable) {
            list_remove(&s->link);
            loop_bury(loop, &s->source, &s->grave, bury_socket);
        }
        return; /* it is watched for both anyway */
    }
    struct channel_socket *s = readable || writable ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return;
    s->channel = c;
    s->fd = fd;
    source_init(&s->source, on_socket_ready);
    list_push_tail(&c->sockets, &s->link);
    (void)loop->io->ops->watch(loop->io->ctx, fd, &s->source);
}

static int set_servers(ares_channel ares, const struct resolver_ares *r)
{
    struct ares_addr_port_node nodes[SERVERS_MAX] = {0};
    for (unsigned i = 0; i < r->server_count; i++) {
        const struct addr *a = &r->servers[i];
        bool v4 = a->family == ADDR_V4;
        nodes[i].family = v4 ? AF_INET : AF_INET6;
        memcpy(&nodes[i].addr, a->ip, v4 ? 4 : 16);
        nodes[i].udp_port = nodes[i].tcp_port = a->port;
        nodes[i].next = i + 1 < r->server_count ? &nodes[i + 1] : NULL;
    }
    return r->server_count > 0 ? ares_set_servers_ports(ares, nodes) : ARES_SUCCESS;
}

static struct channel *channel_new(struct resolver_ares *r, enum channel_kind kind)
{
    struct channel *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->resolver = r;
    list_init(&c->link);
    list_init(&c->sockets);
    struct ares_options options = {
        .flags = kind == CHANNEL_BLUNT ? ARES_FLAG_NOCHECKRESP : 0,
        /* A lost packet is sent again after a fifth of the time and after three fifths. */
        .timeout = (int)(r->timeout / NSEC_MS / 5) + 1,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = c,
        .resolvconf_path = r->resolv_conf,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (r->resolv_conf)
        mask |= ARES_OPT_RESOLVCONF;
    if (ares_init_options(&c->ares, &options, mask) != ARES_SUCCESS) {
        free(c);
        return NULL;
    }
    list_push_tail(&r->channels, &c->link);
    if (set_servers(c->ares, r) != ARES_SUCCESS)
        retire(r, c); /* no memory; it is destroyed by the next sweep */
    return c;
}

/* Nobody waits for an answer of it; jobs that were let go end here. Not from inside c-ares. */
static void channel_free(struct channel *c)
{
    must(c->waiting == 0);
    list_remove(&c->link);
    ares_destroy(c->ares);
    must(list_empty(&c->sockets));
    free(c);
}

static void sweep_channels(struct resolver_ares *r)
{
    list_for_each_safe (link, &r->channels) {
        struct channel *c = list_item(link, struct channel, link);
        if (c->retired && c->waiting == 0)
            channel_free(c);
    }
}

static void look_at_conf(struct resolver_ares *r)
{
    const char *path = r->resolv_conf ? r->resolv_conf : "/etc/resolv.conf";
    if (r->conf_looked_at != 0 && r->loop->now < r->conf_looked_at + CONF_INTERVAL)
        return;
    struct file_stamp stamp = file_stamp_of(path);
    bool changed = r->conf_looked_at != 0 && !file_stamp_eq(&stamp, &r->conf_stamp);
    r->conf_looked_at = r->loop->now;
    r->conf_stamp = stamp;
    for (int kind = 0; changed && kind < CHANNEL_KINDS; kind++)
        if (r->current[kind])
            retire(r, r->current[kind]);
}

/* ---- asking ---- */

/* Hands the question to c-ares, which may be done with it, and with the job, on return. */
static void job_ask(struct job *j, enum channel_kind kind)
{
    struct resolver_ares *r = j->resolver;
    if (!r->current[kind])
        r->current[kind] = channel_new(r, kind);
    struct channel *c = r->current[kind];
    if (!c || c->retired) {
        r->current[kind] = NULL;
        job_end(j, RESOLVER_NO_MEMORY);
        return;
    }
    j->kind = kind;
    j->channel = c;
    c->waiting++;
    if (!timer_is_set(&r->tick))
        timer_set(&r->tick, r->loop->now + TICK);
    if (j->what == RESOLVER_SRV) {
        ares_search(c->ares, j->name, CLASS_IN, TYPE_SRV, on_services, j);
        return;
    }
    const struct ares_addrinfo_hints hints = {
        .ai_family = j->what == RESOLVER_A ? AF_INET : AF_INET6,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = ARES_AI_NOSORT, /* sorting opens a socket to each address */
    };
    ares_getaddrinfo(c->ares, j->name, NULL, &hints, on_addresses, j);
}

static void fail_without_job(struct resolver_ares *r, struct resolver_query *q)
{
    list_push_tail(&r->failed, &q->link);
    timer_set(&r->deliver, r->loop->now);
}

static void ask(void *ctx, struct resolver_query *q, enum resolver_question what, const char *name)
{
    struct resolver_ares *r = ctx;
    struct job *j = calloc(1, sizeof(*j));
    q->job = NULL;
    list_init(&q->link);
    if (!j || timer_make(&j->timer, &r->loop->timers, on_give_up) != 0) {
        free(j);
        fail_without_job(r, q);
        return;
    }
    r->jobs++;
    j->resolver = r;
    j->query = q;
    j->what = what;
    list_init(&j->done);
    must(strlen(name) < sizeof(j->name));
    memcpy(j->name, name, strlen(name) + 1);
    q->job = j;
    look_at_conf(r);
    timer_set(&j->timer, r->loop->now + r->timeout);
    job_ask(j, CHANNEL_PATIENT);
}

static void cancel(void *ctx, struct resolver_query *q)
{
    (void)ctx;
    struct job *j = q->job;
    list_remove(&q->link);
    if (!j)
        return; /* there was no memory for it */
    job_let_go(j);
    list_remove(&j->done);
    if (!j->channel)
        job_free(j);
}

static const struct resolver_ops ARES_OPS = {ask, cancel};

/* ---- the loop ---- */

static void deliver_job(struct job *j)
{
    struct resolver_query *q = j->query;
    struct resolver_answer answer = {
        .result = j->result,
        .count = j->result == RESOLVER_OK ? j->count : 0,
        .addresses = j->addresses,
        .services = j->services,
    };
    list_remove(&j->done);
    job_let_go(j);
    q->on_answer(q, &answer);
    if (!j->channel)
        job_free(j);
}

/* An owner that is told may cancel others, so each is taken from the list's head. */
static void on_deliver(struct timer *t)
{
    struct resolver_ares *r = container_of(t, struct resolver_ares, deliver);
    static const struct resolver_answer NO_MEMORY = {.result = RESOLVER_NO_MEMORY};
    struct list done, failed;
    list_init(&done);
    list_init(&failed);
    list_append_all(&done, &r->done);
    list_append_all(&failed, &r->failed);
    while (!list_empty(&done))
        deliver_job(list_first(&done, struct job, done));
    while (!list_empty(&failed)) {
        struct resolver_query *q = list_first(&failed, struct resolver_query, link);
        list_remove(&q->link);
        q->on_answer(q, &NO_MEMORY);
    }
    sweep_channels(r);
}

static void tick_channel(struct channel *c)
{
    list_for_each (link, &c->sockets) {
        loop_again(c->resolver->loop, &list_item(link, struct channel_socket, link)->source);
    }
    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* time-outs only */
}

static void on_tick(struct timer *t)
{
    struct resolver_ares *r = container_of(t, struct resolver_ares, tick);
    bool waiting = false;
    list_for_each (link, &r->channels) {
        struct channel *c = list_item(link, struct channel, link);
        tick_channel(c);
        waiting = waiting || c->waiting > 0;
    }
    sweep_channels(r);
    if (waiting)
        timer_set(&r->tick, r->loop->now + TICK);
}

int resolver_ares_new(const struct resolver_ares_config *config, struct loop *loop,
                      struct resolver_ares **ret)
{
    must(config->server_count <= SERVERS_MAX);
    struct resolver_ares *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct resolver_ares){.loop = loop, .timeout = config->timeout};
    r->resolver = (struct resolver){&ARES_OPS, r};
    for (unsigned i = 0; i < config->server_count; i++)
        r->servers[r->server_count++] = config->servers[i];
    list_init(&r->channels);
    list_init(&r->done);
    list_init(&r->failed);
    int err = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -ENOMEM;
    if (!err && config->resolv_conf) {
        r->resolv_conf = strdup(config->resolv_conf);
        err = r->resolv_conf ? 0 : -ENOMEM;
    }
    if (!err)
        err = timer_make(&r->deliver, &loop->timers, on_deliver);
    if (!err) {
        err = timer_make(&r->tick, &loop->timers, on_tick);
        if (err)
            timer_unmake(&r->deliver);
    }
    if (err) {
        ares_library_cleanup();
        free(r->resolv_conf);
        free(r);
        return err;
    }
    *ret = r;
    return 0;
}

struct resolver_ares *resolver_ares_free(struct resolver_ares *r)
{
    if (!r)
        return NULL;
    list_for_each_safe (link, &r->channels) {
        channel_free(list_item(link, struct channel, link));
    }
    must(r->jobs == 0 && list_empty(&r->failed));
    timer_unmake(&r->deliver);
    timer_unmake(&r->tick);
    ares_library_cleanup();
    free(r->resolv_conf);
    free(r);
    return NULL;
}

struct resolver *resolver_ares_resolver(struct resolver_ares *r)
{
    return &r->resolver;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_failover_relay: a network that is far away, for kernels without netem.
 *
 *   bench_failover_relay LISTEN:PORT TARGET:PORT
 *
 * Passes on what comes, and holds what the target says for as long as the last line `delay MS` on
 * standard input asks for (at first: not at all). Prints `ready` once it listens. Bytes keep their
 * order when the delay shrinks. Ends when standard input does. One thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 64 * 1024,
    HELD_MAX = 64 * 1024 * 1024, /* bytes of one direction; then it is not read for a while */
    EVENTS_PER_TURN = 64,
    DELAY_MS_MAX = 60000,
};

struct chunk {
    struct chunk *next;
    uint64_t release_ns;
    size_t len, done;
    char bytes[];
};

/* One end of a pair; what is read here is held in `out` of the other one. */
struct end {
    int fd;
    struct pair *pair;
    struct end *other;
    bool is_target, is_read_to_end, is_blocked;
    struct chunk *first, **last; /* to be written here */
    size_t held;
};

struct pair {
    struct pair *next;
    struct end ends[2]; /* client, target */
    bool is_dead;
};

struct relay {
    int epoll_fd, listen_fd;
    struct sockaddr_in target;
    uint64_t delay_ns;
    struct pair *pairs;
    char control[128];
    size_t control_len;
    char scratch[CHUNK_BYTES];
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_failover_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in address_read(char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;

    if (colon)
        *colon = '\0';
    if (port == 0 || port > UINT16_MAX || inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        fputs("Usage: bench_failover_relay LISTEN:PORT TARGET:PORT (IPv4)\n", stderr);
        exit(2);
    }
    address.sin_port = htons((uint16_t)port);
    return address;
}

static void watch(const struct relay *r, struct end *e)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e};
    const int one = 1;

    setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, e->fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_all(struct relay *r)
{
    for (;;) {
        int fd = accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int to = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct pair *p = calloc(1, sizeof(*p));
        if (to < 0 || !p)
            die("a new connection");
        for (unsigned i = 0; i < 2; i++) {
            p->ends[i] = (struct end){.fd = i == 0 ? fd : to,
                                      .pair = p,
                                      .other = &p->ends[1 - i],
                                      .is_target = i == 1,
                                      .is_blocked = i == 1};
            p->ends[i].last = &p->ends[i].first;
        }
        p->next = r->pairs;
        r->pairs = p;
        if (connect(to, (struct sockaddr *)&r->target, sizeof(r->target)) != 0 &&
            errno != EINPROGRESS)
            p->is_dead = true;
        watch(r, &p->ends[0]);
        watch(r, &p->ends[1]);
    }
}

/* Reads what there is and holds it for the other end. */
static void end_read(struct relay *r, struct end *e)
{
    struct end *to = e->other;

    while (!e->pair->is_dead && !e->is_read_to_end && to->held < HELD_MAX) {
        ssize_t n = recv(e->fd, r->scratch, sizeof(r->scratch), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            e->pair->is_dead = true;
        if (n < 0)
            return;
        struct chunk *c = malloc(sizeof(*c) + (size_t)n);
        if (!c)
            die("memory");
        /* A chunk of no bytes is the end of the stream. */
        *c = (struct chunk){.release_ns = now_ns() + (e->is_target ? r->delay_ns : 0),
                            .len = (size_t)n};
        memcpy(c->bytes, r->scratch, (size_t)n);
        *to->last = c;
        to->last = &c->next;
        to->held += (size_t)n;
        e->is_read_to_end = n == 0;
    }
}

/* Writes what may go by now. Returns when the next may go; UINT64_MAX: nothing waits for time. */
static uint64_t end_write(struct end *e)
{
    while (!e->pair->is_dead && !e->is_blocked && e->first) {
        struct chunk *c = e->first;
        if (c->release_ns > now_ns())
            return c->release_ns;
        if (c->len == 0)
            shutdown(e->fd, SHUT_WR);
        while (c->done < c->len) {
            ssize_t n = send(e->fd, c->bytes + c->done, c->len - c->done, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR)
                continue;
            e->is_blocked = n < 0 && errno == EAGAIN;
            e->pair->is_dead = n < 0 && errno != EAGAIN;
            if (n < 0)
                return UINT64_MAX;
            c->done += (size_t)n;
        }
        e->held -= c->len;
        e->first = c->next;
        if (!e->first)
            e->last = &e->first;
        free(c);
    }
    return UINT64_MAX;
}

static void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        struct linger now = {.l_onoff = p->is_dead};
        setsockopt(p->ends[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(p->ends[i].fd);
        for (struct chunk *c = p->ends[i].first, *next; c; c = next) {
            next = c->next;
            free(c);
        }
    }
    free(p);
}

/* Moves what can be moved, and frees who is done. Returns when to come again. */
static uint64_t pairs_run(struct relay *r)
{
    uint64_t next = UINT64_MAX;

    for (struct pair **at = &r->pairs; *at;) {
        struct pair *p = *at;
        for (unsigned i = 0; i < 2; i++) {
            end_read(r, &p->ends[i]);
            uint64_t due = end_write(&p->ends[1 - i]);
            next = due < next ? due : next;
        }
        bool is_done = p->ends[0].is_read_to_end && p->ends[1].is_read_to_end &&
                       !p->ends[0].first && !p->ends[1].first;
        if (p->is_dead || is_done) {
            *at = p->next;
            pair_free(p);
        } else {
            at = &p->next;
        }
    }
    return next;
}

static void control_read(struct relay *r)
{
    ssize_t n =
        read(STDIN_FILENO, r->control + r->control_len, sizeof(r->control) - r->control_len - 1);

    if (n <= 0)
        exit(0);
    r->control_len += (size_t)n;
    r->control[r->control_len] = 0;
    for (char *end = strchr(r->control, '\n'); end; end = strchr(r->control, '\n')) {
        unsigned ms;
        *end = 0;
        if (sscanf(r->control, "delay %u", &ms) != 1 || ms > DELAY_MS_MAX) {
            fprintf(stderr, "bench_failover_relay: cannot obey: %s\n", r->control);
            exit(2);
        }
        r->delay_ns = (uint64_t)ms * 1000000U;
        r->control_len -= (size_t)(end + 1 - r->control);
        memmove(r->control, end + 1, r->control_len + 1);
    }
}

static void turn(struct relay *r, uint64_t next_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = now_ns();
    uint64_t pause = next_ns > now ? next_ns - now : 0;
    struct timespec timeout = {.tv_sec = 1};

    if (pause < 1000000000U)
        timeout = (struct timespec){.tv_nsec = (long)pause};
    int count = epoll_pwait2(r->epoll_fd, events, EVENTS_PER_TURN, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        struct end *e = events[i].data.ptr;
        if (events[i].data.ptr == r) {
            accept_all(r);
        } else if (!e) {
            control_read(r);
        } else {
            /* Nobody is freed before all events of the turn are seen: pairs_run() comes after. */
            e->is_blocked = e->is_blocked && !(events[i].events & EPOLLOUT);
            e->pair->is_dead = e->pair->is_dead || (events[i].events & EPOLLERR);
        }
    }
}

int main(int argc, char **argv)
{
    const int one = 1;

    if (argc != 3) {
        fputs("Usage: bench_failover_relay LISTEN:PORT TARGET:PORT (IPv4)\n", stderr);
        return 2;
    }
    struct sockaddr_in address = address_read(argv[1]);
    struct sockaddr_in target = address_read(argv[2]);
    struct relay *r = calloc(1, sizeof(*r));
    if (!r)
        die("memory");
    r->target = target;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(r->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(r->listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(r->listen_fd, 512) != 0)
        die("listen");
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = r};
    struct epoll_event control = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->listen_fd, &listening);
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &control) != 0)
        die("standard input");
    puts("ready");
    fflush(stdout);
    for (uint64_t next = 0;;) {
        turn(r, next);
        next = pairs_run(r);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_floor: a server that answers every complete GET, SET and MGET with a canned reply of the
 * asked value size. It does one read and one write per batch and keeps nothing, so what it costs
 * is about what two socket calls cost: no proxy can be cheaper on the client's side alone.
 *
 * One thread, edge-triggered epoll. It finds the ends of requests by reading the length lines and
 * skipping the bodies, and trusts its client (bench_load) otherwise: a request that does not look
 * like an array of bulk strings closes the connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SCRATCH_SIZE = 64 * 1024,
    LINE_MAX_LEN = 32,
    EVENTS_PER_TURN = 256,
    VALUE_MAX = 64 << 20,
    OUT_FLUSH = 1 << 20,     /* write early above this, so that a turn's output is bounded */
    PENDING_MAX = 256 << 20, /* a client that reads nothing is closed above this */
};

struct client {
    int fd;
    unsigned args_left; /* bulk strings still to come; 0: the next line starts a request */
    unsigned arg_count; /* of the current request */
    bool in_body;
    char name;   /* first letter of the command, 0 until seen */
    size_t skip; /* bytes of the current bulk string to come, CRLF included */
    unsigned line_len;
    char line[LINE_MAX_LEN];
    char *pending; /* output the kernel did not take; owned */
    size_t pending_len;
    size_t pending_done;
};

struct server {
    int epoll_fd;
    int listen_fd;
    char *bulk; /* one canned bulk value with its header */
    size_t bulk_len;
    char *out; /* replies of the batch being read */
    size_t out_len;
    size_t out_size;
    char scratch[SCRATCH_SIZE];
};

static void *must_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size);

    if (!memory) {
        fputs("bench_floor: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void client_close(struct client *client)
{
    close(client->fd);
    free(client->pending);
    free(client);
}

static void out_add(struct server *server, const char *bytes, size_t len)
{
    if (server->out_len + len > server->out_size) {
        server->out_size = (server->out_len + len) * 2;
        server->out = must_realloc(server->out, server->out_size);
    }
    memcpy(server->out + server->out_len, bytes, len);
    server->out_len += len;
}

/* Writes what an earlier write left over. Returns false when the connection is broken. */
static bool flush_pending(struct client *client)
{
    while (client->pending_done < client->pending_len) {
        ssize_t n = send(client->fd, client->pending + client->pending_done,
                         client->pending_len - client->pending_done, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        client->pending_done += (size_t)n;
    }
    free(client->pending);
    client->pending = NULL;
    client->pending_len = 0;
    client->pending_done = 0;
    return true;
}

/* Writes the batch's replies; keeps what the kernel does not take. False: broken. */
static bool flush_out(struct server *server, struct client *client)
{
    size_t done = 0;

    while (!client->pending && done < server->out_len) {
        ssize_t n = send(client->fd, server->out + done, server->out_len - done, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                return false;
            break;
        }
        done += (size_t)n;
    }
    size_t left = server->out_len - done;
    if (left > 0) {
        if (client->pending_len + left > PENDING_MAX)
            return false;
        client->pending = must_realloc(client->pending, client->pending_len + left);
        memcpy(client->pending + client->pending_len, server->out + done, left);
        client->pending_len += left;
    }
    server->out_len = 0;
    return true;
}

/* A whole request is here: answers it. Returns false when the connection is broken. */
static bool answer(struct server *server, struct client *client)
{
    static const char ok[] = "+OK\r\n";
    static const char unknown[] = "-ERR bench_floor knows GET, SET and MGET\r\n";
    char header[LINE_MAX_LEN];

    switch (client->name) {
    case 'G':
        out_add(server, server->bulk, server->bulk_len);
        break;
    case 'S':
        out_add(server, ok, sizeof ok - 1);
        break;
    case 'M':
        out_add(server, header,
                (size_t)snprintf(header, sizeof header, "*%u\r\n", client->arg_count - 1));
        for (unsigned i = 1; i < client->arg_count; i++)
            out_add(server, server->bulk, server->bulk_len);
        break;
    default:
        out_add(server, unknown, sizeof unknown - 1);
    }
    client->name = '\0';
    return server->out_len < OUT_FLUSH || flush_out(server, client);
}

/* Takes a line `*N` or `$N` with its CRLF. Returns false when it is something else. */
static bool take_line(struct client *client, const char *line, size_t len)
{
    char wanted = client->args_left == 0 ? '*' : '$';
    size_t number = 0;

    if (len < 4 || line[0] != wanted || line[len - 2] != '\r')
        return false;
    for (size_t i = 1; i < len - 2; i++) {
        if (line[i] < '0' || line[i] > '9' || number > VALUE_MAX)
            return false;
        number = number * 10 + (size_t)(line[i] - '0');
    }
    if (wanted == '*') {
        client->args_left = client->arg_count = (unsigned)number;
        return number > 0;
    }
    client->skip = number + 2;
    client->in_body = true;
    return true;
}

/* Takes bytes of a length line. Returns how many, or -EPROTO. */
static ssize_t take_line_bytes(struct client *client, const char *bytes, size_t len)
{
    const char *newline = memchr(bytes, '\n', len < LINE_MAX_LEN ? len : LINE_MAX_LEN);
    size_t taken = newline ? (size_t)(newline - bytes) + 1 : len;

    if (newline && client->line_len == 0) /* the common case: nothing to put together */
        return take_line(client, bytes, taken) ? (ssize_t)taken : -EPROTO;
    if (client->line_len + taken > LINE_MAX_LEN)
        return -EPROTO;
    memcpy(client->line + client->line_len, bytes, taken);
    client->line_len += (unsigned)taken;
    if (!newline)
        return (ssize_t)taken;
    size_t line_len = client->line_len;
    client->line_len = 0;
    return take_line(client, client->line, line_len) ? (ssize_t)taken : -EPROTO;
}

/* Returns false when the connection has to be closed. */
static bool take_bytes(struct server *server, struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t taken;
        if (!client->in_body) {
            ssize_t rc = take_line_bytes(client, bytes, len);
            if (rc < 0)
                return false;
            taken = (size_t)rc;
        } else {
            if (client->name == '\0')
                client->name = bytes[0];
            taken = client->skip < len ? client->skip : len;
            client->skip -= taken;
            if (client->skip == 0) {
                client->in_body = false;
                client->args_left--;
                if (client->args_left == 0 && !answer(server, client))
                    return false;
            }
        }
        bytes += taken;
        len -= taken;
    }
    return true;
}

/* Reads until the socket is empty. Returns false when the connection has to be closed. */
static bool client_read(struct server *server, struct client *client)
{
    for (;;) {
        ssize_t n = recv(client->fd, server->scratch, SCRATCH_SIZE, 0);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
        server->out_len = 0;
        if (!take_bytes(server, client, server->scratch, (size_t)n) || !flush_out(server, client))
            return false;
        if (n < SCRATCH_SIZE)
            return true;
    }
}

static void accept_all(struct server *server)
{
    const int one = 1;

    for (;;) {
        /* What the analyzer takes for a leak is kept by epoll, as data.ptr.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct client *client = must_realloc(NULL, sizeof *client);
        *client = (struct client){.fd = fd};
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | EPOLLET,
            .data.ptr = client,
        };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            client_close(client);
    }
}

static void serve(struct server *server)
{
    struct epoll_event events[EVENTS_PER_TURN];

    for (;;) {
        int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                accept_all(server);
                continue;
            }
            bool alive = !client->pending || flush_pending(client);
            if (alive && (events[i].events & ~(uint32_t)EPOLLOUT))
                alive = client_read(server, client);
            if (!alive)
                client_close(client);
        }
    }
}

/* Opens the listener on loopback only: this server is for measuring. */
static int server_listen(struct server *server, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct epoll_event event = {.events = EPOLLIN};
    const int one = 1;

    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->epoll_fd < 0 || server->listen_fd < 0)
        return -errno;
    setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server->listen_fd, 1024) != 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0)
        return -errno;
    return 0;
}

static void make_bulk(struct server *server, size_t value_size)
{
    server->bulk = must_realloc(NULL, value_size + LINE_MAX_LEN);
    size_t len = (size_t)snprintf(server->bulk, LINE_MAX_LEN, "$%zu\r\n", value_size);
    memset(server->bulk + len, 'x', value_size);
    len += value_size;
    server->bulk[len++] = '\r';
    server->bulk[len++] = '\n';
    server->bulk_len = len;
}

int main(int argc, char **argv)
{
    static struct server server;
    unsigned long port = 0;
    unsigned long size = 1024;
    int letter;

    while ((letter = getopt(argc, argv, "p:s:h")) >= 0) {
        if (letter == 'p')
            port = strtoul(optarg, NULL, 10);
        else if (letter == 's')
            size = strtoul(optarg, NULL, 10);
        else
            port = 0;
    }
    if (port == 0 || port > UINT16_MAX || size > VALUE_MAX || optind != argc) {
        fputs("Usage: bench_floor -p PORT [-s VALUE_SIZE]\n", stderr);
        return 2;
    }
    make_bulk(&server, size);
    int rc = server_listen(&server, (uint16_t)port);
    if (rc != 0) {
        fprintf(stderr, "bench_floor: cannot listen on 127.0.0.1:%lu: %s\n", port, strerror(-rc));
        return 1;
    }
    serve(&server);
}

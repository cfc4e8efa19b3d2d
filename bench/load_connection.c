/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator's clients and their connections: what is sent when, and reading. See load.h.
 *
 * In a closed loop a client sends its next batch when all replies of the last are here. In an open
 * loop request i is due at i / rate, whatever came back so far: it is queued behind the unanswered
 * ones of its connection if it must be, and its latency runs from when it was due.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_TURN = 256,
    CONNECTS_AT_A_TIME = 100,        /* fewer than any server's listen backlog */
    SLOW_READER_BUFFER = 128 * 1024, /* a slow reader's kernel must not do its reading for it */
};

static const uint64_t connect_ns = 5000000000; /* wait this long for the connections */
static const uint64_t tick_ns = 10000000;      /* slow readers read a hundred times a second */
static const double burst_s = 0.1;             /* what a slow reader did not use is soon gone */
static const double worth_s = 0.005;           /* and it saves up so long for a read */

uint64_t load_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void *load_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fputs("bench_load: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* xorshift64*: good enough to draw keys, and it costs nothing. */
static uint64_t next_random(struct bench *bench)
{
    uint64_t x = bench->random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    bench->random_state = x;
    return x * 0x2545f4914f6cdd1dU;
}

static void values_make(struct bench *bench)
{
    size_t size = bench->options.value_size + LOAD_KEY_MAX;

    /* A seed of its own for the values: two runs must agree on them whatever keys they draw. */
    bench->random_state = 0x9e3779b97f4a7c15U;
    bench->values = load_alloc(1, size);
    for (size_t i = 0; i < size; i++)
        bench->values[i] = (char)('a' + (next_random(bench) >> 33) % 26);
    bench->random_state ^= load_now_ns() | 1;
    if (bench->random_state == 0)
        bench->random_state = 1;
}

/* A SET's large value is not copied into `out`: that would cost as much as sending it. */
static bool values_are_sent_in_place(const struct bench *bench)
{
    return bench->options.command == LOAD_SET && bench->options.value_size >= LOAD_LARGE_VALUE;
}

/*
 * Makes one request of the right shape, with the places where key digits and value go. Requests
 * all have the same length, so a batch is patched in place and never formatted again. A large
 * value is left out: its place is before the last two bytes.
 */
static void template_make(struct bench *bench)
{
    const struct load_options *options = &bench->options;
    static const char *const names[] = {"GET", "SET", "MGET"};
    const char *name = names[options->command];
    char prefix[32];
    unsigned arg_count = 1 + options->mget_count + (options->command == LOAD_SET ? 1 : 0);
    size_t room = 256 + (size_t)options->mget_count * 64 + options->value_size;
    size_t len = 0;

    /* Values of different sizes live under different names. */
    snprintf(prefix, sizeof prefix, "b%zu:", options->value_size);
    bench->template = load_alloc(1, room);
    bench->key_at = load_alloc(options->mget_count, sizeof *bench->key_at);
    len += (size_t)snprintf(bench->template, room, "*%u\r\n$%zu\r\n%s\r\n", arg_count, strlen(name),
                            name);
    for (unsigned i = 0; i < options->mget_count; i++) {
        len += (size_t)snprintf(bench->template + len, room - len, "$%zu\r\n%s",
                                strlen(prefix) + LOAD_KEY_DIGITS, prefix);
        bench->key_at[i] = len;
        len += (size_t)snprintf(bench->template + len, room - len, "%0*u\r\n", LOAD_KEY_DIGITS, 0U);
    }
    if (options->command == LOAD_SET) {
        len += (size_t)snprintf(bench->template + len, room - len, "$%zu\r\n", options->value_size);
        bench->value_at = len;
        if (!values_are_sent_in_place(bench))
            len += options->value_size;
        bench->template[len++] = '\r';
        bench->template[len++] = '\n';
    }
    bench->template_len = len;
}

static void connection_close(struct bench *bench, struct connection *c)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    c->client->lost = true;
    bench->open_count--;
    bench->lost_count++;
    bench->waiting -= c->tail - c->head;
    c->head = c->unsent = c->tail;
}

/* Makes the queue twice as long. Only an open loop has more than a batch in it. */
static void queue_grow(struct bench *bench, struct connection *c)
{
    size_t size = c->queue_size * 2;
    size_t width = bench->options.mget_count;
    uint64_t *due_ns = load_alloc(size, sizeof *due_ns);
    uint32_t *keys = load_alloc(size * width, sizeof *keys);

    for (size_t i = c->head; i != c->tail; i++) {
        size_t from = i & (c->queue_size - 1);
        size_t to = i & (size - 1);
        due_ns[to] = c->due_ns[from];
        memcpy(keys + to * width, c->keys + from * width, width * sizeof *keys);
    }
    free(c->due_ns);
    free(c->keys);
    c->due_ns = due_ns;
    c->keys = keys;
    c->queue_size = size;
}

static uint32_t draw_key(struct bench *bench)
{
    if (bench->options.in_order)
        return (uint32_t)(bench->started_requests % bench->options.key_count);
    return (uint32_t)(((next_random(bench) >> 32) * bench->options.key_count) >> 32);
}

/* Draws a request and queues it on the connection to the address that its first key belongs to. */
static struct connection *request_queue(struct bench *bench, struct load_client *client,
                                        uint64_t due_ns)
{
    size_t width = bench->options.mget_count;
    uint32_t first = draw_key(bench);
    struct connection *c = &client->connections[first % bench->options.address_count];

    if (c->tail - c->head == c->queue_size)
        queue_grow(bench, c);
    size_t place = c->tail & (c->queue_size - 1);
    c->due_ns[place] = due_ns;
    c->keys[place * width] = first;
    for (size_t i = 1; i < width; i++)
        c->keys[place * width + i] = draw_key(bench);
    c->tail++;
    client->waiting++;
    bench->waiting++;
    bench->started_requests++;
    return c;
}

static void patch_key(char *digits, uint32_t key)
{
    for (int i = LOAD_KEY_DIGITS - 1; i >= 0; i--) {
        digits[i] = (char)('0' + key % 10);
        key /= 10;
    }
}

/* Puts the next queued requests into `out`: as many as one write may carry. */
static void out_fill(struct bench *bench, struct connection *c)
{
    const struct load_options *options = &bench->options;
    bool in_place = values_are_sent_in_place(bench);
    size_t count = c->tail - c->unsent;
    size_t count_max = in_place ? 1 : options->pipeline;

    if (count > count_max)
        count = count_max;
    for (size_t i = 0; i < count; i++) {
        char *request = c->out + i * bench->template_len;
        const uint32_t *keys =
            c->keys + ((c->unsent + i) & (c->queue_size - 1)) * options->mget_count;
        for (unsigned k = 0; k < options->mget_count; k++)
            patch_key(request + bench->key_at[k], keys[k]);
        if (in_place)
            c->value = load_value(bench, keys[0]);
        else if (options->command == LOAD_SET)
            memcpy(request + bench->value_at, load_value(bench, keys[0]), options->value_size);
    }
    c->unsent += count;
    c->out_done = 0;
    c->out_len = count * bench->template_len + (in_place ? options->value_size : 0);
}

/* Describes what is left of `out` and the value inside it. Returns the number of pieces. */
static size_t out_pieces(const struct bench *bench, const struct connection *c,
                         struct iovec pieces[3])
{
    const struct iovec whole[3] = {
        {.iov_base = c->out, .iov_len = c->value ? bench->value_at : c->out_len},
        {.iov_base = (void *)(uintptr_t)c->value, .iov_len = bench->options.value_size},
        {.iov_base = c->out + bench->value_at, .iov_len = 2},
    };
    size_t skip = c->out_done;
    size_t count = 0;

    for (size_t i = 0; i < (c->value ? 3U : 1U); i++) {
        if (skip >= whole[i].iov_len) {
            skip -= whole[i].iov_len;
            continue;
        }
        pieces[count].iov_base = (char *)whole[i].iov_base + skip;
        pieces[count++].iov_len = whole[i].iov_len - skip;
        skip = 0;
    }
    return count;
}

/* Writes what is queued. What the kernel does not take waits for the next event. */
static void connection_write(struct bench *bench, struct connection *c)
{
    for (;;) {
        if (c->out_done == c->out_len) {
            if (c->unsent == c->tail)
                return;
            out_fill(bench, c);
        }
        struct iovec pieces[3];
        struct msghdr message = {.msg_iov = pieces};
        message.msg_iovlen = out_pieces(bench, c, pieces);
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN)
                connection_close(bench, c);
            return;
        }
        c->out_done += (size_t)n;
    }
}

/* Sends the next batch, or lets the client rest when nothing is left to send. */
static void batch_start(struct bench *bench, struct load_client *client, uint64_t now)
{
    const struct load_options *options = &bench->options;
    uint64_t count = options->pipeline;

    if (bench->phase == PHASE_DRAIN || client->lost)
        return;
    if (options->request_count > 0 && options->request_count - bench->started_requests < count)
        count = options->request_count - bench->started_requests;
    for (uint64_t i = 0; i < count; i++)
        request_queue(bench, client, now);
    for (unsigned i = 0; i < options->address_count; i++) {
        struct connection *c = &client->connections[i];
        if (c->fd >= 0 && c->unsent != c->tail)
            connection_write(bench, c);
    }
}

/* How many bytes a slow reader may read now; zero until it is worth a read. */
static size_t read_room(const struct bench *bench, struct connection *c, uint64_t now)
{
    double rate = bench->options.read_rate;
    double room = 0;

    if (now > c->read_until_ns) {
        if ((double)(now - c->read_until_ns) > burst_s * 1e9)
            c->read_until_ns = now - (uint64_t)(burst_s * 1e9);
        room = (double)(now - c->read_until_ns) * rate / 1e9;
    }
    if (room < rate * worth_s && room < LOAD_SCRATCH_SIZE)
        return 0;
    return room > LOAD_SCRATCH_SIZE ? LOAD_SCRATCH_SIZE : (size_t)room;
}

/*
 * Reads until the socket is empty, or as much as a slow reader may. Without --verify most of a
 * large body is dropped inside the kernel: the generator shares a core with what it measures, so
 * it should cost little.
 */
static void connection_read(struct bench *bench, struct connection *c)
{
    double rate = bench->options.read_rate;

    for (;;) {
        size_t room = LOAD_SCRATCH_SIZE;
        bool drop = !bench->options.verify && c->state == INPUT_BODY &&
                    c->body_len > c->body_done + LOAD_SCRATCH_SIZE;
        if (drop)
            room = c->body_len - c->body_done;
        if (rate > 0) {
            size_t allowed = read_room(bench, c, load_now_ns());
            if (allowed == 0)
                return;
            room = room < allowed ? room : allowed;
        }
        ssize_t n = recv(c->fd, bench->scratch, room, drop ? MSG_TRUNC : 0);
        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            if (n == 0 || errno != EAGAIN)
                connection_close(bench, c);
            return;
        }
        uint64_t now = load_now_ns();
        if (rate > 0)
            c->read_until_ns += (uint64_t)((double)n * 1e9 / rate);
        if (drop) {
            c->body_done += (size_t)n;
        } else if (load_take_reply(bench, c, bench->scratch, (size_t)n, now) != 0) {
            bench->wrong_count++;
            connection_close(bench, c);
            return;
        }
        if (c->client->waiting == 0 && bench->options.rate <= 0)
            batch_start(bench, c->client, now);
        /* A short read emptied the socket; what comes later brings an event of its own. */
        if (c->fd < 0 || (size_t)n < room)
            return;
    }
}

void load_event(struct bench *bench, struct connection *c, uint32_t events)
{
    if (c->fd >= 0 && (events & EPOLLOUT))
        connection_write(bench, c);
    if (c->fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
        connection_read(bench, c);
}

void load_start(struct bench *bench, uint64_t now)
{
    bench->schedule_ns = now;
    if (bench->options.rate > 0)
        return;
    for (unsigned i = 0; i < bench->options.clients; i++)
        batch_start(bench, &bench->clients[i], load_now_ns());
}

/* When request number `index` of an open loop is due. */
static uint64_t due_ns(const struct bench *bench, uint64_t index)
{
    return bench->schedule_ns + (uint64_t)((double)index * 1e9 / bench->options.rate);
}

static bool schedule_is_over(const struct bench *bench)
{
    const struct load_options *options = &bench->options;

    return options->rate <= 0 || bench->phase == PHASE_DRAIN ||
           (options->request_count > 0 && bench->started_requests >= options->request_count);
}

static void schedule_run(struct bench *bench, uint64_t now)
{
    while (!schedule_is_over(bench) && due_ns(bench, bench->started_requests) <= now) {
        uint64_t due = due_ns(bench, bench->started_requests);
        struct load_client *client =
            &bench->clients[bench->started_requests % bench->options.clients];
        if (client->lost) {
            bench->started_requests++;
            bench->unsent_count++;
            continue;
        }
        connection_write(bench, request_queue(bench, client, due));
    }
}

void load_tick(struct bench *bench, uint64_t now)
{
    schedule_run(bench, now);
    if (bench->options.read_rate <= 0)
        return;
    for (unsigned i = 0; i < bench->connection_count; i++) {
        if (bench->connections[i].fd >= 0)
            connection_read(bench, &bench->connections[i]);
    }
}

void load_finish(struct bench *bench, uint64_t now)
{
    if (bench->options.rate <= 0)
        return;
    for (unsigned i = 0; i < bench->connection_count; i++) {
        const struct connection *c = &bench->connections[i];
        for (size_t at = c->head; at != c->tail; at++) {
            uint64_t due = c->due_ns[at & (c->queue_size - 1)];
            if (due >= bench->window_start_ns)
                histogram_add(&bench->latency, now - due, 1);
        }
    }
}

uint64_t load_pause_ns(const struct bench *bench, uint64_t now)
{
    if (schedule_is_over(bench))
        return tick_ns;
    uint64_t due = due_ns(bench, bench->started_requests);
    if (due <= now)
        return 0;
    return due - now < tick_ns ? due - now : tick_ns;
}

static int connection_open(struct bench *bench, struct connection *c, const struct load_address *to)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(to->port),
    };
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLET,
        .data.ptr = c,
    };
    const int one = 1;
    const int slow_buffer = SLOW_READER_BUFFER;

    inet_pton(AF_INET, to->host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    bench->open_count++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bench->options.read_rate > 0) {
        event.events = EPOLLOUT | EPOLLET; /* it reads by the clock */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &slow_buffer, sizeof slow_buffer);
    }
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        return -errno;
    if (epoll_ctl(bench->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        return -errno;
    c->queue_size = 1;
    while (c->queue_size < bench->options.pipeline)
        c->queue_size *= 2;
    c->due_ns = load_alloc(c->queue_size, sizeof *c->due_ns);
    c->keys = load_alloc(c->queue_size * bench->options.mget_count, sizeof *c->keys);
    c->out = load_alloc(bench->options.pipeline, bench->template_len);
    for (unsigned i = 0; i < bench->options.pipeline; i++)
        memcpy(c->out + i * bench->template_len, bench->template, bench->template_len);
    return 0;
}

/* Connects everybody before the first request, some at a time. Returns 0 or an error. */
static int connect_all(struct bench *bench)
{
    const struct load_options *options = &bench->options;
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t end = load_now_ns() + connect_ns;
    unsigned opened = 0;
    unsigned connected = 0;

    while (connected < bench->connection_count) {
        while (opened < bench->connection_count && opened - connected < CONNECTS_AT_A_TIME) {
            int rc = connection_open(bench, &bench->connections[opened],
                                     &options->addresses[opened % options->address_count]);
            if (rc != 0)
                return rc;
            opened++;
        }
        int count = epoll_wait(bench->epoll_fd, events, EVENTS_PER_TURN, 100);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            int error = 0;
            socklen_t len = sizeof error;
            if (c->connected || !(events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
                continue;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
            if (error != 0)
                return -error;
            c->connected = true;
            connected++;
        }
        if (load_now_ns() > end)
            return -ETIMEDOUT;
    }
    return 0;
}

int load_open(struct bench *bench)
{
    const struct load_options *options = &bench->options;

    values_make(bench);
    template_make(bench);
    bench->scratch = load_alloc(1, LOAD_SCRATCH_SIZE);
    bench->connection_count = options->clients * options->address_count;
    bench->clients = load_alloc(options->clients, sizeof *bench->clients);
    bench->connections = load_alloc(bench->connection_count, sizeof *bench->connections);
    for (unsigned i = 0; i < bench->connection_count; i++) {
        bench->connections[i].fd = -1;
        bench->connections[i].client = &bench->clients[i / options->address_count];
    }
    for (unsigned i = 0; i < options->clients; i++)
        bench->clients[i].connections = &bench->connections[(size_t)i * options->address_count];
    bench->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bench->epoll_fd < 0)
        return -errno;
    return connect_all(bench);
}

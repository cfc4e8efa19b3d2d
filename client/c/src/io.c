/* SPDX-License-Identifier: Apache-2.0 */
#include "io.h"

#include "clock.h"
#include "io_loop.h"
#include "lane.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n; /* full: it is awake */
}

/* --- its life --- */

int io_new(struct sc_cache *cache, bool is_child, struct io **ret_io, bool *ret_has_thread)
{
    struct io *io = calloc(1, sizeof(*io));
    if (io == NULL) {
        return -ENOMEM;
    }
    io->cache = cache;
    io->probe_ms = (int)cache->probe_ms;
    io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    io->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&io->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&io->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue_init(&io->given);
    queue_init(&io->completions);
    queue_init(&io->delayed);
    for (int i = 0; i < LANES; i++) {
        lane_init(&io->lanes[i]);
    }
    memcpy(io->probe_name, "sumcache-probe", 14);
    io->probe_len = 14;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = io->wake_fd < 0 || io->done_fd < 0 ? EAGAIN
                                                : pthread_create(&io->thread, NULL, io_loop, io);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    io->has_thread = rc == 0;
    if (rc != 0 && !is_child) {
        io_free(io, 0);
        return -EAGAIN;
    }
    *ret_has_thread = io->has_thread;
    *ret_io = io;
    return 0;
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

struct io *io_free(struct io *io, uint32_t flush_ms)
{
    if (io == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&io->lock);
    io->is_stopping = true;
    io->stop_by_ns = clock_ns() + (int64_t)flush_ms * NS_PER_MS;
    pthread_mutex_unlock(&io->lock);
    wake(io->wake_fd);
    if (io->has_thread) {
        pthread_join(io->thread, NULL);
    }
    for (int i = 0; i < LANES; i++) {
        lane_fini(&io->lanes[i]);
    }
    queue_drop(&io->given);
    queue_drop(&io->delayed);
    queue_drop(&io->completions);
    close_if_open(io->wake_fd);
    close_if_open(io->done_fd);
    pthread_mutex_destroy(&io->lock);
    pthread_cond_destroy(&io->ended);
    free(io);
    return NULL;
}

/* --- what it is given --- */

static bool give(struct io *io, struct job *j, bool is_room_needed)
{
    struct sc_cache *c = io->cache;
    pthread_mutex_lock(&io->lock);
    bool is_full =
        is_del(j) ? io->dels >= c->queue_max
                  : io->queued >= c->queue_max || io->queued_bytes + j->bytes > c->queue_bytes_max;
    if (is_full && is_room_needed) {
        pthread_mutex_unlock(&io->lock);
        return false;
    }
    if (is_del(j)) {
        io->dels++;
    } else if (j->kind != JOB_BLIND) {
        io->queued++;
        io->queued_bytes += j->bytes;
    }
    bool was_empty = io->given.first == NULL;
    queue_put(&io->given, j);
    pthread_mutex_unlock(&io->lock);
    if (was_empty) {
        wake(io->wake_fd);
    }
    return true;
}

bool io_give(struct io *io, struct job *j)
{
    return give(io, j, true);
}

bool io_give_del(struct io *io, struct job *j)
{
    return give(io, j, true);
}

void io_give_always(struct io *io, struct job *j)
{
    (void)give(io, j, false);
}

bool io_wait(struct io *io, struct job *j, int64_t deadline_ns)
{
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    pthread_mutex_lock(&io->lock);
    while (!j->is_ended && pthread_cond_timedwait(&io->ended, &io->lock, &until) != ETIMEDOUT) {
    }
    bool is_ended = j->is_ended;
    pthread_mutex_unlock(&io->lock);
    return is_ended;
}

void io_wake(struct io *io)
{
    wake(io->wake_fd);
}

void io_probe(struct io *io, const char *name, size_t len)
{
    pthread_mutex_lock(&io->lock);
    if (len > 0 && len <= sizeof(io->probe_name)) {
        memcpy(io->probe_name, name, len);
        io->probe_len = len;
    }
    pthread_mutex_unlock(&io->lock);
    wake(io->wake_fd);
}

void io_read_numbers(struct io *io, struct io_numbers *ret)
{
    pthread_mutex_lock(&io->lock);
    ret->dels_pending = io->dels;
    pthread_mutex_unlock(&io->lock);
}

/* --- completions --- */

void io_complete(struct io *io, struct job *j)
{
    pthread_mutex_lock(&io->lock);
    queue_put(&io->completions, j);
    pthread_mutex_unlock(&io->lock);
    wake(io->done_fd);
}

struct job *io_take_completions(struct io *io, int max)
{
    uint64_t n;
    struct queue taken;
    queue_init(&taken);
    ssize_t got = read(io->done_fd, &n, sizeof(n));
    (void)got;
    pthread_mutex_lock(&io->lock);
    for (int i = 0; (max == 0 || i < max) && io->completions.first != NULL; i++) {
        queue_put(&taken, queue_take(&io->completions));
    }
    bool is_more = io->completions.first != NULL;
    pthread_mutex_unlock(&io->lock);
    if (is_more) {
        wake(io->done_fd);
    }
    return taken.first;
}

int io_descriptor(const struct io *io)
{
    return io->done_fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long: one thread, whose queues, lanes and deadlines all call each other; in pieces each would be
 * declared to the others.
 */
#include "io.h"

#include "cache.h"
#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SENT_MAX = 128,      /* jobs under way on one lane */
    REPLY_MIN_MS = 50,   /* nobody waits for a background write: it may take longer than a call */
    BACKOFF_MIN_MS = 20, /* until a lane connects again */
    BACKOFF_MAX_MS = 400,
    BETWEEN_PROBES_MS = 20, /* from one that was answered to the next */
    LOST_MS = 5000,         /* so long a write that was lost may still arrive */
    ENDING_MS = 2,          /* between looks whether all that was queued has been sent */
    LATE_MS = 20,           /* between looks for calls that have waited for a load too long */
};

enum lane_kind { LANE_WRITES, LANE_READS, LANE_PROBES, LANES };
enum lane_state { LANE_IDLE, LANE_CONNECTING, LANE_READY };

struct queue {
    struct job *first, **end;
};

struct lane {
    enum lane_state state;
    struct conn *conn;
    int64_t connect_by_ns, greet_by_ns, not_before_ns;
    int backoff_ms;
    int address;                     /* which one is tried */
    const struct commands *greeting; /* that is being sent; NULL: it is */
    int greeting_part;
    size_t greeting_of_part;
    struct job *sending;
    struct queue waiting, sent;
    int sent_count;
    bool wants_write;
};

struct io {
    struct sc_cache *cache;
    pthread_t thread;
    bool has_thread;
    int wake_fd, done_fd;

    pthread_mutex_t lock;
    pthread_cond_t ended; /* a job with is_ended */
    struct queue given, completions;
    bool is_stopping;
    int64_t stop_by_ns;
    size_t queued_bytes;
    uint32_t queued, dels;
    size_t probe_len;
    char probe_name[NAME_MAX_LEN];

    /* The thread's own. */
    bool is_ending; /* what is_stopping was last */
    struct lane lanes[LANES];
    struct queue delayed;
    int notices;            /* deletes whose asynchronous caller has not been told yet */
    int64_t lost_writes_ns; /* when writes under way were lost */
    int64_t probe_at_ns;
    int probe_ms;
    int64_t late_at_ns;
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void queue_put(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->end = j;
    q->end = &j->next;
}

static void queue_put_first(struct queue *q, struct job *j)
{
    j->next = q->first;
    if (q->first == NULL) {
        q->end = &j->next;
    }
    q->first = j;
}

static struct job *queue_take(struct queue *q)
{
    struct job *j = q->first;
    if (j != NULL) {
        q->first = j->next;
        if (q->first == NULL) {
            q->end = &q->first;
        }
        j->next = NULL;
    }
    return j;
}

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n; /* full: it is awake */
}

static bool is_del(const struct job *j)
{
    return j->kind == JOB_DEL || j->kind == JOB_CLEAR;
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

/* --- ends of jobs --- */

/* Tells whoever waits for a delete. */
static void tell(struct io *io, struct job *j, int answer, int cause)
{
    pthread_mutex_lock(&io->lock);
    j->is_ended = true;
    j->answer = answer;
    j->cause = cause;
    pthread_cond_broadcast(&io->ended);
    pthread_mutex_unlock(&io->lock);
    if (j->notice != NULL) {
        struct job *notice = j->notice;
        j->notice = NULL;
        io->notices--;
        notice->answer = answer;
        notice->cause = cause;
        notice->cost_ns = clock_ns() - j->began_ns;
        io_complete(io, notice);
    }
}

static void release(struct io *io, struct job *j)
{
    if (j->is_pending) {
        /* Once more, so that a read that began before the cache had deleted is not believed. */
        struct fences *f = &j->store->fences;
        bool is_all = j->kind == JOB_CLEAR || j->kind == JOB_BLIND;
        atomic_fetch_add(is_all ? &f->all : &f->slots[j->mark.slot], 1);
        atomic_fetch_sub(is_all ? &f->pending_all : &f->pending[j->mark.slot], 1);
        j->is_pending = false;
    }
    pthread_mutex_lock(&io->lock);
    if (is_del(j)) {
        io->dels--;
    } else if (j->kind != JOB_BLIND && j->kind != JOB_PROBE) {
        io->queued--;
        io->queued_bytes -= j->bytes;
    }
    pthread_mutex_unlock(&io->lock);
}

static void end_read(struct io *io, struct job *j, int cause)
{
    release(io, j);
    if (cause != SC_CAUSE_NONE) {
        j->read_key.value = bytes_unref(j->read_key.value);
        j->reading.epoch = 0;
        j->read_key.answer = SC_MISS;
        j->read_key.cause = cause;
    }
    cache_note(io->cache, cause != SC_CAUSE_NONE       ? cause
                          : j->reading.error_count > 0 ? j->reading.cause
                                                       : SC_CAUSE_NONE);
    io_complete(io, j);
}

/* A job that ends without having been answered. */
static void end_unanswered(struct io *io, struct job *j, bool was_sent, int cause)
{
    int64_t now = clock_ns();
    if (j->kind == JOB_READ) {
        end_read(io, j, cause);
        return;
    }
    if (is_del(j) && now < j->given_up_ns && !io->is_ending) {
        count(io->cache, COUNT_DELS_REPEATED, was_sent);
        j->is_plain |= was_sent && cause == SC_CAUSE_CLOSED;
        j->not_before_ns = now + (int64_t)BACKOFF_MIN_MS * NS_PER_MS;
        queue_put(&io->delayed, j);
        return;
    }
    if (j->kind == JOB_SET) {
        if (was_sent) {
            io->lost_writes_ns = now;
        }
        count(io->cache, COUNT_SETS_SHED, 1);
    }
    if (is_del(j)) {
        tell(io, j, SC_SKIPPED, cause);
    }
    release(io, j);
    job_unref(j);
}

static void end_answered(struct io *io, struct lane *lane, struct job *j)
{
    int64_t now = clock_ns();
    bool has_lost =
        io->lost_writes_ns != 0 && now - io->lost_writes_ns < (int64_t)LOST_MS * NS_PER_MS;
    if (j->kind == JOB_READ) {
        if (reading_next(&j->reading)) {
            j->sent_part = 0;
            j->sent_of_part = 0;
            queue_put(&lane->waiting, j);
            return;
        }
        end_read(io, j, SC_CAUSE_NONE);
        return;
    }
    enum job_end end = job_finish(j, has_lost, now);
    for (struct job *s; (s = j->spawned) != NULL;) {
        j->spawned = s->next;
        pthread_mutex_lock(&io->lock);
        io->queued++;
        io->queued_bytes += s->bytes;
        pthread_mutex_unlock(&io->lock);
        queue_put(&lane->waiting, s);
    }
    if (end == JOB_AGAIN) {
        queue_put_first(&lane->waiting, j);
        return;
    }
    if (is_del(j) && !j->has_error) {
        tell(io, j, SC_OK, SC_CAUSE_NONE);
    }
    if (end == JOB_DELAYED) {
        count(io->cache, COUNT_DELS_REPEATED, 1);
        queue_put(&io->delayed, j);
        return;
    }
    release(io, j);
    job_unref(j);
}

/* --- probes --- */

static void note_probe(struct io *io, bool has_failed)
{
    struct sc_cache *c = io->cache;
    if (breaker_note_probe(&c->breaker, has_failed)) {
        cache_log(c, breaker_is_closed(&c->breaker) ? "the cache answers again"
                     : has_failed                   ? "the cache does not answer"
                                                    : "a probe of the cache was answered");
    }
    int64_t now = clock_ns();
    if (!has_failed) {
        io->probe_ms = (int)c->probe_ms;
        io->probe_at_ns = now + (int64_t)BETWEEN_PROBES_MS * NS_PER_MS;
        return;
    }
    uint64_t jitter = cache_random(c) % 50; /* so that the clients of a cache do not come at once */
    io->probe_at_ns = now + (int64_t)io->probe_ms * (int64_t)(75 + jitter) * (NS_PER_MS / 100);
    io->probe_ms *= 2;
    if (io->probe_ms > 4 * (int)c->probe_ms) {
        io->probe_ms = 4 * (int)c->probe_ms;
    }
}

static void start_probe(struct io *io, int64_t now)
{
    struct lane *lane = &io->lanes[LANE_PROBES];
    bool is_due = !breaker_is_closed(&io->cache->breaker) && now >= io->probe_at_ns;
    if (!is_due || lane->waiting.first != NULL || lane->sending != NULL || lane->sent_count > 0) {
        return;
    }
    pthread_mutex_lock(&io->lock);
    struct job *j = job_new(JOB_PROBE, NULL, io->probe_name, io->probe_len);
    pthread_mutex_unlock(&io->lock);
    io->probe_at_ns = now + (int64_t)io->probe_ms * NS_PER_MS; /* if there is no memory */
    if (j != NULL) {
        lane->not_before_ns = 0;
        queue_put(&lane->waiting, j);
    }
}

/* --- lanes --- */

static void lane_init(struct lane *lane)
{
    memset(lane, 0, sizeof(*lane));
    queue_init(&lane->waiting);
    queue_init(&lane->sent);
    lane->backoff_ms = BACKOFF_MIN_MS;
}

static void end_probes(struct io *io, struct queue *q)
{
    for (struct job *j; (j = queue_take(q)) != NULL;) {
        note_probe(io, true);
        job_unref(j);
    }
}

/* The connection is of no more use: what is under way has failed. */
static void lane_close(struct io *io, struct lane *lane, int error)
{
    int cause = (int)cause_of(error);
    bool is_probe = lane == &io->lanes[LANE_PROBES];
    bool is_refused = lane->conn != NULL && lane->state == LANE_READY && error == -ECONNRESET &&
                      greeting_was_refused(&io->cache->greeting, lane->conn);
    if (lane->conn != NULL) {
        count(io->cache, COUNT_BYTES_IN, conn_take_bytes_in(lane->conn));
    }
    lane->conn = conn_free(lane->conn);
    lane->state = LANE_IDLE;
    lane->greeting = NULL;
    lane->not_before_ns = is_refused ? 0 : clock_ns() + (int64_t)lane->backoff_ms * NS_PER_MS;
    lane->backoff_ms =
        lane->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : lane->backoff_ms * 2;
    struct queue sent = lane->sent;
    queue_init(&lane->sent);
    if (sent.first == NULL) {
        queue_init(&sent);
    }
    lane->sent_count = 0;
    struct job *sending = lane->sending;
    lane->sending = NULL;
    if (sending != NULL) {
        if (sent.first == NULL) {
            queue_init(&sent);
        }
        *(sent.first == NULL ? &sent.first : sent.end) = sending;
        sending->next = NULL;
    }
    for (struct job *j = sent.first, *next; j != NULL; j = next) {
        next = j->next;
        if (is_probe) {
            note_probe(io, true);
            job_unref(j);
            continue;
        }
        struct sc_store *s = j->store;
        if (j->kind == JOB_SET && s->group == SC_HASH && j->field_ttl > 0 && error == -ECONNRESET) {
            /* A server that closes instead of saying that it does not know HSETEX. */
            int64_t until = clock_ns() + INT64_C(600) * 1000 * NS_PER_MS;
            atomic_store(&s->cache->no_hsetex_until_ns, until);
            atomic_store(&s->cache->no_hpexpire_until_ns, until);
        }
        if (j->kind == JOB_SET || j->kind == JOB_REMOVE) {
            cache_note(io->cache, cause);
        }
        end_unanswered(io, j, true, cause);
    }
    if (is_probe) {
        end_probes(io, &lane->waiting);
        return;
    }
    /* What has not been sent does not wait for a connection that may never come: but deletes do. */
    struct queue waiting = lane->waiting;
    queue_init(&lane->waiting);
    for (struct job *j = waiting.first, *next; j != NULL && !is_refused; j = next) {
        next = j->next;
        end_unanswered(io, j, false, cause);
    }
    for (struct job *j = waiting.first, *next; j != NULL && is_refused; j = next) {
        next = j->next;
        queue_put(&lane->waiting, j);
    }
}

static void lane_connect(struct io *io, struct lane *lane, int64_t now)
{
    struct sc_cache *c = io->cache;
    struct address addresses[ADDRESS_MAX];
    int n = address_book_read(c->book, addresses);
    lane->conn = n > 0 ? conn_new(&addresses[lane->address++ % n], c->pool.value_max) : NULL;
    lane->state = LANE_CONNECTING;
    lane->connect_by_ns = now + c->budget_ns + (int64_t)REPLY_MIN_MS * NS_PER_MS;
    if (lane->conn == NULL) {
        count(c, COUNT_CONNECT_ERRORS, 1);
        lane_close(io, lane, -ECONNREFUSED);
    }
}

/* Sends from commands what the socket takes: 1 all is sent, 0 not yet, or a reason. */
static int send_commands(struct io *io, struct conn *conn, const struct commands *commands,
                         int *part, size_t *of_part)
{
    while (*part < commands->part_count) {
        struct iovec parts[16] = {{0}};
        int n = 0;
        for (; n < 16 && *part + n < commands->part_count; n++) {
            parts[n] = commands->parts[*part + n];
        }
        parts[0].iov_base = (char *)parts[0].iov_base + *of_part;
        parts[0].iov_len -= *of_part;
        int64_t sent = conn_send(conn, parts, n);
        if (sent <= 0) {
            return (int)sent;
        }
        count(io->cache, COUNT_BYTES_OUT, (uint64_t)sent);
        sent += (int64_t)*of_part;
        *of_part = 0;
        while (*part < commands->part_count && sent >= (int64_t)commands->parts[*part].iov_len) {
            sent -= (int64_t)commands->parts[(*part)++].iov_len;
        }
        *of_part = (size_t)sent;
    }
    return 1;
}

static bool begin_job(struct io *io, struct lane *lane, int64_t now)
{
    struct job *j = queue_take(&lane->waiting);
    if (j == NULL) {
        return false;
    }
    bool is_ready = j->kind == JOB_READ ? j->deadline_ns > now : job_prepare(j);
    if (!is_ready) {
        end_unanswered(io, j, false, SC_CAUSE_TIMEOUT);
        return true;
    }
    int64_t reply_ns = io->cache->budget_ns + (int64_t)REPLY_MIN_MS * NS_PER_MS;
    if (j->kind != JOB_READ) {
        j->deadline_ns = now + (j->kind == JOB_PROBE ? io->cache->budget_ns : reply_ns);
    }
    lane->sending = j;
    return true;
}

/* 0, or a reason. */
static int lane_write(struct io *io, struct lane *lane, int64_t now)
{
    lane->wants_write = false;
    if (lane->greeting != NULL) {
        int rc = send_commands(io, lane->conn, lane->greeting, &lane->greeting_part,
                               &lane->greeting_of_part);
        if (rc <= 0) {
            lane->wants_write = true;
            return rc;
        }
        lane->greeting = NULL;
    }
    /* A server that closes at the greeting must not take writes with it, which are never sent
     * twice. */
    bool is_greeted = conn_notes(lane->conn)->skip == 0;
    while (is_greeted && (lane->sending != NULL || lane->sent_count < SENT_MAX)) {
        if (lane->sending == NULL && !begin_job(io, lane, now)) {
            break;
        }
        struct job *j = lane->sending;
        if (j == NULL) {
            continue; /* it ended without being sent */
        }
        const struct commands *commands = j->kind == JOB_READ ? &j->reading.commands : &j->commands;
        int rc = send_commands(io, lane->conn, commands, &j->sent_part, &j->sent_of_part);
        if (rc <= 0) {
            lane->wants_write = true;
            return rc;
        }
        lane->sending = NULL;
        queue_put(&lane->sent, j);
        lane->sent_count++;
    }
    return 0;
}

static int take_item(struct io *io, struct lane *lane, struct item *item)
{
    struct conn_notes *notes = conn_notes(lane->conn);
    lane->backoff_ms = BACKOFF_MIN_MS;
    if (notes->skip > 0) {
        bool is_auth = notes->auth-- > 0;
        notes->skip--;
        bool is_refused = is_auth && item->type == ITEM_ERROR;
        bytes_unref(item->bytes);
        return is_refused ? -EPROTO : 0;
    }
    struct job *j = lane->sent.first;
    if (j == NULL) {
        bytes_unref(item->bytes);
        return -EPROTO; /* an answer to nothing */
    }
    int rc = job_feed(j, item);
    if (rc > 0) {
        queue_take(&lane->sent);
        lane->sent_count--;
        if (j->kind == JOB_PROBE) {
            note_probe(io, j->has_error);
            job_unref(j);
            return 0;
        }
        end_answered(io, lane, j);
    }
    return rc < 0 ? rc : 0;
}

static int lane_read(struct io *io, struct lane *lane)
{
    for (;;) {
        int rc = conn_receive(lane->conn);
        if (rc <= 0) {
            return rc;
        }
        count(io->cache, COUNT_BYTES_IN, conn_take_bytes_in(lane->conn));
        struct item item;
        while ((rc = conn_next(lane->conn, &item)) == 1) {
            rc = take_item(io, lane, &item);
            if (rc < 0) {
                return rc;
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
}

static void lane_ready(struct io *io, struct lane *lane, int64_t now)
{
    lane->state = LANE_READY;
    lane->greet_by_ns = now + io->cache->budget_ns + (int64_t)REPLY_MIN_MS * NS_PER_MS;
    lane->greeting = greeting_begin(&io->cache->greeting, lane->conn);
    lane->greeting_part = 0;
    lane->greeting_of_part = 0;
    count(io->cache, COUNT_CONNECTIONS, 1);
}

/* After poll() has said what there is on its socket. */
static void lane_run(struct io *io, struct lane *lane, short events, int64_t now)
{
    if (lane->state == LANE_CONNECTING && events != 0) {
        int rc = conn_finish(lane->conn);
        if (rc != 0) {
            count(io->cache, COUNT_CONNECT_ERRORS, 1);
            lane_close(io, lane, rc);
            return;
        }
        lane_ready(io, lane, now);
    }
    if (lane->state == LANE_READY && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        int rc = lane_read(io, lane);
        if (rc < 0) {
            lane_close(io, lane, rc);
        }
    }
    if (lane->state == LANE_READY) {
        int rc = lane_write(io, lane, now);
        if (rc < 0) {
            lane_close(io, lane, rc);
        }
    }
    bool is_over = lane == &io->lanes[LANE_PROBES] && lane->state == LANE_READY &&
                   lane->sending == NULL && lane->sent_count == 0 && lane->waiting.first == NULL;
    if (is_over) { /* each probe is on a connection of its own: new ones have to be possible, too */
        lane->conn = conn_free(lane->conn);
        lane->state = LANE_IDLE;
        lane->greeting = NULL;
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Deadlines of a lane that are over; returns when the next one is. */
static int64_t lane_tick(struct io *io, struct lane *lane, int64_t now)
{
    int64_t next = INT64_MAX;
    if (lane->state == LANE_IDLE && lane->waiting.first != NULL) {
        if (now >= lane->not_before_ns) {
            lane_connect(io, lane, now);
        } else if (lane != &io->lanes[LANE_PROBES]) {
            /* Down a moment ago: nobody waits for it but deletes, which have a queue of their own.
             */
            struct queue waiting = lane->waiting;
            queue_init(&lane->waiting);
            for (struct job *j = waiting.first, *after; j != NULL; j = after) {
                after = j->next;
                end_unanswered(io, j, false, SC_CAUSE_CONNECT);
            }
        }
    }
    if (lane->state == LANE_CONNECTING) {
        if (now >= lane->connect_by_ns) {
            count(io->cache, COUNT_CONNECT_ERRORS, 1);
            lane_close(io, lane, -ETIMEDOUT);
        } else {
            next = earlier(next, lane->connect_by_ns);
        }
    }
    /* Reads end by themselves in the queue; on the wire the oldest speaks for all. */
    while (lane->waiting.first != NULL && lane->waiting.first->kind == JOB_READ) {
        if (now < lane->waiting.first->deadline_ns) {
            next = earlier(next, lane->waiting.first->deadline_ns);
            break;
        }
        end_unanswered(io, queue_take(&lane->waiting), false, SC_CAUSE_TIMEOUT);
    }
    if (lane->state == LANE_READY && conn_notes(lane->conn)->skip > 0) {
        if (now >= lane->greet_by_ns) {
            lane_close(io, lane, -ETIMEDOUT);
        } else {
            next = earlier(next, lane->greet_by_ns);
        }
    }
    struct job *oldest = lane->sent.first != NULL ? lane->sent.first : lane->sending;
    if (oldest != NULL) {
        if (now >= oldest->deadline_ns) {
            lane_close(io, lane, -ETIMEDOUT);
        } else {
            next = earlier(next, oldest->deadline_ns);
        }
    }
    return next;
}

/* --- the thread --- */

static void take_given(struct io *io)
{
    pthread_mutex_lock(&io->lock);
    struct job *j = io->given.first;
    queue_init(&io->given);
    pthread_mutex_unlock(&io->lock);
    for (struct job *next; j != NULL; j = next) {
        next = j->next;
        io->notices += j->notice != NULL;
        if (j->kind == JOB_BLIND) {
            queue_put(&io->delayed, j);
        } else {
            queue_put(&io->lanes[j->kind == JOB_READ ? LANE_READS : LANE_WRITES].waiting, j);
        }
    }
}

/* Of a store for whose deletes there was no room. There is one such job at a time: see
 * store_blind(). */
static bool stays_blind(struct job *j, int64_t now)
{
    struct sc_store *s = j->store;
    atomic_store(&s->is_blind, 0);
    int64_t until = atomic_load(&s->blind_until_ns);
    int no = 0;
    if (now >= until || !atomic_compare_exchange_strong(&s->is_blind, &no, 1)) {
        return false;
    }
    j->not_before_ns = until;
    return true;
}

/* Deletes that are due again. */
static int64_t tick_delayed(struct io *io, int64_t now)
{
    int64_t next = INT64_MAX;
    struct queue old = io->delayed;
    queue_init(&io->delayed);
    for (struct job *j = old.first, *after; j != NULL; j = after) {
        after = j->next;
        if (now < j->not_before_ns) {
            next = earlier(next, j->not_before_ns);
            queue_put(&io->delayed, j);
        } else if (j->kind == JOB_BLIND && stays_blind(j, now)) {
            next = earlier(next, j->not_before_ns);
            queue_put(&io->delayed, j);
        } else if (j->kind == JOB_BLIND || now >= j->given_up_ns) {
            if (is_del(j)) {
                tell(io, j, SC_SKIPPED, SC_CAUSE_TIMEOUT);
            }
            release(io, j);
            job_unref(j);
        } else if (io->lanes[LANE_WRITES].state == LANE_IDLE &&
                   now < io->lanes[LANE_WRITES].not_before_ns) {
            next = earlier(next, io->lanes[LANE_WRITES].not_before_ns);
            queue_put(&io->delayed, j);
        } else {
            queue_put(&io->lanes[LANE_WRITES].waiting, j);
        }
    }
    return next;
}

static int64_t tell_late(struct io *io, struct job *first, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct job *j = first; j != NULL; j = j->next) {
        if (j->notice == NULL) {
            continue;
        }
        if (now < j->notice->deadline_ns) {
            next = earlier(next, j->notice->deadline_ns);
        } else {
            tell(io, j, SC_SKIPPED, SC_CAUSE_TIMEOUT);
        }
    }
    return next;
}

/* Who asked for a delete is told at his deadline, wherever the job is. */
static int64_t tick_notices(struct io *io, int64_t now)
{
    if (io->notices == 0) {
        return INT64_MAX;
    }
    struct lane *lane = &io->lanes[LANE_WRITES];
    int64_t next = tell_late(io, io->delayed.first, now);
    next = earlier(next, tell_late(io, lane->waiting.first, now));
    next = earlier(next, tell_late(io, lane->sent.first, now));
    return earlier(next, tell_late(io, lane->sending, now));
}

static int64_t tick_late(struct io *io, int64_t now)
{
    struct flights *f = &io->cache->flights;
    pthread_mutex_lock(&f->lock);
    bool is_any = f->waiting_count > 0;
    pthread_mutex_unlock(&f->lock);
    if (!is_any) {
        return INT64_MAX;
    }
    for (struct job *j = flights_take_late(f, now), *next; j != NULL; j = next) {
        next = j->next;
        j->is_alone = true;
        io_complete(io, j);
    }
    return now + (int64_t)LATE_MS * NS_PER_MS;
}

static bool is_done(struct io *io, int64_t now)
{
    pthread_mutex_lock(&io->lock);
    bool is_stopping = io->is_stopping;
    bool is_over = is_stopping && now >= io->stop_by_ns;
    bool is_empty = io->given.first == NULL;
    pthread_mutex_unlock(&io->lock);
    io->is_ending = is_stopping;
    struct lane *w = &io->lanes[LANE_WRITES];
    is_empty = is_empty && w->waiting.first == NULL && w->sending == NULL && w->sent_count == 0 &&
               io->delayed.first == NULL;
    return is_over || (is_stopping && is_empty);
}

static void *io_run(void *arg)
{
    struct io *io = arg;
    while (!is_done(io, clock_ns())) {
        take_given(io);
        int64_t now = clock_ns();
        int64_t next = tick_delayed(io, now);
        start_probe(io, now);
        struct pollfd fds[LANES + 1] = {{.fd = io->wake_fd, .events = POLLIN}};
        for (int i = 0; i < LANES; i++) {
            struct lane *lane = &io->lanes[i];
            next = earlier(next, lane_tick(io, lane, now));
            if (lane->state == LANE_READY) {
                lane_run(io, lane, 0, now); /* what has just been given */
            }
            next = earlier(next, lane_tick(io, lane, now));
            fds[i + 1].fd = lane->conn != NULL ? conn_fd(lane->conn) : -1;
            fds[i + 1].events = lane->state == LANE_CONNECTING
                                    ? POLLOUT
                                    : (short)(POLLIN | (lane->wants_write ? POLLOUT : 0));
        }
        if (!breaker_is_closed(&io->cache->breaker)) {
            next = earlier(next, io->probe_at_ns);
        }
        next = earlier(next, tick_late(io, now));
        next = earlier(next, tick_notices(io, now));
        if (io->is_ending) { /* what it waits for may end in any of the above */
            next = earlier(next, now + (int64_t)ENDING_MS * NS_PER_MS);
        }
        poll(fds, LANES + 1, clock_poll_ms(next, clock_ns()));
        if (fds[0].revents != 0) {
            uint64_t n;
            ssize_t got = read(io->wake_fd, &n, sizeof(n));
            (void)got;
        }
        for (int i = 0; i < LANES; i++) {
            if (fds[i + 1].fd >= 0 && fds[i + 1].revents != 0) {
                lane_run(io, &io->lanes[i], fds[i + 1].revents, clock_ns());
            }
        }
    }
    return NULL;
}

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
    int rc =
        io->wake_fd < 0 || io->done_fd < 0 ? EAGAIN : pthread_create(&io->thread, NULL, io_run, io);
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

static void drop_all(struct queue *q)
{
    for (struct job *j; (j = queue_take(q)) != NULL;) {
        job_unref(j);
    }
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
        struct lane *lane = &io->lanes[i];
        conn_free(lane->conn);
        job_unref(lane->sending);
        drop_all(&lane->waiting);
        drop_all(&lane->sent);
    }
    drop_all(&io->given);
    drop_all(&io->delayed);
    drop_all(&io->completions);
    close_if_open(io->wake_fd);
    close_if_open(io->done_fd);
    pthread_mutex_destroy(&io->lock);
    pthread_cond_destroy(&io->ended);
    free(io);
    return NULL;
}

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

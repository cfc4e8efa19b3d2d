/* SPDX-License-Identifier: Apache-2.0 */
#include "lane.h"

#include "clock.h"
#include "job_ends.h"
#include "probes.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum {
    SENT_MAX = 128, /* jobs under way on one lane */
    BACKOFF_MAX_MS = 400,
};

void lane_init(struct lane *lane)
{
    memset(lane, 0, sizeof(*lane));
    queue_init(&lane->waiting);
    queue_init(&lane->sent);
    lane->backoff_ms = BACKOFF_MIN_MS;
}

static void end_probes(struct io *io, struct queue *q)
{
    for (struct job *j; (j = queue_take(q)) != NULL;) {
        probes_note(io, true);
        job_unref(j);
    }
}

/* What has not been sent does not wait for a connection that may never come. */
static void end_waiting(struct io *io, struct lane *lane, int cause)
{
    struct queue waiting;
    queue_init(&waiting);
    queue_move(&waiting, &lane->waiting);
    for (struct job *j; (j = queue_take(&waiting)) != NULL;) {
        job_end_unanswered(io, j, false, cause);
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
    struct queue sent;
    queue_init(&sent);
    queue_move(&sent, &lane->sent);
    lane->sent_count = 0;
    if (lane->sending != NULL) {
        queue_put(&sent, lane->sending);
        lane->sending = NULL;
    }
    for (struct job *j; (j = queue_take(&sent)) != NULL;) {
        if (is_probe) {
            probes_note(io, true);
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
        job_end_unanswered(io, j, true, cause);
    }
    if (is_probe) {
        end_probes(io, &lane->waiting);
        return;
    }
    if (!is_refused) {
        end_waiting(io, lane, cause);
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
        job_end_unanswered(io, j, false, SC_CAUSE_TIMEOUT);
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
            probes_note(io, j->has_error);
            job_unref(j);
            return 0;
        }
        job_end_answered(io, lane, j);
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

void lane_run(struct io *io, struct lane *lane, short events, int64_t now)
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

int64_t lane_tick(struct io *io, struct lane *lane, int64_t now)
{
    int64_t next = INT64_MAX;
    if (lane->state == LANE_IDLE && lane->waiting.first != NULL) {
        if (now >= lane->not_before_ns) {
            lane_connect(io, lane, now);
        } else if (lane != &io->lanes[LANE_PROBES]) {
            /* Down a moment ago: nobody waits for it but deletes, which have a queue of their own.
             */
            end_waiting(io, lane, SC_CAUSE_CONNECT);
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
        job_end_unanswered(io, queue_take(&lane->waiting), false, SC_CAUSE_TIMEOUT);
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

void lane_fini(struct lane *lane)
{
    lane->conn = conn_free(lane->conn);
    job_unref(lane->sending);
    queue_drop(&lane->waiting);
    queue_drop(&lane->sent);
}

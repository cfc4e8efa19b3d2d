/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/probe.h"

#include "base/must.h"
#include "base/nsec.h"
#include "resp/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 64 * 1024,
    REPLY_BYTES_MAX = 64 * 1024 * 1024, /* of one reply; a SCAN of a thousand long keys fits */
};

/* ---- failing ---- */

static void tell_calls(struct probe *p)
{
    struct list calls;
    list_init(&calls);
    list_append_all(&calls, &p->calls);
    while (!list_empty(&calls)) {
        struct probe_call *call = list_first(&calls, struct probe_call, link);
        list_remove(&call->link);
        call->done(call, NULL);
    }
}

void probe_close(struct probe *p)
{
    conn_close(&p->conn);
    buf_clear(&p->in, p->chunks);
    frame_reset(&p->frame);
    timer_clear(&p->timer);
    p->state = PROBE_IDLE;
    p->asking = false;
    tell_calls(p);
}

static void fail(struct probe *p, enum probe_fault fault, const char *why)
{
    char kept[PROBE_WHY_MAX];
    str_fill(kept, sizeof(kept), str_of(why));
    probe_close(p);
    p->events->failed(p, fault, kept);
}

/* ---- sending ---- */

/* A command of another database than the first brings its own SELECT, so that its answer tells
 * whether it was done there, whatever became of those before. 0 or -ENOMEM. */
static int select_database(struct probe *p, struct probe_call *call)
{
    call->refused = false;
    call->selects = call->database != 0 || p->database != 0;
    if (!call->selects)
        return 0;
    char number[8];
    int len = snprintf(number, sizeof(number), "%u", call->database);
    struct str words[] = {STR("SELECT"), {number, (size_t)len}};
    int err = words_append(&p->conn.out, p->chunks, words, 2);
    if (!err)
        p->database = call->database;
    return err;
}

int probe_send(struct probe *p, struct probe_call *call, struct buf *command)
{
    must(p->state == PROBE_READY || p->state == PROBE_GREETING);
    int err = select_database(p, call);
    if (err) {
        buf_clear(command, p->chunks);
        return err;
    }
    buf_move_all(&p->conn.out, command);
    list_push_tail(&p->calls, &call->link);
    conn_mark_dirty(&p->conn, p->dirty);
    /* Whoever does not answer a call is not well either. */
    if (!timer_is_set(&p->timer))
        timer_set(&p->timer, p->loop->now + p->timeout);
    return 0;
}

int probe_send_words(struct probe *p, struct probe_call *call, const struct str *words,
                     size_t count)
{
    struct buf command;
    buf_init(&command);
    int err = words_append(&command, p->chunks, words, count);
    return err ? err : probe_send(p, call, &command);
}

/* ---- asking ---- */

static void is_well(struct probe *p)
{
    p->asking = false;
    p->events->well(p, p->loop->now - p->asked_at);
}

static void take_pong(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, ping);
    if (!r)
        return; /* whoever closed it tells */
    if (r->type == '+' && str_eq(r->text, STR("PONG"))) {
        p->state = PROBE_READY;
        is_well(p);
        return;
    }
    char why[PROBE_WHY_MAX];
    str_fill(why, sizeof(why), r->type == '-' ? r->text : STR("a reply to PING that is none"));
    fail(p, PROBE_UNREADY, p->why[0] ? p->why : why);
}

static int ask(struct probe *p)
{
    static const struct str PING[] = {{"PING", 4}};
    p->ping.done = take_pong;
    return probe_send_words(p, &p->ping, PING, 1);
}

static void ignore_reply(struct probe_call *call, const struct probe_reply *r)
{
    (void)call;
    (void)r;
}

static void take_auth(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, greeting_calls[0]);
    if (r && r->type == '-')
        str_fill(p->why, sizeof(p->why), r->text);
}

/* "…\r\nrun_id:0123…\r\n…" A server that does not say it cannot be told from a restarted one. */
static void take_info(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, greeting_calls[2]);
    static const char NAME[] = "run_id:";
    p->run_id[0] = '\0';
    if (!r || r->type != '$')
        return;
    const char *at = memmem(r->text.p, r->text.len, NAME, sizeof(NAME) - 1);
    if (!at)
        return;
    at += sizeof(NAME) - 1;
    const char *end = r->text.p + r->text.len;
    size_t len = 0;
    while (at + len < end && at[len] > ' ' && at[len] <= '~' && len < sizeof(p->run_id) - 1)
        len++;
    memcpy(p->run_id, at, len);
    p->run_id[len] = '\0';
}

/* By its ACL, or because it has no such command, or by another name. */
static bool is_forbidden(const struct probe_reply *r)
{
    return r && r->type == '-' &&
           (str_begins(r->text, STR("NOPERM")) || str_begins(r->text, STR("ERR unknown command")));
}

static void take_unlink(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, greeting_calls[3]);
    p->may_unlink = !is_forbidden(r);
}

static void take_kill(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, greeting_calls[4]);
    p->may_kill = !is_forbidden(r);
}

static void take_flush(struct probe_call *call, const struct probe_reply *r)
{
    struct probe *p = container_of(call, struct probe, greeting_calls[5]);
    p->may_flush = !is_forbidden(r);
}

/* All at once: the answers come in order, and the last one decides. */
static void greet(struct probe *p)
{
    static const struct tls_report NOBODY;
    int err = p->tls ? tls_start(&p->conn, p->tls, p->name, NULL, &NOBODY) : 0;
    p->state = PROBE_GREETING;
    p->database = 0;
    p->why[0] = '\0';
    if (!err && p->password.len > 0) {
        struct str auth[3] = {STR("AUTH"), p->user, p->password};
        if (p->user.len == 0)
            auth[1] = p->password;
        p->greeting_calls[0].done = take_auth;
        err = probe_send_words(p, &p->greeting_calls[0], auth, p->user.len > 0 ? 3 : 2);
    }
    static const struct str SETNAME[] = {{"CLIENT", 6}, {"SETNAME", 7}, {"sumcache-control", 16}};
    static const struct str INFO[] = {{"INFO", 4}, {"server", 6}};
    /* Of what never is there: may we? */
    static const struct str UNLINK[] = {{"UNLINK", 6}, {"sumcache:nothing", 16}};
    static const struct str KILL[] = {
        {"CLIENT", 6}, {"KILL", 4}, {"ID", 2}, {"999999999999999999", 18}};
    /* This has more arguments than it ever had, and none that is known, so it is a syntax error to
     * who may do it, whatever the version (4.0 to 8, Valkey): that is seen before anything is
     * flushed, and who may not is told so before that. */
    static const struct str FLUSH[] = {{"FLUSHALL", 8}, {"sumcache:nothing", 16}, {"x", 1}};
    p->greeting_calls[1].done = ignore_reply;
    p->greeting_calls[2].done = take_info;
    p->greeting_calls[3].done = take_unlink;
    p->greeting_calls[4].done = take_kill;
    p->greeting_calls[5].done = take_flush;
    if (!err)
        err = probe_send_words(p, &p->greeting_calls[1], SETNAME, 3);
    if (!err)
        err = probe_send_words(p, &p->greeting_calls[2], INFO, 2);
    if (!err)
        err = probe_send_words(p, &p->greeting_calls[3], UNLINK, 2);
    if (!err)
        err = probe_send_words(p, &p->greeting_calls[4], KILL, 4);
    if (!err)
        err = probe_send_words(p, &p->greeting_calls[5], FLUSH, 3);
    if (!err)
        err = ask(p);
    if (err)
        fail(p, PROBE_SILENT, "out of memory");
}

static void step_connecting(struct probe *p)
{
    struct io *io = p->loop->io;
    int err = io->ops->connect_result(io->ctx, p->conn.handle);
    if (err == -EAGAIN)
        return;
    if (err)
        fail(p, PROBE_GONE, strerror(-err));
    else
        greet(p);
}

void probe_check(struct probe *p)
{
    if (p->asking)
        return;
    p->asking = true;
    p->asked_at = p->loop->now;
    if (p->state == PROBE_READY) {
        timer_set(&p->timer, p->loop->now + p->timeout);
        if (ask(p) != 0)
            fail(p, PROBE_SILENT, "out of memory");
        return;
    }
    must(p->state == PROBE_IDLE);
    struct io *io = p->loop->io;
    static const struct io_socket_options NO_OPTIONS;
    p->state = PROBE_CONNECTING;
    p->connections++;
    int handle = p->addr.family == ADDR_NONE ? -EDESTADDRREQ
                                             : io->ops->connect(io->ctx, &p->addr, &NO_OPTIONS);
    int err = handle < 0 ? handle : conn_open(&p->conn, handle);
    /* What fails at once is told by the timer: nobody expects an answer inside the question. */
    timer_set(&p->timer, p->loop->now + (err ? 0 : p->timeout));
    p->why[0] = '\0';
    if (err)
        str_fill(p->why, sizeof(p->why), str_of(strerror(-err)));
}

static void on_time(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    bool at_once = p->state == PROBE_CONNECTING && p->why[0] != '\0';
    if (at_once)
        fail(p, p->addr.family == ADDR_NONE ? PROBE_NOWHERE : PROBE_GONE, p->why);
    else if (p->state == PROBE_CONNECTING)
        fail(p, PROBE_SILENT, "connect timed out");
    else
        fail(p, PROBE_SILENT, conn_late(&p->conn, "no answer in time"));
}

/* ---- reading ---- */

/* `bytes` are one whole reply. */
static void take_reply(struct probe *p, struct str bytes)
{
    struct probe_reply r = {.type = p->frame.type,
                            .is_null = p->frame.is_null,
                            .number = p->frame.number,
                            .whole = bytes};
    struct probe_call *call = list_first(&p->calls, struct probe_call, link);
    const char *eol = memchr(bytes.p, '\n', bytes.len);
    must(eol);
    size_t line = (size_t)(eol - bytes.p) + 1;
    if (r.type == '$' && !r.is_null)
        r.text = (struct str){bytes.p + line, bytes.len - line - 2};
    else
        r.text = (struct str){bytes.p + 1, line - 3};
    if (call->selects) {
        call->selects = false;
        call->refused = r.type == '-';
        str_fill(p->select_why, sizeof(p->select_why), r.text);
        timer_set(&p->timer, p->loop->now + p->timeout);
        return;
    }
    if (call->refused) {
        r.type = '-';
        r.text = str_of(p->select_why);
    }
    list_remove(&call->link);
    if (list_empty(&p->calls))
        timer_clear(&p->timer);
    else
        timer_set(&p->timer, p->loop->now + p->timeout);
    call->done(call, &r);
}

bool probe_lacks_database(const struct probe_call *call, const struct probe_reply *r)
{
    return call->refused && r->type == '-' && call->database != 0 &&
           str_begins(r->text, STR("ERR DB index is out of range"));
}

static bool take_whole(struct probe *p, const char *tail, size_t len)
{
    if (list_empty(&p->calls)) {
        fail(p, PROBE_UNREADY, "a reply nobody asked for");
        return false;
    }
    if (p->in.len == 0) {
        take_reply(p, (struct str){tail, len});
        return conn_is_open(&p->conn);
    }
    size_t all = p->in.len + len;
    char *bytes CLEANUP(freep) = malloc(all);
    if (!bytes) {
        fail(p, PROBE_SILENT, "out of memory");
        return false;
    }
    size_t head = p->in.len;
    buf_copy_out(&p->in, 0, bytes, head);
    memcpy(bytes + head, tail, len);
    buf_clear(&p->in, p->chunks);
    take_reply(p, (struct str){bytes, all});
    return conn_is_open(&p->conn);
}

/* False: it has failed. */
static bool feed(struct probe *p, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t used;
        enum frame_result result = frame_feed(&p->frame, bytes, len, &used);
        if (result == FRAME_BAD) {
            char why[FRAME_ERROR_MAX];
            fail(p, PROBE_UNREADY, frame_error(&p->frame, why));
            return false;
        }
        if (result == FRAME_MORE) {
            if (p->in.len + used > REPLY_BYTES_MAX ||
                buf_append_slowly(&p->in, p->chunks, bytes, used) != 0) {
                fail(p, PROBE_SILENT, "a reply that is too long");
                return false;
            }
            return true;
        }
        if (!take_whole(p, bytes, used))
            return false;
        frame_reset(&p->frame);
        bytes += used;
        len -= used;
    }
    return true;
}

static void read_node(struct probe *p)
{
    char *bytes CLEANUP(freep) = malloc(READ_BYTES);
    if (!bytes) {
        fail(p, PROBE_SILENT, "out of memory");
        return;
    }
    for (;;) {
        ssize_t n = conn_read(&p->conn, bytes, READ_BYTES);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n <= 0) {
            char why[CONN_WHY_MAX];
            fail(p, p->state == PROBE_READY ? PROBE_LOST : PROBE_GONE,
                 n == 0 ? "closed by the node" : conn_why(&p->conn, (int)n, why));
            return;
        }
        if (!feed(p, bytes, (size_t)n))
            return;
    }
}

static void on_ready(struct source *s, unsigned ready)
{
    struct probe *p = container_of(s, struct probe, conn.source);
    if (!conn_is_open(&p->conn))
        return;
    if (p->state == PROBE_CONNECTING) {
        step_connecting(p);
        return;
    }
    if (ready & IO_OUT && p->conn.blocked) {
        p->conn.blocked = false;
        if (p->conn.out.len > 0)
            conn_mark_dirty(&p->conn, p->dirty);
    }
    if (ready & (IO_IN | IO_HUP))
        read_node(p);
}

void probe_flush(struct probe *p)
{
    if (conn_is_open(&p->conn) && conn_flush(&p->conn) < 0)
        read_node(p); /* why is there to be read */
}

/* ---- life ---- */

int probe_init(struct probe *p, struct loop *loop, struct chunk_pool *chunks, struct list *dirty,
               const struct probe_events *events)
{
    *p = (struct probe){.loop = loop, .chunks = chunks, .dirty = dirty, .events = events};
    int err = timer_make(&p->timer, &loop->timers, on_time);
    if (err)
        return err;
    conn_init(&p->conn, loop, chunks, on_ready);
    p->limits = (struct frame_limits){.bulk_max = REPLY_BYTES_MAX,
                                      .elements_max = 1000000,
                                      .depth_max = 8,
                                      .line_max = FRAME_LINE_MAX};
    frame_init(&p->frame, FRAME_REPLY, &p->limits);
    list_init(&p->calls);
    return 0;
}

void probe_fini(struct probe *p)
{
    probe_close(p);
    timer_unmake(&p->timer);
}

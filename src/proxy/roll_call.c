/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/roll_call.h"

#include "base/must.h"
#include "proxy/worker_internal.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 256 }; /* clients in one turn: some 0.3 ms of a list */

struct roll_call {
    struct list link; /* in worker.roll_calls */
    struct worker *worker;
    struct request *request;
    struct roll_question *question; /* one reference */
    struct timer timer;             /* the deadline */
    uint64_t number;                /* of this worker's roll calls */
    unsigned missing;               /* workers that have not answered */
    uint64_t count;
    struct roll_text text;
};

/* Goes to a worker, stays there until it has seen all of its clients, and comes back. */
struct roll_message {
    struct message message;
    struct worker *asker;           /* loan: outlives its messages */
    struct roll_question *question; /* one reference */
    uint64_t number;
    uint64_t seen; /* the id of the last client that was looked at; 0: none */
    uint64_t count;
    struct roll_text text;
};

/* ---- texts and questions ---- */

void roll_text_add(struct roll_text *t, const char *bytes, size_t len)
{
    enum { FIRST_ROOM = 4096 };
    if (t->failed)
        return;
    if (t->room - t->len < len) {
        size_t room = t->room > 0 ? 2 * t->room : FIRST_ROOM;
        while (room - t->len < len)
            room *= 2;
        char *more = realloc(t->bytes, room);
        if (!more) {
            t->failed = true;
            return;
        }
        t->bytes = more;
        t->room = room;
    }
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

struct roll_question *roll_question_new(const struct roll_kind *kind,
                                        const struct client_filter *filter)
{
    struct roll_question *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    atomic_init(&q->refs, 1);
    q->kind = kind;
    q->filter = *filter;
    return q;
}

static void question_unref(struct roll_question *q)
{
    unsigned was = atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel);
    must(was > 0);
    if (was > 1)
        return;
    client_filter_fini(&q->filter);
    free(q);
}

/* ---- at each worker ---- */

static void message_free(struct roll_message *m)
{
    question_unref(m->question);
    free(m->text.bytes);
    free(m);
}

static void deliver_answer(struct message *message, void *receiver);

/* Looks at the next clients. Ids grow along the list, so they tell where it was, whoever has gone
 * meanwhile. False: there are more. */
static bool look_at_clients(struct roll_message *m, struct worker *w)
{
    const struct roll_question *q = m->question;
    unsigned looked = 0;
    list_for_each_safe (link, &w->clients) {
        struct client *c = list_item(link, struct client, link);
        if (c->id <= m->seen)
            continue;
        if (looked++ == SLICE)
            return false;
        m->seen = c->id;
        if (client_filter_matches(&q->filter, c) && q->kind->visit(q, c, &m->text))
            m->count++;
    }
    return true;
}

static void deliver_question(struct message *message, void *receiver)
{
    struct roll_message *m = container_of(message, struct roll_message, message);
    struct worker *w = receiver;
    const struct roll_kind *kind = m->question->kind;
    if (w->ending) { /* and the one who asks as well, or it is gone */
        message_free(m);
        return;
    }
    if (m->seen == 0 && kind->enter)
        kind->enter(m->question, w, &m->text);
    if (kind->visit && !look_at_clients(m, w)) {
        mailbox_post(&w->mailbox, message);
        return;
    }
    message->deliver = deliver_answer;
    mailbox_post(&m->asker->mailbox, message);
}

/* ---- at the one who asks ---- */

static void call_free(struct roll_call *r)
{
    list_remove(&r->link);
    r->worker->roll_call_count--;
    timer_unmake(&r->timer);
    question_unref(r->question);
    free(r->text.bytes);
    free(r);
}

void roll_call_drop(struct roll_call *r)
{
    call_free(r);
}

/* The request that it is for; the roll call is over. */
static struct request *end(struct roll_call *r)
{
    struct request *request = r->request;
    request->roll_call = NULL;
    call_free(r);
    return request;
}

static void finish(struct roll_call *r)
{
    struct client *c = r->request->client;
    struct reply_out o = request_reply(r->request);
    if (r->text.failed)
        o.err = -1;
    else
        r->question->kind->finish(r->question, r->count, (struct str){r->text.bytes, r->text.len},
                                  &o);
    struct request *request = end(r);
    if (o.err) {
        failure_count(c->worker, FAILURE_MEMORY);
        client_close(c);
        return;
    }
    c->hurry = true;
    request_finish(request);
}

static void on_time(struct timer *t)
{
    struct roll_call *r = container_of(t, struct roll_call, timer);
    struct worker *w = r->worker;
    metric_add(&w->metrics.requests_timed_out, 1);
    struct request *request = end(r);
    struct client *c = request->client;
    struct reply_out o = request_reply(request);
    reply_error(&o, "ERR sumcache: a worker did not answer in time");
    if (o.err)
        client_close(c);
    else
        request_finish(request);
}

static struct roll_call *find(struct worker *w, uint64_t number)
{
    list_for_each (link, &w->roll_calls) {
        struct roll_call *r = list_item(link, struct roll_call, link);
        if (r->number == number)
            return r;
    }
    return NULL;
}

static void deliver_answer(struct message *message, void *receiver)
{
    struct roll_message *m = container_of(message, struct roll_message, message);
    struct worker *w = receiver;
    struct roll_call *r = find(w, m->number);
    if (r) {
        r->count += m->count;
        r->text.failed = r->text.failed || m->text.failed;
        if (m->text.len > 0)
            roll_text_add(&r->text, m->text.bytes, m->text.len);
        if (--r->missing == 0)
            finish(r);
    }
    message_free(m);
}

static bool send_one(struct roll_call *r, struct worker *to)
{
    struct roll_message *m = calloc(1, sizeof(*m));
    if (!m)
        return false;
    m->message.deliver = deliver_question;
    m->asker = r->worker;
    m->question = r->question;
    m->number = r->number;
    atomic_fetch_add_explicit(&r->question->refs, 1, memory_order_relaxed);
    mailbox_post(&to->mailbox, &m->message);
    return true;
}

static void refuse(struct client *c, enum failure f, const char *text)
{
    struct request *request;
    struct reply_out o = client_reply_begin(c, &request);
    if (f == FAILURE_NONE)
        reply_error(&o, "%s", text);
    else
        failure_write(&o, f, NULL);
    client_reply_end(c, request, &o);
}

static struct roll_call *call_new(struct worker *w, struct roll_question *q)
{
    struct roll_call *r = calloc(1, sizeof(*r));
    if (!r || timer_make(&r->timer, &w->loop.timers, on_time) != 0) {
        free(r);
        question_unref(q);
        return NULL;
    }
    r->worker = w;
    r->question = q;
    r->number = ++w->roll_call_last;
    w->roll_call_count++;
    list_push_tail(&w->roll_calls, &r->link);
    return r;
}

void roll_call_start(struct client *c, const struct command *command, struct roll_question *q)
{
    struct worker *w = c->worker;
    if (w->roll_call_count >= w->settings->roll_calls_max) {
        question_unref(q);
        metric_add(&w->metrics.roll_calls_refused, 1);
        refuse(c, FAILURE_NONE,
               "ERR sumcache: too many lists of clients at a time "
               "(limits.roll_calls)");
        return;
    }
    struct roll_call *r = call_new(w, q);
    if (!r) {
        failure_count(w, FAILURE_MEMORY);
        refuse(c, FAILURE_MEMORY, NULL);
        return;
    }
    r->request = request_new(c, command, w->args.count);
    if (!r->request) {
        call_free(r);
        client_close(c);
        return;
    }
    r->request->roll_call = r;
    timer_set(&r->timer, worker_now(w) + w->settings->request_timeout);
    /* Without memory for a message its worker is missing at the deadline. */
    for (unsigned i = 0; i < w->all_count; i++) {
        if (w->all[i] == w && !q->kind->visit) {
            q->kind->enter(q, w, &r->text); /* before what its client sends next */
            continue;
        }
        (void)send_one(r, w->all[i]);
        r->missing++;
    }
    if (r->missing == 0)
        finish(r);
}

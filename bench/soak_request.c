/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks next. */
#include "soak_load.h"

#include <string.h>

static uint32_t key_draw(struct soak *s, enum soak_class class)
{
    uint32_t first = s->values.first[class];
    return first + (uint32_t)soak_below(&s->random, s->values.first[class + 1] - first);
}

static bool may_be_large(const struct soak *s)
{
    return s->large_allowance > 0;
}

/* A key of any class; while large values are over their rate, one that is expected to be small. */
static uint32_t key_draw_any(struct soak *s, const struct soak_client *c)
{
    uint64_t draw = soak_below(&s->random, 100);

    /* Who reads slowly or is about to leave in the middle wants something to be in the middle of.
     */
    bool wants_large = c->read_by_tick || c->in_limit != SIZE_MAX;
    if (wants_large ? draw < 85 : may_be_large(s) && draw < 25)
        return key_draw(s, draw % 4 == 0 ? SOAK_CLASS_HUGE : SOAK_CLASS_LARGE);
    if (draw < 40)
        return key_draw(s, SOAK_CLASS_MIDDLE);
    if (draw < 50) {
        uint32_t key = key_draw(s, SOAK_CLASS_MIXED);
        if (may_be_large(s) || soak_size_expected(&s->values, key) <= SOAK_LARGE)
            return key;
    }
    return key_draw(s, SOAK_CLASS_SMALL);
}

static void large_spend(struct soak *s, struct soak_request *q, size_t bytes)
{
    if (bytes <= SOAK_LARGE)
        return;
    q->is_large = true;
    s->large_allowance -= (double)bytes;
}

static void segment_add(struct soak_client *c, const char *bytes, size_t len)
{
    c->out[c->out_count++] = (struct soak_segment){bytes, len};
}

static size_t key_text(char *to, size_t room, uint32_t key)
{
    return (size_t)snprintf(to, room, "$10\r\nsoak:%05u\r\n", key);
}

static void keys_write(struct soak_client *c, struct soak_request *q, const char *name)
{
    size_t len = (size_t)snprintf(q->text, sizeof(q->text), "*%u\r\n$%zu\r\n%s\r\n",
                                  q->key_count + 1, strlen(name), name);
    for (unsigned i = 0; i < q->key_count; i++)
        len += key_text(q->text + len, sizeof(q->text) - len, q->keys[i]);
    segment_add(c, q->text, len);
}

static void get_make(struct soak *s, struct soak_client *c, struct soak_request *q)
{
    q->command = SOAK_GET;
    q->key_count = 1;
    q->keys[0] = key_draw_any(s, c);
    large_spend(s, q, soak_size_expected(&s->values, q->keys[0]));
    keys_write(c, q, "GET");
}

static void set_make(struct soak *s, struct soak_client *c, struct soak_request *q)
{
    q->command = SOAK_SET;
    q->key_count = 1;
    q->keys[0] = c->has_missed ? c->missed_key : key_draw_any(s, c);
    c->has_missed = false;
    q->version = ++s->values.issued[q->keys[0]];
    struct soak_value value = soak_value_of(&s->values, q->keys[0], q->version);
    memcpy(q->head, value.head, sizeof(q->head));
    size_t len = (size_t)snprintf(q->text, sizeof(q->text), "*3\r\n$3\r\nSET\r\n");
    len += key_text(q->text + len, sizeof(q->text) - len, q->keys[0]);
    len += (size_t)snprintf(q->text + len, sizeof(q->text) - len, "$%zu\r\n", value.size);
    segment_add(c, q->text, len);
    segment_add(c, q->head, sizeof(q->head));
    segment_add(c, value.body, value.size - SOAK_HEAD_BYTES);
    segment_add(c, "\r\n", 2);
    large_spend(s, q, value.size);
    s->counters.sent_bytes += value.size;
}

static void mget_make(struct soak *s, struct soak_client *c, struct soak_request *q)
{
    size_t bytes = 0;

    q->command = SOAK_MGET;
    q->key_count = 2 + (unsigned)soak_below(&s->random, SOAK_MGET_MAX - 1);
    for (unsigned i = 0; i < q->key_count; i++) {
        bool any = soak_chance(&s->random, 5);
        q->keys[i] = any ? key_draw_any(s, c) : key_draw(s, SOAK_CLASS_SMALL);
        bytes += soak_size_expected(&s->values, q->keys[i]);
    }
    large_spend(s, q, bytes);
    keys_write(c, q, "MGET");
}

static void del_make(struct soak *s, struct soak_client *c, struct soak_request *q)
{
    q->command = SOAK_DEL;
    q->key_count = 1 + (unsigned)soak_below(&s->random, 2);
    for (unsigned i = 0; i < q->key_count; i++)
        q->keys[i] = key_draw(s, soak_chance(&s->random, 80) ? SOAK_CLASS_SMALL : SOAK_CLASS_MIXED);
    keys_write(c, q, "DEL");
}

static void fixed_make(struct soak_client *c, struct soak_request *q, enum soak_command command,
                       const char *text)
{
    q->command = command;
    segment_add(c, text, strlen(text));
}

static void request_make(struct soak *s, struct soak_client *c, struct soak_request *q)
{
    uint64_t draw = soak_below(&s->random, 100);
    bool wants_set = c->has_missed || c->pace == SOAK_DAWDLER;

    if (draw < 55)
        wants_set ? set_make(s, c, q) : get_make(s, c, q);
    else if (draw < 86)
        c->read_by_tick ? get_make(s, c, q) : set_make(s, c, q);
    else if (draw < 98)
        mget_make(s, c, q);
    else
        del_make(s, c, q);
}

/* Where in the batch the client goes away. */
static void limits_draw(struct soak *s, struct soak_client *c)
{
    size_t total = 0;

    for (unsigned i = 0; i < c->out_count; i++)
        total += c->out[i].len;
    if (c->leave == SOAK_LEAVE_IN_REQUEST)
        c->out_limit = 1 + soak_below(&s->random, total - 1);
    else if (c->leave == SOAK_LEAVE_ABRUPTLY)
        c->out_limit = total;
}

void soak_batch_make(struct soak *s, struct soak_client *c)
{
    unsigned count = soak_chance(&s->random, 60)
                         ? 1
                         : 2 + (unsigned)soak_below(&s->random, SOAK_PIPELINE_MAX - 1);
    bool is_first = c->is_resp3 && c->progress_ns == 0;
    bool is_large = false;

    c->out_count = c->out_at = c->request_count = c->answered = 0;
    c->out_done = c->written = c->received = 0;
    c->out_limit = SIZE_MAX;
    c->in_limit = SIZE_MAX;
    if (c->is_last_batch && c->leave == SOAK_LEAVE_IN_REPLY)
        c->in_limit = 1 + soak_below(&s->random, 512 * 1024);
    for (unsigned i = 0; i < count; i++) {
        struct soak_request *q = &c->requests[c->request_count++];
        q->is_large = false;
        q->key_count = 0;
        if (i == 0 && is_first)
            fixed_make(c, q, SOAK_HELLO, "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
        else if (i == 0 && c->is_last_batch && c->leave == SOAK_LEAVE_QUIT)
            fixed_make(c, q, SOAK_QUIT, "*1\r\n$4\r\nQUIT\r\n");
        else if (c->is_last_batch && c->leave == SOAK_LEAVE_IN_REQUEST && i == count - 1)
            set_make(s, c, q);
        else if (c->in_limit != SIZE_MAX)
            get_make(s, c, q);
        else
            request_make(s, c, q);
        is_large = is_large || q->is_large;
        if (q->command == SOAK_QUIT)
            break;
    }
    s->counters.requests += c->request_count;
    if (c->is_last_batch)
        limits_draw(s, c);
    c->timed = c->pace == SOAK_NORMAL && !is_large;
}

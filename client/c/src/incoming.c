/* SPDX-License-Identifier: Apache-2.0 */
#include "incoming.h"

#include <errno.h>
#include <hiredis/read.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_MAX_LEN = INCOMING_DIRECT_MIN, /* of a status or an error */
    ARRAY_MAX = 1 << 20, /* elements: they are read one by one, so this costs nothing */
};

/* hiredis's reader makes our items. Its strings point into its buffer: copied here, once. */
static void *made_bytes(const redisReadTask *task, char *text, size_t len)
{
    struct item *item = task->privdata;
    item->type = task->type == REDIS_REPLY_STRING   ? ITEM_BYTES
                 : task->type == REDIS_REPLY_STATUS ? ITEM_STATUS
                                                    : ITEM_ERROR;
    item->bytes = bytes_copy(text, len);
    return item->bytes == NULL ? NULL : item;
}

static void *made_array(const redisReadTask *task, int count)
{
    (void)task;
    (void)count;
    return NULL; /* heads of arrays do not get here */
}

static void *made_integer(const redisReadTask *task, long long number)
{
    struct item *item = task->privdata;
    item->type = ITEM_INTEGER;
    item->number = number;
    return item;
}

static void *made_nil(const redisReadTask *task)
{
    struct item *item = task->privdata;
    item->type = ITEM_NIL;
    return item;
}

static void ended(void *item)
{
    (void)item; /* on the stack of whoever asked */
}

int incoming_init(struct incoming *i, size_t value_max)
{
    static redisReplyObjectFunctions items = {made_bytes, made_array, made_integer, made_nil,
                                              ended};
    memset(i, 0, offsetof(struct incoming, in));
    i->value_max = value_max;
    i->reader = redisReaderCreateWithFunctions(&items);
    return i->reader != NULL ? 0 : -ENOMEM;
}

void incoming_fini(struct incoming *i)
{
    if (i->reader != NULL) {
        redisReaderFree(i->reader);
    }
    bytes_unref(i->large);
}

size_t incoming_room(struct incoming *i, char **ret_to)
{
    if (i->large != NULL && i->from == i->to && i->large_at < i->large->len) {
        *ret_to = i->large->data + i->large_at;
        return i->large->len - i->large_at;
    }
    if (i->from > 0) {
        memmove(i->in, i->in + i->from, i->to - i->from);
        i->to -= i->from;
        i->from = 0;
    }
    *ret_to = i->in + i->to;
    return INCOMING_ROOM - i->to;
}

void incoming_add(struct incoming *i, const char *to, size_t len)
{
    if (to == i->in + i->to) {
        i->to += len;
    } else {
        i->large_at += len;
    }
}

/* The number of a head such as $12 or *3; false if it is none. */
static bool read_count(const char *p, const char *end, int64_t *ret)
{
    bool is_minus = p < end && *p == '-';
    int64_t number = 0;
    p += is_minus;
    if (p == end || end - p > 18) {
        return false;
    }
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        number = 10 * number + (*p - '0');
    }
    *ret = is_minus ? -number : number;
    return true;
}

/* Moves on with bytes that are read past the reader. */
static int next_of_large(struct incoming *i, struct item *ret)
{
    struct bytes *b = i->large;
    size_t have = i->to - i->from;
    size_t n = b->len - i->large_at < have ? b->len - i->large_at : have;
    memcpy(b->data + i->large_at, i->in + i->from, n);
    i->large_at += n;
    i->from += n;
    if (i->large_at < b->len || i->to - i->from < 2) {
        return 0;
    }
    if (memcmp(i->in + i->from, "\r\n", 2) != 0) {
        return -EPROTO;
    }
    i->from += 2;
    *ret = (struct item){.type = ITEM_BYTES, .bytes = b};
    i->large = NULL;
    i->large_at = 0;
    return 1;
}

static int parse(struct incoming *i, size_t len, struct item *ret)
{
    void *reply = NULL;
    *ret = (struct item){0};
    i->reader->privdata = ret;
    int rc = redisReaderFeed(i->reader, i->in + i->from, len);
    if (rc == REDIS_OK) {
        rc = redisReaderGetReply(i->reader, &reply);
    }
    if (rc != REDIS_OK || reply == NULL) {
        return i->reader->err == REDIS_ERR_OOM ? -ENOMEM : -EPROTO;
    }
    i->from += len;
    return 1;
}

int incoming_next(struct incoming *i, struct item *ret)
{
    if (i->large != NULL) {
        return next_of_large(i, ret);
    }
    size_t have = i->to - i->from;
    const char *p = i->in + i->from;
    if (have == 0) {
        return 0;
    }
    if (strchr("+-:$*", *p) == NULL || *p == 0) {
        return -EPROTO;
    }
    size_t line_max = *p == '+' || *p == '-' ? LINE_MAX_LEN : 32;
    const char *end = memmem(p, have < line_max ? have : line_max, "\r\n", 2);
    if (end == NULL) {
        return have < line_max ? 0 : -EPROTO;
    }
    size_t head = (size_t)(end - p) + 2;
    int64_t count = 0;
    if (*p != '+' && *p != '-' && !read_count(p + 1, end, &count)) {
        return -EPROTO;
    }
    if (*p == '*') {
        if (count < -1 || count > ARRAY_MAX) {
            return -EPROTO;
        }
        i->from += head;
        *ret = (struct item){.type = count < 0 ? ITEM_NIL : ITEM_ARRAY, .number = count};
        return 1;
    }
    if (*p != '$' || count == -1) {
        return parse(i, head, ret);
    }
    if (count < -1) {
        return -EPROTO;
    }
    if ((uint64_t)count > i->value_max) {
        return -EMSGSIZE;
    }
    if (count > INCOMING_DIRECT_MIN) {
        i->large = bytes_new((size_t)count);
        if (i->large == NULL) {
            return -ENOMEM;
        }
        i->large_at = 0;
        i->from += head;
        return next_of_large(i, ret);
    }
    size_t whole = head + (size_t)count + 2;
    if (have < whole) {
        return 0;
    }
    return memcmp(p + whole - 2, "\r\n", 2) != 0 ? -EPROTO : parse(i, whole, ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in on a connection, cut into items: a status, an error, a number, bytes, or the head
 * of an array, whose elements are the items after it. Small items are parsed by hiredis's reader,
 * once they are known to be whole and sane; bytes above INCOMING_DIRECT_MIN go straight into the
 * result. Nothing is allocated by a length that its owner does not allow. Without sockets: whoever
 * has one asks for room, and says what has come. One thread at a time.
 */
#pragma once

#include "value.h"

#include <stddef.h>
#include <stdint.h>

enum {
    INCOMING_DIRECT_MIN = 16384,
    INCOMING_ROOM = 2 * INCOMING_DIRECT_MIN, /* of what came in and is not parsed yet */
};

enum item_type { ITEM_STATUS, ITEM_ERROR, ITEM_INTEGER, ITEM_NIL, ITEM_BYTES, ITEM_ARRAY };

struct item {
    enum item_type type;
    int64_t number;      /* of an integer; elements of an array */
    struct bytes *bytes; /* of bytes, a status or an error: an owner */
};

struct redisReader; /* of hiredis */

struct incoming {
    size_t value_max;
    struct redisReader *reader;
    struct bytes *large; /* that is being read */
    size_t large_at;     /* of it, so many bytes are here; two more end it */
    size_t from, to;     /* of `in`, what is not parsed */
    char in[INCOMING_ROOM];
};

/* Bytes longer than value_max are refused. 0, or -ENOMEM. */
int incoming_init(struct incoming *i, size_t value_max);
/* Also after incoming_init() has failed. */
void incoming_fini(struct incoming *i);
/* Where the next bytes are to be written, and how many at most. Never 0 after incoming_next() has
 * returned 0. */
size_t incoming_room(struct incoming *i, char **ret_to);
/* So many have been written there. */
void incoming_add(struct incoming *i, const char *to, size_t len);
/* The next item: 1, 0 if it is not whole yet, -EPROTO, -EMSGSIZE (bytes longer than allowed),
 * -ENOMEM. After the last three it is of no more use. */
int incoming_next(struct incoming *i, struct item *ret);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cursor of a SCAN over all nodes. All of its state is in the number, so any proxy that knows
 * the nodes can go on with it:
 *
 *      52 … 35                34 … 0
 *      place of the node      the node's own cursor
 *
 * A place is a hash of the node's name, so it is the same for all proxies and in all views, and
 * nodes are gone through in the order of their places. If the node at a place has gone, the next
 * one is begun; one that is new at a place already passed is left out. 53 bits, because JavaScript
 * clients make the number a double.
 *
 * Two nodes may have one place. They are then gone through side by side, with one cursor: Redis's
 * counts up in reversed bits, so that it says how far a table has been gone through whatever its
 * size, and the cursor of both is the lesser of their two. Some keys of the other then come twice,
 * as SCAN may give them. Pure.
 */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { SCAN_CURSOR_NODE_BITS = 35, SCAN_CURSOR_PLACE_BITS = 18 };

struct scan_cursor {
    uint32_t place;
    uint64_t node; /* the node's own cursor; below 1 << SCAN_CURSOR_NODE_BITS */
};

uint32_t scan_cursor_place(struct str node_name);

/* What a client sent. 0, or -EINVAL: no cursor of ours. "0" is {0, 0}. */
int scan_cursor_parse(struct str text, struct scan_cursor *ret) MUST_CHECK;
/* What is told to the client. */
uint64_t scan_cursor_number(struct scan_cursor c);

/* A node's own cursor, as it answered it. 0, or -EINVAL: it is none, or too large. */
int scan_cursor_parse_node(struct str text, uint64_t *ret) MUST_CHECK;

/* Of two cursors of nodes the one that is less far; 0 is the end. */
uint64_t scan_cursor_lesser(uint64_t a, uint64_t b);

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/scan_cursor.h"

#include "ring/key_hash.h"

#include <errno.h>

static const uint64_t PLACE_SEED = UINT64_C(0x5ca4c0de);

uint32_t scan_cursor_place(struct str node_name)
{
    return (uint32_t)(murmur2_64(node_name, PLACE_SEED) >> (64 - SCAN_CURSOR_PLACE_BITS));
}

/* Digits only. 0, -EINVAL or -ERANGE: not below `limit`. */
static int parse(struct str text, uint64_t limit, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return -EINVAL;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
        if (value >= limit)
            return -ERANGE;
    }
    *ret = value;
    return 0;
}

int scan_cursor_parse(struct str text, struct scan_cursor *ret)
{
    uint64_t value;
    /* redis-server reads it by strtoul(): an empty one is 0, and a plus is skipped. */
    if (text.len > 1 && text.p[0] == '+')
        text = (struct str){text.p + 1, text.len - 1};
    if (parse(text, UINT64_C(1) << (SCAN_CURSOR_PLACE_BITS + SCAN_CURSOR_NODE_BITS), &value) != 0)
        return -EINVAL;
    ret->place = (uint32_t)(value >> SCAN_CURSOR_NODE_BITS);
    ret->node = value & ((UINT64_C(1) << SCAN_CURSOR_NODE_BITS) - 1);
    return 0;
}

uint64_t scan_cursor_number(struct scan_cursor c)
{
    return (uint64_t)c.place << SCAN_CURSOR_NODE_BITS | c.node;
}

int scan_cursor_parse_node(struct str text, uint64_t *ret)
{
    if (text.len == 0)
        return -EINVAL;
    return parse(text, UINT64_C(1) << SCAN_CURSOR_NODE_BITS, ret) == 0 ? 0 : -EINVAL;
}

static uint64_t reversed(uint64_t v)
{
    uint64_t r = 0;
    for (int i = 0; i < 64; i++, v >>= 1)
        r = r << 1 | (v & 1);
    return r;
}

uint64_t scan_cursor_lesser(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a | b;
    return reversed(a) < reversed(b) ? a : b;
}

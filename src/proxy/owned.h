/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the keys that a node names are its own: a node may hold others, of slots that it stood
 * in for or has given away, and old values among them. A key counts only if the node owned its slot
 * when it was asked, still does, and may be read from: so what SCAN and KEYS name is what GET
 * finds.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/view.h"

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct owned {
    const struct worker *worker; /* loan */
    const struct view *asked;    /* loan: the view that held when the node was asked */
    uint32_t node;               /* index in `asked` */
    uint32_t node_now;           /* … in the present view; UINT32_MAX: it is not there any more */
};

void owned_init(struct owned *o, const struct worker *w, const struct view *asked, uint32_t node);
bool owned_has(const struct owned *o, struct str key);

struct reply_out;
struct reply_reader;
/* Reads an array of keys and writes those that are its own to `to`, without a header. *count grows
 * by them. 0, -EBADMSG: that is no such array, -ENOMEM. */
int owned_pass_on(const struct owned *o, struct reply_reader *from, struct reply_out *to,
                  size_t *count) MUST_CHECK;

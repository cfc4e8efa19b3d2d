/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SCAN answers, key by key: "*2 $cursor *keys" in one piece, as a frame has found it to be.
 * Pure.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdint.h>

struct scan_reply {
    uint64_t cursor;   /* where the next SCAN goes on; 0: this was the last */
    uint64_t keys;     /* not yet taken */
    struct str behind; /* loan: what they lie in */
};

/* `whole` is a loan that outlives *ret_reply. 0, or -EBADMSG: it is not what SCAN answers. */
int scan_reply_begin(struct str whole, struct scan_reply *ret_reply) MUST_CHECK;

/* Takes the next one; r->keys must not be 0. 0, or -EBADMSG. */
int scan_reply_next(struct scan_reply *r, struct str *ret_key) MUST_CHECK;

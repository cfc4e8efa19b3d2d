/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to a running proxy, as any client may ask it, for commands of the command line.
 * These calls may block; no worker runs in such a process.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { ASK_WHY_MAX = 700 };

struct ask {
    const char *connect; /* loan: as the user wrote it */
    struct addr at;
    uint8_t type;    /* first byte of the answer … */
    struct str text; /* … its text, of a bulk string or a line; loan, until the next question … */
    struct str whole;      /* … and all of it; the same */
    char *bytes;           /* owned */
    char why[ASK_WHY_MAX]; /* what has gone wrong, for people; without the command's name */
};

/* Where is it? `connect`: HOST:PORT, or a bare PORT of 127.0.0.1; a loan that outlives `a`.
 * 0, or -EINVAL or -ENOENT with a->why. */
int ask_init(struct ask *a, const char *connect) MUST_CHECK;
void ask_fini(struct ask *a);

/* Asks by a whole request. 0; -EREMOTE: the answer is an error; or another -errno. Unless it is 0,
 * a->why says why. */
int ask(struct ask *a, struct str question) MUST_CHECK;

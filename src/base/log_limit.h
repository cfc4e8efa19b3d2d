/* SPDX-License-Identifier: Apache-2.0 */
/*
 * So many lines of one event in a second, so that one that happens a thousand times a second does
 * not hide the others or fill a disk. Who calls it holds a lock, or is alone.
 */
#pragma once
#include "base/metric.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOG_LIMIT_EVENTS = 128, /* more than there are; those that find no room are not limited */
    LOG_LIMIT_NAME_MAX = 32,
};

/* Lines that were not written, since the start. Who writes them holds that lock; any may read. */
struct log_losses {
    atomic_uint_least64_t suppressed; /* too many of one event */
    atomic_uint_least64_t lost;       /* nobody took them */
};

struct log_limit_event {
    char name[LOG_LIMIT_NAME_MAX];
    uint64_t began; /* ns: the second that is counted */
    uint32_t lines; /* in it */
    uint64_t lost;  /* since this was last told */
};

struct log_limit {
    uint32_t per_second; /* 0: no limit */
    uint32_t count;
    struct log_limit_event of[LOG_LIMIT_EVENTS];
};

/* May this line be written? *ret_lost: so many were not, before it; to be told with it. */
bool log_limit_allows(struct log_limit *l, struct str event, uint64_t now, uint64_t *ret_lost);

/* The event of a line `LEVEL EVENT …`; empty: it is a debug line, which is not limited. */
struct str log_limit_event_of(const char *line, size_t len);

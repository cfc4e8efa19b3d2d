/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: `LEVEL EVENT key=value …`. The event is a word from a fixed vocabulary (see
 * docs/operations.md), so that lines can be searched and counted.
 *
 * A struct log may be used by several threads: it has no state but its level, and the sink gets one
 * whole line per call: control characters in fields become '?'.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum { LOG_LINE_MAX = 1024 }; /* longer lines are cut */

struct log {
    atomic_int level; /* enum log_level: lines below it are dropped */
    void (*sink)(void *owner, const char *line, size_t len); /* with its LF; must not fail */
    void *owner;
};

void log_event(struct log *l, enum log_level level, const char *event, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));

const char *log_level_name(enum log_level level);
bool log_level_from_name(const char *name, enum log_level *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

const char *log_level_name(enum log_level level)
{
    return NAMES[level];
}

bool log_level_from_name(const char *name, enum log_level *ret)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(name, NAMES[i]) != 0)
            continue;
        *ret = (enum log_level)i;
        return true;
    }
    return false;
}

/* Fields may hold what a peer has sent. A line break in it would let the peer write a line of its
 * own, and an escape sequence would reach the terminal of whoever reads the log. */
static void blank_controls(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
}

void log_event(struct log *l, enum log_level level, const char *event, const char *fields, ...)
{
    if ((int)level < atomic_load_explicit(&l->level, memory_order_relaxed))
        return;
    char line[LOG_LINE_MAX];
    size_t room = sizeof(line) - 1; /* for the LF */
    int n = snprintf(line, room, "%s %s ", NAMES[level], event);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len < room) {
        va_list ap;
        va_start(ap, fields);
        n = vsnprintf(line + len, room - len, fields, ap);
        va_end(ap);
        len += n < 0 ? 0 : (size_t)n;
    }
    if (len > room - 1)
        len = room - 1;
    while (len > 0 && line[len - 1] == ' ')
        len--;
    blank_controls(line, len);
    line[len++] = '\n';
    l->sink(l->owner, line, len);
}

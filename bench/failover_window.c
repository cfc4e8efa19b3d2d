/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stretches of the run that are reported together, and the lines on standard input that name them:
 *
 *   go                     begin to measure (with --wait)
 *   phase NAME NS          from this moment of CLOCK_MONOTONIC on, until the next phase
 *   window NAME NS NS      from the one to the other, whatever the phases
 *   end                    stop asking; report
 */
#include "failover_load.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int failover_window_add(struct failover *f, const char *name, uint64_t from_ns, uint64_t to_ns,
                        bool is_phase)
{
    size_t len = strlen(name);

    if (len == 0 || len >= FAILOVER_NAME_MAX || strpbrk(name, "\"\\") || to_ns < from_ns)
        return -EINVAL;
    if (f->window_count == FAILOVER_WINDOWS_MAX)
        return -ENOSPC;
    for (unsigned i = 0; is_phase && i < f->window_count; i++) {
        struct failover_window *before = &f->windows[i];
        if (before->is_phase && before->to_ns == UINT64_MAX)
            before->to_ns = from_ns;
    }
    struct failover_window *w = &f->windows[f->window_count++];
    *w = (struct failover_window){.from_ns = from_ns, .to_ns = to_ns, .is_phase = is_phase};
    snprintf(w->name, sizeof(w->name), "%s", name);
    return 0;
}

int failover_phases_add(struct failover *f, const char *text, uint64_t *ret_length_ns)
{
    uint64_t at = 0;

    while (*text) {
        char name[FAILOVER_NAME_MAX];
        char *end;
        size_t len = strcspn(text, ":");
        if (text[len] != ':' || len >= sizeof(name))
            return -EINVAL;
        memcpy(name, text, len);
        name[len] = 0;
        double seconds = strtod(text + len + 1, &end);
        if (end == text + len + 1 || (*end && *end != ',') || !(seconds > 0 && seconds <= 3600))
            return -EINVAL;
        uint64_t to = at + (uint64_t)(seconds * 1e9);
        int err = failover_window_add(f, name, at, to, true);
        if (err)
            return err;
        at = to;
        text = *end ? end + 1 : end;
    }
    *ret_length_ns = at;
    return at > 0 ? 0 : -EINVAL;
}

/* A moment before the start counts as the start. */
static uint64_t since_start(const struct failover *f, uint64_t ns)
{
    return ns > f->start_ns ? ns - f->start_ns : 0;
}

static int line_obey(struct failover *f, const char *line)
{
    char name[FAILOVER_NAME_MAX];
    uint64_t from, to;
    int used = -1;

    if (strcmp(line, "go") == 0)
        return 1;
    if (strcmp(line, "end") == 0)
        return 2;
    if (f->start_ns == 0)
        return -EINVAL;
    if (sscanf(line, "phase %63s %" SCNu64 "%n", name, &from, &used) == 2 && used >= 0 &&
        !line[used])
        return failover_window_add(f, name, since_start(f, from), UINT64_MAX, true);
    if (sscanf(line, "window %63s %" SCNu64 " %" SCNu64 "%n", name, &from, &to, &used) == 3 &&
        used >= 0 && !line[used])
        return failover_window_add(f, name, since_start(f, from), since_start(f, to), false);
    return -EINVAL;
}

int failover_control_read(struct failover *f, int most_ms)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    int result = 0;

    if (poll(&in, 1, most_ms) <= 0)
        return 0;
    ssize_t n =
        read(STDIN_FILENO, f->control + f->control_len, sizeof(f->control) - f->control_len - 1);

    if (n <= 0)
        return -EPIPE;
    f->control_len += (size_t)n;
    f->control[f->control_len] = 0;
    for (;;) {
        char *end = strchr(f->control, '\n');
        if (!end)
            break;
        *end = 0;
        int said = line_obey(f, f->control);
        if (said < 0) {
            fprintf(stderr, "bench_failover_load: cannot obey: %s\n", f->control);
            return -EINVAL;
        }
        result = said > result ? said : result;
        f->control_len -= (size_t)(end + 1 - f->control);
        memmove(f->control, end + 1, f->control_len + 1);
    }
    return f->control_len + 1 < sizeof(f->control) ? result : -EINVAL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/node_error.h"

#include <string.h>

enum { BEGIN_BYTES = 16 }; /* the longest of the words and what is before and behind it */

bool node_error_count(struct metrics *m, const struct buf *head, const void *tail, size_t len)
{
    const struct {
        const char *begin;
        atomic_uint_least64_t *counter;
        bool cannot_serve;
    } kinds[] = {
        {"-LOADING ", &m->replies_loading, true},       {"-BUSY ", &m->replies_busy, true},
        {"-MASTERDOWN ", &m->replies_masterdown, true}, {"-OOM ", &m->replies_oom, false},
        {"-MISCONF ", &m->replies_misconf, false},      {"-READONLY ", &m->replies_readonly, false},
        {"-MOVED ", &m->replies_moved, false}};
    uint8_t begin[BEGIN_BYTES] = {0};
    size_t kept = head->len < sizeof(begin) ? head->len : sizeof(begin);
    buf_copy_out(head, 0, begin, kept);
    memcpy(begin + kept, tail, len < sizeof(begin) - kept ? len : sizeof(begin) - kept);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (memcmp(begin, kinds[i].begin, strlen(kinds[i].begin)) != 0)
            continue;
        metric_add(kinds[i].counter, 1);
        return kinds[i].cannot_serve;
    }
    return false;
}

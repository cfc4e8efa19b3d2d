/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_limit.h"

#include "base/nsec.h"

static struct log_limit_event *find(struct log_limit *l, struct str event)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (str_eq(str_of(l->of[i].name), event))
            return &l->of[i];
    if (l->count == LOG_LIMIT_EVENTS || event.len >= LOG_LIMIT_NAME_MAX)
        return NULL;
    struct log_limit_event *e = &l->of[l->count++];
    *e = (struct log_limit_event){.began = 0};
    str_fill(e->name, sizeof(e->name), event);
    return e;
}

bool log_limit_allows(struct log_limit *l, struct str event, uint64_t now, uint64_t *ret_lost)
{
    *ret_lost = 0;
    if (l->per_second == 0 || event.len == 0)
        return true;
    struct log_limit_event *e = find(l, event);
    if (!e)
        return true;
    if (e->lines == 0 || now - e->began >= NSEC_S) {
        e->began = now;
        e->lines = 0;
    }
    if (e->lines >= l->per_second) {
        e->lost++;
        return false;
    }
    e->lines++;
    *ret_lost = e->lost;
    e->lost = 0;
    return true;
}

struct str log_limit_event_of(const char *line, size_t len)
{
    const char *blank = len > 0 ? memchr(line, ' ', len) : NULL;
    size_t level = blank ? (size_t)(blank - line) : len;
    if (!blank || str_eq((struct str){line, level}, STR("debug")))
        return STR("");
    struct str rest = {blank + 1, len - level - 1};
    size_t end = 0;
    while (end < rest.len && rest.p[end] != ' ' && rest.p[end] != '\n')
        end++;
    return (struct str){rest.p, end};
}

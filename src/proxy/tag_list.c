/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tag_list.h"

#include "base/must.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char PREFIX[] = "sumcache:tag:";

bool tag_is_generation(struct str s)
{
    if (s.len != TAG_GENERATION)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

size_t tag_key(struct str name, char to[TAG_KEY_MAX])
{
    _Static_assert(sizeof(PREFIX) <= TAG_KEY_MAX - TAG_NAME_MAX, "the prefix fits");
    must(name.len <= TAG_NAME_MAX);
    memcpy(to, PREFIX, sizeof(PREFIX) - 1);
    if (name.len > 0)
        memcpy(to + sizeof(PREFIX) - 1, name.p, name.len);
    return sizeof(PREFIX) - 1 + name.len;
}

size_t tag_entry(const struct tag *t, char to[TAG_ENTRY_MAX])
{
    must(t->name.len <= TAG_NAME_MAX && t->generation.len == TAG_GENERATION);
    char len[8];
    int n = snprintf(len, sizeof(len), "%zu:", t->name.len);
    memcpy(to, t->generation.p, TAG_GENERATION);
    memcpy(to + TAG_GENERATION, len, (size_t)n);
    if (t->name.len > 0)
        memcpy(to + TAG_GENERATION + n, t->name.p, t->name.len);
    return TAG_GENERATION + (size_t)n + t->name.len;
}

int tag_list_read(struct str list, struct tag to[TAGS_MAX])
{
    int count = 0;
    while (list.len > 0) {
        if (count == TAGS_MAX || list.len < TAG_GENERATION ||
            !tag_is_generation((struct str){list.p, TAG_GENERATION}))
            return -EBADMSG;
        struct str generation = {list.p, TAG_GENERATION};
        list = (struct str){list.p + TAG_GENERATION, list.len - TAG_GENERATION};
        const char *colon = list.len > 0 ? memchr(list.p, ':', list.len) : NULL;
        int64_t len;
        if (!colon || str_to_i64((struct str){list.p, (size_t)(colon - list.p)}, &len) != 0 ||
            len < 0 || len > TAG_NAME_MAX)
            return -EBADMSG;
        size_t head = (size_t)(colon - list.p) + 1;
        if (list.len - head < (size_t)len)
            return -EBADMSG;
        to[count++] = (struct tag){{colon + 1, (size_t)len}, generation};
        list = (struct str){colon + 1 + len, list.len - head - (size_t)len};
    }
    return count > 0 ? count : -EBADMSG;
}

void tag_generation(uint64_t bits, char to[TAG_GENERATION + 1])
{
    snprintf(to, TAG_GENERATION + 1, "%016" PRIx64, bits);
}

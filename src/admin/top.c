/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/top.h"

static struct top_entry *least(struct top *t)
{
    struct top_entry *e = &t->of[0];
    for (uint32_t i = 1; i < t->count; i++)
        if (t->of[i].count < e->count)
            e = &t->of[i];
    return e;
}

struct top_entry *top_add(struct top *t, uint64_t hash, struct str text, bool cut)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->of[i].hash != hash)
            continue;
        t->of[i].count++;
        return &t->of[i];
    }
    struct top_entry *e = t->count < TOP_MAX ? &t->of[t->count] : least(t);
    uint64_t over = t->count < TOP_MAX ? 0 : e->count;
    t->count += t->count < TOP_MAX;
    *e = (struct top_entry){.hash = hash, .count = over + 1, .over = over};
    e->cut = cut || text.len > TOP_TEXT_MAX;
    e->text_len = (uint8_t)(text.len > TOP_TEXT_MAX ? TOP_TEXT_MAX : text.len);
    if (e->text_len > 0)
        memcpy(e->text, text.p, e->text_len);
    return e;
}

void top_fade(struct top *t)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        struct top_entry e = t->of[i];
        e.count /= 2;
        e.over /= 2;
        if (e.count > 0)
            t->of[left++] = e;
    }
    t->count = left;
}

static bool goes_before(const struct top_entry *a, const struct top_entry *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    size_t len = a->text_len < b->text_len ? a->text_len : b->text_len;
    int diff = memcmp(a->text, b->text, len);
    return diff != 0 ? diff < 0 : a->text_len < b->text_len;
}

void top_order(const struct top *t, uint32_t order[TOP_MAX])
{
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t at = i;
        for (; at > 0 && goes_before(&t->of[i], &t->of[order[at - 1]]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

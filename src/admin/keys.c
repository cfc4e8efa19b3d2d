/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/keys.h"

struct str keys_prefix(struct str key, char separator, unsigned depth, bool *ret_is)
{
    unsigned seen = 0;
    for (size_t i = 0; i < key.len; i++) {
        if (key.p[i] != separator || ++seen < depth)
            continue;
        *ret_is = true;
        return (struct str){key.p, i + 1};
    }
    *ret_is = false;
    return key;
}

/* FNV-1a: of the few bytes of a prefix. Who makes two collide makes one line of a table wrong. */
static uint64_t hash_of(struct str s)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ (uint8_t)s.p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void count(struct top_entry *e, const struct sample *s)
{
    e->hits += s->outcome == OUTCOME_HIT;
    e->misses += s->outcome == OUTCOME_MISS || s->outcome == OUTCOME_FAILOVER_MISS;
    if (e->bytes < s->bytes)
        e->bytes = s->bytes;
}

static void take_large(struct keys *k, const struct sample *s)
{
    uint32_t at = 0;
    while (at < k->large_count && k->large[at].hash != s->hash)
        at++;
    if (at == k->large_count) { /* a new one, at the end: or instead of the last */
        if (k->large_count == KEYS_LARGEST_MAX) {
            at--;
            if (k->large[at].bytes >= s->bytes)
                return;
        } else {
            k->large_count++;
        }
        k->large[at] = (struct keys_large){
            .hash = s->hash, .bytes = s->bytes, .cut = s->cut, .text_len = s->key_len};
        memcpy(k->large[at].text, s->key, s->key_len);
    }
    k->large[at].idle = 0;
    if (k->large[at].bytes > s->bytes)
        return;
    k->large[at].bytes = s->bytes;
    for (; at > 0 && k->large[at - 1].bytes < k->large[at].bytes; at--) {
        struct keys_large smaller = k->large[at - 1];
        k->large[at - 1] = k->large[at];
        k->large[at] = smaller;
    }
}

void keys_take(struct keys *k, const struct sample *s, char separator, unsigned depth)
{
    struct str key = {s->key, s->key_len};
    k->samples++;
    count(top_add(&k->hot, s->hash, key, s->cut), s);
    take_large(k, s);
    bool is_prefix = false;
    struct str prefix = keys_prefix(key, separator, depth, &is_prefix);
    if (depth > 0 && is_prefix)
        count(top_add(&k->prefixes, hash_of(prefix), prefix, false), s);
}

void keys_take_slow(struct keys *k, const struct slow_request *s)
{
    k->slow[k->slow_last++ % KEYS_SLOW_MAX] = *s;
}

void keys_fade(struct keys *k)
{
    top_fade(&k->hot);
    uint32_t left = 0;
    for (uint32_t i = 0; i < k->large_count; i++)
        if (++k->large[i].idle <= KEYS_LARGEST_IDLE)
            k->large[left++] = k->large[i];
    k->large_count = left;
}

const struct slow_request *keys_slow(const struct keys *k, uint32_t age)
{
    uint64_t have = k->slow_last < KEYS_SLOW_MAX ? k->slow_last : KEYS_SLOW_MAX;
    return age < have ? &k->slow[(k->slow_last - 1 - age) % KEYS_SLOW_MAX] : NULL;
}

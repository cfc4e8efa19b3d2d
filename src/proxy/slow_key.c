/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/slow_key.h"

#include "proxy/gather.h"
#include "proxy/worker_internal.h"

void slow_key_note(struct worker *w, struct part *p, size_t index)
{
    if (w->settings->slow_above == 0)
        return;
    p->noted = true;
    slow_key_take(&p->key, &w->args, index);
}

void slow_key_add(const struct worker *w, struct slow_key *k, size_t count)
{
    if (w->settings->slow_above == 0 || count == 0)
        return;
    uint32_t before = k->count;
    if (before == 0)
        slow_key_take(k, &w->args, w->keys.index[0]);
    k->count = before + (uint32_t)count;
}

void slow_key_note_found(struct worker *w, struct part *p, size_t count)
{
    p->noted = true;
    p->key.count = 0;
    slow_key_add(w, &p->key, count);
}

void slow_key_of_copy(struct str copy, size_t index, struct slow_key *ret)
{
    struct args a;
    struct iovec iov = {(void *)(uintptr_t)copy.p, copy.len};
    ret->count = 0;
    args_init(&a);
    if (args_parse(&a, &iov, 1) == 0 && index < a.count)
        slow_key_set(ret, args_str(&a, index), 1);
    args_fini(&a);
}

void slow_key_of(const struct request *r, struct slow_key *ret)
{
    const struct part *p = r->part;
    ret->count = 0;
    const struct slow_key *kept = r->gather ? &r->gather->key : p && p->noted ? &p->key : NULL;
    if (kept && kept->count > 0) { /* what may lie behind a short key is left there */
        slow_key_set(ret, slow_key_text(kept), kept->count);
        ret->len = kept->len;
    }
    if (p && p->copy_len > 0)
        slow_key_of_copy((struct str){(const char *)p->copy, p->copy_len},
                         (size_t)r->command->first, ret);
}

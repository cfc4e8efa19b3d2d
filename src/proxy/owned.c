/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/owned.h"

#include "proxy/worker_internal.h"
#include "resp/reply_read.h"
#include "ring/layout.h"

#include <errno.h>
#include <string.h>

static const struct str OURS = STR("sumcache:"); /* keys of the proxies themselves begin so */

void owned_init(struct owned *o, const struct worker *w, const struct view *asked, uint32_t node)
{
    *o = (struct owned){.worker = w, .asked = asked, .node = node, .node_now = UINT32_MAX};
    if (w->view == asked) {
        o->node_now = node;
        return;
    }
    for (uint32_t i = 0; w->view && i < w->view->node_count; i++)
        if (strcmp(w->view->nodes[i].name, asked->nodes[node].name) == 0)
            o->node_now = i;
}

static bool owns(const struct view *v, uint32_t node, uint64_t hash)
{
    return v->ring && maglev_lookup(v->ring, hash) == node &&
           !(view_flags(v, hash) & (VIEW_PARTING | VIEW_FENCED));
}

bool owned_has(const struct owned *o, struct str key)
{
    const struct worker *w = o->worker;
    if (str_begins(key, OURS))
        return false;
    uint64_t hash = layout_hash(w->settings->layout, key, w->settings->hash_tags);
    if (o->node_now == UINT32_MAX || !owns(o->asked, o->node, hash))
        return false;
    return w->view == o->asked || owns(w->view, o->node_now, hash);
}

int owned_pass_on(const struct owned *o, struct reply_reader *from, struct reply_out *to,
                  size_t *count)
{
    int64_t left;
    if (reply_read_number(from, '*', &left) != 0)
        return -EBADMSG;
    for (; left > 0 && !to->err; left--) {
        struct str key;
        int err = reply_read_bulk(from, &key);
        if (err)
            return err == -ENOMEM ? -ENOMEM : -EBADMSG;
        if (!owned_has(o, key))
            continue;
        reply_bulk(to, key);
        (*count)++;
    }
    return to->err;
}

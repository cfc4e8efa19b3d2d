/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLUSHALL of a client. A worker sends it to the nodes that are in the ring; those that are not
 * must not come back with what they held before. So the worker asks first:
 *
 *   - it is answered when all workers go by the newest view, so that none of them still reads from
 *     a node that is out in it;
 *   - then each node that is out in that view, or coming back, is noted (wiped_at): it is flushed
 *     before it is admitted (cleaner.c), whatever the journal knows;
 *   - the worker flushes all others of that very view, or asks again if it has another by then.
 *
 * So each node is flushed by one or the other, and not before the client asked. A node that has
 * left is noted when it comes back.
 */
#include "cluster/control_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static unsigned note_nodes(struct control *c)
{
    unsigned out = 0;
    c->wiped_at = control_now(c);
    for (uint32_t i = 0; i < c->node_room; i++) {
        struct control_node *n = c->nodes[i];
        if (!n || n->state < NODE_OUT)
            continue;
        n->wiped_at = c->wiped_at;
        out++;
    }
    return out;
}

void wiper_step(struct control *c)
{
    const struct mover *m = &c->mover;
    if (list_empty(&c->wipes) || !c->began || m->retarget_due || m->republish ||
        !mover_all_have_adopted(c, c->version))
        return; /* another view comes, and the answers to it */
    unsigned out = note_nodes(c);
    while (!list_empty(&c->wipes)) {
        struct control_flush *f = list_first(&c->wipes, struct control_flush, link);
        list_remove(&f->link);
        f->version = c->version;
        metric_add(&c->metrics.flushes_asked, 1);
        log_event(c->log, LOG_INFO, "flush-asked", "version=%" PRIu64 " nodes_out=%u", c->version,
                  out);
        f->answer(f);
    }
}

static void deliver_flush(struct message *message, void *receiver)
{
    struct control *c = receiver;
    struct control_flush *f = container_of(message, struct control_flush, message);
    list_push_tail(&c->wipes, &f->link);
    wiper_step(c);
}

void control_tell_flush(struct control *c, struct control_flush *f)
{
    f->message.deliver = deliver_flush;
    mailbox_post(&c->mailbox, &f->message);
}

void wiper_recall(struct control_node *n)
{
    if (n->control->wiped_at > n->out_since)
        n->wiped_at = n->control->wiped_at;
}

void wiper_fini(struct control *c)
{
    list_for_each_safe (link, &c->wipes)
        free(list_item(link, struct control_flush, link));
    list_init(&c->wipes);
}

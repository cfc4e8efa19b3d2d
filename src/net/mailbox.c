/* SPDX-License-Identifier: Apache-2.0 */
#include "net/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *b, struct io *io)
{
    b->io = io;
    atomic_init(&b->newest, NULL);
}

void mailbox_post(struct mailbox *b, struct message *m)
{
    struct message *newest = atomic_load_explicit(&b->newest, memory_order_relaxed);
    do {
        m->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&b->newest, &newest, m, memory_order_release,
                                                    memory_order_relaxed));
    /* Who finds it empty wakes the receiver; the others' messages go with that wake. */
    if (!newest)
        b->io->ops->wake(b->io->ctx);
}

void mailbox_empty(struct mailbox *b, void *receiver)
{
    if (!atomic_load_explicit(&b->newest, memory_order_relaxed))
        return;
    struct message *m = atomic_exchange_explicit(&b->newest, NULL, memory_order_acquire);
    struct message *oldest = NULL;
    while (m) {
        struct message *next = m->next;
        m->next = oldest;
        oldest = m;
        m = next;
    }
    while (oldest) {
        struct message *next = oldest->next;
        oldest->deliver(oldest, receiver);
        oldest = next;
    }
}

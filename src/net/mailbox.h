/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to a worker from any thread, without a lock. Order is kept per sender.
 */
#pragma once
#include "os/io.h"

#include <stdatomic.h>

struct message {
    struct message *next;
    /* Runs on the receiver's thread and owns the message from then on. */
    void (*deliver)(struct message *m, void *receiver);
};

struct mailbox {
    struct io *io;                    /* loan: whose wait() is ended by a message */
    _Atomic(struct message *) newest; /* a stack, turned round when it is emptied */
};

void mailbox_init(struct mailbox *b, struct io *io);

/* Any thread. The message belongs to the mailbox until it is delivered. */
void mailbox_post(struct mailbox *b, struct message *m);

/* The receiver's thread: delivers all, oldest first. */
void mailbox_empty(struct mailbox *b, void *receiver);

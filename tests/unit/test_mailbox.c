/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads post at once; run under TSan too. */
#include "net/mailbox.h"

#include "base/nsec.h"
#include "os/io_epoll.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SENDERS = 4, MESSAGES = 5000 };

struct numbered {
    struct message message;
    int sender, number;
};

struct receiver {
    int next[SENDERS];
    int count;
};

static void deliver(struct message *m, void *owner)
{
    struct receiver *r = owner;
    struct numbered *n = container_of(m, struct numbered, message);
    assert_int_equal(n->number, r->next[n->sender]);
    r->next[n->sender]++;
    r->count++;
    free(n);
}

struct sender {
    struct mailbox *box;
    int index;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < MESSAGES; i++) {
        struct numbered *n = malloc(sizeof(*n));
        if (!n)
            abort();
        *n = (struct numbered){.message.deliver = deliver, .sender = s->index, .number = i};
        mailbox_post(s->box, &n->message);
    }
    return NULL;
}

static void each_sender_keeps_its_order_and_no_wake_is_lost(void **state)
{
    (void)state;
    struct io io;
    assert_int_equal(io_epoll_new(&io), 0);
    struct mailbox box;
    mailbox_init(&box, &io);
    struct receiver r = {0};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&box, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    /* A lost wake would end in the 10 s time-out of wait(), and there in the assertion. */
    while (r.count < SENDERS * MESSAGES) {
        struct io_event events[8];
        uint64_t begin = io_now(&io);
        assert_int_equal(io.ops->wait(io.ctx, events, 8, 10 * NSEC_S), 0);
        assert_true(io_now(&io) - begin < 9 * NSEC_S);
        mailbox_empty(&box, &r);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(r.next[i], MESSAGES);
    }
    io_epoll_free(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sender_keeps_its_order_and_no_wake_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

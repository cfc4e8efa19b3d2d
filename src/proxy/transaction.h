/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction: the commands that a client has queued behind MULTI. They are kept here, not at the
 * node, until EXEC. Then all that are for a node are sent as one part, MULTI first and EXEC last,
 * of whose replies only the last counts; so no other request comes between them on any upstream.
 *
 * At EXEC each command is looked at once more under the view of that moment: its keys must still
 * belong to the node that they were queued for, and what it writes is noted (router.h).
 *
 * Commands that we answer from memory (PING, CLIENT ID) are answered when the node has done the
 * others, and put into its reply at their places. One thread, as all of a worker.
 */
#pragma once
#include "proxy/request.h"

struct queued {
    const struct command *command;
    uint32_t len; /* bytes */
    bool local;   /* answered from memory */
};

struct transaction {
    struct buf sent, local; /* the requests one behind the other, by who answers them */
    struct queued *queue;   /* owned; all in their order */
    uint32_t count, room;
    uint32_t sent_count;
    uint32_t published; /* of these, PUBLISH and SPUBLISH */
    bool writes;
    struct slow_key key; /* of all that are sent, once they are checked */
};

/* NULL: out of memory. */
struct transaction *transaction_new(void);
struct transaction *transaction_free(struct worker *w, struct transaction *t); /* NULL is fine */

/* The present request (worker.args) at the end. 0, -ENOMEM, or -E2BIG: limits.transaction_commands
 * or transaction_bytes. */
int transaction_add(struct worker *w, struct transaction *t, const struct command *command,
                    struct buf *from) MUST_CHECK;

/* Where to send it. `node_name`: the owner of its keys; NULL: none was known, they tell. May be
 * called once, for it notes what is written. FAILURE_NONE, or what is to be answered; *ret_blame: a
 * node, or NULL.
 */
enum failure transaction_check(struct client *c, struct transaction *t, const char *node_name,
                               uint32_t *ret_node, const char **ret_blame);

/* Moves all there is to be sent to `to`: MULTI, the commands, EXEC. 0 or -ENOMEM. */
int transaction_write(struct worker *w, struct transaction *t, struct buf *to) MUST_CHECK;

/* Answers a request whose transaction has nothing to send. */
void transaction_answer(struct request *r);
/* The same with the node's reply to the rest: `head` (emptied) and `tail`; `type`: its first byte.
 */
void transaction_answered(struct request *r, struct buf *head, const void *tail, size_t tail_len,
                          uint8_t type);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that go to all nodes as they are, and whose answers become one as of one Redis: all of
 * them OK, a sum, the one that matters. A node that fails, or answers an error that others do not,
 * is named in the error: the others have done it.
 *
 * What loads or drops scripts and functions is told to the control plane, for nodes that come later
 * (cluster/scripts.h).
 */
#pragma once
#include "proxy/client.h"
#include "proxy/gather.h"

/* A request under way to all nodes. */
struct everywhere {
    struct gather gather;
    struct view *view;             /* a reference: that by which nodes are asked */
    struct control_script *script; /* owned; to be told when all have done it; NULL: nothing */
    int64_t wanted;                /* SLOWLOG GET: entries; below 0: all */
};

/* The present request, one of those in EVERYWHERE (everywhere.c). */
void everywhere_start(struct client *c, const struct command *command);

/* Sends the present request, as it is, to all nodes. NULL: that has failed, and is answered. `e`
 * may be gone when it returns; `script` is taken over. */
void everywhere_ask(struct client *c, const struct command *command, const struct gather_ops *ops,
                    struct control_script *script, int64_t wanted);

struct everywhere *everywhere_of(const struct request *r);
void everywhere_free(struct gather *g);

/* In merge: writes an error that names the node, if one failed or not all answer alike. True: it
 * did. All the same error: that one. */
bool everywhere_write_error(struct request *r, struct reply_out *o);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MULTI, EXEC and WATCH: the present request is one of them, or comes between. See session.h.
 */
#pragma once
#include "proxy/client.h"

/* Between MULTI and EXEC most commands are queued. False: the command goes its usual way. Only for
 * a client that has a session. */
bool multi_takes(struct client *c, const struct command *command, struct buf *from);

void multi_answer(struct client *c);
void multi_answer_exec(struct client *c, const struct command *command);
void multi_answer_watch(struct client *c, const struct command *command);

/* SPDX-License-Identifier: Apache-2.0 */
/* What a model node does with a request. */
#pragma once
#include "redis_model.h"

/* Executes the request in m->args and puts the reply into c->out. */
void redis_execute(struct redis_model *m, struct redis_connection *c, uint64_t now);

/* Is the argument this word, in any letter case? False if there are not so many. */
bool redis_arg_is(const struct redis_model *m, uint32_t index, const char *word);

/* Bytes [from, to) of the connection's output are the reply to a command of a client. */
void redis_mark_reply(struct redis_connection *c, uint64_t from, uint64_t to, uint16_t client,
                      uint32_t seq);

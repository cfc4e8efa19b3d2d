/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and subscribe of a model node: channels, patterns and shard channels of its connections,
 * and messages to them.
 */
#pragma once
#include "redis_model.h"

/* Executes the request in m->args if it is one of these, and puts the reply into c->out; sets
 * *ret_verb. False: it is another. */
bool redis_pubsub(struct redis_model *m, struct redis_connection *c, const char **ret_verb);
/* The connection ends. */
void redis_pubsub_free(struct redis_connection *c);
/* How many of its connections are subscribed to that channel (or pattern)? */
uint32_t redis_pubsub_count(const struct redis_model *m, const char *name);

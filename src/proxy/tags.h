/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values with tags, which are invalidated together wherever they lie (docs/decisions/0010):
 * SUMCACHE.SET, SUMCACHE.GET, SUMCACHE.TAGS, SUMCACHE.INVALIDATE.
 *
 * A tag's generation is a random number under a key of its own, at whatever node has that key. A
 * tagged value lies in a hash, with the generations that its tags had. It is given only if they all
 * still have them; what is lost, or cannot be asked for, is a miss. To invalidate a tag is to
 * remove its key: the next generation is another number.
 *
 *   SET without GENERATIONS:  generations of the tags ──► store
 *   GET:                      value ──► generations of its tags
 */
#pragma once
#include "proxy/client.h"

/* The present request (worker.args), whose arity is right. */
void tags_start(struct client *c, const struct command *command);

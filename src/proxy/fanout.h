/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits MGET, MSET, DEL, UNLINK, EXISTS and TOUCH per node (not per key) and merges the replies.
 */
#pragma once
#include "proxy/request.h"

struct client;
struct fanout;

/* In node_of_key: the key is on its way from one node to another, so nobody is asked. */
#define FANOUT_NOBODY UINT32_MAX

/* The present request (worker.args, its keys in worker.keys) concerns several nodes. */
void fanout_start(struct client *c, const struct command *command, const uint32_t *node_of_key);

/* A part has its reply (`head`, emptied, then `tail`) or has failed. Finishes the request with the
 * last one. */
void fanout_part_answered(struct request *r, uint32_t index, struct buf *head, const void *tail,
                          size_t tail_len, uint8_t type);
void fanout_part_failed(struct request *r, uint32_t index, enum failure f, const char *node_name);

/* Has any of its nodes answered? */
bool fanout_has_answers(const struct fanout *f);

void fanout_free(struct worker *w, struct fanout *f);

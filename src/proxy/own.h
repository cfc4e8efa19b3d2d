/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the proxy's own that need no node: SUMCACHE.UNLINK and SUMCACHE.JOBS (what they
 * begin and show: cluster/job.h), SUMCACHE.WHERE.
 */
#pragma once
#include "proxy/client.h"

/* Answers the present request (worker.args), whose arity is right. False: it is none of these. */
bool own_answer(struct client *c, const struct command *command, struct reply_out *o);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SUMCACHE.SLOWLOG GET [count] | LEN | RESET: the slow requests that the workers still have
 * (samples.h), for who has no way to the admin listener. In the form of SLOWLOG GET, which the
 * clients know; the arguments are the command's name and its first key, and no others.
 */
#pragma once
#include "proxy/client.h"

/* Answers the present request (worker.args), now or later. False: it is another command. */
bool slow_log_take(struct client *c, const struct command *command);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker goes over to other settings between two turns, with clients and requests as they are.
 *
 * Settings are read through worker.settings each time anew, so most of them need nothing done.
 * Requests under way keep the deadline that they were given; one behind them in a queue, whose own
 * may be earlier now, is looked at when theirs has passed. Here is the rest: copies and shares are
 * made again, lists that exist only with a setting are filled or emptied, and what points into the
 * old settings is let go. What does so for longer than a turn are
 *
 *   - users (client.user): found again by name; who is not, or is off, is closed;
 *   - rows of commands.unknown (request.command, client.last_command, queued.command): whoever
 *     keeps another `struct command *` over turns has to be looked after in let_go_of_commands().
 */
#pragma once
#include "proxy/settings.h"

struct worker;

/* What is derived from w->settings; at the start too. */
void settings_fill_limits(struct worker *w);

/* The worker's thread, not inside the handling of a request. Nothing of the old settings is
 * pointed to afterwards. */
void settings_adopt(struct worker *w, const struct proxy_settings *s);

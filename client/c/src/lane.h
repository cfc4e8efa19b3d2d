/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: one connection of the I/O thread, what waits for it and what is under way on it. The I/O
 * thread only.
 */
#pragma once

#include "io_state.h"

void lane_init(struct lane *lane);
/* After its thread has ended: drops all. */
void lane_fini(struct lane *lane);
/* Reads and writes what it can. `events`: of poll(), 0 for what has just been given. */
void lane_run(struct io *io, struct lane *lane, short events, int64_t now);
/* Connects if something waits, ends what is over; returns when something is over next. */
int64_t lane_tick(struct io *io, struct lane *lane, int64_t now);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of the I/O thread, and what is due by the clock.
 */
#pragma once

#include "io_state.h"

/* The thread, of a struct io: ends when it is told to. */
void *io_loop(void *arg);

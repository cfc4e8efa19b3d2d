/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes while the breaker is open: when the next one is sent, and what it has found. The I/O
 * thread only.
 */
#pragma once

#include "io_state.h"

/* How one went. */
void probes_note(struct io *io, bool has_failed);
/* Puts one into its lane, if it is due. */
void probes_start(struct io *io, int64_t now);

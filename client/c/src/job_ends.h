/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How jobs of the I/O thread end: told, repeated, dropped, counted. Its thread only.
 */
#pragma once

#include "io_state.h"

/* Tells whoever waits for a delete. */
void job_tell(struct io *io, struct job *j, int answer, int cause);
/* A job that is not to be done any more: its room in the queue, and what it has marked. */
void job_release(struct io *io, struct job *j);
/* Ends a job that has not been answered; takes its share. was_sent: it may have been done. */
void job_end_unanswered(struct io *io, struct job *j, bool was_sent, int cause);
/* Ends a job whose replies are here, or puts it into the lane again; takes its share. */
void job_end_answered(struct io *io, struct lane *lane, struct job *j);

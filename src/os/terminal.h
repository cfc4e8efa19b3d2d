/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a screen for one program: its alternate screen, without a cursor, and keys as
 * they are pressed. What it was before, it is again when the program ends, is told to by a signal,
 * or is stopped by Ctrl-Z; it is taken anew when that one goes on. Functions return 0 or -errno
 * unless said otherwise. One thread, terminal_poke() excepted.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What terminal_wait() waits for. */
enum {
    TERMINAL_KEYS = 1,  /* bytes have come */
    TERMINAL_DRAW = 2,  /* another size, or it is ours again: what was on it is gone */
    TERMINAL_POKED = 4, /* terminal_poke() was called */
    TERMINAL_END = 8,   /* SIGINT, SIGTERM, SIGHUP, SIGQUIT, or the terminal is gone */
};

struct terminal; /* opaque */

/* Are both standard input and `out` terminals? */
bool terminal_is_there(FILE *out);

/*
 * Takes the terminal: keys come from standard input, frames go to the descriptor of `out`, past its
 * buffer. Blocks those signals and SIGWINCH, SIGTSTP and SIGCONT in this thread and in those that
 * it starts from now on: call it before the first thread. In the background it waits until the
 * shell puts us into the foreground. -EINTR: we were told to end.
 */
int terminal_open(FILE *out, struct terminal **ret_terminal) MUST_CHECK;
/* Gives it back; then only terminal_poke() and terminal_close() may follow. */
void terminal_give(struct terminal *t);
/* Gives it back, and frees it. Signals stay blocked. NULL is fine; always returns NULL. */
struct terminal *terminal_close(struct terminal *t);

/* Both at least 1; one that says nothing is 80 × 24. */
void terminal_size(const struct terminal *t, int *ret_columns, int *ret_rows);

/* The set of TERMINAL_… that happened; 0 when timeout_ns (NSEC_NEVER: for ever) has passed. What
 * was typed is put into `keys`. */
unsigned terminal_wait(struct terminal *t, uint64_t timeout_ns, char *keys, size_t size,
                       size_t *ret_len);
void terminal_poke(struct terminal *t); /* from any thread */

/*
 * Writes all of it, by one call if the terminal takes as much. -EAGAIN: it took only a part within
 * a second, or there are signals to be seen to; the rest is lost, so draw all of it later.
 */
int terminal_write(struct terminal *t, const char *bytes, size_t len) MUST_CHECK;

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole screen of `sumcache top`, at any size: the sum, the section in focus with most of the
 * room, the others as far as there is some, and at the bottom what to press or what is wrong.
 */
#pragma once
#include "daemon/top_view.h"

#include <stdbool.h>
#include <stdint.h>

struct top_state {
    const char *address;           /* loans, all of them */
    const struct top_pages *pages; /* the last good answer; empty: there was none */
    const char *why;               /* why it is not up to date; NULL: it is */
    uint64_t silent_ns;            /* since the last good answer */
};

/* The view takes note of how many rows there are and fit. */
void top_screen_draw(struct top_view *v, const struct top_state *s, struct top_canvas *c);

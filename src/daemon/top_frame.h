/* SPDX-License-Identifier: Apache-2.0 */
/* One frame of `sumcache top` as text, from what the JSON API (docs/api.md) has answered. */
#pragma once
#include <jansson.h>
#include <stdio.h>

struct top_pages {
    json_t *summary, *nodes, *events, *keys; /* of /api/…, by their names; owned */
};

/* Frees the pages, and sets them to NULL. */
void top_pages_fini(struct top_pages *p);

/*
 * What it prints is printable ASCII and line feeds whatever the pages hold: names of keys are
 * chosen by strangers, and a terminal obeys escape sequences. A member that is missing, or of
 * another type than it should be, counts as 0 or as an empty text.
 */
void top_frame_print(const struct top_pages *p, FILE *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the JSON API (docs/api.md) has answered, for `sumcache top`, and its members. One that is
 * missing, or of another type than it should be, counts as 0 or as an empty text: the other side
 * may be of another version, or no sumcache at all.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>

enum { TOP_BYTES_MAX = 400 /* of the text of any double */ };

struct top_pages {
    json_t *summary, *nodes, *events, *keys; /* of /api/…, by their names; owned */
};

/* Frees the pages, and sets them to NULL. */
void top_pages_fini(struct top_pages *p);

double top_number(const json_t *o, const char *name);
/* 0 of nothing. */
double top_percent(double part, double whole);

/*
 * Writes the text, with a NUL, as printable ASCII whatever it holds: names of keys are chosen by
 * strangers, and a terminal obeys escape sequences. What does not fit into `size` bytes, at least
 * 4, ends with `...`. Returns the length.
 */
size_t top_text(const json_t *o, const char *name, char *to, size_t size);

/* As people say it: `1.5 GiB`. Returns `to`. */
const char *top_print_bytes(double bytes, char to[TOP_BYTES_MAX]);

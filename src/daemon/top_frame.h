/* SPDX-License-Identifier: Apache-2.0 */
/* One frame of `sumcache top` as text, from what the JSON API (docs/api.md) has answered. */
#pragma once
#include "daemon/top_pages.h"

#include <stdio.h>

/*
 * What it prints is printable ASCII and line feeds whatever the pages hold, as top_text() has it.
 */
void top_frame_print(const struct top_pages *p, FILE *out);

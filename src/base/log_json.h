/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the log, `LEVEL EVENT key=value …`, as one JSON object. Pure. */
#pragma once
#include "base/log.h"

#include <stddef.h>

/* Each byte becomes six at most, and so does each "key=". */
enum { LOG_JSON_MAX = 6 * LOG_LINE_MAX + 64 };

/*
 * {"level":"warn","event":"node-ejected","node":"a:6379","reason":"timed out"} and a LF. All values
 * are texts, without the quotes that they have in the line. Words that have no '=' are gathered in
 * "text". Bytes that are no ASCII become \u00XX. Returns the length.
 */
size_t log_to_json(const char *line, size_t len, char to[LOG_JSON_MAX]);

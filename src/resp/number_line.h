/* SPDX-License-Identifier: Apache-2.0 */
/* The number in a header line, read in one go. For frame.c, its grammars and args.c. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/*
 * The fast path of headers: "digits CR LF" with at most 9 digits and no leading zero, all before
 * `end`. Returns where the line ends, or NULL: whoever reads byte by byte shall see to it.
 */
static inline const uint8_t *number_line_short(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
    if (end - p < 3)
        return NULL;
    uint32_t v = (uint32_t)*p++ - '0';
    if (v > 9)
        return NULL;
    if (v > 0) {
        const uint8_t *stop = end - p > 8 ? p + 8 : end;
        for (uint32_t d; p < stop && (d = (uint32_t)*p - '0') <= 9; p++)
            v = v * 10 + d;
    }
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *ret = v;
    return p + 2;
}

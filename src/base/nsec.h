/* SPDX-License-Identifier: Apache-2.0 */
/* Time as unsigned nanoseconds of a monotonic clock. 584 years fit. */
#pragma once
#include <stdint.h>

#define NSEC_US    UINT64_C(1000)
#define NSEC_MS    UINT64_C(1000000)
#define NSEC_S     UINT64_C(1000000000)
#define NSEC_NEVER UINT64_MAX

static inline uint64_t nsec_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

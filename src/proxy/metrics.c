/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/metrics.h"

#include <stddef.h>

#define METRIC_ROW(name, kind, text) {#name, text, METRIC_##kind, offsetof(struct metrics, name)},
const struct metric_info METRIC_INFO[] = {METRICS(METRIC_ROW)};
const unsigned METRIC_COUNT = sizeof(METRIC_INFO) / sizeof(METRIC_INFO[0]);

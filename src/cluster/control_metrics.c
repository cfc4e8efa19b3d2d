/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/control_metrics.h"

#include <stddef.h>

#define INFO(name, kind, text) {#name, text, METRIC_##kind, offsetof(struct control_metrics, name)},

const struct metric_info CONTROL_METRIC_INFO[] = {CONTROL_METRICS(INFO)};
const unsigned CONTROL_METRIC_COUNT = sizeof(CONTROL_METRIC_INFO) / sizeof(CONTROL_METRIC_INFO[0]);

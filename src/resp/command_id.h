/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name for each row of the command table: COMMAND_ID_GET, COMMAND_ID_CONFIG_GET,
 * COMMAND_ID_SUMCACHE_FAILURES. The value is the row's index, so it changes when rows are added.
 */
#pragma once

enum command_id {
#define COMMAND_ROW(id, name, arity, way, keys, first, last, step, miss, flags, request, response, \
                    reason)                                                                        \
    COMMAND_ID_##id,
#include "resp/command_table.h"
#undef COMMAND_ROW
    COMMAND_ID_COUNT
};

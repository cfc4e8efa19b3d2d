/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print with --json. */
#pragma once
#include "base/str.h"

#include <stdio.h>

/* With its quotes. A byte that is no printable ASCII has no meaning here, and becomes '?'. */
void print_json_string(struct str s, FILE *out);

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

void must_fail(const char *what, const char *file, int line, const char *func)
{
    fprintf(stderr, "sumcache: broken invariant: %s (%s:%d, %s)\n", what, file, line, func);
    abort();
}

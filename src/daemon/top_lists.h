/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of `sumcache top` as lists of rows: nodes, events, hot keys, prefixes. */
#pragma once
#include "daemon/top_view.h"

/* What a section has to show. */
struct top_rows {
    enum top_section section;
    const json_t **of; /* owned; the rows are loans from the pages */
    size_t count;
    double now_ms; /* of the proxy, since 1970 */
    int width;     /* columns of its first column */
};

/* In the order in which they are shown. Where memory is short there are none. `columns`: of the
 * screen. */
void top_rows_init(struct top_rows *r, enum top_section section, const struct top_pages *pages,
                   const struct top_sort *sort, int columns);
void top_rows_fini(struct top_rows *r);

const char *top_section_name(enum top_section section);
void top_rows_put_title(const struct top_rows *r, struct top_canvas *c, unsigned look,
                        const struct top_sort *sort);
void top_rows_put(const struct top_rows *r, struct top_canvas *c, size_t row);

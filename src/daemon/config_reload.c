/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_reload.h"

#include "daemon/config_node.h"
#include "daemon/config_rows.h"

#include <stdio.h>
#include <string.h>

const char *config_row_reload(const struct config_row *row)
{
    switch (row->reload) {
    case CONFIG_AT_ONCE:
        return "";
    case CONFIG_FOR_NEW:
        return "for new connections";
    case CONFIG_RESTART:
        break;
    }
    return "needs a restart";
}

static bool is_equal(const struct config_row *row, const struct config *a, const struct config *b)
{
    char left[CONFIG_ITEM_MAX], right[CONFIG_ITEM_MAX];
    if (!config_row_is_list(row))
        return strcmp(config_row_value(row, a, left), config_row_value(row, b, right)) == 0;
    for (uint32_t i = 0;; i++) {
        const char *one = config_row_item(row, a, i, left);
        const char *other = config_row_item(row, b, i, right);
        if (!one || !other)
            return one == other;
        if (strcmp(one, other) != 0)
            return false;
    }
}

static int copy(const struct config_row *row, struct config *to, const struct config *from)
{
    char text[CONFIG_ITEM_MAX], error[CONFIG_ERROR_MAX];
    unsigned index = (unsigned)(row - CONFIG_ROWS);
    struct config_mark mark = to->mark[index]; /* errors name places of what was read */
    config_row_begin(row, to, mark);
    to->given[index] = from->given[index];
    if (!config_row_is_list(row)) {
        const char *value = config_row_value(row, from, text);
        /* What --print-config writes for an empty word are two quotes. */
        return config_row_set(row, to, str_of(strcmp(value, "\"\"") == 0 ? "" : value), error);
    }
    int err = 0;
    for (uint32_t i = 0; !err; i++) {
        const char *item = config_row_item(row, from, i, text);
        if (!item)
            break;
        err = config_row_set(row, to, str_of(item), error);
    }
    return err;
}

/* Slots of a layout are cut at the start, for the nodes of nodes.static. */
static bool is_kept(const struct config_row *row, const struct config *c,
                    const struct config *running)
{
    return row->reload == CONFIG_RESTART ||
           (row->kind == CONFIG_NODES && (config_has_layout(c) || config_has_layout(running)));
}

int config_keep(struct config *c, const struct config *running, char names[CONFIG_KEPT_MAX])
{
    size_t len = 0;
    names[0] = '\0';
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        if (!is_kept(row, c, running) || is_equal(row, c, running))
            continue;
        char name[CONFIG_TEXT_MAX];
        int n = snprintf(names + len, CONFIG_KEPT_MAX - len, "%s%s", len > 0 ? "," : "",
                         config_row_name(row, name));
        if (n > 0 && len + (size_t)n < CONFIG_KEPT_MAX)
            len += (size_t)n;
        int err = copy(row, c, running);
        if (err)
            return err;
    }
    return 0;
}

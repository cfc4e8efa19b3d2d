/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as text: the file that --print-config writes, and the table of --help. */
#include "base/must.h"
#include "daemon/config.h"
#include "daemon/config_rows.h"

#include <string.h>

enum { COMMENT_COLUMN = 28 };

static uint32_t item_count(const struct config_row *row, const struct config *c)
{
    return row->kind == CONFIG_LISTEN ? c->listen_count : c->node_count;
}

static void print_items(const struct config_row *row, const struct config *c, FILE *out)
{
    char text[ADDR_TEXT_MAX];
    for (uint32_t i = 0; i < item_count(row, c); i++) {
        const char *item =
            row->kind == CONFIG_LISTEN ? addr_print(&c->listen[i], text) : c->nodes[i].name;
        /* Plain, "[::1]:6379" would begin a list and "123:45" could be taken for base 60. */
        fprintf(out, "%s  - \"%s\"\n", row->section ? "  " : "", item);
    }
}

void config_print(const struct config *c, FILE *out)
{
    char value[CONFIG_TEXT_MAX], range[CONFIG_TEXT_MAX];
    const char *section = NULL;
    fprintf(out,
            "# sumcache " SUMCACHE_VERSION ": every setting; behind it its range and meaning\n");
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        if (row->section && (!section || strcmp(section, row->section) != 0))
            fprintf(out, "%s:\n", row->section);
        section = row->section;
        bool list = config_row_is_list(row);
        const char *text =
            list ? (item_count(row, c) ? "" : "[]") : config_row_value(row, c, value);
        int n = fprintf(out, "%s%s:%s%s", section ? "  " : "", row->name, *text ? " " : "", text);
        int blanks = n < COMMENT_COLUMN ? COMMENT_COLUMN - n : 1;
        fprintf(out, "%*s# %s; %s\n", blanks, "", config_row_range(row, range), row->meaning);
        if (list)
            print_items(row, c, out);
    }
}

void config_print_help(FILE *out)
{
    struct config c;
    char name[CONFIG_TEXT_MAX], value[CONFIG_TEXT_MAX], range[CONFIG_TEXT_MAX], text[ADDR_TEXT_MAX];
    config_init(&c);
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        if (!config_row_is_list(row))
            config_row_value(row, &c, value);
        else
            snprintf(value, sizeof(value), "%s",
                     row->kind == CONFIG_LISTEN ? addr_print(&c.listen[0], text) : "");
        fprintf(out, "  %-26s %-15s %s\n%29s%s\n", config_row_name(row, name), value,
                config_row_range(row, range), "", row->meaning);
    }
    config_fini(&c);
}

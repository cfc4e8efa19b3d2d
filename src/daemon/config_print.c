/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as text: the file that --print-config writes, and the table of --help. */
#include "base/must.h"
#include "daemon/config.h"
#include "daemon/config_rows.h"

#include <string.h>

enum { COMMENT_COLUMN = 28, HELP_COLUMN = 45, MEANING_COLUMN = 29, HELP_WIDTH = 118 };

static void print_items(const struct config_row *row, const struct config *c, FILE *out)
{
    char text[CONFIG_ITEM_MAX];
    const char *item;
    /* Plain, "[::1]:6379" would begin a list and "123:45" could be taken for base 60. */
    for (uint32_t i = 0; (item = config_row_item(row, c, i, text)); i++) {
        const char *quote = row->kind == CONFIG_COMMAND_MAP ? "" : "\"";
        const char *begin = row->kind == CONFIG_COMMAND_MAP ? "" : "- ";
        fprintf(out, "%s  %s%s%s%s\n", row->section ? "  " : "", begin, quote, item, quote);
    }
}

void config_print(const struct config *c, FILE *out)
{
    char value[CONFIG_TEXT_MAX], range[CONFIG_TEXT_MAX], item[CONFIG_ITEM_MAX];
    const char *section = NULL;
    fprintf(out,
            "# sumcache " SUMCACHE_VERSION ": every setting; behind it its range and meaning\n");
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        if (row->section && (!section || strcmp(section, row->section) != 0))
            fprintf(out, "%s:\n", row->section);
        section = row->section;
        bool list = config_row_is_list(row);
        const char *text = !list                              ? config_row_value(row, c, value)
                           : config_row_item(row, c, 0, item) ? ""
                           : row->kind == CONFIG_COMMAND_MAP  ? "{}"
                                                              : "[]";
        int n = fprintf(out, "%s%s:%s%s", section ? "  " : "", row->name, *text ? " " : "", text);
        int blanks = n < COMMENT_COLUMN ? COMMENT_COLUMN - n : 1;
        const char *reload = config_row_reload(row);
        fprintf(out, "%*s# %s; %s%s%s\n", blanks, "", config_row_range(row, range), row->meaning,
                *reload ? "; " : "", reload);
        if (list)
            print_items(row, c, out);
    }
}

/* Breaks a long list of choices behind a '|'; further lines begin at HELP_COLUMN. */
static void print_range(const char *range, FILE *out)
{
    enum { WIDTH = 54 };
    size_t len = strlen(range);
    while (len > WIDTH) {
        size_t cut = WIDTH;
        while (cut > 0 && !(range[cut - 1] == ' ' && cut > 1 && range[cut - 2] == '|'))
            cut--;
        if (cut == 0)
            break;
        fprintf(out, "%.*s\n%*s", (int)cut - 1, range, HELP_COLUMN, "");
        range += cut;
        len -= cut;
    }
    fprintf(out, "%s\n", range);
}

void config_print_help(FILE *out)
{
    struct config c;
    char name[CONFIG_TEXT_MAX], value[CONFIG_TEXT_MAX], range[CONFIG_TEXT_MAX];
    char item[CONFIG_ITEM_MAX];
    config_init(&c);
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        const char *text = config_row_is_list(row) ? config_row_item(row, &c, 0, item)
                                                   : config_row_value(row, &c, value);
        const char *reload = config_row_reload(row);
        fprintf(out, "  %-26s %-15s ", config_row_name(row, name), text ? text : "");
        print_range(config_row_range(row, range), out);
        fprintf(out, "%*s%s", MEANING_COLUMN, "", row->meaning);
        if (*reload && strlen(row->meaning) + strlen(reload) > HELP_WIDTH - MEANING_COLUMN - 2)
            fprintf(out, ";\n%*s%s\n", MEANING_COLUMN, "", reload);
        else
            fprintf(out, "%s%s\n", *reload ? "; " : "", reload);
    }
    config_fini(&c);
}

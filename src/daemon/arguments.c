/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const struct argument *rows;
    size_t count;
    int argc;
    char *const *argv;
    bool only_operands; /* `--` has been seen */
    bool has_operand;
    char *why;
};

static int refuse(const struct reader *r, const char *before, const char *word, const char *after)
{
    snprintf(r->why, ARGUMENTS_WHY_MAX, "%s%.100s%s", before, word, after);
    return -EINVAL;
}

/* The row that `word` belongs to: an option by its name, alone or before `=`; NULL: none. */
static const struct argument *find(const struct reader *r, const char *word)
{
    bool is_option = !r->only_operands && word[0] == '-' && word[1] != '\0';
    for (size_t i = 0; i < r->count; i++) {
        const char *name = r->rows[i].name;
        size_t len = name ? strlen(name) : 0;
        if (!name && !is_option)
            return &r->rows[i];
        if (name && is_option && strncmp(word, name, len) == 0 &&
            (word[len] == '\0' || word[len] == '='))
            return &r->rows[i];
    }
    return NULL;
}

static void put(const struct argument *row, const char *value)
{
    if (row->value)
        *row->value = value;
    else
        row->all->values[row->all->count++] = value;
}

/* Reads argv[*at] and, if its value is a word of its own, moves *at on to that. */
static int read_word(struct reader *r, int *at)
{
    const char *word = r->argv[*at];
    if (!r->only_operands && strcmp(word, "-h") == 0)
        word = "--help";
    const struct argument *row = find(r, word);
    if (!row || (!row->name && r->has_operand))
        return refuse(r, "unknown argument: ", word, " (see --help)");
    if (!row->name) {
        r->has_operand = true;
        put(row, word);
        return 0;
    }
    const char *equals = strchr(word, '=');
    if (row->given) {
        if (equals)
            return refuse(r, "", row->name, " takes no value");
        *row->given = true;
        return 0;
    }
    const char *value = equals ? equals + 1 : *at + 1 < r->argc ? r->argv[++*at] : NULL;
    if (!value || (!*value && !row->all)) /* an item of a list may well be empty, as keys may */
        return refuse(r, "", row->name, " needs a value");
    put(row, value);
    return 0;
}

int arguments_read(const struct argument *rows, size_t count, int argc, char *const argv[],
                   char why[ARGUMENTS_WHY_MAX])
{
    struct reader r = {.rows = rows, .count = count, .argc = argc, .argv = argv};
    r.why = why;
    for (int i = 1; i < argc; i++) {
        if (!r.only_operands && strcmp(argv[i], "--") == 0) {
            r.only_operands = true;
            continue;
        }
        int err = read_word(&r, &i);
        if (err)
            return err;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How each kind of setting is read; items of lists: config_lists.c. */
#include "base/must.h"
#include "daemon/config_members.h"
#include "daemon/config_users.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int config_row_refuse(const struct config_row *row, struct str value, char error[CONFIG_ERROR_MAX],
                      const char *what, ...)
{
    enum { SHOWN_MAX = 40 };
    char name[CONFIG_TEXT_MAX], text[200], shown[SHOWN_MAX + 1];
    va_list ap;
    va_start(ap, what);
    vsnprintf(text, sizeof(text), what, ap);
    va_end(ap);
    size_t len = value.len < SHOWN_MAX ? value.len : SHOWN_MAX;
    for (size_t i = 0; i < len; i++)
        shown[i] = value.p[i] >= ' ' && value.p[i] <= '~' ? value.p[i] : '?';
    shown[len] = '\0';
    snprintf(error, CONFIG_ERROR_MAX, "%.60s: %s, not '%s%s'", config_row_name(row, name), text,
             shown, value.len > len ? "..." : "");
    return -EINVAL;
}

static int read_number(const struct config_row *row, struct str value, uint64_t *ret,
                       char error[CONFIG_ERROR_MAX])
{
    char range[CONFIG_TEXT_MAX];
    uint64_t v = 0;
    int64_t count = 0;
    int err;
    if (row->kind == CONFIG_DURATION)
        err = str_to_duration_ns(value, &v);
    else if (row->kind == CONFIG_SIZE)
        err = str_to_size(value, &v);
    else if ((err = str_to_i64(value, &count)) == 0)
        v = count < 0 ? UINT64_MAX : (uint64_t)count; /* no row allows that much */
    if (err == -EINVAL) {
        const char *what = row->kind == CONFIG_DURATION
                               ? "expected a duration with its unit (us, ms, s, m, h)"
                           : row->kind == CONFIG_SIZE ? "expected a size in bytes (kb, mb, gb, tb)"
                           : row->kind == CONFIG_AUTO ? "expected auto or a number"
                                                      : "expected a number";
        return config_row_refuse(row, value, error, "%s", what);
    }
    if (err || ((v < row->min || v > row->max) && !(row->zero_ok && v == 0)))
        return config_row_refuse(row, value, error, "expected %s", config_row_range(row, range));
    *ret = v;
    return 0;
}

static int set_word(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX])
{
    char range[CONFIG_TEXT_MAX];
    bool good = value.len <= row->max;
    for (size_t i = 0; i < value.len; i++)
        good = good && value.p[i] > ' ' && value.p[i] <= '~' && value.p[i] != '"' &&
               value.p[i] != '\\'; /* it may have to be printed in quotes */
    if (!good)
        return config_row_refuse(row, value, error,
                                 "expected %s without blanks, quotes and backslashes",
                                 config_row_range(row, range));
    str_fill(member_word(row, c), CONFIG_WORD_MAX, value);
    return 0;
}

static int set_secret(const struct config_row *row, struct config *c, struct str value,
                      char error[CONFIG_ERROR_MAX])
{
    char name[CONFIG_TEXT_MAX];
    if (value.len > 0 && !config_secret_is_reference(value)) {
        snprintf(error, CONFIG_ERROR_MAX,
                 "%s: expected ${NAME}, a variable of the environment; a password itself has no "
                 "place here",
                 config_row_name(row, name));
        return -EINVAL;
    }
    str_fill(member_word(row, c), CONFIG_WORD_MAX, value);
    return 0;
}

int config_row_set(const struct config_row *row, struct config *c, struct str value,
                   char error[CONFIG_ERROR_MAX])
{
    char range[CONFIG_TEXT_MAX];
    uint64_t v = 0;
    int err = 0;
    switch (row->kind) {
    case CONFIG_LISTEN:
    case CONFIG_NODES:
    case CONFIG_NAMES:
    case CONFIG_SERVICES:
    case CONFIG_SERVERS:
    case CONFIG_RULES:
    case CONFIG_LOGINS:
    case CONFIG_RANGES:
    case CONFIG_USERS:
    case CONFIG_COMMAND_LIST:
    case CONFIG_COMMAND_MAP:
        return config_list_add(row, c, value, error);
    case CONFIG_SECRET:
        return set_secret(row, c, value, error);
    case CONFIG_SWITCH:
        if (!str_eq(value, STR("on")) && !str_eq(value, STR("off")))
            return config_row_refuse(row, value, error, "expected on or off");
        *member_bool(row, c) = str_eq(value, STR("on"));
        return 0;
    case CONFIG_CHOICE:
        for (uint32_t i = 0; row->choices[i]; i++) {
            if (!str_eq(value, str_of(row->choices[i])))
                continue;
            *member32(row, c) = i;
            return 0;
        }
        return config_row_refuse(row, value, error, "expected %s", config_row_range(row, range));
    case CONFIG_WORD:
        return set_word(row, c, value, error);
    case CONFIG_AUTO:
    case CONFIG_COUNT:
        if (row->kind != CONFIG_AUTO || !str_eq(value, STR("auto")))
            err = read_number(row, value, &v, error);
        if (!err)
            *member32(row, c) = (uint32_t)v; /* rows keep their max inside 32 bits */
        return err;
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        err = read_number(row, value, &v, error);
        if (!err)
            *member64(row, c) = v;
        return err;
    }
    unreachable();
}

void config_row_begin(const struct config_row *row, struct config *c, struct config_mark mark)
{
    config_list_clear(row, c);
    c->mark[row - CONFIG_ROWS] = mark;
    c->given[row - CONFIG_ROWS] = true;
}

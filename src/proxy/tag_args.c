/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tag_args.h"

#include "proxy/tag_list.h"

#include <string.h>

static const char NOT_SYNTAX[] = "ERR syntax error";

/* Redis takes no time beyond what it can add to the present in ms. */
#define MS_MAX (INT64_MAX / 2)

static bool arg_is(struct args *a, size_t index, const char *word)
{
    return str_eq_nocase(args_str(a, index), str_of(word));
}

static const char *read_expiry(struct args *a, size_t at, struct tag_expiry *ret)
{
    bool absolute = arg_is(a, at, "exat") || arg_is(a, at, "pxat");
    bool seconds = arg_is(a, at, "ex") || arg_is(a, at, "exat");
    int64_t value;
    if (str_to_i64(args_str(a, at + 1), &value) != 0)
        return "ERR value is not an integer or out of range";
    if (value <= 0 || value > (seconds ? MS_MAX / 1000 : MS_MAX))
        return "ERR invalid expire time in 'sumcache.set' command";
    *ret = (struct tag_expiry){absolute ? "PEXPIREAT" : "PEXPIRE",
                               (uint64_t)value * (seconds ? 1000 : 1)};
    return NULL;
}

/* `at`: where the first tag may stand. Behind as many tags may stand GENERATIONS and one of each.
 */
static const char *read_tags(struct args *a, size_t at, bool with_generations, struct tag_args *ret)
{
    size_t words = a->count - at, half = words / 2;
    ret->first_tag = at;
    ret->tag_count = words;
    if (with_generations && words % 2 == 1 && words > 2 && arg_is(a, at + half, "generations")) {
        ret->tag_count = half;
        ret->first_generation = at + half + 1;
    }
    if (ret->tag_count == 0)
        return NOT_SYNTAX;
    if (ret->tag_count > TAGS_MAX)
        return "ERR sumcache: there may be at most 64 tags";
    for (size_t i = 0; i < ret->tag_count; i++) {
        size_t len = args_len(a, at + i);
        if (len > TAG_NAME_MAX)
            return "ERR sumcache: a tag has at most 512 bytes";
        if (len > 0 && !args_str(a, at + i).p)
            return "ERR sumcache: out of memory";
        if (ret->first_generation > 0 && !tag_is_generation(args_str(a, ret->first_generation + i)))
            return "ERR sumcache: that is no generation that SUMCACHE.TAGS gives";
    }
    return NULL;
}

static const char *read_set(struct args *a, struct tag_args *ret)
{
    static const char *const TIMES[] = {"ex", "px", "exat", "pxat"};
    size_t at = 3;
    while (at < a->count && !arg_is(a, at, "tags")) {
        bool is_time = false;
        for (size_t i = 0; i < sizeof(TIMES) / sizeof(TIMES[0]); i++)
            is_time = is_time || arg_is(a, at, TIMES[i]);
        if (!is_time || at + 1 >= a->count || ret->expiry.command[0])
            return NOT_SYNTAX;
        const char *refusal = read_expiry(a, at, &ret->expiry);
        if (refusal)
            return refusal;
        at += 2;
    }
    if (at >= a->count)
        return NOT_SYNTAX;
    ret->value = 2;
    return read_tags(a, at + 1, true, ret);
}

const char *tag_args_read(struct args *a, const struct command *command, struct tag_args *ret)
{
    *ret = (struct tag_args){.expiry = {.command = ""}};
    bool has_key = command->id == COMMAND_ID_SUMCACHE_GET || command->id == COMMAND_ID_SUMCACHE_SET;
    if (!has_key)
        return read_tags(a, 1, false, ret);
    ret->key = args_str(a, 1);
    if (!ret->key.p && args_len(a, 1) > 0)
        return "ERR sumcache: out of memory";
    return command->id == COMMAND_ID_SUMCACHE_SET ? read_set(a, ret) : NULL;
}

uint64_t tag_expiry_ms(const struct tag_expiry *e, uint64_t now_ms)
{
    if (strcmp(e->command, "PEXPIREAT") != 0)
        return e->ms;
    return e->ms > now_ms ? e->ms - now_ms : 0;
}

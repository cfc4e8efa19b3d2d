/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_policy.h"

#include "base/must.h"
#include "base/nsec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Takes the next word off the front; an empty one: there is none. */
static struct str take_word(struct str *text)
{
    for (; text->len > 0 && *text->p == ' '; text->len--)
        text->p++;
    struct str word = {text->p, 0};
    while (word.len < text->len && word.p[word.len] != ' ')
        word.len++;
    text->p += word.len;
    text->len -= word.len;
    return word;
}

/* Is `word` NAME=VALUE? Then *ret_value is the value. */
static bool is_given(struct str word, const char *name, struct str *ret_value)
{
    size_t len = strlen(name);
    if (word.len <= len || memcmp(word.p, name, len) != 0 || word.p[len] != '=')
        return false;
    *ret_value = (struct str){word.p + len + 1, word.len - len - 1};
    return true;
}

static int read_prefix(struct str word, struct policy_rule *r)
{
    if (word.len == 0 || word.len > POLICY_PREFIX_MAX || word.p[word.len - 1] != '*')
        return -EINVAL;
    word.len--;
    for (size_t i = 0; i < word.len; i++)
        if (word.p[i] < '!' || word.p[i] > '~' || strchr("\"\\*?[]", word.p[i]))
            return -EINVAL;
    memcpy(r->prefix, word.p, word.len);
    r->prefix_len = (uint32_t)word.len;
    return 0;
}

static bool read_ttl(struct str value, uint64_t *ttl)
{
    return *ttl == 0 && str_to_duration_ns(value, ttl) == 0 && *ttl >= NSEC_MS;
}

int config_policy_read(struct str text, struct policy_rule *ret_rule, const char **ret_expected)
{
    struct policy_rule r = {0};
    *ret_expected = "expected PREFIX* and behind it default_ttl=, max_ttl= (durations), "
                    "max_value= (a size) or deny";
    if (read_prefix(take_word(&text), &r) != 0)
        return -EINVAL;
    struct str word = take_word(&text), value = {0};
    if (word.len == 0)
        return -EINVAL;
    for (; word.len > 0; word = take_word(&text)) {
        bool good =
            is_given(word, "default_ttl", &value) ? read_ttl(value, &r.default_ttl)
            : is_given(word, "max_ttl", &value)   ? read_ttl(value, &r.max_ttl)
            : is_given(word, "max_value", &value)
                ? r.max_value == 0 && str_to_size(value, &r.max_value) == 0 && r.max_value > 0
                : str_eq(word, STR("deny")) && !r.deny;
        if (!good)
            return -EINVAL;
        r.deny = r.deny || str_eq(word, STR("deny"));
    }
    if (r.max_ttl > 0 && r.default_ttl > r.max_ttl) {
        *ret_expected = "expected a default_ttl that is not above max_ttl";
        return -EINVAL;
    }
    *ret_rule = r;
    return 0;
}

char *config_policy_print(const struct policy_rule *r, char *to, size_t to_len)
{
    enum { NUMBER_MAX = 40 };
    char number[NUMBER_MAX];
    size_t len = (size_t)snprintf(to, to_len, "%.*s*", (int)r->prefix_len, r->prefix);
    if (r->default_ttl > 0)
        len += (size_t)snprintf(to + len, to_len - len, " default_ttl=%s",
                                str_from_duration_ns(r->default_ttl, number, sizeof(number)));
    if (r->max_ttl > 0)
        len += (size_t)snprintf(to + len, to_len - len, " max_ttl=%s",
                                str_from_duration_ns(r->max_ttl, number, sizeof(number)));
    if (r->max_value > 0)
        len += (size_t)snprintf(to + len, to_len - len, " max_value=%s",
                                str_from_size(r->max_value, number, sizeof(number)));
    if (r->deny)
        len += (size_t)snprintf(to + len, to_len - len, " deny");
    must(len < to_len);
    return to;
}

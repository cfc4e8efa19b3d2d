/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_json.h"

#include "base/str.h"

#include <stdio.h>

struct out {
    char *to;
    size_t len;
};

static void put(struct out *o, const char *text)
{
    size_t len = strlen(text);
    if (len > LOG_JSON_MAX - 8 - o->len) /* room for the end is left */
        return;
    memcpy(o->to + o->len, text, len);
    o->len += len;
}

static void put_bytes(struct out *o, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i], escaped[8] = {c, '\0'};
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof(escaped), "\\%c", c);
        else if (c < ' ' || c > '~') /* char may be signed: bytes above 0x7f are below */
            snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)(unsigned char)c);
        put(o, escaped);
    }
}

static void put_member(struct out *o, struct str name, struct str value)
{
    put(o, o->len > 1 ? ",\"" : "\"");
    put_bytes(o, name);
    put(o, "\":\"");
    put_bytes(o, value);
    put(o, "\"");
}

static struct str take_word(struct str *rest)
{
    const char *blank = rest->len > 0 ? memchr(rest->p, ' ', rest->len) : NULL;
    struct str word = {rest->p, blank ? (size_t)(blank - rest->p) : rest->len};
    size_t used = word.len + (blank != NULL);
    *rest = (struct str){rest->p + used, rest->len - used};
    return word;
}

/* Behind `key="`: up to the quote that a blank or the end follows; all that is left if it was cut.
 */
static struct str take_quoted(struct str *rest)
{
    for (size_t i = 0; i < rest->len; i++) {
        bool last = i + 1 == rest->len;
        if (rest->p[i] != '"' || (!last && rest->p[i + 1] != ' '))
            continue;
        struct str value = {rest->p, i};
        size_t used = i + (last ? 1 : 2);
        *rest = (struct str){rest->p + used, rest->len - used};
        return value;
    }
    struct str value = *rest;
    rest->len = 0;
    return value;
}

size_t log_to_json(const char *line, size_t len, char to[LOG_JSON_MAX])
{
    struct out o = {to, 0};
    char others[LOG_LINE_MAX];
    size_t others_len = 0;
    if (len > LOG_LINE_MAX)
        len = LOG_LINE_MAX;
    if (len > 0 && line[len - 1] == '\n')
        len--;
    struct str rest = {line, len};
    put(&o, "{");
    put_member(&o, STR("level"), take_word(&rest));
    put_member(&o, STR("event"), take_word(&rest));
    while (rest.len > 0) {
        struct str before = rest, word = take_word(&rest);
        const char *equals = word.len > 0 ? memchr(word.p, '=', word.len) : NULL;
        if (!equals || equals == word.p) {
            if (others_len > 0 && word.len > 0)
                others[others_len++] = ' ';
            memcpy(others + others_len, word.p, word.len);
            others_len += word.len;
            continue;
        }
        struct str name = {word.p, (size_t)(equals - word.p)};
        struct str value = {equals + 1, word.len - name.len - 1};
        if (value.len > 0 && value.p[0] == '"') {
            size_t used = name.len + 2;
            rest = (struct str){before.p + used, before.len - used};
            value = take_quoted(&rest);
        }
        put_member(&o, name, value);
    }
    if (others_len > 0)
        put_member(&o, STR("text"), (struct str){others, others_len});
    to[o.len++] = '}';
    to[o.len++] = '\n';
    return o.len;
}

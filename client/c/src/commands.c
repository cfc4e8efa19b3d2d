/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

#include "conn.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 16 };

void commands_init(struct commands *c)
{
    c->parts = c->inline_parts;
    c->texts = c->inline_texts;
    c->part_count = c->text_count = 0;
    c->room = COMMANDS_INLINE;
    c->bytes = 0;
    c->has_failed = false;
}

void commands_fini(struct commands *c)
{
    for (int i = 0; i < c->text_count; i++) {
        free(c->texts[i]);
    }
    if (c->parts != c->inline_parts) {
        free(c->parts);
        free(c->texts);
    }
    commands_init(c);
}

static bool make_room(struct commands *c, int count)
{
    if (c->part_count + count <= c->room) {
        return true;
    }
    int room = 2 * (c->part_count + count);
    struct iovec *parts = malloc((size_t)room * sizeof(*parts));
    char **texts = malloc((size_t)room * sizeof(*texts));
    if (parts == NULL || texts == NULL) {
        free(parts);
        free(texts);
        c->has_failed = true;
        return false;
    }
    memcpy(parts, c->parts, (size_t)c->part_count * sizeof(*parts));
    memcpy(texts, c->texts, (size_t)c->text_count * sizeof(*texts));
    if (c->parts != c->inline_parts) {
        free(c->parts);
        free(c->texts);
    }
    c->parts = parts;
    c->texts = texts;
    c->room = room;
    return true;
}

static void add_part(struct commands *c, const void *data, size_t len)
{
    c->parts[c->part_count++] = (struct iovec){(void *)(uintptr_t)data, len};
    c->bytes += len;
}

/* Takes `text`. */
static void add_text(struct commands *c, char *text, size_t len)
{
    c->texts[c->text_count++] = text;
    add_part(c, text, len);
}

/* A request with large arguments: what is between them is text, they are parts. */
static void add_large(struct commands *c, const struct argument *arguments, int count)
{
    size_t room = 32;
    for (int i = 0; i < count; i++) {
        room += 32 + (arguments[i].len < INCOMING_DIRECT_MIN ? arguments[i].len : 0);
    }
    char *text = make_room(c, 2 * count + 1) ? malloc(room) : NULL;
    if (text == NULL) {
        c->has_failed = true;
        return;
    }
    c->texts[c->text_count++] = text;
    char *from = text, *to = text;
    to += snprintf(to, 32, "*%d\r\n", count);
    for (int i = 0; i < count; i++) {
        to += snprintf(to, 32, "$%zu\r\n", arguments[i].len);
        if (arguments[i].len < INCOMING_DIRECT_MIN) {
            memcpy(to, arguments[i].data, arguments[i].len);
            to += arguments[i].len;
        } else {
            add_part(c, from, (size_t)(to - from));
            from = to;
            add_part(c, arguments[i].data, arguments[i].len);
        }
        memcpy(to, "\r\n", 2);
        to += 2;
    }
    add_part(c, from, (size_t)(to - from));
}

void commands_add(struct commands *c, const struct argument *arguments, int count)
{
    const char *few_data[FEW];
    size_t few_lens[FEW];
    const char **data = few_data;
    size_t *lens = few_lens;
    if (count > FEW) {
        data = malloc((size_t)count * sizeof(*data));
        lens = malloc((size_t)count * sizeof(*lens));
    }
    bool is_large = false;
    for (int i = 0; data != NULL && lens != NULL && i < count; i++) {
        data[i] = arguments[i].data;
        lens[i] = arguments[i].len;
        is_large |= arguments[i].len >= INCOMING_DIRECT_MIN;
    }
    if (data == NULL || lens == NULL) {
        c->has_failed = true;
    } else if (is_large) {
        add_large(c, arguments, count);
    } else if (make_room(c, 1)) {
        char *text = NULL;
        int len = redisFormatCommandArgv(&text, count, data, lens);
        if (len < 0) {
            c->has_failed = true;
        } else {
            add_text(c, text, (size_t)len);
        }
    }
    if (count > FEW) {
        free(data);
        free(lens);
    }
}

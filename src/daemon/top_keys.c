/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_keys.h"

#include <stddef.h>
#include <string.h>

/* Behind Escape: of xterm and its like in both of their modes, of the Linux console, rxvt, screen.
 * Function keys are those of htop: help, sort, end. */
static const struct {
    const char *sequence;
    int key;
} SEQUENCES[] = {
    {"[A", TOP_KEY_UP},
    {"OA", TOP_KEY_UP},
    {"[B", TOP_KEY_DOWN},
    {"OB", TOP_KEY_DOWN},
    {"[5~", TOP_KEY_PAGE_UP},
    {"[6~", TOP_KEY_PAGE_DOWN},
    {"[H", TOP_KEY_HOME},
    {"OH", TOP_KEY_HOME},
    {"[1~", TOP_KEY_HOME},
    {"[7~", TOP_KEY_HOME},
    {"[F", TOP_KEY_END},
    {"OF", TOP_KEY_END},
    {"[4~", TOP_KEY_END},
    {"[8~", TOP_KEY_END},
    {"[Z", TOP_KEY_BACK_TAB},
    {"OP", 'h'},
    {"[11~", 'h'},
    {"[[A", 'h'},
    {"[17~", 's'},
    {"[21~", 'q'},
};

static int key_of(const struct top_keys *k)
{
    for (size_t i = 0; i < sizeof(SEQUENCES) / sizeof(*SEQUENCES); i++)
        if (strlen(SEQUENCES[i].sequence) == k->len &&
            memcmp(SEQUENCES[i].sequence, k->sequence, k->len) == 0)
            return SEQUENCES[i].key;
    return TOP_KEY_OTHER;
}

/* `[`, parameters, and a byte that ends it (ECMA-48 5.4; the console's function keys are `[[` and a
 * letter); `O` and one byte; or one byte, with Alt. */
static bool is_whole(const struct top_keys *k)
{
    char last = k->sequence[k->len - 1];
    if (k->sequence[0] == 'O')
        return k->len == 2;
    if (k->sequence[0] != '[')
        return true;
    return k->len > 1 && last >= 0x40 && last < 0x7f && !(k->len == 2 && last == '[');
}

static int key_of_byte(char byte)
{
    switch (byte) {
    case 0x03:
        return TOP_KEY_INTERRUPT;
    case '\t':
        return TOP_KEY_TAB;
    case '\r':
    case '\n':
        return TOP_KEY_ENTER;
    case '\b':
    case 0x7f:
        return TOP_KEY_BACKSPACE;
    default:
        return byte >= 0x20 && byte < 0x7f ? byte : TOP_KEY_OTHER;
    }
}

int top_keys_feed(struct top_keys *k, char byte)
{
    if (byte == 0x1b) { /* it begins one, whatever came before */
        int before = top_keys_end(k);
        k->is_inside = true;
        return before;
    }
    if (!k->is_inside)
        return key_of_byte(byte);
    if (byte >= 0 && byte < 0x20) { /* in none of them */
        k->is_inside = false;
        k->len = 0;
        return key_of_byte(byte);
    }
    k->sequence[k->len++] = byte;
    if (!is_whole(k) && k->len < TOP_KEY_BYTES_MAX)
        return TOP_KEY_NONE;
    int key = key_of(k);
    k->is_inside = false;
    k->len = 0;
    return key;
}

int top_keys_end(struct top_keys *k)
{
    int key = k->is_inside && k->len == 0 ? TOP_KEY_ESCAPE : TOP_KEY_NONE;
    k->is_inside = false;
    k->len = 0;
    return key;
}

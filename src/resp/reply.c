/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void reply_raw(struct reply_out *o, const void *bytes, size_t len)
{
    if (!o->err)
        o->err = buf_append_urgent(o->to, o->chunks, bytes, len);
}

void reply_simple(struct reply_out *o, const char *text)
{
    reply_raw(o, "+", 1);
    reply_raw(o, text, strlen(text));
    reply_raw(o, "\r\n", 2);
}

static void header(struct reply_out *o, char type, int64_t value)
{
    char line[STR_U64_MAX + 4];
    size_t n = 0;
    line[n++] = type;
    if (value < 0)
        line[n++] = '-';
    n += str_put_u64(line + n, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    line[n++] = '\r';
    line[n++] = '\n';
    reply_raw(o, line, n);
}

void reply_int(struct reply_out *o, int64_t value)
{
    header(o, ':', value);
}

void reply_bulk(struct reply_out *o, struct str bytes)
{
    header(o, '$', (int64_t)bytes.len);
    reply_raw(o, bytes.p, bytes.len);
    reply_raw(o, "\r\n", 2);
}

void reply_verbatim_txt(struct reply_out *o, struct str bytes)
{
    if (o->proto < 3) {
        reply_bulk(o, bytes);
        return;
    }
    header(o, '=', (int64_t)bytes.len + 4);
    reply_raw(o, "txt:", 4);
    reply_raw(o, bytes.p, bytes.len);
    reply_raw(o, "\r\n", 2);
}

void reply_null(struct reply_out *o)
{
    reply_raw(o, o->proto < 3 ? "$-1\r\n" : "_\r\n", o->proto < 3 ? 5 : 3);
}

void reply_null_array(struct reply_out *o)
{
    reply_raw(o, o->proto < 3 ? "*-1\r\n" : "_\r\n", o->proto < 3 ? 5 : 3);
}

void reply_array(struct reply_out *o, size_t count)
{
    header(o, '*', (int64_t)count);
}

void reply_set(struct reply_out *o, size_t count)
{
    header(o, o->proto < 3 ? '*' : '~', (int64_t)count);
}

void reply_map(struct reply_out *o, size_t pairs)
{
    header(o, o->proto < 3 ? '*' : '%', (int64_t)(o->proto < 3 ? 2 * pairs : pairs));
}

void reply_error(struct reply_out *o, const char *text, ...)
{
    char line[REPLY_ERROR_MAX];
    va_list ap;
    va_start(ap, text);
    int n = vsnprintf(line, sizeof(line), text, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    for (size_t i = 0; i < len; i++)
        if (line[i] == '\r' || line[i] == '\n')
            line[i] = ' ';
    reply_raw(o, "-", 1);
    reply_raw(o, line, len);
    reply_raw(o, "\r\n", 2);
}

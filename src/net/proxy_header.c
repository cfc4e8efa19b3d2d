/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

#include <string.h>

enum {
    V1_MAX = 107, /* CRLF included, as the protocol says */
    V2_HEAD = 16,
    V2_SIGNATURE = 12,
    V2_IPV4_BYTES = 12,
    V2_IPV6_BYTES = 36,
};

static const uint8_t SIGNATURE[V2_SIGNATURE] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                                '\n', 'Q',  'U',  'I',  'T', '\n'};

/* Takes what is before the next blank off the front. */
static struct str take_word(struct str *text)
{
    const char *blank = text->len > 0 ? memchr(text->p, ' ', text->len) : NULL;
    struct str word = {text->p, blank ? (size_t)(blank - text->p) : text->len};
    size_t used = word.len + (blank ? 1 : 0);
    *text = (struct str){text->p + used, text->len - used};
    return word;
}

static int read_number(struct str s, uint8_t family, struct addr *ret)
{
    struct addr a;
    /* A port of its own makes what has a port already, or brackets, no address. */
    if (s.len == 0 || s.p[0] == '[' || addr_parse(s, 1, &a) != 0 || a.family != family ||
        a.port != 1)
        return -1;
    *ret = a;
    return 0;
}

static int read_port(struct str s, uint16_t *ret)
{
    int64_t v;
    if (str_to_i64(s, &v) != 0 || v < 0 || v > UINT16_MAX)
        return -1;
    *ret = (uint16_t)v;
    return 0;
}

/* "PROXY TCP4 1.2.3.4 5.6.7.8 1000 6379", without CRLF. */
static enum proxy_header_result read_line(struct str line, struct addr *ret)
{
    struct addr from = {0}, to = {0};
    uint16_t from_port, to_port;
    (void)take_word(&line);
    struct str family = take_word(&line);
    if (str_eq(family, STR("UNKNOWN"))) {
        *ret = (struct addr){0};
        return PROXY_HEADER_READY;
    }
    bool v6 = str_eq(family, STR("TCP6"));
    if (!v6 && !str_eq(family, STR("TCP4")))
        return PROXY_HEADER_BAD;
    uint8_t kind = v6 ? ADDR_V6 : ADDR_V4;
    if (read_number(take_word(&line), kind, &from) != 0 ||
        read_number(take_word(&line), kind, &to) != 0 ||
        read_port(take_word(&line), &from_port) != 0)
        return PROXY_HEADER_BAD;
    if (read_port(line, &to_port) != 0)
        return PROXY_HEADER_BAD;
    from.port = from_port;
    *ret = from;
    return PROXY_HEADER_READY;
}

static enum proxy_header_result parse_v1(const char *p, size_t len, struct proxy_header *ret)
{
    static const char BEGIN[] = "PROXY ";
    size_t begin = sizeof(BEGIN) - 1;
    if (memcmp(p, BEGIN, len < begin ? len : begin) != 0)
        return PROXY_HEADER_BAD;
    size_t looked_at = len < V1_MAX ? len : V1_MAX;
    const char *eol = memchr(p, '\n', looked_at);
    if (!eol)
        return len < V1_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
    if (eol < p + begin || eol[-1] != '\r')
        return PROXY_HEADER_BAD;
    struct str line = {p, (size_t)(eol - p) - 1};
    struct addr client;
    if (memchr(line.p, '\0', line.len) || read_line(line, &client) != PROXY_HEADER_READY)
        return PROXY_HEADER_BAD;
    *ret = (struct proxy_header){.len = (size_t)(eol - p) + 1, .client = client};
    return PROXY_HEADER_READY;
}

static enum proxy_header_result parse_v2(const uint8_t *p, size_t len, struct proxy_header *ret)
{
    enum { LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };
    if (memcmp(p, SIGNATURE, len < V2_SIGNATURE ? len : V2_SIGNATURE) != 0)
        return PROXY_HEADER_BAD;
    if (len < V2_HEAD)
        return PROXY_HEADER_MORE;
    size_t body = (size_t)p[14] << 8 | p[15];
    uint8_t command = p[12], family = p[13];
    struct addr client = {0};
    if ((command != LOCAL && command != PROXY) || V2_HEAD + body > PROXY_HEADER_MAX)
        return PROXY_HEADER_BAD;
    size_t need = family == TCP4 ? V2_IPV4_BYTES : family == TCP6 ? V2_IPV6_BYTES : 0;
    if (command == PROXY && body < need)
        return PROXY_HEADER_BAD;
    if (len < V2_HEAD + body)
        return PROXY_HEADER_MORE;
    const uint8_t *at = p + V2_HEAD;
    if (command == PROXY && need > 0) {
        size_t ip = family == TCP4 ? 4 : 16;
        client.family = family == TCP4 ? ADDR_V4 : ADDR_V6;
        memcpy(client.ip, at, ip);
        client.port = (uint16_t)(at[2 * ip] << 8 | at[2 * ip + 1]);
    }
    *ret = (struct proxy_header){.len = V2_HEAD + body, .client = client};
    return PROXY_HEADER_READY;
}

enum proxy_header_result proxy_header_parse(const void *bytes, size_t len, struct proxy_header *ret)
{
    const uint8_t *p = bytes;
    if (len == 0)
        return PROXY_HEADER_MORE;
    return p[0] == 'P' ? parse_v1(bytes, len, ret) : parse_v2(p, len, ret);
}

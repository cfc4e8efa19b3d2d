/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include "base/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

enum { HOST_NAME_MAX_LEN = 254 }; /* 253 by RFC 1035, and the dot of a name written in full */

/* A whole number without sign or leading zero, at most 65535. */
static int parse_port(struct str s, uint16_t *ret)
{
    int64_t v;
    if (str_to_i64(s, &v) != 0 || v < 0 || v > UINT16_MAX)
        return -EINVAL;
    *ret = (uint16_t)v;
    return 0;
}

static bool parse_ip(struct str s, int af, uint8_t *to)
{
    char text[ADDR_TEXT_MAX];
    if (s.len == 0 || s.len >= sizeof(text) || memchr(s.p, '\0', s.len))
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return inet_pton(af, text, to) == 1;
}

static bool is_ipv6(struct str s)
{
    uint8_t ip[16];
    return parse_ip(s, AF_INET6, ip);
}

static bool is_name_or_ipv4(struct str s)
{
    if (s.len == 0 || s.len > HOST_NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_';
        if (!ok)
            return false;
    }
    return true;
}

/* Cuts `text` into a host that is well-formed and what stands behind the colon; ret_port->p is NULL
 * if no port is there. */
static int split(struct str text, struct str *ret_host, struct str *ret_port)
{
    struct str host = text, port = {NULL, 0};
    if (text.len > 0 && text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.len);
        if (!close)
            return -EINVAL;
        host = (struct str){text.p + 1, (size_t)(close - text.p) - 1};
        struct str rest = {close + 1, text.len - host.len - 2};
        if (rest.len > 0 && rest.p[0] != ':')
            return -EINVAL;
        if (rest.len > 0)
            port = (struct str){rest.p + 1, rest.len - 1};
        if (!is_ipv6(host))
            return -EINVAL;
    } else if (!is_ipv6(text)) { /* without brackets an IPv6 address has no port */
        const char *colon = text.len > 0 ? memchr(text.p, ':', text.len) : NULL;
        if (colon) {
            host.len = (size_t)(colon - text.p);
            port = (struct str){colon + 1, text.len - host.len - 1};
        }
        if (!is_name_or_ipv4(host))
            return -EINVAL;
    }
    *ret_host = host;
    *ret_port = port;
    return 0;
}

int addr_split_host_port(struct str text, struct str *ret_host, uint16_t *ret_port)
{
    struct str host, port_text;
    uint16_t port = 0;
    if (split(text, &host, &port_text) != 0)
        return -EINVAL;
    if (port_text.p && (parse_port(port_text, &port) != 0 || port == 0))
        return -EINVAL;
    *ret_host = host;
    *ret_port = port;
    return 0;
}

int addr_parse(struct str text, uint16_t default_port, struct addr *ret)
{
    struct str host, port_text;
    struct addr a = {.port = default_port};
    if (split(text, &host, &port_text) != 0)
        return -EINVAL;
    if (!port_text.p && default_port == 0)
        return -EINVAL;
    if (port_text.p && parse_port(port_text, &a.port) != 0)
        return -EINVAL;
    if (parse_ip(host, AF_INET, a.ip))
        a.family = ADDR_V4;
    else if (parse_ip(host, AF_INET6, a.ip))
        a.family = ADDR_V6;
    else
        return -EINVAL;
    *ret = a;
    return 0;
}

char *addr_print(const struct addr *a, char to[ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN];
    if (a->family == ADDR_NONE) {
        snprintf(to, ADDR_TEXT_MAX, "unresolved");
        return to;
    }
    if (a->family == ADDR_UNIX) { /* which has no address */
        snprintf(to, ADDR_TEXT_MAX, "unix:0");
        return to;
    }
    bool v6 = a->family == ADDR_V6;
    must(inet_ntop(v6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof(ip)));
    snprintf(to, ADDR_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", ip, (unsigned)a->port);
    return to;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

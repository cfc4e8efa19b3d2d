/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr_range.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint8_t mask(unsigned bits, unsigned byte)
{
    if (bits >= (byte + 1) * 8)
        return 0xff;
    return bits <= byte * 8 ? 0 : (uint8_t)(0xff << (8 - (bits - byte * 8)));
}

int addr_range_parse(struct str text, struct addr_range *ret)
{
    struct addr_range r;
    const char *slash = text.len > 0 ? memchr(text.p, '/', text.len) : NULL;
    struct str ip = {text.p, slash ? (size_t)(slash - text.p) : text.len};
    /* By the port that is not there: "1.2.3.4:5" and "[::1]" are no addresses alone. */
    if (ip.len == 0 || ip.p[0] == '[' || addr_parse(ip, 1, &r.first) != 0 || r.first.port != 1)
        return -EINVAL;
    int64_t bits, most = r.first.family == ADDR_V4 ? 32 : 128;
    struct str count = slash ? (struct str){slash + 1, text.len - ip.len - 1} : STR("");
    if (!slash)
        bits = most;
    else if (str_to_i64(count, &bits) != 0 || bits < 0 || bits > most)
        return -EINVAL;
    r.first.port = 0;
    r.bits = (uint8_t)bits;
    for (unsigned i = 0; i < sizeof(r.first.ip); i++)
        if (r.first.ip[i] & (uint8_t)~mask(r.bits, i))
            return -EINVAL;
    *ret = r;
    return 0;
}

char *addr_range_print(const struct addr_range *r, char to[ADDR_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(r->first.family == ADDR_V4 ? AF_INET : AF_INET6, r->first.ip, ip, sizeof(ip));
    snprintf(to, ADDR_TEXT_MAX, "%s/%u", ip, (unsigned)r->bits);
    return to;
}

bool addr_range_has(const struct addr_range *r, const struct addr *a)
{
    if (a->family != r->first.family)
        return false;
    for (unsigned i = 0; i < sizeof(a->ip) && i * 8 < r->bits; i++)
        if ((a->ip[i] ^ r->first.ip[i]) & mask(r->bits, i))
            return false;
    return true;
}

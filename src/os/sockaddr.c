/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sockaddr.h"

#include "base/must.h"

#include <string.h>

socklen_t sockaddr_write(const struct addr *a, union sockaddr_any *to)
{
    *to = (union sockaddr_any){0};
    if (a->family == ADDR_V4) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(a->port);
        memcpy(&to->v4.sin_addr, a->ip, 4);
        return sizeof(to->v4);
    }
    must(a->family == ADDR_V6);
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(a->port);
    memcpy(&to->v6.sin6_addr, a->ip, 16);
    return sizeof(to->v6);
}

void sockaddr_read(const union sockaddr_any *from, struct addr *ret)
{
    *ret = (struct addr){0};
    if (from->any.sa_family == AF_INET) {
        ret->family = ADDR_V4;
        ret->port = ntohs(from->v4.sin_port);
        memcpy(ret->ip, &from->v4.sin_addr, 4);
    } else if (from->any.sa_family == AF_INET6) {
        ret->family = ADDR_V6;
        ret->port = ntohs(from->v6.sin6_port);
        memcpy(ret->ip, &from->v6.sin6_addr, 16);
    } else if (from->any.sa_family == AF_UNIX) {
        ret->family = ADDR_UNIX;
    }
}

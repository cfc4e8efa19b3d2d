/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a DNS answer: refused, or services whose targets are host names that end. */
#include "base/must.h"
#include "net/dns_srv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const char HOST_CHARS[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    struct resolver_service *services = NULL;
    size_t count = 0;
    int err = dns_srv_parse(bytes, len, &services, &count);
    must(err == 0 || err == -EINVAL);
    must((count > 0) == (services != NULL));
    for (size_t i = 0; i < count; i++) {
        must(memchr(services[i].target, '\0', 254));
        must(strspn(services[i].target, HOST_CHARS) == strlen(services[i].target));
        must(!strstr(services[i].target, ".."));
    }
    free(services);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes, cut anywhere: MORE, then what the whole says, and nothing behind it matters. */
#include "base/must.h"
#include "net/proxy_header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum proxy_header_result parse(const uint8_t *data, size_t size, struct proxy_header *ret)
{
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a read behind the end is seen */
    must(exact);
    if (size > 0)
        memcpy(exact, data, size);
    enum proxy_header_result result = proxy_header_parse(exact, size, ret);
    free(exact);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole = {0};
    enum proxy_header_result result = parse(data, size, &whole);
    must(result != PROXY_HEADER_MORE || size < PROXY_HEADER_MAX);
    must(result != PROXY_HEADER_READY || (whole.len <= size && whole.len <= PROXY_HEADER_MAX));
    bool decided = false;
    for (size_t n = 0; n <= size && n <= 2 * (size_t)PROXY_HEADER_MAX && !decided; n++) {
        struct proxy_header part = {0};
        enum proxy_header_result now = parse(data, n, &part);
        if (now == PROXY_HEADER_MORE)
            continue;
        must(now == result);
        must(now != PROXY_HEADER_READY ||
             (part.len == whole.len && part.len == n && addr_eq(&part.client, &whole.client)));
        decided = true;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes, cut anywhere: MORE, then what the whole says; texts lie inside the bytes. */
#include "admin/authorization.h"
#include "admin/http_request.h"
#include "base/must.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str s, const char *bytes, size_t len)
{
    must(s.len == 0 || (s.p >= bytes && s.p + s.len <= bytes + len));
}

static enum http_result parse(const uint8_t *data, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1); /* so that a read behind the end is seen */
    must(exact);
    if (size > 0)
        memcpy(exact, data, size);
    struct http_request r = {0};
    enum http_result result = http_request_parse(exact, size, &r);
    if (result == HTTP_READY) {
        char value[64];
        inside(r.path, exact, size);
        inside(r.query, exact, size);
        inside(r.host, exact, size);
        must(r.path.len > 0 && r.path.p[0] == '/');
        must(http_query_find(r.query, STR("key"), value, sizeof(value)) <= (int)sizeof(value));
        (void)http_host_is_local(r.host);
        inside(r.authorization, exact, size);
        static const uint8_t HASH[SECRET_HASH_BYTES] = {0};
        must(!authorization_shows(r.authorization, HASH));
    }
    free(exact);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum http_result whole = parse(data, size);
    must(whole != HTTP_MORE || size < HTTP_HEAD_MAX);
    for (size_t n = 0; n <= size && n <= HTTP_HEAD_MAX; n++) {
        enum http_result now = parse(data, n);
        if (now == HTTP_MORE)
            continue;
        must(now == whole);
        break;
    }
    return 0;
}

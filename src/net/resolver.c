/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include "base/must.h"

static const struct {
    const char *name, *text;
} RESULTS[] = {
    [RESOLVER_OK] = {"ok", "ok"},
    [RESOLVER_NXDOMAIN] = {"nxdomain", "NXDOMAIN: there is no such name"},
    [RESOLVER_NO_DATA] = {"no_data", "empty answer: the name has no such record"},
    [RESOLVER_SERVER_FAILURE] = {"server_failure", "SERVFAIL: the DNS server failed"},
    [RESOLVER_REFUSED] = {"refused", "REFUSED by the DNS server"},
    [RESOLVER_TIMED_OUT] = {"timed_out", "timed out"},
    [RESOLVER_MALFORMED] = {"malformed", "malformed answer"},
    [RESOLVER_UNREACHABLE] = {"unreachable", "no DNS server can be reached"},
    [RESOLVER_NO_MEMORY] = {"no_memory", "out of memory"},
};
_Static_assert(sizeof(RESULTS) / sizeof(RESULTS[0]) == RESOLVER_RESULT_COUNT, "a text for each");

const char *resolver_result_text(enum resolver_result r)
{
    must((unsigned)r < RESOLVER_RESULT_COUNT);
    return RESULTS[r].text;
}

const char *resolver_result_name(enum resolver_result r)
{
    must((unsigned)r < RESOLVER_RESULT_COUNT);
    return RESULTS[r].name;
}

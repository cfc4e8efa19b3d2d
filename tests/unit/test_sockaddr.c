/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sockaddr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void an_address_comes_back_as_it_went(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {"127.0.0.1:6379", "255.1.2.3:65535", "[::1]:1",
                                        "[fe80::1:2]:6380"};
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct addr was, is;
        union sockaddr_any at;
        assert_int_equal(addr_parse(str_of(TEXTS[i]), 0, &was), 0);
        assert_int_equal(sockaddr_write(&was, &at),
                         was.family == ADDR_V4 ? sizeof(at.v4) : sizeof(at.v6));
        sockaddr_read(&at, &is);
        assert_true(addr_eq(&was, &is));
    }
}

static void the_kernel_sees_the_same(void **state)
{
    (void)state;
    struct addr a = {ADDR_V4, 6379, {10, 0, 0, 7}};
    union sockaddr_any at;
    (void)sockaddr_write(&a, &at);
    assert_int_equal(at.v4.sin_port, htons(6379));
    assert_int_equal(at.v4.sin_addr.s_addr, htonl(0x0a000007));
}

static void other_families_have_no_number(void **state)
{
    (void)state;
    union sockaddr_any at = {.local = {.sun_family = AF_UNIX, .sun_path = "/x"}};
    struct addr a;
    sockaddr_read(&at, &a);
    assert_int_equal(a.family, ADDR_UNIX);
    at.any.sa_family = AF_NETLINK;
    sockaddr_read(&at, &a);
    assert_int_equal(a.family, ADDR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_comes_back_as_it_went),
        cmocka_unit_test(the_kernel_sees_the_same),
        cmocka_unit_test(other_families_have_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

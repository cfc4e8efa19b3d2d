/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* A copy of exactly `text`'s size without a NUL, so that a sanitizer sees a read past the end. */
static struct str exact(const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    return (struct str){copy, len};
}

static void drop(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint16_t default_port;
        enum addr_family family; /* ADDR_NONE: refused */
        uint16_t port;
        const char *printed;
    } CASES[] = {
        {"1.2.3.4:6379", 0, ADDR_V4, 6379, "1.2.3.4:6379"},
        {"1.2.3.4:6379", 80, ADDR_V4, 6379, "1.2.3.4:6379"},
        {"1.2.3.4", 80, ADDR_V4, 80, "1.2.3.4:80"},
        {"1.2.3.4", 0, ADDR_NONE, 0, NULL},
        {"0.0.0.0:65535", 0, ADDR_V4, 65535, "0.0.0.0:65535"},
        {"255.255.255.255:1", 0, ADDR_V4, 1, "255.255.255.255:1"},
        {"127.0.0.1:0", 6379, ADDR_V4, 0, "127.0.0.1:0"}, /* a listener that takes any port */
        {"[::1]:6379", 0, ADDR_V6, 6379, "[::1]:6379"},
        {"[::1]", 80, ADDR_V6, 80, "[::1]:80"},
        {"::1", 80, ADDR_V6, 80, "[::1]:80"},
        {"::1", 0, ADDR_NONE, 0, NULL},
        {"[::1]", 0, ADDR_NONE, 0, NULL},
        {"[::]:0", 0, ADDR_V6, 0, "[::]:0"},
        {"[2001:DB8:0:0:0:0:0:1]:7", 0, ADDR_V6, 7, "[2001:db8::1]:7"},
        {"[::ffff:1.2.3.4]:7", 0, ADDR_V6, 7, "[::ffff:1.2.3.4]:7"},
        {"[1111:2222:3333:4444:5555:6666:7777:8888]:65535", 0, ADDR_V6, 65535,
         "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"},
        {"fe80::1:6379", 80, ADDR_V6, 80,
         "[fe80::1:6379]:80"}, /* no brackets: all of it is the address */
        {"", 80, ADDR_NONE, 0, NULL},
        {":", 80, ADDR_NONE, 0, NULL},
        {":80", 80, ADDR_NONE, 0, NULL},
        {"1.2.3.4:", 80, ADDR_NONE, 0, NULL},
        {"1.2.3.4:65536", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:99999999999999999999", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:-1", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:+1", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:080", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4: 80", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:80 ", 0, ADDR_NONE, 0, NULL},
        {" 1.2.3.4:80", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4:80:81", 0, ADDR_NONE, 0, NULL},
        {"1.2.3:80", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.4.5:80", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.256:80", 0, ADDR_NONE, 0, NULL},
        {"1.2.3.04:80", 0, ADDR_NONE, 0, NULL},
        {"localhost:80", 0, ADDR_NONE, 0, NULL},
        {"[1.2.3.4]:80", 0, ADDR_NONE, 0, NULL},
        {"[::1", 80, ADDR_NONE, 0, NULL},
        {"[::1]80", 80, ADDR_NONE, 0, NULL},
        {"[::1]:", 80, ADDR_NONE, 0, NULL},
        {"[]:80", 0, ADDR_NONE, 0, NULL},
        {"[", 80, ADDR_NONE, 0, NULL},
        {"::1]:80", 80, ADDR_NONE, 0, NULL},
        {"[[::1]]:80", 80, ADDR_NONE, 0, NULL},
        {"[:::1]:80", 0, ADDR_NONE, 0, NULL},
        {"[fe80::1%eth0]:80", 0, ADDR_NONE, 0, NULL},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999]:80", 0, ADDR_NONE, 0, NULL},
        {"11111111111111111111111111111111111111111111111111111111111111111111111111:80", 0,
         ADDR_NONE, 0, NULL},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct addr a, before;
        memset(&a, 0x55, sizeof(a));
        before = a;
        struct str text = exact(CASES[i].text);
        int err = addr_parse(text, CASES[i].default_port, &a);
        drop(text);
        if (err != (CASES[i].family == ADDR_NONE ? -EINVAL : 0))
            fail_msg("%s: %d", CASES[i].text, err);
        if (err) {
            assert_true(addr_eq(&a, &before)); /* untouched */
            continue;
        }
        char printed[ADDR_TEXT_MAX];
        assert_int_equal(a.family, CASES[i].family);
        assert_int_equal(a.port, CASES[i].port);
        assert_ptr_equal(addr_print(&a, printed), printed);
        assert_string_equal(printed, CASES[i].printed);
        struct addr again;
        assert_int_equal(addr_parse(str_of(printed), 0, &again), 0);
        assert_true(addr_eq(&a, &again));
    }
    struct addr a;
    assert_int_equal(addr_parse((struct str){NULL, 0}, 80, &a), -EINVAL);
    assert_int_equal(addr_parse((struct str){"1.2.3.4\0:80", 11}, 0, &a), -EINVAL);
    assert_int_equal(addr_parse((struct str){"[::1\0]:80", 9}, 0, &a), -EINVAL);
}

static void test_bytes(void **state)
{
    (void)state;
    static const uint8_t V4[16] = {10, 20, 30, 40};
    static const uint8_t V6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    struct addr a;
    assert_int_equal(addr_parse(STR("10.20.30.40:513"), 0, &a), 0);
    assert_memory_equal(a.ip, V4, 16);
    assert_int_equal(a.port, 513);
    assert_int_equal(addr_parse(STR("[2001:db8::9]:513"), 0, &a), 0);
    assert_memory_equal(a.ip, V6, 16);
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* host NULL: refused */
        uint16_t port;
    } CASES[] = {
        {"redis:6379", "redis", 6379},
        {"redis", "redis", 0},
        {"redis-0.redis.cache.svc.cluster.local:6379", "redis-0.redis.cache.svc.cluster.local",
         6379},
        {"_redis._tcp.example.org", "_redis._tcp.example.org", 0},
        {"example.org.:1", "example.org.", 1},
        {"1.2.3.4:65535", "1.2.3.4", 65535},
        {"1.2.3.4", "1.2.3.4", 0},
        {"[::1]:6379", "::1", 6379},
        {"[::1]", "::1", 0},
        {"::1", "::1", 0},
        {"redis:0", NULL, 0}, /* 0 would read as "none given" */
        {"[::1]:0", NULL, 0},
        {"redis:", NULL, 0},
        {"redis:65536", NULL, 0},
        {"redis:06379", NULL, 0},
        {"redis:6379x", NULL, 0},
        {"redis:6379:6379", NULL, 0},
        {":6379", NULL, 0},
        {"", NULL, 0},
        {"[redis]:6379", NULL, 0},
        {"[::1]x:6379", NULL, 0},
        {"re dis:6379", NULL, 0},
        {"redis/0:6379", NULL, 0},
        {"user@redis:6379", NULL, 0},
        {"redis,redis2:6379", NULL, 0},
        {"r\xc3\xa9"
         "dis:6379",
         NULL, 0},
        {"redis\n:6379", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct str text = exact(CASES[i].text), host = {NULL, 7};
        uint16_t port = 4711;
        int err = addr_split_host_port(text, &host, &port);
        if (err != (CASES[i].host ? 0 : -EINVAL))
            fail_msg("%s: %d", CASES[i].text, err);
        if (err) {
            assert_true(host.p == NULL && host.len == 7 && port == 4711);
        } else {
            assert_true(str_eq(host, str_of(CASES[i].host)));
            assert_true(host.p >= text.p && host.p + host.len <= text.p + text.len);
            assert_int_equal(port, CASES[i].port);
        }
        drop(text);
    }
}

static void test_split_long(void **state)
{
    (void)state;
    char text[300];
    struct str host;
    uint16_t port;
    memset(text, 'a', sizeof(text));
    memcpy(text + 254, ":1", 2);
    assert_int_equal(addr_split_host_port((struct str){text, 256}, &host, &port), 0);
    assert_int_equal(host.len, 254);
    memcpy(text + 254, "a:1", 3);
    assert_int_equal(addr_split_host_port((struct str){text, 257}, &host, &port), -EINVAL);
}

static void test_equal(void **state)
{
    (void)state;
    static const char *const DIFFERENT[] = {"1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5",
                                            "[::1]:5",   "[::2]:5",   "[102:304::]:5"};
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 6; k++) {
            struct addr a, b;
            assert_int_equal(addr_parse(str_of(DIFFERENT[i]), 0, &a), 0);
            assert_int_equal(addr_parse(str_of(DIFFERENT[k]), 0, &b), 0);
            assert_int_equal(addr_eq(&a, &b), i == k);
        }
    }
    char printed[ADDR_TEXT_MAX];
    assert_string_equal(addr_print(&(struct addr){0}, printed), "unresolved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_split), cmocka_unit_test(test_split_long),
        cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cache is: texts that say so, and texts that do not. */
#include "client/c/src/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void write_down(const struct address *a, char text[256])
{
    char ip[64];
    if (a->storage.ss_family == AF_UNIX) {
        snprintf(text, 256, "%s", ((const struct sockaddr_un *)&a->storage)->sun_path);
    } else if (a->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&a->storage;
        snprintf(text, 256, "%s %d", inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip)),
                 ntohs(in->sin_port));
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->storage;
        snprintf(text, 256, "%s %d", inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip)),
                 ntohs(in6->sin6_port));
    }
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int count;
        const char *first, *last;
    } cases[] = {
        {"127.0.0.1:7000", 1, "127.0.0.1 7000", "127.0.0.1 7000"},
        {"127.0.0.1", 1, "127.0.0.1 6379", "127.0.0.1 6379"},
        {"[::1]:65535", 1, "::1 65535", "::1 65535"},
        {"[::1]", 1, "::1 6379", "::1 6379"},
        {"/run/redis.sock", 1, "/run/redis.sock", "/run/redis.sock"},
        {"10.0.0.1:1,[::1]:2,/s", 3, "10.0.0.1 1", "/s"},
        {"1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8", 8, "1.1.1.1 6379",
         "8.8.8.8 6379"},
        {"a-name.invalid:1", 0, "", ""}, /* not known yet: and nobody waits for it */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address_book *b;
        struct address found[ADDRESS_MAX];
        char text[256];
        assert_int_equal(address_book_new(cases[i].text, &b), 0);
        assert_int_equal(address_book_read(b, found), cases[i].count);
        if (cases[i].count > 0) {
            write_down(&found[0], text);
            assert_string_equal(text, cases[i].first);
            write_down(&found[cases[i].count - 1], text);
            assert_string_equal(text, cases[i].last);
        }
        assert_null(address_book_free(b));
    }
    assert_null(address_book_free(NULL));
}

static void texts_that_are_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ",",
        ":6379",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "[::1",
        "[::1]x",
        "[]:1",
        "a:1,",
        "a:123456",
        "a:-1",
        "a,b,c,d,e,f,g,h,i",
    };
    char long_path[200] = "/", long_host[300];
    memset(long_path + 1, 'p', sizeof(long_path) - 2);
    long_path[sizeof(long_path) - 1] = 0;
    memset(long_host, 'h', sizeof(long_host) - 1);
    long_host[sizeof(long_host) - 1] = 0;
    struct address_book *b;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(address_book_new(texts[i], &b), -EINVAL);
    }
    assert_int_equal(address_book_new(long_path, &b), -EINVAL);
    assert_int_equal(address_book_new(long_host, &b), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(texts_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

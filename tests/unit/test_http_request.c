/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/http_request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOST "Host: localhost:9379\r\n"

struct sample {
    const char *bytes;
    enum http_result result;
    const char *path, *query;
};

static const struct sample SAMPLES[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", HTTP_READY, "/", ""},
    {"HEAD /metrics HTTP/1.1\r\n" HOST "\r\n", HTTP_READY, "/metrics", ""},
    {"GET /api/where?key=a%20b HTTP/1.1\r\nhOST:x\r\n\r\nmore", HTTP_READY, "/api/where",
     "key=a%20b"},
    {"GET /? HTTP/1.0\r\n\r\n", HTTP_READY, "/", ""},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nA: \t b \r\n\r\n", HTTP_READY, "/", ""},
    {"", HTTP_MORE, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "\r", HTTP_MORE, NULL, NULL},
    {"POST / HTTP/1.1\r\n" HOST "\r\n", HTTP_NO_METHOD, NULL, NULL},
    {"get / HTTP/1.1\r\n" HOST "\r\n", HTTP_NO_METHOD, NULL, NULL},
    {"\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET /\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET http://x/ HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET /a\tb HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET /#a HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST " folded: x\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "A : x\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"GET / HTTP/1.1\r\n" HOST "A: x\ny\r\n\r\n", HTTP_BAD, NULL, NULL},
    {"*1\r\n$4\r\nPING\r\n\r\n", HTTP_BAD, NULL, NULL},
};

static void heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(SAMPLES) / sizeof(SAMPLES[0]); i++) {
        const struct sample *s = &SAMPLES[i];
        struct http_request r = {0};
        enum http_result result = http_request_parse(s->bytes, strlen(s->bytes), &r);
        if (result != s->result)
            fail_msg("%s: %d, not %d", s->bytes, (int)result, (int)s->result);
        if (result == HTTP_READY) {
            assert_true(str_eq(r.path, str_of(s->path)));
            assert_true(str_eq(r.query, str_of(s->query)));
            assert_int_equal(r.head, s->bytes[0] == 'H');
        }
    }
}

static void a_head_has_an_end(void **state)
{
    (void)state;
    char bytes[HTTP_HEAD_MAX];
    struct http_request r;
    memset(bytes, 'a', sizeof(bytes));
    assert_int_equal(http_request_parse(bytes, sizeof(bytes) - 1, &r), HTTP_MORE);
    assert_int_equal(http_request_parse(bytes, sizeof(bytes), &r), HTTP_TOO_LONG);
}

static void values_of_a_query(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int len;
        const char *value;
    } CASES[] = {
        {"key=abc", 3, "abc"},
        {"a=b&key=x%2fy+z&key=2", 5, "x/y z"},
        {"key=%00", 1, "\0"},
        {"key=", 0, ""},
        {"key", -ENOENT, NULL},
        {"", -ENOENT, NULL},
        {"kez=1&&", -ENOENT, NULL},
        {"key=%", -EINVAL, NULL},
        {"key=%4", -EINVAL, NULL},
        {"key=%4g", -EINVAL, NULL},
        {"key=123456789", -EINVAL, NULL},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char value[8];
        int len = http_query_find(str_of(CASES[i].query), STR("key"), value, sizeof(value));
        assert_int_equal(len, CASES[i].len);
        if (len > 0)
            assert_memory_equal(value, CASES[i].value, (size_t)len);
    }
}

static void who_is_local(void **state)
{
    (void)state;
    assert_true(http_host_is_local(STR("127.0.0.1:9379")));
    assert_true(http_host_is_local(STR("[::1]:9379")));
    assert_true(http_host_is_local(STR("LocalHost")));
    assert_false(http_host_is_local(STR("evil.example")));
    assert_false(http_host_is_local(STR("localhost.evil.example:80")));
    assert_false(http_host_is_local(STR("127.0.0.1.evil.example")));
}

static void what_a_browser_takes_and_knows(void **state)
{
    (void)state;
    assert_true(http_takes_gzip(STR("gzip")));
    assert_true(http_takes_gzip(STR("br , GZip ; q=0.5")));
    assert_false(http_takes_gzip(STR("")));
    assert_false(http_takes_gzip(STR("br, x-gzip")));
    assert_false(http_takes_gzip(STR("gzip;q=0")));
    assert_false(http_takes_gzip(STR("gzip; q=0.000, br")));
    assert_true(http_knows_tag(STR("\"a\", W/\"b\""), STR("\"b\"")));
    assert_true(http_knows_tag(STR("*"), STR("\"b\"")));
    assert_false(http_knows_tag(STR(""), STR("\"b\"")));
    assert_false(http_knows_tag(STR("\"bb\", b"), STR("\"b\"")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(a_head_has_an_end),
        cmocka_unit_test(values_of_a_query),
        cmocka_unit_test(who_is_local),
        cmocka_unit_test(what_a_browser_takes_and_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

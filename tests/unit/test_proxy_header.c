/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct sample {
    struct str bytes;
    int result;
    size_t len;
    const char *client;
};

static const struct sample SAMPLES[] = {
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1000 6379\r\nPING"), PROXY_HEADER_READY, 38, "1.2.3.4:1000"},
    {STR("PROXY TCP6 2001:db8::1 ::1 65535 1\r\n"), PROXY_HEADER_READY, 36, "[2001:db8::1]:65535"},
    {STR("PROXY UNKNOWN\r\n"), PROXY_HEADER_READY, 15, "unresolved"},
    {STR("PROXY UNKNOWN what ever it is\r\nX"), PROXY_HEADER_READY, 31, "unresolved"},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1000 6379\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1000\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1000 65536\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 -1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4  5.6.7.8 1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 ::1 ::1 1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4:9 5.6.7.8 1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP6 [::1] ::1 1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1 1 \r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY UDP4 1.2.3.4 5.6.7.8 1 1\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXX"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PROXY TCP4 1.2.3.4 5.6.7.8 1 1\0\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("PING\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR("*1\r\n$4\r\nPING\r\n"), PROXY_HEADER_BAD, 0, NULL},
    {STR(SIGNATURE "\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x03\xe8\x18\xebPING"),
     PROXY_HEADER_READY, 28, "1.2.3.4:1000"},
    {STR(SIGNATURE "\x21\x11\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x03\xe8\x18\xeb\x04\x00\x01x"),
     PROXY_HEADER_READY, 32, "1.2.3.4:1000"},
    {STR(SIGNATURE "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x07\x18\xeb"),
     PROXY_HEADER_READY, 52, "[2001:db8::1]:7"},
    {STR(SIGNATURE "\x20\x00\x00\x00"), PROXY_HEADER_READY, 16, "unresolved"},
    {STR(SIGNATURE "\x20\x11\x00\x01z"), PROXY_HEADER_READY, 17, "unresolved"},
    {STR(SIGNATURE "\x21\x31\x00\x02zz"), PROXY_HEADER_READY, 18, "unresolved"},
    {STR(SIGNATURE "\x21\x11\x00\x0b"), PROXY_HEADER_BAD, 0, NULL},
    {STR(SIGNATURE "\x11\x11\x00\x0c"), PROXY_HEADER_BAD, 0, NULL},
    {STR(SIGNATURE "\x22\x11\x00\x0c"), PROXY_HEADER_BAD, 0, NULL},
    {STR(SIGNATURE "\x21\x11\xff\xff"), PROXY_HEADER_BAD, 0, NULL},
    {STR("\r\n\r\nX"), PROXY_HEADER_BAD, 0, NULL},
};

static void samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(SAMPLES) / sizeof(SAMPLES[0]); i++) {
        const struct sample *s = &SAMPLES[i];
        struct proxy_header h;
        char text[ADDR_TEXT_MAX];
        int result = (int)proxy_header_parse(s->bytes.p, s->bytes.len, &h);
        if (result != s->result)
            fail_msg("%zu: %d", i, result);
        if (result != PROXY_HEADER_READY)
            continue;
        assert_int_equal(h.len, s->len);
        assert_string_equal(addr_print(&h.client, text), s->client);
        /* Cut anywhere, there is more to come; what follows changes nothing. */
        for (size_t n = 0; n < s->len; n++) {
            struct proxy_header cut;
            assert_int_equal(proxy_header_parse(s->bytes.p, n, &cut), PROXY_HEADER_MORE);
        }
        assert_int_equal(proxy_header_parse(s->bytes.p, s->len, &h), PROXY_HEADER_READY);
    }
}

static void a_line_without_end_is_given_up(void **state)
{
    char line[200] = "PROXY UNKNOWN ";
    struct proxy_header h;
    (void)state;
    memset(line + 14, 'x', sizeof(line) - 14);
    assert_int_equal(proxy_header_parse(line, 106, &h), PROXY_HEADER_MORE);
    assert_int_equal(proxy_header_parse(line, 107, &h), PROXY_HEADER_BAD);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(proxy_header_parse(line, 107, &h), PROXY_HEADER_READY);
    memcpy(line + 105, "x\r\n", 3);
    assert_int_equal(proxy_header_parse(line, 108, &h), PROXY_HEADER_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples),
        cmocka_unit_test(a_line_without_end_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

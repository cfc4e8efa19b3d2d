/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_srv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Pieces of messages. A header says: one question, N answers. */
#define HEADER(n)  "\x12\x34\x81\x80\0\1\0" n "\0\0\0\0"
#define QUESTION   "\6_redis\4_tcp\1x\0\0\x21\0\1" /* its name is at offset 12 */
#define SRV(ttl)   "\xc0\x0c\0\x21\0\1\0\0\0" ttl
#define ALIAS(ttl) "\xc0\x0c\0\5\0\1\0\0\0" ttl "\0\2\xc0\x0c"
#define A_RECORD   "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\12\0\0\1"
#define NUMBERS    "\0\1\0\2\x18\xeb" /* priority 1, weight 2, port 6379 */
#define MESSAGE(t) (t), sizeof(t) - 1

static const struct {
    const char *bytes;
    size_t len;
    int err;
    size_t count;
    const char *target; /* of the first one */
    uint32_t ttl;
} CASES[] = {
    {MESSAGE(HEADER("\0") QUESTION), 0, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\13" NUMBERS "\1a\1x\0"), 0, 1, "a.x", 5},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\12" NUMBERS "\1a\xc0\x18"), 0, 1, "a.x", 5},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\7" NUMBERS "\0"), 0, 1, "", 5},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\13" NUMBERS "\1A\1X\0"), 0, 1, "A.X", 5},
    {MESSAGE(HEADER("\3") QUESTION A_RECORD SRV("\5") "\0\11" NUMBERS
                                                      "\1a\0" SRV("\6") "\0\11" NUMBERS "\1b\0"),
     0, 2, "a", 5},
    {MESSAGE(HEADER("\2") QUESTION ALIAS("\3") SRV("\5") "\0\11" NUMBERS "\1a\0"), 0, 1, "a", 3},
    {MESSAGE(HEADER("\2") QUESTION SRV("\5") "\0\11" NUMBERS "\1a\0" ALIAS("\3")), 0, 1, "a", 3},
    /* A TTL above 2^31 - 1 is none. */
    {MESSAGE(HEADER("\1") QUESTION "\xc0\x0c\0\x21\0\1\xff\0\0\1\0\11" NUMBERS "\1a\0"), 0, 1, "a",
     0},
    /* Not of the class of the internet: passed over. */
    {MESSAGE(HEADER("\1") QUESTION "\xc0\x0c\0\x21\0\3\0\0\0\1\0\11" NUMBERS "\1a\0"), 0, 0, NULL,
     0},
    {MESSAGE(""), -EINVAL, 0, NULL, 0},
    {MESSAGE("\x12\x34\x81\x80\0\1\0\1\0\0\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\2") QUESTION SRV("\5") "\0\11" NUMBERS "\1a\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE("\x12\x34\x81\x80\xff\xff\xff\xff\0\0\0\0" QUESTION), -EINVAL, 0, NULL, 0},
    /* Targets that run out of their data, or of the message. */
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\10" NUMBERS "\1a\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\6" NUMBERS), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\3\0\1\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\14" NUMBERS "\1a\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\10" NUMBERS "\77a"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\11" NUMBERS "\x80"
                                             "a\0"),
     -EINVAL, 0, NULL, 0},
    /* Pointers to themselves, forward, and in a circle: the target is at offset 49. */
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\10" NUMBERS "\xc0\x31"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\12" NUMBERS "\xc0\x33\1a"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\12" NUMBERS "\1a\xc0\x31"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\10" NUMBERS "\xff\xff"), -EINVAL, 0, NULL, 0},
    /* What is no host name must not come near a log or a configuration. */
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\13" NUMBERS "\3a.b\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\13" NUMBERS "\3a\nb\0"), -EINVAL, 0, NULL, 0},
    {MESSAGE(HEADER("\1") QUESTION SRV("\5") "\0\13" NUMBERS "\3a\0b\0"), -EINVAL, 0, NULL, 0},
};

static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct resolver_service *services = NULL;
        size_t count = 99;
        /* A block of its own, so that a read behind its end is seen. */
        uint8_t *bytes = malloc(CASES[i].len > 0 ? CASES[i].len : 1);
        assert_non_null(bytes);
        memcpy(bytes, CASES[i].bytes, CASES[i].len);
        int err = dns_srv_parse(bytes, CASES[i].len, &services, &count);
        if (err != CASES[i].err)
            fail_msg("case %zu: %d", i, err);
        if (!err)
            assert_int_equal(count, CASES[i].count);
        if (!err && count > 0) {
            assert_string_equal(services[0].target, CASES[i].target);
            assert_int_equal(services[0].ttl, CASES[i].ttl);
            assert_int_equal(services[0].priority, 1);
            assert_int_equal(services[0].weight, 2);
            assert_int_equal(services[0].port, 6379);
        } else {
            assert_null(services);
        }
        free(services);
        free(bytes);
    }
}

/* Every message that is cut off is refused, wherever the cut is. */
static void test_cut_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        for (size_t len = 0; CASES[i].count > 0 && len < CASES[i].len; len++) {
            struct resolver_service *services = NULL;
            size_t count = 0;
            assert_int_equal(dns_srv_parse((const uint8_t *)CASES[i].bytes, len, &services, &count),
                             -EINVAL);
        }
    }
}

/* A name may have 253 letters and dots, no more, however it is put together. */
static void test_longest_target(void **state)
{
    (void)state;
    static const struct {
        unsigned last_label;
        int err;
    } cases[] = {{61, 0}, {62, -EINVAL}, {63, -EINVAL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t bytes[512] = HEADER("\1") QUESTION SRV("\5");
        size_t len = sizeof(HEADER("\1") QUESTION SRV("\5")) - 1;
        unsigned name_len = 3 * 64 + 1 + cases[i].last_label + 1;
        bytes[len++] = (uint8_t)((6 + name_len) >> 8);
        bytes[len++] = (uint8_t)(6 + name_len);
        memcpy(bytes + len, NUMBERS, 6);
        len += 6;
        for (int label = 0; label < 4; label++) {
            unsigned label_len = label < 3 ? 63 : cases[i].last_label;
            bytes[len++] = (uint8_t)label_len;
            memset(bytes + len, 'x', label_len);
            len += label_len;
        }
        bytes[len++] = 0;
        struct resolver_service *services = NULL;
        size_t count = 0;
        assert_int_equal(dns_srv_parse(bytes, len, &services, &count), cases[i].err);
        if (!cases[i].err)
            assert_int_equal(strlen(services[0].target), 253);
        free(services);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_cut_messages),
        cmocka_unit_test(test_longest_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

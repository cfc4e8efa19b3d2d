/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/authorization.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void the_token_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool shows;
    } CASES[] = {
        {"Bearer open sesame", true},
        {"bearer   open sesame", true},
        {"Basic OnBlbg==", false},                 /* ":pen" */
        {"Basic Om9wZW4gc2VzYW1l", true},          /* ":open sesame" */
        {"basic YW5hOm9wZW4gc2VzYW1l", true},      /* "ana:open sesame" */
        {"Basic YW5hOm9wZW4gc2VzYW1lIQ==", false}, /* "ana:open sesame!" */
        {"Basic b3BlbiBzZXNhbWU=", false},         /* "open sesame", no name */
        {"Basic YW5hOm9wZW4gc2VzYW1l*", false},
        {"Basic ", false},
        {"Basic", false},
        {"Bearer ", false},
        {"Bearer", false},
        {"Bearer open sesam", false},
        {"Bearer open sesame ", false},
        {"Bearer", false},
        {"open sesame", false},
        {"Digest open sesame", false},
        {"", false},
    };
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(STR("open sesame"), hash);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        if (authorization_shows(str_of(CASES[i].header), hash) != CASES[i].shows)
            fail_msg("%s", CASES[i].header);
}

static void what_is_too_long_is_none(void **state)
{
    (void)state;
    char header[2000] = "Basic ";
    uint8_t hash[SECRET_HASH_BYTES];
    secret_hash(STR("open sesame"), hash);
    memset(header + 6, 'A', sizeof(header) - 6);
    assert_false(authorization_shows((struct str){header, sizeof(header)}, hash));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_token_and_nothing_else),
        cmocka_unit_test(what_is_too_long_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

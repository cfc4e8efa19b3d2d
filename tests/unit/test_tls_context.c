/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_context.h"
#include "net/tls_internal.h"
#include "os/file.h"
#include "tls_pair.h"

#include <errno.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATH_SIZE = 300 };

struct files {
    char dir[200];
    char one[PATH_SIZE], two[PATH_SIZE]; /* a certificate and its key each */
    char none[PATH_SIZE], noise[PATH_SIZE];
};

static int make_files(void **state)
{
    struct files *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(file_temp_dir("sumcache-test-", f->dir, sizeof(f->dir)), 0);
    snprintf(f->one, PATH_SIZE, "%s/one", f->dir);
    snprintf(f->two, PATH_SIZE, "%s/two", f->dir);
    snprintf(f->none, PATH_SIZE, "%s/none", f->dir);
    snprintf(f->noise, PATH_SIZE, "%s/noise", f->dir);
    write_certificate(f->one, "one");
    write_certificate(f->two, "two");
    FILE *noise = fopen(f->noise, "w");
    assert_non_null(noise);
    assert_true(fputs("no certificate\n", noise) >= 0);
    assert_int_equal(fclose(noise), 0);
    *state = f;
    return 0;
}

static int remove_files(void **state)
{
    struct files *f = *state;
    file_remove_tree(f->dir);
    free(f);
    return 0;
}

static struct tls_config server(const char *file)
{
    return (struct tls_config){
        .server = true, .certificate_file = file, .key_file = "", .ca_file = "", .server_name = ""};
}

/* Whose certificate would a connection get that begins now? */
static void assert_serves(struct tls_context *x, const char *name)
{
    char text[64];
    SSL *ssl = tls_context_session(x, NULL);
    assert_non_null(ssl);
    X509 *certificate = SSL_get_certificate(ssl);
    assert_non_null(certificate);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text,
                              sizeof(text));
    assert_string_equal(text, name);
    SSL_free(ssl);
}

static void test_renew(void **state)
{
    const struct files *f = *state;
    char error[TLS_ERROR_MAX];
    struct tls_context *x = NULL, *fresh = NULL;
    struct tls_config one = server(f->one), two = server(f->two);
    assert_int_equal(tls_context_new(&one, &x, error), 0);
    assert_serves(x, "one");
    SSL *before = tls_context_session(x, NULL);
    assert_int_equal(tls_context_new(&two, &fresh, error), 0);
    tls_context_renew(x, fresh);
    assert_serves(x, "two");
    assert_non_null(SSL_get_certificate(before)); /* that of `one` lives on with it */
    SSL_free(before);
    assert_null(tls_context_free(x));
}

static void test_bad_files(void **state)
{
    const struct files *f = *state;
    char error[TLS_ERROR_MAX];
    struct tls_context *x = NULL;
    struct tls_config none = server(f->none), noise = server(f->noise), mixed = server(f->one),
                      ca = server(f->one);
    mixed.key_file = f->two;
    ca.client_certificates = TLS_CERTIFICATES_REQUIRED;
    ca.ca_file = f->noise;
    assert_int_equal(tls_context_new(&none, &x, error), -EINVAL);
    assert_non_null(strstr(error, f->none));
    assert_non_null(strstr(error, "No such file"));
    assert_int_equal(tls_context_new(&noise, &x, error), -EINVAL);
    assert_non_null(strstr(error, "the certificate"));
    assert_int_equal(tls_context_new(&mixed, &x, error), -EINVAL);
    assert_non_null(strstr(error, "key values mismatch"));
    assert_int_equal(tls_context_new(&ca, &x, error), -EINVAL);
    assert_non_null(strstr(error, "the CA"));
    assert_null(x);
}

static void assert_asks_for(const struct tls_config *c, const char *peer, const char *sni,
                            const char *host)
{
    char error[TLS_ERROR_MAX];
    struct tls_context *x = NULL;
    assert_int_equal(tls_context_new(c, &x, error), 0);
    SSL *ssl = tls_context_session(x, peer);
    assert_non_null(ssl);
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const char *wanted = X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0);
    char *ip = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(ssl));
    assert_string_equal(asked ? asked : "", sni);
    assert_string_equal(wanted ? wanted : ip ? ip : "", host);
    assert_int_equal(SSL_get_verify_mode(ssl), SSL_VERIFY_PEER);
    OPENSSL_free(ip);
    SSL_free(ssl);
    tls_context_free(x);
}

static void test_names(void **state)
{
    const struct files *f = *state;
    struct tls_config c = {.certificate_file = "",
                           .key_file = "",
                           .ca_file = f->one,
                           .verify_name = true,
                           .server_name = ""};
    assert_asks_for(&c, "cache-1.example:6379", "cache-1.example", "cache-1.example");
    assert_asks_for(&c, "10.0.0.1:6379", "", "10.0.0.1");
    assert_asks_for(&c, "[::1]:6379", "", "0:0:0:0:0:0:0:1");
    c.server_name = "all.example";
    assert_asks_for(&c, "10.0.0.1:6379", "all.example", "all.example");
    c.verify_name = false;
    assert_asks_for(&c, "10.0.0.1:6379", "all.example", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renew),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_context.h"

#include "base/addr.h"
#include "base/must.h"
#include "base/str.h"
#include "net/tls_internal.h"
#include "os/thread.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    BIO_METHOD *method; /* owned */
    bool server;
    struct thread_lock lock; /* of all that follows */
    SSL_CTX *ctx;            /* owned; sessions keep a reference of their own */
    bool verify_name;
    char server_name[TLS_NAME_MAX];
};

const char *tls_error_text(void)
{
    unsigned long e = ERR_peek_error();
    const char *text =
        ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    return e == 0 ? "no reason given" : text ? text : "an error without a name";
}

static int refuse(char error[TLS_ERROR_MAX], const char *what, const char *file)
{
    snprintf(error, TLS_ERROR_MAX, "%s %.200s: %.120s", what, file, tls_error_text());
    return -EINVAL;
}

/* Else OpenSSL would ask whoever sits at the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL's type of such a function */
static int no_passphrase(char *to, int size, int writes, void *owner)
{
    (void)to;
    (void)size;
    (void)writes;
    (void)owner;
    return -1;
}

static int load_certificate(SSL_CTX *ctx, const struct tls_config *c, char error[TLS_ERROR_MAX])
{
    const char *key = c->key_file[0] ? c->key_file : c->certificate_file;
    if (!c->certificate_file[0])
        return 0;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate_file) != 1)
        return refuse(error, "the certificate", c->certificate_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return refuse(error, "the key", key);
    return 0;
}

static int load_trust(SSL_CTX *ctx, const struct tls_config *c, char error[TLS_ERROR_MAX])
{
    if (c->ca_file[0] && SSL_CTX_load_verify_file(ctx, c->ca_file) != 1)
        return refuse(error, "the CA", c->ca_file);
    if (!c->server) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (!c->ca_file[0] && SSL_CTX_set_default_verify_paths(ctx) != 1)
            return refuse(error, "the CAs of", "this system");
        return 0;
    }
    if (c->client_certificates == TLS_CERTIFICATES_OFF)
        return 0;
    /* Their names are told to clients, so that these can choose a certificate. */
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(c->ca_file);
    if (!names)
        return refuse(error, "the CA", c->ca_file);
    SSL_CTX_set_client_CA_list(ctx, names);
    bool required = c->client_certificates == TLS_CERTIFICATES_REQUIRED;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return 0;
}

static int set_up(SSL_CTX *ctx, const struct tls_config *c, char error[TLS_ERROR_MAX])
{
    static const unsigned char ID[] = "sumcache";
    int version = c->min_version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1 ||
        SSL_CTX_set_session_id_context(ctx, ID, sizeof(ID) - 1) != 1)
        return refuse(error, "TLS", "itself");
    /* A request that breaks off is not executed, so an end without a farewell tells no lie to
     * clients' side. From a node it must not pass for one: what it has not answered before its end
     * counts as not done, and anybody can forge a FIN. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 (c->server ? SSL_OP_IGNORE_UNEXPECTED_EOF : 0));
    /* Idle connections hold no buffers, and a read fetches more than the five bytes of a record's
     * head. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    /* Clients resume by tickets, which they keep themselves. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    int err = load_certificate(ctx, c, error);
    return err ? err : load_trust(ctx, c, error);
}

static int load(struct tls_context *x, const struct tls_config *config, char error[TLS_ERROR_MAX])
{
    ERR_clear_error();
    x->ctx = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
    if (!x->ctx)
        return -ENOMEM;
    x->server = config->server;
    x->verify_name = config->verify_name;
    str_fill(x->server_name, sizeof(x->server_name), str_of(config->server_name));
    return set_up(x->ctx, config, error);
}

int tls_context_new(const struct tls_config *config, struct tls_context **ret,
                    char error[TLS_ERROR_MAX])
{
    struct tls_context *x = calloc(1, sizeof(*x));
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sumcache");
    snprintf(error, TLS_ERROR_MAX, "out of memory");
    if (!x || !method) {
        BIO_meth_free(method);
        free(x);
        return -ENOMEM;
    }
    x->method = method;
    thread_lock_init(&x->lock);
    int err = -ENOMEM;
    if (BIO_meth_set_read(method, tls_bio_read) == 1 &&
        BIO_meth_set_write(method, tls_bio_write) == 1 &&
        BIO_meth_set_ctrl(method, tls_bio_ctrl) == 1)
        err = load(x, config, error);
    if (err) {
        tls_context_free(x);
        return err;
    }
    *ret = x;
    return 0;
}

void tls_context_renew(struct tls_context *x, struct tls_context *fresh)
{
    must(x->server == fresh->server);
    thread_lock_take(&x->lock);
    SSL_CTX *old = x->ctx;
    x->ctx = fresh->ctx;
    x->verify_name = fresh->verify_name;
    memcpy(x->server_name, fresh->server_name, sizeof(x->server_name));
    thread_lock_give(&x->lock);
    fresh->ctx = old;
    tls_context_free(fresh);
}

struct tls_context *tls_context_free(struct tls_context *x)
{
    if (!x)
        return NULL;
    SSL_CTX_free(x->ctx);
    BIO_meth_free(x->method);
    thread_lock_fini(&x->lock);
    free(x);
    return NULL;
}

BIO_METHOD *tls_context_method(const struct tls_context *x)
{
    return x->method;
}

/* What the node is asked for by name (SNI has no addresses), and what its certificate must say. */
static bool set_name(SSL *ssl, char *name, bool verify)
{
    struct addr numeric;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (addr_parse(str_of(name), 1, &numeric) == 0)
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 &&
           (!verify || X509_VERIFY_PARAM_set1_host(param, name, 0) == 1);
}

SSL *tls_context_session(struct tls_context *x, const char *peer)
{
    char name[TLS_NAME_MAX];
    thread_lock_take(&x->lock);
    SSL *ssl = SSL_new(x->ctx);
    bool verify = x->verify_name;
    memcpy(name, x->server_name, sizeof(name));
    thread_lock_give(&x->lock);
    if (!ssl)
        return NULL;
    if (x->server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    struct str host;
    uint16_t port;
    if (!name[0] && addr_split_host_port(str_of(peer), &host, &port) == 0)
        str_fill(name, sizeof(name), host);
    if (!set_name(ssl, name, verify)) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

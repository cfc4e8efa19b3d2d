/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server_options.h"

#include "daemon/secrets.h"
#include "os/process.h"

#include <errno.h>
#include <stdio.h>

static const char *or_none(const char *text)
{
    return text ? text : "";
}

int server_options_tls(const struct server_options *o, struct tls_context **ret,
                       char error[SERVER_OPTIONS_ERROR_MAX])
{
    struct tls_config config = {.certificate_file = or_none(o->certificate_file),
                                .key_file = or_none(o->key_file),
                                .ca_file = or_none(o->ca_file),
                                .min_version = TLS_VERSION_1_2,
                                .verify_name = true,
                                .server_name = or_none(o->server_name)};
    *ret = NULL;
    if (o->tls)
        return tls_context_new(&config, ret, error);
    if (o->ca_file || o->certificate_file || o->key_file || o->server_name) {
        /* Who names a certificate does not want to talk in the clear. */
        snprintf(error, SERVER_OPTIONS_ERROR_MAX,
                 "--cacert, --cert, --key and --sni are of no use without --tls");
        return -EINVAL;
    }
    return 0;
}

int server_options_password(const struct server_options *o, char to[CONFIG_PASSWORD_MAX],
                            char error[SERVER_OPTIONS_ERROR_MAX])
{
    char why[SECRETS_ERROR_MAX];
    const char *value = process_env("SUMCACHE_PASSWORD");
    const char *reference = value && *value ? "${SUMCACHE_PASSWORD}" : "";
    int err = secrets_read("password", or_none(o->password_file), reference, to,
                           CONFIG_PASSWORD_MAX, why);
    if (err)
        snprintf(error, SERVER_OPTIONS_ERROR_MAX, "%s", why);
    return err;
}

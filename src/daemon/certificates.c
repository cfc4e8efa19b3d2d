/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/certificates.h"

#include <stdio.h>
#include <string.h>

static struct tls_config of_clients(const struct config *c)
{
    return (struct tls_config){.server = true,
                               .certificate_file = c->tls.certificate_file,
                               .key_file = c->tls.key_file,
                               .ca_file = c->tls.ca_file,
                               .min_version = (enum tls_version)c->tls.min_version,
                               .client_certificates =
                                   (enum tls_certificates)c->tls.client_certificates,
                               .server_name = ""};
}

static struct tls_config of_nodes(const struct config *c)
{
    return (struct tls_config){.certificate_file = c->nodes_tls.certificate_file,
                               .key_file = c->nodes_tls.key_file,
                               .ca_file = c->nodes_tls.ca_file,
                               .min_version = (enum tls_version)c->nodes_tls.min_version,
                               .verify_name = c->nodes_tls.verify == CONFIG_VERIFY_NAME,
                               .server_name = c->nodes_tls.server_name};
}

static void say_where(const char *section, char error[TLS_ERROR_MAX])
{
    char what[TLS_ERROR_MAX];
    snprintf(what, sizeof(what), "%s", error);
    snprintf(error, TLS_ERROR_MAX, "%s: %.360s", section, what);
}

int certificates_read_nodes(const struct config *c, struct tls_context **ret,
                            char error[TLS_ERROR_MAX])
{
    struct tls_config nodes = of_nodes(c);
    *ret = NULL;
    int err = c->nodes_tls.enabled ? tls_context_new(&nodes, ret, error) : 0;
    if (err)
        say_where("nodes_tls", error);
    return err;
}

int certificates_read(const struct config *c, struct certificates *ret, char error[TLS_ERROR_MAX])
{
    struct certificates all = {0};
    struct tls_config clients = of_clients(c);
    bool listens = false;
    for (uint32_t i = 0; i < c->listen_count; i++)
        listens = listens || c->listen_tls[i];
    int err = listens ? tls_context_new(&clients, &all.clients, error) : 0;
    if (err) {
        say_where("tls", error);
        return err;
    }
    err = certificates_read_nodes(c, &all.nodes, error);
    if (err) {
        certificates_free(&all);
        return err;
    }
    *ret = all;
    return 0;
}

void certificates_renew(struct certificates *all, struct certificates *fresh)
{
    if (all->clients && fresh->clients)
        tls_context_renew(all->clients, take_ptr(fresh->clients));
    if (all->nodes && fresh->nodes)
        tls_context_renew(all->nodes, take_ptr(fresh->nodes));
    certificates_free(fresh);
}

void certificates_free(struct certificates *all)
{
    all->clients = tls_context_free(all->clients);
    all->nodes = tls_context_free(all->nodes);
}

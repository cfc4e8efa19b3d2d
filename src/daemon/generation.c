/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/generation.h"

#include "base/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert((int)CONFIG_LOAD_ERROR_MAX >= (int)SECRETS_ERROR_MAX, "secrets.h writes into it");

/* Passwords have no business in the settings, which are printed. */
static int read_secrets(struct generation *g, char error[CONFIG_LOAD_ERROR_MAX])
{
    const struct config *c = &g->config;
    int err = secrets_read("nodes.password", c->node_password_file, c->node_password, g->password,
                           sizeof(g->password), error);
    if (!err)
        err = secrets_logins(c, g->logins, error);
    return err ? err : secrets_access(c, &g->access, error);
}

void generation_last(struct generation *g, const struct lasting *lasting)
{
    g->proxy.layout = g->control.layout = lasting->layout;
    g->proxy.client_tls = lasting->certificates.clients;
    g->proxy.node_tls = g->control.tls = lasting->certificates.nodes;
    if (lasting->unwatched) {
        g->proxy.sample_each = 0;
        g->proxy.slow_above = 0;
    }
}

int generation_new(struct config *c, const struct lasting *lasting, struct generation **ret,
                   char error[CONFIG_LOAD_ERROR_MAX])
{
    struct generation *g = calloc(1, sizeof(*g));
    if (!g) {
        config_fini(c);
        snprintf(error, CONFIG_LOAD_ERROR_MAX, "out of memory");
        return -ENOMEM;
    }
    g->config = *c;
    *c = (struct config){0};
    int err = read_secrets(g, error);
    if (err) {
        generation_free(g);
        return err;
    }
    g->proxy = g->config.proxy;
    g->proxy.node_user = str_of(g->config.node_user);
    g->proxy.node_password = str_of(g->password);
    g->proxy.access = g->access;
    g->control = g->config.control;
    g->control.hash_tags = g->proxy.hash_tags;
    g->control.databases = g->proxy.databases;
    g->control.request_timeout = g->proxy.request_timeout;
    g->control.user = g->proxy.node_user;
    g->control.password = g->proxy.node_password;
    generation_last(g, lasting);
    *ret = g;
    return 0;
}

struct generation *generation_free(struct generation *g)
{
    if (!g)
        return NULL;
    secret_wipe(g->password, sizeof(g->password));
    for (uint32_t i = 0; i < CONFIG_LOGINS_MAX; i++)
        node_login_unref(g->logins[i]);
    secrets_access_free(g->access);
    config_fini(&g->config);
    free(g);
    return NULL;
}

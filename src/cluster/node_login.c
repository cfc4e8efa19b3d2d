/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/node_login.h"

#include "base/must.h"
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

struct node_login *node_login_new(struct str user, struct str password)
{
    struct node_login *l = malloc(sizeof(*l) + user.len + password.len + 1);
    if (!l)
        return NULL;
    atomic_init(&l->refs, 1);
    l->user = (struct str){l->bytes, user.len};
    l->password = (struct str){l->bytes + user.len, password.len};
    if (user.len > 0)
        memcpy(l->bytes, user.p, user.len);
    if (password.len > 0)
        memcpy(l->bytes + user.len, password.p, password.len);
    return l;
}

struct node_login *node_login_ref(struct node_login *l)
{
    if (l)
        atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

struct node_login *node_login_unref(struct node_login *l)
{
    if (!l)
        return NULL;
    unsigned was = atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel);
    must(was > 0);
    if (was == 1) {
        secret_wipe(l->bytes, l->user.len + l->password.len);
        free(l);
    }
    return NULL;
}

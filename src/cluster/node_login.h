/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are at a node, where it is not what the settings say of all. It never changes, and is
 * counted as a view is: workers keep it, for upstreams to come, for longer than the settings that
 * it comes from.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdatomic.h>

struct node_login {
    atomic_uint refs;
    struct str user, password; /* inside; empty: none */
    char bytes[];
};

/* Copies both. The caller owns one reference. NULL: out of memory. */
struct node_login *node_login_new(struct str user, struct str password);
struct node_login *node_login_ref(struct node_login *l); /* NULL is fine */
/* The last one wipes it. NULL is fine; always returns NULL. */
struct node_login *node_login_unref(struct node_login *l);

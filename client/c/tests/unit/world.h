/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cache of which nobody answers, for tests of what hangs on one: its thread runs, and its port is
 * one that nobody may listen on.
 */
#pragma once

#include "client/c/src/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct world {
    struct sc_cache *cache;
    struct sc_store *store;
};

/* Options may be NULL. */
static inline void world_open(struct world *w, const struct sc_options *options,
                              const struct sc_store_options *store)
{
    struct sc_options o = {.size = sizeof(o)};
    o = options != NULL ? *options : o;
    o.address = o.address != NULL ? o.address : "127.0.0.1:1";
    assert_int_equal(sc_open(&o, &w->cache), 0);
    assert_int_equal(sc_store_open(w->cache, store, &w->store), 0);
}

static inline void world_close(struct world *w)
{
    sc_store_close(w->store);
    sc_close(w->cache, 0);
}

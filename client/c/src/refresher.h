/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that refreshes stale values with loaders that may be run there. Started by the first
 * that needs it; what does not fit its queue is not refreshed this time.
 */
#pragma once

#include "load.h"

struct refresher;

/* Takes the lead of `flight` if there is room: false if not. What it needs of *l is copied. */
bool refresher_give(struct sc_cache *c, struct sc_store *s, const struct look *l,
                    const struct sc_loader *loader, struct flight *flight);
/* Waits for the loader that runs, drops what is queued. NULL is fine. Returns NULL. */
struct refresher *refresher_free(struct refresher *r);

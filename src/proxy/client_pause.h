/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLIENT PAUSE: a worker's clients are not served until a point in time. A request that may not go
 * on stays in its client's input, as if it had not come yet, and so does all behind it.
 */
#pragma once
#include "proxy/client.h"

#include <stdbool.h>
#include <stdint.h>

struct client_pause {
    bool is_on;
    bool writes_only; /* commands that change nothing go on */
};

/* As redis-server: a pause that is on gets no shorter and no weaker. `until`: ns; 0: none from now
 * on. */
void client_pause_set(struct worker *w, uint64_t until, bool writes_only);
/* Its timer. */
void client_pause_over(struct worker *w);

/* While one is on: has the present request to wait? Then its client is noted as postponed. */
bool client_pause_holds(struct client *c, const struct command *command);

/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include "cache.h"
#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_PARTS = 16, ATTEMPTS = 3 };

static int send_parts(struct sc_cache *c, struct conn *conn, const struct commands *first,
                      const struct commands *then, int64_t deadline_ns)
{
    struct iovec few[FEW_PARTS];
    struct iovec *parts = few;
    int count_first = first != NULL ? first->part_count : 0;
    int total = count_first + then->part_count;
    if (total > FEW_PARTS) {
        parts = malloc((size_t)total * sizeof(*parts));
        if (parts == NULL) {
            return -ENOMEM;
        }
    }
    if (count_first > 0) {
        memcpy(parts, first->parts, (size_t)count_first * sizeof(*parts));
    }
    memcpy(parts + count_first, then->parts, (size_t)then->part_count * sizeof(*parts));
    int rc = conn_send_all(conn, parts, total, deadline_ns);
    count(c, COUNT_BYTES_OUT, then->bytes + (first != NULL ? first->bytes : 0));
    if (parts != few) {
        free(parts);
    }
    return rc;
}

/* *has_begun: an item of the answer has come, so nothing is to be tried again. */
static int round_trips(struct sc_cache *c, struct conn *conn, struct reading *r,
                       int64_t deadline_ns, bool *has_begun)
{
    struct conn_notes *notes = conn_notes(conn);
    const struct commands *greeting = notes->is_reused ? NULL : greeting_begin(&c->greeting, conn);
    do {
        if (r->commands.has_failed) {
            return -ENOMEM;
        }
        int rc = send_parts(c, conn, greeting, &r->commands, deadline_ns);
        greeting = NULL;
        if (rc != 0) {
            return rc;
        }
        do {
            struct item item;
            rc = conn_wait_next(conn, deadline_ns, &item);
            if (rc == 0 && notes->skip > 0) {
                bool is_auth = notes->auth-- > 0;
                notes->skip--;
                rc = is_auth && item.type == ITEM_ERROR ? -EACCES : 0;
                bytes_unref(item.bytes);
            } else if (rc == 0) {
                *has_begun = true;
                rc = reading_feed(r, &item);
            }
            if (rc < 0) {
                return rc;
            }
        } while (rc == 0);
    } while (reading_next(r));
    return 0;
}

static void probe_with(struct sc_cache *c, const struct reading *r)
{
    char name[NAME_MAX_LEN];
    const struct sc_store *s = r->store;
    size_t len;
    if (s->group == SC_HASH) {
        len = name_of_bucket(name, s->base, s->base_len, r->bucket);
    } else if (r->count == 0) {
        len = name_of_generation(name, s->base, s->base_len);
    } else {
        len = name_of_value(name, s->base, s->base_len, r->keys[0].key, r->keys[0].key_len);
    }
    io_probe(c->io, name, len);
}

int exchange_run(struct sc_cache *c, struct reading *r, int64_t deadline_ns)
{
    int rc = 0;
    bool has_begun = false;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct conn *conn = NULL;
        rc = pool_take(&c->pool, deadline_ns, &conn);
        if (rc != 0) {
            break;
        }
        bool was_reused = conn_notes(conn)->is_reused;
        rc = round_trips(c, conn, r, deadline_ns, &has_begun);
        count(c, COUNT_BYTES_IN, conn_take_bytes_in(conn));
        if (rc == 0) {
            pool_give(&c->pool, conn);
            break;
        }
        bool is_refused = rc == -ECONNRESET && greeting_was_refused(&c->greeting, conn);
        pool_drop(&c->pool, conn);
        if (was_reused) {
            pool_flush(&c->pool); /* the others are from the same time */
        }
        if (rc != -ECONNRESET || has_begun || !(is_refused || was_reused)) {
            break;
        }
        reading_fini(r);
        reading_begin(r);
    }
    int cause = (int)cause_of(rc);
    if (cause != SC_CAUSE_NONE) {
        for (int i = 0; i < r->count; i++) {
            struct reading_key *k = &r->keys[i];
            k->value = bytes_unref(k->value);
            k->answer = SC_MISS;
            k->cause = cause;
        }
        r->epoch = 0;
    }
    bool was_closed = breaker_is_closed(&c->breaker);
    cache_note(c, cause != SC_CAUSE_NONE ? cause : r->error_count > 0 ? r->cause : SC_CAUSE_NONE);
    if (was_closed && !breaker_is_closed(&c->breaker)) {
        probe_with(c, r);
    }
    return cause;
}

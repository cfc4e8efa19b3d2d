/* SPDX-License-Identifier: Apache-2.0 */
#include "probes.h"

#include "clock.h"

enum { BETWEEN_PROBES_MS = 20 /* from one that was answered to the next */ };

void probes_note(struct io *io, bool has_failed)
{
    struct sc_cache *c = io->cache;
    if (breaker_note_probe(&c->breaker, has_failed)) {
        cache_log(c, breaker_is_closed(&c->breaker) ? "the cache answers again"
                     : has_failed                   ? "the cache does not answer"
                                                    : "a probe of the cache was answered");
    }
    int64_t now = clock_ns();
    if (!has_failed) {
        io->probe_ms = (int)c->probe_ms;
        io->probe_at_ns = now + (int64_t)BETWEEN_PROBES_MS * NS_PER_MS;
        return;
    }
    uint64_t jitter = cache_random(c) % 50; /* so that the clients of a cache do not come at once */
    io->probe_at_ns = now + (int64_t)io->probe_ms * (int64_t)(75 + jitter) * (NS_PER_MS / 100);
    io->probe_ms *= 2;
    if (io->probe_ms > 4 * (int)c->probe_ms) {
        io->probe_ms = 4 * (int)c->probe_ms;
    }
}

void probes_start(struct io *io, int64_t now)
{
    struct lane *lane = &io->lanes[LANE_PROBES];
    bool is_due = !breaker_is_closed(&io->cache->breaker) && now >= io->probe_at_ns;
    if (!is_due || lane->waiting.first != NULL || lane->sending != NULL || lane->sent_count > 0) {
        return;
    }
    pthread_mutex_lock(&io->lock);
    struct job *j = job_new(JOB_PROBE, NULL, io->probe_name, io->probe_len);
    pthread_mutex_unlock(&io->lock);
    io->probe_at_ns = now + (int64_t)io->probe_ms * NS_PER_MS; /* if there is no memory */
    if (j != NULL) {
        lane->not_before_ns = 0;
        queue_put(&lane->waiting, j);
    }
}

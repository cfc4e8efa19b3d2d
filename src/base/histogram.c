/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

void histogram_sum_add(struct histogram_sum *to, const struct histogram *h)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->count[i] += metric_get(&h->count[i]);
    to->sum_ns += metric_get(&h->sum_ns);
}

static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

struct histogram_sum histogram_sum_since(const struct histogram_sum *now,
                                         const struct histogram_sum *before)
{
    struct histogram_sum s = {.sum_ns = more(now->sum_ns, before->sum_ns)};
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        s.count[i] = more(now->count[i], before->count[i]);
    return s;
}

uint64_t histogram_sum_count(const struct histogram_sum *s)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += s->count[i];
    return count;
}

uint64_t histogram_sum_quantile(const struct histogram_sum *s, unsigned permille)
{
    uint64_t all = histogram_sum_count(s), below = 0;
    double wanted = (double)all * permille / 1000;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (s->count[i] == 0 || (double)(below + s->count[i]) < wanted) {
            below += s->count[i];
            continue;
        }
        double from = i == 0 ? 0 : (double)histogram_bound(i - 1);
        double to = (double)histogram_bound(i); /* of the last one: as if it ended there */
        return (uint64_t)(from + (to - from) * (wanted - (double)below) / (double)s->count[i]);
    }
    return 0;
}

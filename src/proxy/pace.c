/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/pace.h"

#include "base/must.h"
#include "base/nsec.h"

/* Long enough to count on, short enough to follow a load that comes and goes. */
enum { PERIOD_US = 1000 };

void pace_init(struct pace *p, uint64_t rest_max, uint32_t share, uint64_t now)
{
    must(share > 0);
    *p =
        (struct pace){.rest_max = rest_max, .share = share, .period_began = now, .gap = NSEC_NEVER};
}

void pace_client_waits(struct pace *p)
{
    p->waiting++;
    p->begun++;
}

void pace_client_served(struct pace *p)
{
    must(p->waiting > 0);
    p->waiting--;
}

static void measure(struct pace *p, uint64_t now)
{
    uint64_t passed = now - p->period_began;
    if (passed < PERIOD_US * NSEC_US)
        return;
    p->gap = p->begun > 0 ? passed / p->begun : NSEC_NEVER;
    p->begun = 0;
    p->period_began = now;
}

enum pace_step pace_next(struct pace *p, uint64_t now, uint64_t *ret_rest)
{
    measure(p, now);
    /* After a rest that brought nothing there is nobody to gather. */
    if (p->empty_looks > 1 || p->gap > p->rest_max / PACE_REQUESTS_MIN)
        return PACE_WAIT;
    uint64_t rest = nsec_min(p->rest_max, p->waiting * p->gap / p->share);
    if (rest == 0 || rest < p->gap * PACE_REQUESTS_MIN)
        return PACE_WAIT;
    if (p->empty_looks == 0)
        return PACE_LOOK;
    *ret_rest = rest;
    return PACE_REST;
}

void pace_polled(struct pace *p, bool found)
{
    if (found)
        p->empty_looks = 0;
    else if (p->empty_looks < 2)
        p->empty_looks++;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is ejected, and who is not. A node that nothing was done to must stay in the ring, or a
 * stranger's fault costs its keys. One that is silent while requests wait must go in time: when
 * eject_misses deadlines were missed and eject_after is over (DESIGN 6), unless max_ejected keeps
 * it.
 */
#pragma once
#include "checker.h"
#include "cluster/control.h"

struct ejections {
    struct checker *checker;
    unsigned process;               /* whose views are looked at */
    struct control *control;        /* loan; NULL: nobody is ejected */
    uint64_t due[SIM_NODES_MAX];    /* when it is to be out of the ring; 0: nothing is known */
    unsigned before[SIM_NODES_MAX]; /* deadlines missed before it came (back) into the ring */
    uint64_t refused, refused_at;   /* node_ejections_refused, and when it last grew */
    uint64_t count, in_time;        /* for the summary: ejections seen; those with a due time */
};

void ejections_init(struct ejections *e, struct checker *checker, unsigned process,
                    struct control *control);
void ejections_check_view(struct ejections *e, const struct check_view *v);
/* Is anybody overdue? Asked whenever time has moved. */
void ejections_check(struct ejections *e);

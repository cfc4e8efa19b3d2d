/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the members are: told to the control plane by hand, or found by its discovery in a virtual
 * DNS whose answers change and fail. What must hold of the latter is checked with each view: a
 * member that its names never ceased to name is never taken away, whatever else DNS says.
 */
#pragma once
#include "checker.h"
#include "cluster/discovery.h"
#include "resolver_sim.h"

enum sources_kind {
    SOURCES_GIVEN, /* control_set_members() */
    SOURCES_DNS,   /* one name with the addresses of all */
    SOURCES_TWO,   /* half of them by one name, half by another */
    SOURCES_SRV,
    SOURCES_KINDS,
};

struct sources {
    struct io_sim *world;
    const struct sim_options *options;
    struct checker *checker;
    unsigned process;        /* whose views are looked at */
    struct control *control; /* loan */
    struct log *log;         /* loan */
    struct resolver_sim *dns;
    struct resolver *resolver;
    struct discovery *discovery; /* these three: NULL with SOURCES_GIVEN */
    bool named[SIM_NODES_MAX];   /* as DNS says; what it last said, where it says nothing at all */
    uint32_t weights[SIM_NODES_MAX]; /* … and as what, to who asks for services */
    bool was_removed[SIM_NODES_MAX]; /* at some time it was not named */
    bool seen[SIM_NODES_MAX];        /* in a view */
    uint64_t next_fault;             /* NSEC_NEVER: no more */
    uint64_t failures;               /* how often a question was made to fail */
};

/* `control` may be NULL. */
void sources_init(struct sources *s, struct io_sim *world, const struct sim_options *options,
                  struct checker *checker, unsigned process, struct control *control,
                  struct log *log);
/* Before the control plane is freed. */
void sources_fini(struct sources *s);

/* From now on these are the members; `weights` by node. With DNS the control plane hears of it when
 * it asks next. */
void sources_set(struct sources *s, const bool *present, const uint32_t *weights);
void sources_dropped(struct sources *s, const char *name); /* by the control plane */

struct addr sources_node_addr(unsigned node);
/* The number of the node that a view calls so. */
unsigned sources_node_of(const char *name);
void sources_check_view(struct sources *s, const struct view *v);
/* Are all nodes members of the newest view, each in its ring and of the weight that DNS says? */
bool sources_are_complete(const struct sources *s);

/* When it wants to be called next: DNS begins to fail, or to work again. */
uint64_t sources_next(const struct sources *s);
void sources_run(struct sources *s);
/* From now on DNS works. */
void sources_heal(struct sources *s);

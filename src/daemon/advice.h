/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a node, for a cache: rules over what INFO and CONFIG GET say of it, and over
 * all nodes together. Pure; what is printed of it and how nodes are asked: advise_command.c and
 * advise_node.c.
 *
 * What it reads came over a network: figures that are missing or no numbers are passed over.
 */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum advice_level {
    ADVICE_WRONG,  /* old values, failed writes, refused proxies: sumcache cannot keep its word */
    ADVICE_BETTER, /* it works, and costs memory, time or connections */
    ADVICE_NOTE,   /* nothing to be done, but to be known */
    ADVICE_LEVEL_COUNT
};

const char *advice_level_name(enum advice_level l);

enum {
    ADVICE_FINDINGS_MAX = 40, /* more than there are rules */
    ADVICE_WHAT_MAX = 400,
};

struct advice_finding {
    enum advice_level level;
    const char *id;             /* one word or two, the same in every version */
    char what[ADVICE_WHAT_MAX]; /* printable ASCII */
    const char *todo;
};

struct advice {
    struct advice_finding findings[ADVICE_FINDINGS_MAX];
    uint32_t count;
    uint32_t counts[ADVICE_LEVEL_COUNT];
};

struct advice_setting {
    struct str name, value;
};

/* Of one node. Texts are loans. */
struct advice_facts {
    struct str name; /* as the configuration has it */
    struct str host; /* what its address has without the port: nodes of one host share its memory */
    uint32_t weight;
    struct str info;                       /* INFO's text */
    const struct advice_setting *settings; /* CONFIG GET * */
    uint32_t setting_count;                /* 0: it would not tell; config_error says why */
    struct str config_error;
    bool is_denied;       /* protected mode turned us away; nothing else is known then */
    bool huge_pages;      /* LATENCY DOCTOR found some */
    bool host_huge_pages; /* the node is on this host, which gives them to all */
    uint32_t sampled;     /* keys that were looked at */
    uint64_t largest;     /* bytes that the largest of them takes */
    struct str largest_key;
};

/* A line of INFO ("maxmemory") or the value of a setting; p is NULL if there is none. */
struct str advice_info(const struct advice_facts *f, struct str name);
struct str advice_setting(const struct advice_facts *f, struct str name);
/* The number in a line of INFO, 0 if there is none. */
uint64_t advice_info_number(const struct advice_facts *f, struct str name);

/* Appends what there is to say of a node. */
void advice_of_node(const struct advice_facts *f, struct advice *a);
/* Appends what only shows when all are looked at. */
void advice_of_all(const struct advice_facts *nodes, uint32_t count, struct advice *a);

enum { ADVICE_SIZE_MAX = 32 };
/* "3.2 GB"; two or three figures. Returns `to`. */
char *advice_print_size(uint64_t bytes, char to[ADVICE_SIZE_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Micro benchmarks: what one request pays in the product's own code, piece by piece.
 *
 * A case is a loop over one piece. It is either timed, or run for two fixed numbers of rounds under
 * callgrind, where the difference of the two is the exact price of a round in instructions: neither
 * the set-up nor the call of the loop is in it. Every case checks what it gets, so that a change
 * which breaks it cannot pass for one that makes it faster. One thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MICRO_VARIANTS = 256,   /* different messages or keys that a case goes through in turn, so that
                               the branch predictor cannot learn one of them by heart */
    MICRO_COLD_ROUNDS = 64, /* of a cold case after each emptying of the caches: few enough that
                               they hardly touch a cache line twice */
};

struct micro_case {
    const char *name;  /* lower case, digits and '-': what results.md and run.py know it by */
    const char *what;  /* one line for the table */
    const void *shape; /* what make() builds; NULL where there is only one */
    unsigned ops;      /* things done in one round; figures are per thing */
    bool is_cold; /* timed only, with empty caches: its instructions are those of the warm one */

    void *(*make)(const struct micro_case *c); /* never NULL; the case owns it until end() */
    /* `rounds` is a multiple of MICRO_VARIANTS, but for a cold case: MICRO_COLD_ROUNDS. */
    void (*run)(void *state, uint64_t rounds);
    void (*end)(void *state);
};

/* The cases of one file; each list ends with a case that has no name. */
extern const struct micro_case MICRO_RESP_CASES[];
extern const struct micro_case MICRO_ROUTE_CASES[];
extern const struct micro_case MICRO_BUF_CASES[];
extern const struct micro_case MICRO_PROXY_CASES[];

/* c->run(), in a function with a name that callgrind can be told to look at. */
void micro_measured(const struct micro_case *c, void *state, uint64_t rounds);

/* Zeroed memory; ends the program if there is none. free() it. */
void *micro_alloc(size_t bytes);

/* The next number of a fixed sequence: the same in every run, which is what makes instruction
 * counts repeatable. `*state` starts at anything. */
uint64_t micro_random(uint64_t *state);

struct micro_text {
    char *bytes; /* owned */
    size_t len, room;
};

/* Adds to the text; it grows as it must. */
void micro_text_add(struct micro_text *t, const void *bytes, size_t len);
void micro_text_format(struct micro_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `$len` and so many random letters. */
void micro_text_add_bulk(struct micro_text *t, size_t len, uint64_t *random_state);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads replies as a client would: a parser of the simulator's own, written from the protocol and
 * not from src/resp, so that a mistake there cannot hide itself.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_ITEMS_MAX = 128 };

struct answer_item {
    char type; /* '+', '-', ':', '$', '_', '*', '%', '~', … */
    bool null; /* `$-1`, `*-1` or `_` */
    int64_t number;
    const char *text; /* loan: inside the bytes that were parsed */
    size_t len;
};

struct answer {
    struct answer_item top;
    uint32_t item_count; /* elements of the outermost aggregate; a map's are key, value, … */
    struct answer_item items[ANSWER_ITEMS_MAX]; /* the first of them; nested ones are skipped */
};

enum answer_result { ANSWER_MORE, ANSWER_READY, ANSWER_BAD };

/* The first reply in `bytes`. On READY *ret_used is its length; on MORE *ret_need is how many bytes
 * there must be at least before asking again is of use. */
enum answer_result answer_parse(const uint8_t *bytes, size_t len, struct answer *ret,
                                size_t *ret_used, size_t *ret_need);

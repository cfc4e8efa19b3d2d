/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tags of a value, each with the generation that it had: as they stand beside the value at its
 * node, "0123456789abcdef5:users" for each. Pure.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TAGS_MAX = 64,       /* of one value, or named in one command */
    TAG_NAME_MAX = 512,  /* bytes */
    TAG_GENERATION = 16, /* bytes: hexadecimal digits, lower case */
    TAG_ENTRY_MAX = TAG_GENERATION + 4 + TAG_NAME_MAX,
    TAG_KEY_MAX = 16 + TAG_NAME_MAX,
};

struct tag {
    struct str name, generation; /* loans */
};

bool tag_is_generation(struct str s);

/* The key under which a tag's generation lies. Returns its length. The name is at most TAG_NAME_MAX
 * long. */
size_t tag_key(struct str name, char to[TAG_KEY_MAX]);

/* One entry. Returns its length. */
size_t tag_entry(const struct tag *t, char to[TAG_ENTRY_MAX]);

/* Takes the list apart; the tags are loans of it. → how many, or -EBADMSG: it is no such list. */
int tag_list_read(struct str list, struct tag to[TAGS_MAX]) MUST_CHECK;

/* A generation of these bits. */
void tag_generation(uint64_t bits, char to[TAG_GENERATION + 1]);

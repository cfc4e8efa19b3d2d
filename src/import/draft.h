/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an import has come to so far: the document that is read, the settings that it gave, and what
 * there is to say. Private to src/import.
 *
 * Without memory it goes on as if nothing had happened; draft_finish() tells.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "import/import.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

enum {
    DRAFT_NOTES_MAX = 1000,
    DRAFT_ITEMS_MAX = 8192, /* settings and items of lists: 4096 nodes are the most there may be */
    DRAFT_TEXT_MAX = 640,
};

struct draft_item {
    char setting[32]; /* "timeouts.request" */
    char *value;      /* owned */
    bool listed;
};

struct draft {
    yaml_document_t *doc;
    const char *wanted; /* the name that was asked for; NULL: none */
    struct draft_item *items;
    size_t item_count, item_room;
    struct import_note *notes;
    size_t note_count, note_room;
    struct import_note refusal;
    bool failed; /* it cannot be turned into ours: `refusal` says why */
    bool no_memory;
};

void draft_fini(struct draft *d);
/* Writes the settings as our YAML; ownership of it and of the notes goes to *ret. */
int draft_finish(struct draft *d, struct import_result *ret) MUST_CHECK;

/* Sets `setting`, in the place of what was set before; adds an item to the list `setting`. */
void draft_set(struct draft *d, const char *setting, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void draft_add(struct draft *d, const char *setting, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t draft_count(const struct draft *d, const char *setting); /* how often it was added */

/* Says something about a place; `at` NULL: about none. */
void draft_note(struct draft *d, const yaml_node_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and there will be no result. */
void draft_refuse(struct draft *d, const yaml_node_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- the document ---- */

/* A key of a block: taken by a function, or only spoken of, or (neither) a label without a meaning
 * here. Keys are compared without case and '_', for protobuf's JSON writes loadAssignment too. */
struct draft_field {
    const char *name;
    void (*take)(struct draft *d, const yaml_node_t *value);
    const char *said; /* why it is not kept, and what is there instead */
};

/* Each key of the block `node`, called `where`; what the table lacks is said. */
void draft_walk(struct draft *d, const yaml_node_t *node, const char *where,
                const struct draft_field *fields, size_t count);

/* The value behind a key of a block, NULL if there is none or `node` is no block. `ret_key` may be
 * NULL. */
const yaml_node_t *draft_get(const struct draft *d, const yaml_node_t *node, const char *key);
/* By a path of keys, "socket_address.port_value". */
const yaml_node_t *draft_find(const struct draft *d, const yaml_node_t *node, const char *path);
/* The index-th item of a list, NULL behind the last one. What is no list has itself as its only
 * item. */
const yaml_node_t *draft_item_of(const struct draft *d, const yaml_node_t *list, size_t index);

/* The text of a scalar, empty if `node` is NULL or something else. */
struct str draft_text(const yaml_node_t *node);
/* The same, cut and made printable for a message. Returns `to`. */
enum { DRAFT_SHOWN_MAX = 64 };
char *draft_show(const yaml_node_t *node, char to[DRAFT_SHOWN_MAX]);
bool draft_is_true(const yaml_node_t *node);
bool draft_key_eq(struct str key, const char *name);

/* A whole number, or NULL's `otherwise`. False: noted. */
bool draft_number(struct draft *d, const yaml_node_t *node, uint64_t max, uint64_t *ret);
/* Sets a duration, kept inside what ours allows (0: it must not be 0); says so if it was not
 * inside.
 */
void draft_set_duration(struct draft *d, const yaml_node_t *at, const char *setting, uint64_t ns,
                        uint64_t min_ns, uint64_t max_ns);
/* "0.25s" of protobuf. False: noted. */
bool draft_seconds(struct draft *d, const yaml_node_t *node, uint64_t *ret_ns);

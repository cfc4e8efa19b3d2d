/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been loaded through us at all nodes, scripts and functions, in its order: what a node
 * needs that was not there, or has lost it. What a later command has overtaken is not kept, so
 * doing all of it again, from any number on, ends where a node that saw everything is.
 *
 * Bounded by bytes. Scripts are forgotten first, the oldest first, for clients send those again
 * when they are missed (NOSCRIPT); functions are not, and what has no room is not kept.
 *
 * The control plane's thread.
 */
#pragma once
#include "base/cleanup.h"
#include "base/list.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum script_kind {
    SCRIPT_LOADED,     /* name: its SHA1; body: the script */
    SCRIPTS_FLUSHED,   /* no name, no body */
    FUNCTION_LOADED,   /* name: of the library; body: its code */
    FUNCTION_DELETED,  /* name */
    FUNCTIONS_FLUSHED, /* no name, no body */
    FUNCTIONS_RESTORED /* body: what FUNCTION DUMP gave; it replaces libraries of the same names */
};

struct script_entry {
    struct list link;
    uint64_t number; /* grows along the list */
    uint8_t kind;    /* enum script_kind */
    size_t name_len, body_len;
    char bytes[]; /* the name, then the body */
};

struct scripts {
    struct list entries; /* struct script_entry, in order */
    uint64_t last;       /* the newest number; 0: there was never any */
    size_t count, bytes, bytes_max;
    uint64_t forgotten; /* entries that had no room */
};

void scripts_init(struct scripts *s, size_t bytes_max);
void scripts_fini(struct scripts *s);

/* Takes a copy. True: it has a new number, scripts.last; false: it is there already, or there is no
 * room (counted in `forgotten`) or no memory (the same). */
bool scripts_add(struct scripts *s, enum script_kind kind, struct str name, struct str body);

/* The first entry with a number above; NULL: there is none. */
struct script_entry *scripts_after(const struct scripts *s, uint64_t number);

static inline struct str script_name(const struct script_entry *e)
{
    return (struct str){e->bytes, e->name_len};
}

static inline struct str script_body(const struct script_entry *e)
{
    return (struct str){e->bytes + e->name_len, e->body_len};
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: keys that were written while their slot was not at its home, or on its way.
 *
 * The rule that it keeps (docs/decisions/0007): a node that does not own a slot holds no value of
 * it that could become an old one, unless it is the slot's home or the journal has the key. So when
 * a slot changes its owner, it is enough to UNLINK the journal's keys of that slot at the new one.
 *
 * An entry says where its key was written away from home (at most JOURNAL_HOLDERS nodes), and at
 * which node it was UNLINKed since. Bounded in bytes; what does not fit is not taken, and its user
 * has to do without (mover.c, `lost`). Pure; one thread.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOURNAL_HOLDERS = 3, JOURNAL_NO_NODE = UINT16_MAX };

struct journal_entry {
    struct journal_entry *next;        /* of the same slot */
    uint64_t hash;                     /* of the whole key and its database */
    uint16_t holders[JOURNAL_HOLDERS]; /* node numbers; JOURNAL_NO_NODE: none */
    uint16_t clean; /* the node at which it was UNLINKed, and that holds nothing old of it since */
    uint8_t database;
    bool elsewhere; /* it was written away from home, and not there, since it was UNLINKed there */
    bool again;     /* it was, or may have been, written there since it was UNLINKed there */
    uint32_t len;
    char key[];
};

struct journal {
    struct journal_entry **slots; /* owned; by slot; NULL: nothing was ever noted */
    size_t bytes, bytes_max;
    uint64_t count;
};

void journal_init(struct journal *j, size_t bytes_max);
void journal_fini(struct journal *j);
void journal_clear(struct journal *j);

/* The key was, or may have been, written at `node` (JOURNAL_NO_NODE: at its home). `dirty`: what
 * was UNLINKed elsewhere may be there again. 0; -ENOSPC or -ENOMEM: it is not noted. */
int journal_note(struct journal *j, uint32_t slot, uint8_t database, struct str key, uint16_t node,
                 bool dirty) MUST_CHECK;

/* Is (or may be) a copy of it at `node`? */
bool journal_entry_is_at(const struct journal_entry *e, uint16_t node);

/* `node` holds no copy of it any more. */
void journal_entry_forget(struct journal_entry *e, uint16_t node);
/* Is there a copy of it away from home? */
bool journal_entry_is_anywhere(const struct journal_entry *e);

static inline struct journal_entry *journal_slot(const struct journal *j, uint32_t slot)
{
    return j->slots ? j->slots[slot] : NULL;
}

/* Takes out and frees the entries of a slot for which `done` says yes. */
void journal_drop(struct journal *j, uint32_t slot,
                  bool (*done)(void *owner, struct journal_entry *e), void *owner);

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/journal.h"

#include "base/must.h"
#include "ring/key_hash.h"
#include "ring/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* So that one key in several databases has as many hashes. */
#define HASH_OF_DATABASE UINT64_C(0x9e3779b97f4a7c15)

void journal_init(struct journal *j, size_t bytes_max)
{
    *j = (struct journal){.bytes_max = bytes_max};
}

/* What malloc takes for it, about. */
static size_t entry_bytes(size_t key_len)
{
    return sizeof(struct journal_entry) + key_len + 16;
}

static void free_entry(struct journal *j, struct journal_entry *e)
{
    j->bytes -= entry_bytes(e->len);
    j->count--;
    free(e);
}

void journal_clear(struct journal *j)
{
    for (uint32_t slot = 0; j->count > 0; slot++) {
        must(slot < MAGLEV_SLOTS);
        while (j->slots[slot]) {
            struct journal_entry *e = j->slots[slot];
            j->slots[slot] = e->next;
            free_entry(j, e);
        }
    }
    must(j->bytes == 0);
}

void journal_fini(struct journal *j)
{
    journal_clear(j);
    free(take_ptr(j->slots));
}

static struct journal_entry *find(const struct journal *j, uint32_t slot, uint64_t hash,
                                  uint8_t database, struct str key)
{
    struct journal_entry *e = j->slots[slot];
    while (e && (e->hash != hash || e->database != database ||
                 !str_eq((struct str){e->key, e->len}, key)))
        e = e->next;
    return e;
}

static int add_holder(struct journal_entry *e, uint16_t node)
{
    if (node == JOURNAL_NO_NODE || journal_entry_is_at(e, node))
        return 0;
    for (unsigned i = 0; i < JOURNAL_HOLDERS; i++) {
        if (e->holders[i] == JOURNAL_NO_NODE) {
            e->holders[i] = node;
            return 0;
        }
    }
    return -ENOSPC;
}

int journal_note(struct journal *j, uint32_t slot, uint8_t database, struct str key, uint16_t node,
                 bool dirty)
{
    must(slot < MAGLEV_SLOTS);
    if (!j->slots) {
        j->slots = calloc(MAGLEV_SLOTS, sizeof(struct journal_entry *));
        if (!j->slots)
            return -ENOMEM;
    }
    uint64_t hash = key_hash(key, false) ^ database * HASH_OF_DATABASE;
    struct journal_entry *e = find(j, slot, hash, database, key);
    if (!e) {
        if (key.len > UINT32_MAX || j->bytes + entry_bytes(key.len) > j->bytes_max)
            return -ENOSPC;
        e = malloc(sizeof(*e) + key.len);
        if (!e)
            return -ENOMEM;
        *e = (struct journal_entry){.next = j->slots[slot],
                                    .hash = hash,
                                    .clean = JOURNAL_NO_NODE,
                                    .database = database,
                                    .len = (uint32_t)key.len};
        for (unsigned i = 0; i < JOURNAL_HOLDERS; i++)
            e->holders[i] = JOURNAL_NO_NODE;
        if (key.len > 0)
            memcpy(e->key, key.p, key.len);
        j->slots[slot] = e;
        j->bytes += entry_bytes(key.len);
        j->count++;
    }
    if (dirty)
        e->clean = JOURNAL_NO_NODE;
    e->elsewhere |= node != JOURNAL_NO_NODE && node != e->clean;
    e->again |= node != JOURNAL_NO_NODE && node == e->clean;
    return add_holder(e, node);
}

bool journal_entry_is_at(const struct journal_entry *e, uint16_t node)
{
    for (unsigned i = 0; i < JOURNAL_HOLDERS; i++)
        if (e->holders[i] == node)
            return true;
    return false;
}

void journal_entry_forget(struct journal_entry *e, uint16_t node)
{
    for (unsigned i = 0; i < JOURNAL_HOLDERS; i++)
        if (e->holders[i] == node)
            e->holders[i] = JOURNAL_NO_NODE;
}

bool journal_entry_is_anywhere(const struct journal_entry *e)
{
    for (unsigned i = 0; i < JOURNAL_HOLDERS; i++)
        if (e->holders[i] != JOURNAL_NO_NODE)
            return true;
    return false;
}

void journal_drop(struct journal *j, uint32_t slot,
                  bool (*done)(void *owner, struct journal_entry *e), void *owner)
{
    if (!j->slots)
        return;
    struct journal_entry **at = &j->slots[slot];
    while (*at) {
        struct journal_entry *e = *at;
        if (done(owner, e)) {
            *at = e->next;
            free_entry(j, e);
        } else {
            at = &e->next;
        }
    }
}

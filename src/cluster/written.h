/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker notes while slots are away from home: keys it sends writes for, and where to. A
 * batch is filled by the worker and given to the control plane, before the worker says that it has
 * adopted the next view; so whoever has all answers to a view has all keys written under the views
 * before.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "net/mailbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct written {
    struct message message;
    uint64_t version; /* of the view that it was written under */
    bool lost;        /* some did not fit into memory */
    size_t len, room;
    uint8_t *bytes; /* owned: records */
};

struct written_record {
    uint32_t slot;
    uint32_t node; /* its number */
    uint8_t database;
    struct str key; /* loan */
};

/* An empty batch. NULL: out of memory. */
struct written *written_new(uint64_t version);
struct written *written_free(struct written *w);

/* What does not fit into memory is remembered in w->lost. */
void written_add(struct written *w, uint32_t slot, uint32_t node, uint8_t database, struct str key);

/* The record at *at, which moves on. False: there are no more. Start at 0. */
bool written_next(const struct written *w, size_t *at, struct written_record *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/written.h"

#include "base/must.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 1024 };

struct header {
    uint32_t slot, node;
    uint64_t len;
    uint64_t database;
};

struct written *written_new(uint64_t version)
{
    struct written *w = calloc(1, sizeof(*w));
    if (w)
        w->version = version;
    return w;
}

struct written *written_free(struct written *w)
{
    if (w)
        free(w->bytes);
    free(w);
    return NULL;
}

void written_add(struct written *w, uint32_t slot, uint32_t node, uint8_t database, struct str key)
{
    struct header h = {slot, node, key.len, database};
    size_t need = w->len + sizeof(h) + key.len;
    if (need > w->room) {
        size_t room = w->room ? w->room : ROOM_MIN;
        while (room < need)
            room *= 2;
        uint8_t *bytes = realloc(w->bytes, room);
        if (!bytes) {
            w->lost = true;
            return;
        }
        w->bytes = bytes;
        w->room = room;
    }
    memcpy(w->bytes + w->len, &h, sizeof(h));
    if (key.len > 0)
        memcpy(w->bytes + w->len + sizeof(h), key.p, key.len);
    w->len = need;
}

bool written_next(const struct written *w, size_t *at, struct written_record *ret)
{
    if (*at == w->len)
        return false;
    struct header h;
    must(w->len - *at >= sizeof(h));
    memcpy(&h, w->bytes + *at, sizeof(h));
    *ret = (struct written_record){h.slot,
                                   h.node,
                                   (uint8_t)h.database,
                                   {(const char *)w->bytes + *at + sizeof(h), (size_t)h.len}};
    *at += sizeof(h) + (size_t)h.len;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, their values and versions, and what a value that was read says about the cache. */
#include "failover_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 64 * 1024 }; /* where in the text a body may begin */

static const char key_format[] = "fo:%08" PRIu32;

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void failover_key_name(uint32_t key, char to[FAILOVER_KEY_NAME_MAX])
{
    snprintf(to, FAILOVER_KEY_NAME_MAX, key_format, key % FAILOVER_KEYS_MAX);
}

void failover_keys_init(struct failover_keys *k, const struct failover_options *options,
                        uint32_t write_max)
{
    size_t text_len = PLACES + FAILOVER_VALUE_MAX;

    *k = (struct failover_keys){.count = options->key_count,
                                .write_max = write_max,
                                .value_min = options->value_min,
                                .value_max = options->value_max};
    k->list = failover_alloc(k->count, sizeof(*k->list));
    k->writes = failover_alloc(write_max, sizeof(*k->writes));
    k->text = failover_alloc(text_len, 1);
    for (size_t i = 0; i < text_len; i++)
        k->text[i] = (char)('a' + mix(i) % 26); /* readable, for whoever looks into a node */
    for (uint32_t i = 0; i < k->count; i++) {
        k->list[i].last_write = FAILOVER_NONE;
        k->list[i].node = FAILOVER_NO_NODE;
    }
}

void failover_keys_fini(struct failover_keys *k)
{
    free(k->list);
    free(k->writes);
    free(k->text);
}

uint8_t failover_keys_node(const struct failover_keys *k, const char *name)
{
    for (unsigned i = 0; i < k->node_count; i++) {
        if (strcmp(k->node_names[i], name) == 0)
            return (uint8_t)i;
    }
    return FAILOVER_NO_NODE;
}

/* The number of a node by its name, which is new or known; FAILOVER_NO_NODE: there are too many. */
static uint8_t node_number(struct failover_keys *k, const char *name)
{
    uint8_t known = failover_keys_node(k, name);

    if (known != FAILOVER_NO_NODE || k->node_count == FAILOVER_NODES_MAX)
        return known;
    snprintf(k->node_names[k->node_count], FAILOVER_NAME_MAX, "%s", name);
    return (uint8_t)k->node_count++;
}

int failover_keys_map(struct failover_keys *k, const char *path)
{
    char line[256];
    uint32_t found = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file)) {
        uint32_t key;
        char name[FAILOVER_NAME_MAX];
        if (sscanf(line, "fo:%8" SCNu32 "\t%63s", &key, name) == 2 && key < k->count) {
            k->list[key].node = node_number(k, name);
            found++;
        }
    }
    int err = ferror(file) ? -EIO : 0;
    fclose(file);
    if (err)
        return err;
    return found > 0 ? 0 : -ENOENT;
}

/* Two versions of a key rarely have the same length or the same place in the text. */
size_t failover_value_write(const struct failover_keys *k, uint32_t key, uint32_t version, char *to)
{
    uint64_t drawn = mix((uint64_t)key << 32 | version);
    size_t len = k->value_min + (uint32_t)(drawn >> 32) % (k->value_max - k->value_min + 1);
    char name[FAILOVER_KEY_NAME_MAX];
    char head[FAILOVER_VALUE_MIN];

    failover_key_name(key, name);
    int head_len = snprintf(head, sizeof(head), "%s v%" PRIu32 " %zu ", name, version, len);
    memcpy(to, head, (size_t)head_len);
    memcpy(to + head_len, k->text + drawn % PLACES, len - (size_t)head_len);
    return len;
}

uint32_t failover_key_floor(const struct failover_key *key)
{
    uint32_t floor = 0;

    for (unsigned i = 0; i < FAILOVER_ADDRESSES_MAX; i++) {
        if (key->acknowledged[i] > floor)
            floor = key->acknowledged[i];
    }
    return floor;
}

uint32_t failover_write_begin(struct failover_keys *k, uint32_t key, enum failover_command command,
                              unsigned address)
{
    struct failover_key *of = &k->list[key];
    uint32_t number = k->write_count++;

    k->writes[number] = (struct failover_write){.key = key,
                                                .version = ++of->newest,
                                                .before = of->last_write,
                                                .command = (uint8_t)command,
                                                .address = (uint8_t)address};
    of->last_write = number;
    of->is_busy = true;
    return number;
}

void failover_write_end(struct failover_keys *k, uint32_t write, bool is_acknowledged,
                        uint64_t now_ns)
{
    struct failover_write *w = &k->writes[write];
    struct failover_key *of = &k->list[w->key];

    w->state = is_acknowledged ? FAILOVER_WRITE_ACKNOWLEDGED : FAILOVER_WRITE_FAILED;
    w->answered_ns = now_ns;
    of->is_busy = false;
    if (is_acknowledged)
        of->acknowledged[w->address] = w->version; /* one at a time: it is the highest */
}

const struct failover_write *failover_write_find(const struct failover_keys *k, uint32_t key,
                                                 uint32_t version)
{
    uint32_t number = k->list[key].last_write;

    while (number != FAILOVER_NONE && k->writes[number].version != version)
        number = k->writes[number].before;
    return number != FAILOVER_NONE ? &k->writes[number] : NULL;
}

/* The version that a value names, if it begins as a value of this key does; else 0. */
static uint32_t version_read(uint32_t key, const char *value, size_t len)
{
    char begin[FAILOVER_KEY_NAME_MAX + 4];
    char name[FAILOVER_KEY_NAME_MAX];
    uint64_t version = 0;

    failover_key_name(key, name);
    size_t at = (size_t)snprintf(begin, sizeof(begin), "%s v", name);
    if (len < at || memcmp(value, begin, at) != 0)
        return 0;
    while (at < len && value[at] >= '0' && value[at] <= '9' && version <= UINT32_MAX)
        version = 10 * version + (uint64_t)(value[at++] - '0');
    return version <= UINT32_MAX ? (uint32_t)version : 0;
}

unsigned failover_judge(const struct failover_keys *k, uint32_t key, const char *value, size_t len,
                        uint32_t floor, uint32_t floor_same, uint32_t *ret_version)
{
    char expected[FAILOVER_VALUE_MAX];
    uint32_t version = version_read(key, value, len);

    *ret_version = 0;
    if (version == 0 || version > k->list[key].newest)
        return FAILOVER_WRONG;
    const struct failover_write *w = failover_write_find(k, key, version);
    if (w && w->command == FAILOVER_DEL)
        return FAILOVER_WRONG;
    if (failover_value_write(k, key, version, expected) != len || memcmp(expected, value, len) != 0)
        return FAILOVER_WRONG;
    *ret_version = version;
    if (version < floor_same)
        return FAILOVER_STALE;
    return version < floor ? FAILOVER_STALE_OTHER : 0;
}

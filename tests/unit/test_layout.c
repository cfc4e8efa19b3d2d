/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/layout.h"

#include "base/must.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NODES_MAX = 600, KEYS_MAX = 1000, LINE_MAX_ = 4096 };

struct fleet {
    char names[NODES_MAX][32], ids[NODES_MAX][100];
    struct layout_node nodes[NODES_MAX];
    struct maglev_node present[NODES_MAX];
    size_t count;
};

static void fleet_add(struct fleet *f, const char *id, uint32_t weight)
{
    must(f->count < NODES_MAX);
    size_t i = f->count++;
    snprintf(f->names[i], sizeof(f->names[i]), "10.0.%zu.%zu:6379", i / 250, i % 250);
    snprintf(f->ids[i], sizeof(f->ids[i]), "%s", id);
    f->nodes[i] = (struct layout_node){str_of(f->names[i]), str_of(f->ids[i]), weight};
    f->present[i] = (struct maglev_node){f->nodes[i].name, weight};
}

static struct fleet *fleet_new(size_t count)
{
    struct fleet *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    for (size_t i = 0; i < count; i++) {
        char id[32];
        snprintf(id, sizeof(id), "node-%zu", i);
        fleet_add(f, id, 1);
    }
    return f;
}

static struct layout *make(const struct fleet *f, enum layout_kind kind, enum hash32_kind hash)
{
    struct layout *l = NULL;
    assert_int_equal(layout_new(kind, hash, f->nodes, f->count, &l), 0);
    return l;
}

static uint16_t *owners_of(const struct layout *l, const struct maglev_node *nodes, size_t count)
{
    uint16_t *owners = malloc(MAGLEV_SLOTS * sizeof(*owners));
    assert_non_null(owners);
    assert_int_equal(layout_owners(l, nodes, count, owners), 0);
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        assert_true(owners[i] < count);
    return owners;
}

/* ---- what twemproxy did ---- */

struct vectors {
    FILE *file;
    char line[LINE_MAX_];
    char keys[KEYS_MAX][600];
    size_t lens[KEYS_MAX], count;
};

static bool next_line(struct vectors *v)
{
    while (fgets(v->line, sizeof(v->line), v->file)) {
        v->line[strcspn(v->line, "\n")] = '\0';
        if (v->line[0] != '#')
            return true;
    }
    return false;
}

static void read_keys(struct vectors *v)
{
    assert_true(next_line(v));
    assert_int_equal(sscanf(v->line, "keys %zu", &v->count), 1);
    assert_in_range(v->count, 300, KEYS_MAX);
    for (size_t i = 0; i < v->count; i++) {
        assert_true(next_line(v));
        for (const char *p = v->line; *p; p += 2) {
            unsigned byte;
            assert_int_equal(sscanf(p, "%2x", &byte), 1);
            assert_in_range(v->lens[i], 0, sizeof(v->keys[i]) - 1);
            v->keys[i][v->lens[i]++] = (char)byte;
        }
    }
}

static enum hash32_kind hash_of(const char *name)
{
    enum hash32_kind kind = hash32_find(str_of(name));
    assert_true(kind < HASH32_KINDS);
    return kind;
}

static void check_pool(struct vectors *v)
{
    char kind[16], hash[20], tags[8];
    assert_int_equal(sscanf(v->line, "pool %15s %19s %7s", kind, hash, tags), 3);
    struct fleet *f = fleet_new(0);
    while (next_line(v) && strncmp(v->line, "server ", 7) == 0) {
        char id[100];
        unsigned weight;
        assert_int_equal(sscanf(v->line, "server %99s %u", id, &weight), 2);
        fleet_add(f, id, weight);
    }
    assert_memory_equal(v->line, "owners ", 7);
    struct layout *l =
        make(f, strcmp(kind, "ketama") == 0 ? LAYOUT_KETAMA : LAYOUT_MODULA, hash_of(hash));
    uint16_t *owners = owners_of(l, f->present, f->count);
    for (size_t i = 0; i < v->count; i++) {
        struct str key = {v->keys[i], v->lens[i]};
        uint64_t slot = layout_hash(l, key, strcmp(tags, "tags") == 0);
        assert_true(slot < MAGLEV_SLOTS);
        if (owners[maglev_slot(slot)] != v->line[7 + i] - '0')
            fail_msg("%s %s %s: key %zu is at %u, twemproxy has it at %c", kind, hash, tags, i,
                     owners[slot], v->line[7 + i]);
    }
    assert_int_equal(strlen(v->line), 7 + v->count);
    free(owners);
    layout_free(l);
    free(f);
}

static void test_keys_are_where_twemproxy_puts_them(void **state)
{
    (void)state;
    struct vectors *v = calloc(1, sizeof(*v));
    assert_non_null(v);
    v->file = fopen(VECTORS_DIR "/twemproxy.txt", "r");
    assert_non_null(v->file);
    read_keys(v);
    unsigned pools = 0;
    for (; next_line(v); pools++)
        check_pool(v);
    assert_true(pools >= 2 * HASH32_KINDS);
    fclose(v->file);
    free(v);
}

/* ---- what must hold beside ---- */

/* With a node out only its slots move, and all of them do; with it back all is as before. */
static void check_outage(enum layout_kind kind)
{
    struct fleet *f = fleet_new(7);
    struct layout *l = make(f, kind, HASH32_MURMUR);
    uint16_t *whole = owners_of(l, f->present, f->count);
    for (size_t out = 0; out < f->count; out++) {
        f->present[out].weight = 0;
        uint16_t *rest = owners_of(l, f->present, f->count);
        uint32_t inherited[7] = {0};
        for (uint32_t i = 0; i < MAGLEV_SLOTS; i++) {
            assert_true(rest[i] != out);
            if (whole[i] != out)
                assert_int_equal(rest[i], whole[i]);
            else
                inherited[rest[i]]++;
        }
        for (size_t i = 0; i < f->count; i++)
            if (i != out)
                assert_in_range(inherited[i], MAGLEV_SLOTS / 7 / 6 / 4, MAGLEV_SLOTS / 7);
        free(rest);
        f->present[out].weight = 1;
    }
    uint16_t *again = owners_of(l, f->present, f->count);
    assert_memory_equal(again, whole, MAGLEV_SLOTS * sizeof(*whole));
    free(again);
    free(whole);
    layout_free(l);
    free(f);
}

static void test_a_node_that_is_out_moves_its_slots_alone(void **state)
{
    (void)state;
    check_outage(LAYOUT_KETAMA);
    check_outage(LAYOUT_MODULA);
}

/* The count of slots says how large a share is, about. */
static void test_slots_are_about_equally_wide(void **state)
{
    (void)state;
    struct fleet *f = fleet_new(4);
    struct layout *l = make(f, LAYOUT_KETAMA, HASH32_MURMUR);
    uint16_t *owners = owners_of(l, f->present, f->count);
    enum { KEYS = 200000 };
    double slots[4] = {0}, keys[4] = {0};
    for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
        slots[owners[i]] += 100.0 / MAGLEV_SLOTS;
    for (int i = 0; i < KEYS; i++) {
        char key[20];
        int len = snprintf(key, sizeof(key), "key:%d", i);
        keys[owners[layout_hash(l, (struct str){key, (size_t)len}, true)]] += 100.0 / KEYS;
    }
    for (int i = 0; i < 4; i++)
        assert_true(slots[i] > keys[i] - 0.7 && slots[i] < keys[i] + 0.7);
    free(owners);
    layout_free(l);
    free(f);
}

/* Nodes may come in any order, in the layout and when it is asked. */
static void test_order_does_not_matter(void **state)
{
    (void)state;
    static const enum layout_kind KINDS[] = {LAYOUT_MAGLEV, LAYOUT_KETAMA, LAYOUT_MODULA};
    for (size_t k = 0; k < 3; k++) {
        struct fleet *f = fleet_new(5);
        f->nodes[1].weight = f->present[1].weight = 3;
        struct layout *l = make(f, KINDS[k], HASH32_MD5);
        struct layout_node nodes[5];
        struct maglev_node present[5];
        for (size_t i = 0; i < 5; i++) {
            nodes[i] = f->nodes[4 - i];
            present[i] = f->present[4 - i];
        }
        struct layout *other = NULL;
        assert_int_equal(layout_new(KINDS[k], HASH32_MD5, nodes, 5, &other), 0);
        uint16_t *a = owners_of(l, f->present, 5), *b = owners_of(other, present, 5);
        for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
            assert_int_equal(a[i], 4 - b[i]);
        free(a);
        free(b);
        layout_free(l);
        layout_free(other);
        free(f);
    }
}

/* Maglev by ids is Maglev: the names do not count. */
static void test_ids_place_nodes_with_maglev(void **state)
{
    (void)state;
    struct fleet *f = fleet_new(3);
    struct layout *l = make(f, LAYOUT_MAGLEV, HASH32_MURMUR);
    struct maglev_node by_id[3];
    for (size_t i = 0; i < 3; i++)
        by_id[i] = (struct maglev_node){f->nodes[i].id, 1};
    uint16_t *a = owners_of(l, f->present, 3), *b = owners_of(NULL, by_id, 3);
    assert_memory_equal(a, b, MAGLEV_SLOTS * sizeof(*a));
    assert_true(layout_hash(l, STR("{a}b"), true) == key_hash(STR("a"), false));
    assert_true(layout_hash(NULL, STR("{a}b"), false) == key_hash(STR("{a}b"), false));
    free(a);
    free(b);
    layout_free(l);
    free(f);
}

/* Envoy's own placement of keys over 10.0.0.1:6379 to 10.0.0.5:6379, which are the ids here while
 * the nodes are called something else: its use_hostname_for_hashing and hash_key come to that. */
static void test_ids_are_envoys_host_names(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool tags;
        unsigned of5;
    } CASES[] = {
        {"foo", true, 2},
        {"bar", true, 5},
        {"lyft", false, 4},
        {"", false, 2},
        {"user:1001", true, 5},
        {"{user1000}.following", false, 3},
        {"{user1000}.followers", false, 5},
        {"{user1000}.following", true, 4},
        {"{user1000}.followers", true, 4},
        {"image:42", true, 3},
    };
    struct fleet *f = fleet_new(0);
    for (int i = 1; i <= 5; i++) {
        char id[32];
        snprintf(id, sizeof(id), "10.0.0.%d:6379", i);
        fleet_add(f, id, 1);
    }
    for (size_t i = 0; i < f->count; i++) {
        snprintf(f->names[i], sizeof(f->names[i]), "pod-%zu.cache:6379", 9 - i);
        f->nodes[i].name = f->present[i].id = str_of(f->names[i]);
    }
    struct layout *l = make(f, LAYOUT_MAGLEV, HASH32_MURMUR);
    uint16_t *owners = owners_of(l, f->present, f->count);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        uint64_t hash = layout_hash(l, str_of(CASES[i].key), CASES[i].tags);
        assert_int_equal(owners[maglev_slot(hash)] + 1, CASES[i].of5);
    }
    free(owners);
    layout_free(l);
    free(f);
}

/* Who is not in the layout has no slot, but all of them if nobody else is there. */
static void test_strangers(void **state)
{
    (void)state;
    static const enum layout_kind KINDS[] = {LAYOUT_KETAMA, LAYOUT_MODULA};
    for (size_t k = 0; k < 2; k++) {
        struct fleet *f = fleet_new(2);
        struct layout *l = make(f, KINDS[k], HASH32_MD5);
        struct maglev_node nodes[] = {{STR("stranger:1"), 5}, {f->nodes[1].name, 1}};
        uint16_t *owners = owners_of(l, nodes, 2);
        for (uint32_t i = 0; i < MAGLEV_SLOTS; i++)
            assert_int_equal(owners[i], 1);
        free(owners);
        owners = owners_of(l, nodes, 1);
        assert_int_equal(owners[7], 0);
        free(owners);
        nodes[0].weight = 0;
        uint16_t none[1];
        assert_int_equal(layout_owners(l, nodes, 1, none), -EINVAL);
        layout_free(l);
        free(f);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct layout *const untouched = (struct layout *)(void *)&state;
    struct layout *l = untouched;
    struct fleet *f = fleet_new(410);
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes, 0, &l), -EINVAL);
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes, 410, &l), -E2BIG);
    f->nodes[0].weight = MAGLEV_SLOTS;
    assert_int_equal(layout_new(LAYOUT_MODULA, HASH32_MD5, f->nodes, 2, &l), -E2BIG);
    f->nodes[0].weight = 0;
    assert_int_equal(layout_new(LAYOUT_MODULA, HASH32_MD5, f->nodes, 2, &l), -EINVAL);
    f->nodes[0] = f->nodes[1];
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes, 2, &l), -EINVAL);
    memset(f->ids[1], 'x', LAYOUT_KETAMA_ID_MAX + 1);
    f->nodes[1].id = (struct str){f->ids[1], LAYOUT_KETAMA_ID_MAX + 1};
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes, 2, &l), -EINVAL);
    assert_ptr_equal(l, untouched);
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes + 1, 1, &l), -EINVAL);
    f->nodes[1].id.len--;
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes + 1, 1, &l), 0);
    assert_null(layout_free(l));
    assert_int_equal(layout_new(LAYOUT_KETAMA, HASH32_MD5, f->nodes + 1, 409, &l), 0);
    assert_null(layout_free(l));
    assert_null(layout_free(NULL));
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_where_twemproxy_puts_them),
        cmocka_unit_test(test_a_node_that_is_out_moves_its_slots_alone),
        cmocka_unit_test(test_slots_are_about_equally_wide),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_ids_place_nodes_with_maglev),
        cmocka_unit_test(test_ids_are_envoys_host_names),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

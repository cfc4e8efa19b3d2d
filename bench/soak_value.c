/* SPDX-License-Identifier: Apache-2.0 */
/* What the values are, and counting. */
#include "soak_load.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES = 1024 * 1024, /* where in the text a body may begin */
    TEXT_BYTES = PLACES + SOAK_VALUE_MAX,
};

/* Together about 300 MB: with the default of bench/soak most fits, and a node with more than its
 * share evicts. */
static const uint32_t key_counts[SOAK_CLASSES] = {
    [SOAK_CLASS_SMALL] = 8000, [SOAK_CLASS_MIDDLE] = 1000, [SOAK_CLASS_LARGE] = 300,
    [SOAK_CLASS_HUGE] = 60,    [SOAK_CLASS_MIXED] = 300,
};

uint64_t soak_random(struct soak_random *r)
{
    uint64_t x = r->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t soak_below(struct soak_random *r, uint64_t limit)
{
    return soak_random(r) % limit;
}

bool soak_chance(struct soak_random *r, unsigned percent)
{
    return soak_below(r, 100) < percent;
}

void soak_values_init(struct soak_values *v, double percent)
{
    struct soak_random r = {.state = 7}; /* the same text in every run */
    uint32_t count = 0;

    for (unsigned i = 0; i < SOAK_CLASSES; i++) {
        v->first[i] = count;
        uint32_t wanted = (uint32_t)(percent / 100 * key_counts[i]);
        count += wanted > 0 ? wanted : 1;
    }
    v->first[SOAK_CLASSES] = count;
    v->issued = calloc(count, sizeof(*v->issued));
    v->text = malloc(TEXT_BYTES);
    if (!v->issued || !v->text) {
        fputs("bench_soak: out of memory\n", stderr);
        exit(2);
    }
    for (size_t at = 0; at < TEXT_BYTES; at += sizeof(uint64_t)) {
        uint64_t word = soak_random(&r);
        memcpy(v->text + at, &word, sizeof(word));
    }
}

void soak_values_fini(struct soak_values *v)
{
    free(v->text);
    free(v->issued);
}

static enum soak_class class_of(const struct soak_values *v, uint32_t key)
{
    unsigned i = 0;
    while (key >= v->first[i + 1])
        i++;
    return (enum soak_class)i;
}

/* Each power of two of the class is as likely as the others, and within one each size. */
static size_t size_in_class(enum soak_class class, struct soak_random *r)
{
    static const struct {
        size_t least;
        unsigned octaves;
    } ranges[] = {
        [SOAK_CLASS_SMALL] = {64, 6},
        [SOAK_CLASS_MIDDLE] = {4096, 4},
        [SOAK_CLASS_LARGE] = {65536, 4},
        [SOAK_CLASS_HUGE] = {1048576, 2},
    };
    if (class == SOAK_CLASS_MIXED) {
        uint64_t draw = soak_below(r, 100);
        class = draw < 55   ? SOAK_CLASS_SMALL
                : draw < 75 ? SOAK_CLASS_MIDDLE
                : draw < 95 ? SOAK_CLASS_LARGE
                            : SOAK_CLASS_HUGE;
    }
    if (class == SOAK_CLASS_HUGE && soak_chance(r, 15))
        return SOAK_VALUE_MAX;
    size_t least = ranges[class].least << soak_below(r, ranges[class].octaves);
    return least + soak_below(r, least);
}

/* What key and version decide. */
static struct soak_random random_of(uint32_t key, uint32_t version)
{
    return (struct soak_random){.state = (uint64_t)key << 32 | version};
}

size_t soak_value_size(const struct soak_values *v, uint32_t key, uint32_t version)
{
    struct soak_random r = random_of(key, version);
    return size_in_class(class_of(v, key), &r);
}

size_t soak_size_expected(const struct soak_values *v, uint32_t key)
{
    return v->issued[key] > 0 ? soak_value_size(v, key, v->issued[key]) : 0;
}

struct soak_value soak_value_of(const struct soak_values *v, uint32_t key, uint32_t version)
{
    struct soak_random r = random_of(key, version);
    struct soak_value value = {.key = key, .version = version};

    value.size = size_in_class(class_of(v, key), &r);
    value.body = v->text + soak_below(&r, PLACES);
    struct soak_random sum = {.state = ((uint64_t)key << 32 | version) ^ value.size << 20};
    memset(value.head, '.', sizeof(value.head));
    int len =
        snprintf(value.head, sizeof(value.head), "key %05u version %u size %zu sum %016" PRIx64,
                 key, version, value.size, soak_random(&sum));
    if (len > 0 && len < SOAK_HEAD_BYTES)
        value.head[len] = '.';
    value.head[SOAK_HEAD_BYTES - 1] = '\n';
    return value;
}

int soak_value_read(const struct soak_values *v, uint32_t key, size_t size,
                    const char head[SOAK_HEAD_BYTES], struct soak_value *ret_value)
{
    static const char word[] = " version ";
    const char *at = memmem(head, SOAK_HEAD_BYTES, word, sizeof(word) - 1);
    uint64_t version = 0;

    if (!at)
        return -EPROTO;
    at += sizeof(word) - 1;
    while (at < head + SOAK_HEAD_BYTES && *at >= '0' && *at <= '9' && version <= UINT32_MAX)
        version = 10 * version + (uint64_t)(*at++ - '0');
    if (version == 0 || version > v->issued[key])
        return -EPROTO;
    struct soak_value value = soak_value_of(v, key, (uint32_t)version);
    if (value.size != size || memcmp(value.head, head, SOAK_HEAD_BYTES) != 0)
        return -EPROTO;
    *ret_value = value;
    return 0;
}

void soak_latency_add(struct soak_counters *n, uint64_t ns)
{
    unsigned slot = (unsigned)ns;

    if (ns >= 16) {
        unsigned shift = 59U - (unsigned)__builtin_clzll(ns);
        slot = 16 * (shift + 1) + ((unsigned)(ns >> shift) & 15U);
    }
    n->latency[slot]++;
    if (ns > n->latency_max)
        n->latency_max = ns;
}

uint64_t soak_latency_quantile(const struct soak_counters *n, double share)
{
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < SOAK_LATENCY_SLOTS; i++)
        total += n->latency[i];
    for (unsigned i = 0; i < SOAK_LATENCY_SLOTS; i++) {
        seen += n->latency[i];
        if (total > 0 && (double)seen >= share * (double)total)
            return i < 16 ? i : (uint64_t)(16 + i % 16) << (i / 16 - 1);
    }
    return 0;
}

/* "… node 127.0.0.1:7001 timed out" → "… node # timed out": one kind, whichever node it was. */
static void without_numbers(const char *line, char to[SOAK_LINE_MAX])
{
    size_t len = 0;

    for (size_t i = 0; line[i] && len + 1 < SOAK_LINE_MAX; i++) {
        bool is_number = isdigit((unsigned char)line[i]) ||
                         (strchr(".:", line[i]) && isdigit((unsigned char)line[i + 1]));
        if (!is_number)
            to[len++] = line[i] == '"' || line[i] == '\\' ? '\'' : line[i];
        else if (len == 0 || to[len - 1] != '#')
            to[len++] = '#';
    }
    to[len] = 0;
}

void soak_error_add(struct soak_counters *n, const char *line)
{
    char text[SOAK_LINE_MAX];

    without_numbers(line, text);
    for (unsigned i = 0; i < SOAK_ERROR_KINDS; i++) {
        struct soak_error_kind *kind = &n->kinds[i];
        /* The last one takes what is left over. */
        if (kind->count == 0)
            snprintf(kind->text, sizeof(kind->text), "%s",
                     i == SOAK_ERROR_KINDS - 1 ? "others" : text);
        if (strcmp(kind->text, text) == 0 || i == SOAK_ERROR_KINDS - 1) {
            kind->count++;
            return;
        }
    }
}

bool soak_has_failed(const struct soak_counters *n)
{
    return n->wrong > 0 || n->strange > 0 || n->hung > 0 || n->closed_other > 0;
}

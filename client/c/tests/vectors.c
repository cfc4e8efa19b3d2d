/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored format for test_format.py: a question a line, an answer a line. Bytes are hexadecimal,
 * none are "-".
 *
 *   key NAME TYPE:ARGUMENT…                       the text of a typed key
 *   names NAMESPACE PREFIX KEY BUCKET             names of value, generation, bucket, list
 *   decode IDENTITY BYTES NOW CODEC EPOCH MAX     what it is, and the payload
 *   encode IDENTITY PAYLOAD CREATED SOFT HARD DELTA EPOCH CODEC NEGATIVE COMPRESS_MIN KIND
 *   best                                          the number of the best compression
 */
#include "client/c/src/envelope.h"
#include "client/c/src/names.h"
#include "sumcache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 1 << 20, WORDS = 64 };

static size_t unhex(const char *text, char *to)
{
    size_t len = text[0] == '-' ? 0 : strlen(text) / 2;
    for (size_t i = 0; i < len; i++) {
        char two[3] = {text[2 * i], text[2 * i + 1], 0};
        to[i] = (char)strtoul(two, NULL, 16);
    }
    to[len] = 0;
    return len;
}

static void print_hex(const char *data, size_t len, const char *after)
{
    for (size_t i = 0; i < len; i++) {
        printf("%02x", (unsigned char)data[i]);
    }
    printf("%s%s", len == 0 ? "-" : "", after);
}

static void add_argument(struct sc_key *key, char *text)
{
    static char bytes[LINE];
    char *value = strchr(text, ':');
    *value++ = 0;
    if (strcmp(text, "null") == 0) {
        sc_key_null(key);
    } else if (strcmp(text, "bool") == 0) {
        sc_key_bool(key, value[0] == '1');
    } else if (strcmp(text, "int") == 0) {
        sc_key_int(key, strtoll(value, NULL, 10));
    } else if (strcmp(text, "real") == 0) {
        unsigned long long bits = strtoull(value, NULL, 16);
        double real;
        memcpy(&real, &bits, sizeof(real));
        sc_key_real(key, real);
    } else if (strcmp(text, "text") == 0) {
        unhex(value, bytes);
        sc_key_text(key, bytes);
    } else {
        size_t len = unhex(value, bytes);
        sc_key_bytes(key, bytes, len);
    }
}

static void answer_key(char **w, int n)
{
    char name[256], text[23];
    struct sc_key key;
    unhex(w[1], name);
    sc_key_init(&key, name);
    for (int i = 2; i < n; i++) {
        add_argument(&key, w[i]);
    }
    sc_key_finish(&key, text);
    printf("%s\n", text);
}

static void answer_names(char **w)
{
    static char ns[LINE], prefix[LINE], key[LINE], base[NAME_BASE_MAX], name[NAME_MAX_LEN];
    size_t ns_len = unhex(w[1], ns), prefix_len = unhex(w[2], prefix), key_len = unhex(w[3], key);
    size_t base_len = name_base(base, ns, ns_len, prefix, prefix_len);
    print_hex(name, name_of_value(name, base, base_len, key, key_len), " ");
    print_hex(name, name_of_generation(name, base, base_len), " ");
    print_hex(name, name_of_bucket(name, base, base_len, strtoull(w[4], NULL, 10)), " ");
    print_hex(name, name_of_list(name, base, base_len), "\n");
}

static void answer_decode(char **w)
{
    static char identity[LINE], raw[LINE];
    size_t identity_len = unhex(w[1], identity), len = unhex(w[2], raw);
    struct bytes *stored = bytes_copy(raw, len), *value = NULL;
    struct envelope e = {0};
    size_t offset = 0;
    struct envelope_wanted wanted = {.identity = identity,
                                     .identity_len = identity_len,
                                     .now_ms = strtoll(w[3], NULL, 10),
                                     .codec = (uint8_t)strtoul(w[4], NULL, 10),
                                     .epoch = strtoull(w[5], NULL, 16),
                                     .value_max = strtoull(w[6], NULL, 10)};
    enum envelope_result result = envelope_decode(stored, &wanted, &e, &value, &offset);
    bytes_unref(stored);
    if (result != ENVELOPE_OK) {
        printf("%s -\n", result == ENVELOPE_FOREIGN ? "foreign" : "miss");
        return;
    }
    int is_stale = wanted.now_ms >= e.created_ms + (int64_t)e.soft_ms;
    printf("%s ", e.negative ? (is_stale ? "negative-stale" : "negative")
                  : is_stale ? "stale"
                             : "fresh");
    print_hex(value->data + offset, value->len - offset, "\n");
    bytes_unref(value);
}

static void answer_encode(char **w)
{
    static char identity[LINE], payload[LINE];
    size_t identity_len = unhex(w[1], identity), len = unhex(w[2], payload);
    struct envelope e = {.created_ms = strtoll(w[3], NULL, 10),
                         .soft_ms = (uint32_t)strtoul(w[4], NULL, 10),
                         .hard_ms = (uint32_t)strtoul(w[5], NULL, 10),
                         .delta_ms = (uint32_t)strtoul(w[6], NULL, 10),
                         .epoch = strtoull(w[7], NULL, 16),
                         .codec = (uint8_t)strtoul(w[8], NULL, 10),
                         .negative = w[9][0] == '1'};
    struct pack_rule rule = {.min = strtoull(w[10], NULL, 10),
                             .kind = (enum pack_kind)strtoul(w[11], NULL, 10)};
    struct bytes *b = envelope_encode(&e, identity, identity_len, payload, len, rule);
    print_hex(b->data, b->len, "\n");
    bytes_unref(b);
}

int main(void)
{
    static char line[LINE];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        static char nothing[1];
        char *w[WORDS], *rest = line, *word;
        int n = 0;
        for (int i = 0; i < WORDS; i++) {
            w[i] = nothing; /* what a command has not been given */
        }
        while (n < WORDS && (word = strtok_r(n == 0 ? line : NULL, " \n", &rest)) != NULL) {
            w[n++] = word;
        }
        switch (n > 0 ? w[0][0] : 0) {
        case 'k':
            answer_key(w, n);
            break;
        case 'n':
            answer_names(w);
            break;
        case 'd':
            answer_decode(w);
            break;
        case 'e':
            answer_encode(w);
            break;
        case 'b':
            printf("%d\n", (int)pack_best());
            break;
        default:
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table: every row is found by its name and by nothing else, and the keys of requests
 * are found. That the rows are true of a redis-server is what tools/check_command_table.py tests.
 */
#include "resp/command.h"

#include "base/nsec.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { WORDS_MAX = 32 };

/* A request as a client writes it, in pieces of `piece` bytes, parsed. */
struct request {
    char *bytes;
    struct iovec *iov;
    struct args args;
};

static void request_make(struct request *r, const struct str *words, size_t count, size_t piece)
{
    size_t room = 32;
    for (size_t i = 0; i < count; i++)
        room += words[i].len + 32;
    r->bytes = malloc(room);
    assert_non_null(r->bytes);
    size_t len = (size_t)sprintf(r->bytes, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        len += (size_t)sprintf(r->bytes + len, "$%zu\r\n", words[i].len);
        if (words[i].len > 0)
            memcpy(r->bytes + len, words[i].p, words[i].len);
        len += words[i].len;
        memcpy(r->bytes + len, "\r\n", 2);
        len += 2;
    }
    size_t pieces = (len + piece - 1) / piece;
    r->iov = calloc(pieces, sizeof(*r->iov));
    assert_non_null(r->iov);
    for (size_t i = 0; i < pieces; i++) {
        size_t left = len - i * piece;
        r->iov[i] = (struct iovec){r->bytes + i * piece, left < piece ? left : piece};
    }
    args_init(&r->args);
    assert_int_equal(args_parse(&r->args, r->iov, pieces), 0);
    assert_int_equal(r->args.count, count);
}

static void request_end(struct request *r)
{
    args_fini(&r->args);
    free(r->iov);
    free(r->bytes);
}

static size_t split_words(const char *text, struct str *words)
{
    size_t count = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        assert_true(count < WORDS_MAX);
        words[count++] = (struct str){text, len};
        text += len + (text[len] == ' ' ? 1 : 0);
    }
    return count;
}

/* The way to look up that cannot be wrong. */
static const struct command *find_slowly(struct str name)
{
    for (size_t i = 0; i < command_count(); i++)
        if (str_eq_nocase(name, str_of(command_at(i)->name)))
            return command_at(i);
    return NULL;
}

static void rows_make_sense(void **state)
{
    (void)state;
    assert_int_equal(command_count(), COMMAND_ID_COUNT);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        bool has_bar = strchr(c->name, '|') != NULL;
        assert_int_equal(c->id, i);
        assert_true(find_slowly(str_of(c->name)) == c); /* no name twice */
        assert_int_equal((c->flags & COMMAND_SUBCOMMAND) != 0, has_bar);
        assert_int_equal(c->refusal != NULL, c->way == COMMAND_REFUSE);
        assert_int_not_equal(c->arity, 0);
        if (c->way == COMMAND_FORWARD || c->way == COMMAND_SPLIT)
            assert_int_not_equal(c->keys, KEYS_NONE);
        if (c->keys == KEYS_RANGE) {
            assert_in_range(c->first, 1, 3);
            assert_true(c->last < 0 || c->last >= c->first);
            assert_in_range(c->step, 1, 2);
        }
        /* command_find_keys() looks at these without asking how many arguments there are. */
        int least = abs(c->arity);
        if (c->keys == KEYS_RANGE && c->last > 0)
            assert_true(least > c->last);
        if (c->keys == KEYS_NUM || c->keys == KEYS_NUM_PAIRS)
            assert_true(least > 1);
        if (c->keys == KEYS_NUM_AT_2 || c->keys == KEYS_NUM_STORE || c->keys == KEYS_COPY)
            assert_true(least > 2);
        if (c->keys == KEYS_MIGRATE)
            assert_true(least > 3);
        /* What is answered as a miss must be a read that goes to a node. */
        if (c->miss != MISS_NEVER) {
            assert_true(c->flags & COMMAND_READ);
            assert_false(c->flags & COMMAND_WRITE);
            assert_true(c->way == COMMAND_FORWARD || c->way == COMMAND_SPLIT ||
                        c->way == COMMAND_TAGS);
        }
        /* Where command_may_block() knows to look for the time. */
        if (c->flags & COMMAND_BLOCKS && c->way == COMMAND_FORWARD)
            assert_true(c->keys == KEYS_RANGE || c->keys == KEYS_NUM_AT_2 ||
                        c->keys == KEYS_STREAMS);
    }
}

static void containers_have_subcommands(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        const char *bar = strchr(c->name, '|');
        if (bar == NULL)
            continue;
        const struct command *container =
            find_slowly((struct str){c->name, (size_t)(bar - c->name)});
        assert_non_null(container);
        assert_true(container->flags & COMMAND_CONTAINER);
        assert_true(c->arity >= 2 || c->arity <= -2);
    }
}

static char upper(char c)
{
    return (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
}

static void every_name_is_found_in_any_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        size_t len = strlen(c->name);
        /* On the heap in its very size, so that a sanitizer sees a byte read too many. */
        char *name = malloc(len);
        assert_non_null(name);
        for (unsigned way = 0; way < 4; way++) {
            for (size_t j = 0; j < len; j++)
                name[j] = way == 1 || (way > 1 && (j + way) % 2) ? upper(c->name[j]) : c->name[j];
            assert_ptr_equal(command_find_name((struct str){name, len}), c);
        }
        free(name);
    }
}

static void near_misses_are_not_found(void **state)
{
    (void)state;
    static const char OTHERS[] = {0,   ' ', '!', '@', '[', '`', '{', '|',  '_', '-',
                                  '.', 'a', 'z', 'A', 'Z', '0', 127, -128, -1};
    char name[64];
    for (size_t i = 0; i < command_count(); i++) {
        size_t len = strlen(command_at(i)->name);
        memcpy(name, command_at(i)->name, len);
        for (size_t cut = 0; cut < len; cut++)
            assert_ptr_equal(command_find_name((struct str){name, cut}),
                             find_slowly((struct str){name, cut}));
        for (size_t at = 0; at <= len; at++) {
            size_t here = at == len ? len + 1 : len; /* at the end one is added */
            char kept = name[at];
            for (size_t k = 0; k < COUNT(OTHERS) + 8; k++) {
                name[at] =
                    k < COUNT(OTHERS) ? OTHERS[k] : (char)(kept ^ (char)(1 << (k - COUNT(OTHERS))));
                assert_ptr_equal(command_find_name((struct str){name, here}),
                                 find_slowly((struct str){name, here}));
            }
            name[at] = kept;
        }
    }
    memset(name, 'g', sizeof(name));
    for (size_t len = 0; len <= sizeof(name); len++)
        assert_null(command_find_name((struct str){name, len}));
    assert_null(command_find_name((struct str){NULL, 0}));
    assert_null(command_find_name((struct str){"get\0", 4}));
    assert_null(command_find_name((struct str){"get\0\0\0\0\0\0", 9}));
    assert_null(command_find_name((struct str){"\0get", 4}));
}

static void find_reads_the_request(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *name; /* NULL: unknown */
    } CASES[] = {
        {"get a", "get"},
        {"GeT a", "get"},
        {"get", "get"},
        {"georadiusbymember_ro a m 1 km", "georadiusbymember_ro"},
        {"object encoding a", "object|encoding"},
        {"OBJECT ENCODING a", "object|encoding"},
        {"object", "object"},
        {"object nonsense a", "object"},
        {"object encodin", "object"},
        {"object encodings", "object"},
        {"object encoding|x", "object"},
        {"object thirty-two-bytes-are-more-than-fit", "object"},
        {"cluster count-failure-reports x", "cluster|count-failure-reports"},
        {"cluster count-failure-reportss x", "cluster"},
        {"client maint_notifications on", "client|maint_notifications"},
        {"client SETINFO lib-name x", "client|setinfo"},
        {"config get *", "config|get"},
        {"config|get *", NULL},
        {"CONFIG|GET", NULL},
        {"command", "command"},
        {"command count", "command|count"},
        {"get|a", NULL},
        {"getx a", NULL},
        {"ge a", NULL},
        {"sumcache.failures miss", "sumcache.failures"},
        {"sumcache.failures-and-much-more-of-it", NULL},
        {"xgroup create a g $", "xgroup|create"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct str words[WORDS_MAX];
        size_t count = split_words(CASES[i].request, words);
        for (size_t piece = 1; piece < 64; piece++) {
            struct request r;
            request_make(&r, words, count, piece);
            const struct command *c = command_find(&r.args);
            if (CASES[i].name == NULL)
                assert_null(c);
            else
                assert_string_equal(c != NULL ? c->name : "(none)", CASES[i].name);
            request_end(&r);
        }
    }
    struct request r;
    struct str strange[] = {STR("object"), STR("")};
    request_make(&r, strange, 2, 1000);
    assert_int_equal(command_find(&r.args)->id, COMMAND_ID_OBJECT);
    request_end(&r);
    strange[0] = STR("");
    request_make(&r, strange, 1, 1000);
    assert_null(command_find(&r.args));
    request_end(&r);
}

static void arity_is_judged_as_redis_does(void **state)
{
    (void)state;
    static const struct {
        enum command_id id;
        uint32_t count;
        bool ok;
    } CASES[] = {
        {COMMAND_ID_GET, 1, false},        {COMMAND_ID_GET, 2, true},
        {COMMAND_ID_GET, 3, false},        {COMMAND_ID_SET, 2, false},
        {COMMAND_ID_SET, 3, true},         {COMMAND_ID_SET, 300000, true},
        {COMMAND_ID_PING, 1, true},        {COMMAND_ID_PING, 2, true},
        {COMMAND_ID_CONFIG_GET, 2, false}, {COMMAND_ID_CONFIG_GET, 3, true},
        {COMMAND_ID_OBJECT, 1, false},     {COMMAND_ID_SUMCACHE_FAILURES, 2, true},
        {COMMAND_ID_TIME, 2, false},       {COMMAND_ID_SUMCACHE_FAILURES, 1, false},
    };
    for (size_t i = 0; i < COUNT(CASES); i++)
        assert_int_equal(command_arity_ok(command_at(CASES[i].id), CASES[i].count), CASES[i].ok);
}

struct keys_case {
    const char *request;
    const char *keys;
    int err;
    const char *pinned; /* NULL: none */
};

static const struct keys_case KEYS_CASES[] = {
#define KEYS_CASE(request, keys)           {request, keys, 0, NULL},
#define KEYS_OURS(request, keys)           {request, keys, 0, NULL},
#define KEYS_EMPTY(request)                {request, "", 0, NULL},
#define KEYS_BAD(request)                  {request, NULL, -EINVAL, NULL},
#define KEYS_DENIED(request, keys)         {request, keys, -ENOTSUP, NULL},
#define KEYS_PINNED(request, keys, pinned) {request, keys, 0, pinned},
#include "command_keys_cases.h"
};

static void check_indexes(const struct keys_case *c, const size_t *index, size_t count,
                          const char *expected)
{
    char found[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += (size_t)sprintf(found + len, "%s%zu", i > 0 ? " " : "", index[i]);
    if (strcmp(found, expected) != 0)
        print_error("%s: %s\n", c->request, found);
    assert_string_equal(found, expected);
}

static void check_keys(const struct str *words, size_t count, size_t piece,
                       const struct keys_case *expected)
{
    struct request r;
    struct command_keys_found k = {0};
    const char *refusal = NULL;
    request_make(&r, words, count, piece);
    const struct command *c = command_find(&r.args);
    assert_non_null(c);
    assert_true(command_arity_ok(c, count));
    int err = command_find_keys(c, &r.args, &k, &refusal);
    if (err != expected->err)
        print_error("%s: %d\n", expected->request, err);
    assert_int_equal(err, expected->err);
    assert_int_equal(refusal != NULL, err == -ENOTSUP);
    if (expected->keys != NULL)
        check_indexes(expected, k.index, k.count, expected->keys);
    if (err == 0)
        check_indexes(expected, k.index + k.count, k.pinned,
                      expected->pinned != NULL ? expected->pinned : "");
    command_keys_fini(&k);
    request_end(&r);
}

static void keys_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(KEYS_CASES); i++) {
        struct str words[WORDS_MAX];
        size_t count = split_words(KEYS_CASES[i].request, words);
        check_keys(words, count, 4096, &KEYS_CASES[i]);
        check_keys(words, count, 1, &KEYS_CASES[i]);
        check_keys(words, count, 7, &KEYS_CASES[i]);
    }
}

/* redis-server compares option words as C strings: what follows a NUL byte is not seen. If we saw
 * it, a node would block, or write to a key that we did not find. */
static void a_nul_ends_an_option_word(void **state)
{
    (void)state;
    static const struct {
        struct str words[8];
        struct keys_case expected;
    } CASES[] = {
        {{STR("xread"), STR("block\0x"), STR("0"), STR("streams"), STR("a"), STR("$")},
         {"block NUL", "4", 0, NULL}},
        {{STR("xread"), STR("block\0 and so on for long"), STR("0"), STR("streams\0"), STR("a"),
          STR("$")},
         {"long block NUL", "4", 0, NULL}},
        {{STR("sort"), STR("a"), STR("store\0x"), STR("d")}, {"store NUL", "1 3", 0, NULL}},
        {{STR("sort"), STR("a"), STR("by"), STR("x\0*")}, {"by NUL", "1", 0, NULL}},
        {{STR("sort"), STR("a"), STR("get"), STR("#\0x")}, {"get NUL", "1", 0, NULL}},
        {{STR("sort"), STR("a"), STR("get"), STR("{a}*\0x")}, {"pin NUL", "1", -ENOTSUP, NULL}},
        {{STR("sort"), STR("a"), STR("get"), STR("")}, {"get nothing", "1", 0, NULL}},
        {{STR("sort"), STR("a"), STR("by"), STR("")}, {"by nothing", "1", 0, NULL}},
        {{STR("sort"), STR("a"), STR("")}, {"no word", NULL, -EINVAL, NULL}},
        {{STR("copy"), STR("a"), STR("b"), STR("db\0"), STR("1")}, {"db NUL", "1 2", 0, NULL}},
        {{STR("eval"), STR("s"), STR("1\0"), STR("a")}, {"a number is not", NULL, -EINVAL, NULL}},
        {{STR("georadiusbymember"), STR("a"), STR("m"), STR("1"), STR("km"), STR("store\0"),
          STR("d")},
         {"geo store NUL", "1 6", 0, NULL}},
        {{STR("migrate"), STR("h"), STR("1"), STR(""), STR("0"), STR("1"), STR("keys"), STR("a")},
         {"migrate keys", "7", 0, NULL}},
        {{STR("migrate"), STR("h"), STR("1"), STR("k"), STR("0"), STR("1"), STR("keys"), STR("a")},
         {"migrate both", NULL, -EINVAL, NULL}},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        size_t count = 0;
        while (count < COUNT(CASES[i].words) && CASES[i].words[count].p != NULL)
            count++;
        check_keys(CASES[i].words, count, 4096, &CASES[i].expected);
        check_keys(CASES[i].words, count, 1, &CASES[i].expected);
    }
}

static void denials_read_well(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *text;
    } CASES[] = {
        {"sort a by w_*", "BY option of SORT denied in Cluster mode when keys formed by the "
                          "pattern may be in different slots."},
        {"sort a get o_* by w_*", "GET option of SORT denied in Cluster mode when keys formed by "
                                  "the pattern may be in different slots."},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct str words[WORDS_MAX];
        struct request r;
        struct command_keys_found k = {0};
        const char *refusal = NULL;
        request_make(&r, words, split_words(CASES[i].request, words), 4096);
        assert_int_equal(command_find_keys(command_find(&r.args), &r.args, &k, &refusal), -ENOTSUP);
        assert_string_equal(refusal, CASES[i].text);
        command_keys_fini(&k);
        request_end(&r);
    }
}

static void patterns_may_be_many(void **state)
{
    (void)state;
    static const size_t COUNTS[] = {1, 13, 14, 15, 16, 17, 1021, 1022, 1023, 1024, 5000, 3};
    struct command_keys_found k = {0};
    struct str *words = malloc((2 * 5000 + 4) * sizeof(*words));
    assert_non_null(words);
    for (size_t i = 0; i < COUNT(COUNTS); i++) {
        size_t count = 0;
        words[count++] = STR("sort");
        words[count++] = STR("{a}");
        for (size_t n = 0; n < COUNTS[i]; n++) {
            words[count++] = STR("get");
            words[count++] = STR("{a}*");
        }
        if (i % 2 == 1) {
            words[count++] = STR("store");
            words[count++] = STR("{a}d");
        }
        struct request r;
        const char *refusal = NULL;
        request_make(&r, words, count, 4096);
        assert_int_equal(command_find_keys(command_find(&r.args), &r.args, &k, &refusal), 0);
        assert_int_equal(k.count, i % 2 == 1 ? 2 : 1);
        assert_int_equal(k.pinned, COUNTS[i]);
        for (size_t n = 0; n < COUNTS[i]; n++)
            assert_int_equal(k.index[k.count + n], 3 + 2 * n);
        assert_int_equal(k.index[k.count - 1], i % 2 == 1 ? count - 1 : 1);
        request_end(&r);
    }
    command_keys_fini(&k);
    free(words);
}

static void what_blocks_says_for_how_long(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        uint64_t ns; /* UINT64_MAX - 1: it does not block */
    } CASES[] = {
        {"blpop a b 1.5", 1500 * NSEC_MS},
        {"brpop a 0", NSEC_NEVER},
        {"brpoplpush a b 0.001", NSEC_MS},
        {"blmove a b left right 10", 10 * NSEC_S},
        {"bzpopmin a 1e3", 1000 * NSEC_S},
        {"bzpopmax a 1e300", 0},
        {"blpop a 1e12", NSEC_NEVER},
        {"blpop a -1", 0},
        {"blpop a inf", 0},
        {"blpop a nan", 0},
        {"blpop a 1x", 0},
        {"blpop a x", 0},
        {"blmpop 2 1 a left", 2 * NSEC_S},
        {"bzmpop 0 1 a min", NSEC_NEVER},
        {"xread block 10 streams a $", 10 * NSEC_MS},
        {"xread block 0 streams a $", NSEC_NEVER},
        {"xread block 5 block 7 streams a $", 7 * NSEC_MS},
        {"xread block -1 streams a $", 0},
        {"xread block x streams a $", 0},
        {"xread block 3 streams a", 3 * NSEC_MS},
        {"xreadgroup group block block block 4 streams a >", 4 * NSEC_MS},
        {"xreadgroup group block block streams a >", UINT64_MAX - 1},
        {"xread count 1 streams block 0", UINT64_MAX - 1},
        {"lpop a", UINT64_MAX - 1},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct str words[WORDS_MAX];
        struct request r;
        uint64_t ns = UINT64_MAX - 1;
        request_make(&r, words, split_words(CASES[i].request, words), 4096);
        bool blocks = command_may_block(command_find(&r.args), &r.args, &ns);
        if (ns != CASES[i].ns || blocks != (CASES[i].ns != UINT64_MAX - 1))
            fail_msg("%s: %d, %" PRIu64, CASES[i].request, blocks, ns);
        request_end(&r);
    }
}

static void many_keys_give_their_room_back(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct str *words = malloc((MANY + 1) * sizeof(*words));
    assert_non_null(words);
    for (size_t i = 0; i <= MANY; i++)
        words[i] = i == 0 ? STR("mget") : STR("k");
    struct request r;
    struct command_keys_found k = {0};
    const char *refusal = NULL;
    request_make(&r, words, MANY + 1, 4096);
    assert_int_equal(command_find_keys(command_find(&r.args), &r.args, &k, &refusal), 0);
    assert_int_equal(k.count, MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(k.index[i], i + 1);
    request_end(&r);
    words[0] = STR("get");
    request_make(&r, words, 2, 4096);
    assert_int_equal(command_find_keys(command_find(&r.args), &r.args, &k, &refusal), 0);
    assert_int_equal(k.count, 1);
    assert_int_equal(k.index[0], 1);
    assert_in_range(k.room, 1, 1024);
    request_end(&r);
    command_keys_fini(&k);
    free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_make_sense),
        cmocka_unit_test(containers_have_subcommands),
        cmocka_unit_test(every_name_is_found_in_any_case),
        cmocka_unit_test(near_misses_are_not_found),
        cmocka_unit_test(find_reads_the_request),
        cmocka_unit_test(arity_is_judged_as_redis_does),
        cmocka_unit_test(keys_are_found),
        cmocka_unit_test(a_nul_ends_an_option_word),
        cmocka_unit_test(denials_read_well),
        cmocka_unit_test(patterns_may_be_many),
        cmocka_unit_test(what_blocks_says_for_how_long),
        cmocka_unit_test(many_keys_give_their_room_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/advise_node.h"

#include "base/nsec.h"
#include "daemon/question.h"
#include "net/talk.h"
#include "os/file.h"
#include "resp/frame.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_MAX = 16 * 1024 * 1024, /* of all answers; a node with long keys is far below */
    REPLIES_MAX = ADVISE_SAMPLE_MAX + 8,
    ITEMS_MAX = 4096, /* names and values of CONFIG GET * */
    KEY_MAX = 1024,   /* longer keys are not looked at */
};

/* ---- the answers of one connection ---- */

struct answers {
    struct frame frame;
    struct frame_limits limits;
    char *bytes; /* owned */
    size_t len, room;
    uint32_t wanted, got;
    size_t ends[REPLIES_MAX]; /* where each ends in `bytes` */
    int err;
    char why[TALK_WHY_MAX];
};

static int keep(struct answers *a, const char *bytes, size_t len)
{
    if (a->len + len > ANSWER_MAX)
        return -EMSGSIZE;
    if (a->len + len > a->room) {
        size_t room = 2 * (a->len + len);
        char *more = realloc(a->bytes, room);
        if (!more)
            return -ENOMEM;
        a->bytes = more;
        a->room = room;
    }
    memcpy(a->bytes + a->len, bytes, len);
    a->len += len;
    return 0;
}

static bool take(void *owner, const char *bytes, size_t len)
{
    struct answers *a = owner;
    while (len > 0 && a->got < a->wanted && !a->err) {
        size_t used;
        enum frame_result result = frame_feed(&a->frame, bytes, len, &used);
        a->err = result == FRAME_BAD ? -EPROTO : keep(a, bytes, used);
        bytes += used;
        len -= used;
        if (result != FRAME_READY || a->err)
            continue;
        a->ends[a->got++] = a->len;
        frame_reset(&a->frame);
    }
    return a->err || a->got == a->wanted;
}

/* 0 or -errno, with its text in a->why; a->got answers have come in both cases. */
static int ask(const struct advise_way *way, const struct member *m, const struct question *q,
               struct answers *a)
{
    struct talk_server server = {.addr = m->addr, .name = m->name, .tls = way->tls};
    *a = (struct answers){.limits = {.bulk_max = ANSWER_MAX,
                                     .elements_max = ITEMS_MAX,
                                     .depth_max = 4,
                                     .line_max = FRAME_LINE_MAX},
                          .wanted = q->commands};
    frame_init(&a->frame, FRAME_REPLY, &a->limits);
    int err = talk(&server, (struct str){q->bytes, q->len}, ADVISE_PATIENCE, take, a, a->why);
    if (a->err)
        snprintf(a->why, sizeof(a->why), "%s", strerror(-a->err));
    return a->err ? a->err : err;
}

/* The bytes of an answer that is there. */
static struct str answer(const struct answers *a, uint32_t index)
{
    size_t begin = index > 0 ? a->ends[index - 1] : 0;
    return (struct str){a->bytes + begin, a->ends[index] - begin};
}

/* Takes a line off the front, and gives it without its end. */
static struct str cut_line(struct str *text)
{
    const char *eol = text->len > 0 ? memchr(text->p, '\n', text->len) : NULL;
    struct str line = {text->p, eol ? (size_t)(eol - text->p) : text->len};
    size_t used = line.len + (eol != NULL);
    *text = (struct str){text->p + used, text->len - used};
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool cut_bulk(struct str *text, struct str *ret)
{
    struct str line = cut_line(text);
    int64_t len;
    if (line.len < 2 || line.p[0] != '$' ||
        str_to_i64((struct str){line.p + 1, line.len - 1}, &len) != 0 || len < 0 ||
        (uint64_t)len + 2 > text->len)
        return false;
    *ret = (struct str){text->p, (size_t)len};
    *text = (struct str){text->p + len + 2, text->len - (size_t)len - 2};
    return true;
}

/* Of a bulk string its text, of a line what comes behind its type. */
static struct str text_of(struct str reply)
{
    struct str bulk, line = reply;
    if (reply.p[0] == '$' && cut_bulk(&reply, &bulk))
        return bulk;
    line = cut_line(&line);
    return (struct str){line.p + 1, line.len - 1};
}

/* ---- what is asked ---- */

static const struct node_login *login_of(const struct advise_way *way, const struct member *m)
{
    return m->login ? m->login : way->login;
}

static bool ask_login(struct question *q, const struct node_login *l)
{
    return question_add_login(q, l->user, l->password);
}

static void ask_all(struct question *q, const struct node_login *l, uint32_t sample)
{
    static const struct str INFO[] = {{"INFO", 4}};
    static const struct str CONFIG[] = {{"CONFIG", 6}, {"GET", 3}, {"*", 1}};
    static const struct str DOCTOR[] = {{"LATENCY", 7}, {"DOCTOR", 6}};
    static const struct str ANY_KEY[] = {{"RANDOMKEY", 9}};
    *q = (struct question){0};
    /* All of it is a third of the room. */
    bool fits = ask_login(q, l) && question_add(q, INFO, 1) && question_add(q, CONFIG, 3) &&
                question_add(q, DOCTOR, 2);
    for (uint32_t i = 0; fits && i < sample; i++)
        fits = question_add(q, ANY_KEY, 1);
}

static int read_settings(struct advise_node *n, struct str reply)
{
    struct str name, value, text = reply;
    (void)cut_line(&text);
    if (reply.p[0] != '*') {
        n->facts.config_error = text_of(reply);
        return 0;
    }
    n->settings = calloc(ITEMS_MAX / 2, sizeof(*n->settings));
    if (!n->settings)
        return -ENOMEM;
    while (n->facts.setting_count < ITEMS_MAX / 2 && cut_bulk(&text, &name) &&
           cut_bulk(&text, &value))
        n->settings[n->facts.setting_count++] = (struct advice_setting){name, value};
    n->facts.settings = n->settings;
    return 0;
}

static bool contains(struct str text, const char *word)
{
    return text.len > 0 && memmem(text.p, text.len, word, strlen(word)) != NULL;
}

/* ---- sizes of keys ---- */

struct sample {
    const struct str *keys; /* those that were asked about, in order */
    struct advise_node *node;
};

static void take_sizes(struct sample *s, const struct answers *a, uint32_t logins)
{
    for (uint32_t i = logins; i < a->got; i++) {
        struct str reply = answer(a, i), text = text_of(reply);
        int64_t bytes;
        if (reply.p[0] != ':' || str_to_i64(text, &bytes) != 0 || bytes < 0)
            continue; /* gone meanwhile, or not allowed */
        s->node->facts.sampled++;
        if ((uint64_t)bytes <= s->node->facts.largest)
            continue;
        s->node->facts.largest = (uint64_t)bytes;
        s->node->facts.largest_key = s->keys[i - logins];
    }
}

/* As many talks as the keys' lengths need. What fails leaves the rest unknown. */
static void ask_sizes(const struct advise_way *way, const struct member *m, const struct str *keys,
                      uint32_t count, struct advise_node *n)
{
    struct question q;
    struct answers a;
    for (uint32_t done = 0; done < count;) {
        struct sample s = {keys + done, n};
        uint32_t begun = done;
        q = (struct question){0};
        uint32_t logins = ask_login(&q, login_of(way, m)) ? q.commands : 0;
        while (done < count) {
            const struct str words[] = {STR("MEMORY"), STR("USAGE"), keys[done], STR("SAMPLES"),
                                        STR("5")};
            if (!question_add(&q, words, 5))
                break;
            done++;
        }
        int err = ask(way, m, &q, &a);
        if (!err)
            take_sizes(&s, &a, logins);
        free(a.bytes);
        if (err || done == begun)
            return;
    }
}

/* ---- all of it ---- */

static void cannot(struct advise_node *n, struct str why)
{
    snprintf(n->error, sizeof(n->error), "%.*s", (int)(why.len < 150 ? why.len : 150), why.p);
    for (char *c = n->error; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static bool host_has_huge_pages(const struct addr *at)
{
    char *bytes CLEANUP(freep) = NULL;
    size_t len = 0;
    bool is_here =
        at->family == ADDR_V4 ? at->ip[0] == 127 : memcmp(at->ip, (uint8_t[16]){[15] = 1}, 16) == 0;
    return is_here &&
           file_read("/sys/kernel/mm/transparent_hugepage/enabled", 4096, &bytes, &len) == 0 &&
           contains((struct str){bytes, len}, "[always]");
}

/* False: it cannot be asked, and n->error says why, unless it is denied. */
static bool is_answered(struct advise_node *n, const struct answers *a, uint32_t info, int err)
{
    for (uint32_t i = 0; i < a->got && i <= info; i++) {
        struct str reply = answer(a, i), text = text_of(reply);
        if (reply.p[0] != '-')
            continue;
        n->facts.is_denied = contains(text, "DENIED");
        if (!n->facts.is_denied)
            cannot(n, text);
        return false;
    }
    if (err == -EPROTO || (!err && !contains(text_of(answer(a, info)), "redis_version:")))
        cannot(n, STR("it does not answer as Redis does"));
    else if (err == -ETIMEDOUT)
        cannot(n, STR("it does not answer within 5 s"));
    else if (err)
        cannot(n, str_of(a->why));
    return !n->error[0];
}

/* The address without its port. */
static void write_host(const struct addr *at, char to[ADDR_TEXT_MAX])
{
    addr_print(at, to);
    char *colon = strrchr(to, ':');
    if (colon)
        *colon = '\0';
}

int advise_node_ask(const struct advise_way *way, const struct member *m, uint32_t sample,
                    struct advise_node *n)
{
    struct question q;
    struct answers a;
    struct str keys[ADVISE_SAMPLE_MAX];
    uint32_t key_count = 0;
    const struct node_login *login = login_of(way, m);
    *n = (struct advise_node){.facts = {.name = str_of(m->name), .weight = m->weight}};
    write_host(&m->addr, n->host);
    n->facts.host = str_of(n->host);
    if (m->addr.family == ADDR_NONE) {
        cannot(n, STR("its name has no address"));
        return 0;
    }
    ask_all(&q, login, sample < ADVISE_SAMPLE_MAX ? sample : ADVISE_SAMPLE_MAX);
    uint32_t info = login->password.len > 0 ? 1 : 0;
    int err = ask(way, m, &q, &a);
    n->bytes = a.bytes;
    if (err == -ENOMEM || !is_answered(n, &a, info, err))
        return err == -ENOMEM ? err : 0;
    n->facts.info = text_of(answer(&a, info));
    err = read_settings(n, answer(&a, info + 1));
    n->facts.huge_pages = contains(text_of(answer(&a, info + 2)), "huge pages");
    n->facts.host_huge_pages = host_has_huge_pages(&m->addr);
    for (uint32_t i = info + 3; i < a.got; i++) {
        struct str reply = answer(&a, i), key = text_of(reply);
        if (reply.p[0] == '$' && key.len > 0 && key.len <= KEY_MAX && reply.p[1] != '-')
            keys[key_count++] = key;
    }
    ask_sizes(way, m, keys, key_count, n);
    return err;
}

void advise_node_fini(struct advise_node *n)
{
    free(n->bytes);
    free(n->settings);
    *n = (struct advise_node){0};
}

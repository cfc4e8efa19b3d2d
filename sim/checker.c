/* SPDX-License-Identifier: Apache-2.0 */
#include "checker.h"

#include "base/must.h"
#include "base/nsec.h"
#include "ring/layout.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLASSES = 4,
    ORDER_CLIENTS = SIM_CLIENTS_MAX + 1,
    FRAME_SLACK = 200,   /* what a message has beside its values: names, keys, lengths */
    BEGUN_STALLS = 8,    /* what is begun may stall, go on, and stall again */
    TURN_SLACK_US = 200, /* replies may be held back for some ten µs, to be sent with others */
};

static const char CLASS_LETTERS[CLASSES] = {KEY_STRING, KEY_NUMBER, KEY_LOG, KEY_HASH};

void checker_init(struct checker *k, struct io_sim *world, const struct sim_options *options)
{
    *k = (struct checker){.world = world, .options = options};
}

void checker_fini(struct checker *k)
{
    for (unsigned i = 0; i < ORDER_CLIENTS; i++) {
        for (uint32_t j = 0; j < k->clients[i].count; j++)
            free(k->clients[i].commands[j].parts);
        free(k->clients[i].commands);
    }
    for (uint32_t i = 0; i < k->view_count; i++)
        view_unref(k->views[i].view);
    free(k->views);
}

void checker_fail(struct checker *k, const char *format, ...)
{
    if (k->failed)
        return;
    k->failed = true;
    va_list ap;
    va_start(ap, format);
    vsnprintf(k->message, sizeof(k->message), format, ap);
    va_end(ap);
}

/* ---- proxies and their views ---- */

unsigned checker_process_begins(struct checker *k, unsigned proxy)
{
    must(k->process_count < CHECK_PROCESSES_MAX);
    k->processes[k->process_count] = (struct check_process){proxy, true};
    return k->process_count++;
}

void checker_process_ends(struct checker *k, unsigned process)
{
    struct check_view *cv = checker_newest_view(k, process);
    k->processes[process].alive = false;
    if (cv)
        cv->superseded_at = io_sim_now(k->world);
}

unsigned checker_process_of(const struct checker *k, unsigned proxy)
{
    unsigned found = 0;
    for (unsigned i = 0; i < k->process_count; i++)
        found = k->processes[i].proxy == proxy ? i : found;
    return found;
}

struct check_view *checker_newest_view(const struct checker *k, unsigned process)
{
    for (uint32_t i = k->view_count; i-- > 0;) {
        if (k->views[i].process == process)
            return &k->views[i];
    }
    return NULL;
}

bool checker_view_counts(const struct checker *k, const struct check_view *cv, unsigned process,
                         uint64_t since)
{
    if (process != CHECK_ANY_PROCESS && cv->process != process)
        return false;
    return cv->superseded_at == NSEC_NEVER || cv->superseded_at + checker_view_lag(k) >= since;
}

void checker_view_posted(struct checker *k, unsigned process, struct view *v, const int *node_of)
{
    if (k->view_count == k->view_room) {
        k->view_room = k->view_room ? k->view_room * 2 : 16;
        k->views = realloc(k->views, k->view_room * sizeof(*k->views));
        must(k->views);
    }
    uint64_t now = io_sim_now(k->world);
    struct check_view *before = checker_newest_view(k, process);
    if (before)
        before->superseded_at = now;
    struct check_view *cv = &k->views[k->view_count++];
    *cv = (struct check_view){
        .view = view_ref(v), .process = process, .posted_at = now, .superseded_at = NSEC_NEVER};
    memcpy(cv->node_of, node_of, sizeof(cv->node_of));
    io_sim_note(k->world, TRACE_VIEW, (int64_t)v->version, v->node_count, 0, NULL);
}

/* ---- commands ---- */

struct check_command *checker_command(struct checker *k, unsigned client, enum check_kind kind,
                                      uint32_t parts, uint32_t *ret_seq)
{
    struct check_client *cc = &k->clients[client];
    if (cc->count == cc->room) {
        cc->room = cc->room ? cc->room * 2 : 256;
        cc->commands = realloc(cc->commands, cc->room * sizeof(*cc->commands));
        must(cc->commands);
    }
    *ret_seq = cc->count;
    struct check_command *c = &cc->commands[cc->count++];
    *c = (struct check_command){.kind = (uint8_t)kind, .part_count = parts};
    if (parts > 0) {
        c->parts = calloc(parts, sizeof(*c->parts));
        must(c->parts);
    }
    return c;
}

struct check_command *checker_find(struct checker *k, unsigned client, uint32_t seq)
{
    if (client >= ORDER_CLIENTS || seq >= k->clients[client].count)
        return NULL;
    return &k->clients[client].commands[seq];
}

/* ---- keys and values ---- */

size_t check_key_print(const struct check_key *key, char *to, size_t size)
{
    int n = key->tagged ? snprintf(to, size, "{%c%u}.c%u.q%" PRIu32 ".i%u", key->class, key->number,
                                   key->client, key->seq, key->index)
                        : snprintf(to, size, "%c%u", key->class, key->number);
    must(n > 0 && (size_t)n < size);
    return (size_t)n;
}

/* Takes `prefix` and the number behind it off the front. */
static bool take_number(const char **p, const char *end, const char *prefix, uint32_t *ret)
{
    size_t len = strlen(prefix);
    if ((size_t)(end - *p) <= len || memcmp(*p, prefix, len) != 0)
        return false;
    const char *at = *p + len;
    uint32_t value = 0;
    if (at == end || *at < '0' || *at > '9')
        return false;
    for (; at < end && *at >= '0' && *at <= '9' && value < 100000000; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    *p = at;
    *ret = value;
    return true;
}

static bool take_class(const char **p, const char *end, struct check_key *ret)
{
    for (unsigned i = 0; i < CLASSES; i++) {
        char prefix[2] = {CLASS_LETTERS[i], '\0'};
        uint32_t number;
        if (take_number(p, end, prefix, &number) && number < CHECK_KEYS_MAX) {
            ret->class = CLASS_LETTERS[i];
            ret->number = (uint16_t)number;
            return true;
        }
    }
    return false;
}

static bool take_writer(const char **p, const char *end, struct check_key *ret)
{
    uint32_t client, index;
    if (!take_number(p, end, ".c", &client) || !take_number(p, end, ".q", &ret->seq) ||
        !take_number(p, end, ".i", &index) || client >= ORDER_CLIENTS)
        return false;
    ret->client = (uint16_t)client;
    ret->index = (uint16_t)index;
    ret->tagged = true;
    return true;
}

bool check_key_parse(const char *text, size_t len, struct check_key *ret)
{
    const char *p = text, *end = text + len;
    *ret = (struct check_key){0};
    bool tagged = len > 0 && text[0] == '{';
    if (tagged)
        p++;
    if (!take_class(&p, end, ret))
        return false;
    if (!tagged)
        return p == end;
    if (p == end || *p != '}')
        return false;
    p++;
    return take_writer(&p, end, ret) && p == end;
}

/* A value is "s7.c2.q31.i0." and then bytes that follow from those, any of the 256. */
static uint8_t fill_byte(const struct check_key *key, size_t at)
{
    uint64_t x = at / 7 + key->seq * UINT64_C(31) + key->client * UINT64_C(77) + key->number;
    return (uint8_t)(x * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

size_t check_value_make(const struct check_key *key, size_t len, char *to)
{
    if (len == 0)
        return 0;
    char head[64];
    int n = snprintf(head, sizeof(head), "%c%u.c%u.q%" PRIu32 ".i%u.", key->class, key->number,
                     key->client, key->seq, key->index);
    size_t head_len = (size_t)n;
    if (len < head_len)
        len = head_len;
    if (!to)
        return len;
    memcpy(to, head, head_len);
    for (size_t i = head_len; i < len; i++)
        to[i] = (char)fill_byte(key, i);
    return len;
}

bool check_value_parse(const char *text, size_t len, struct check_key *ret)
{
    const char *p = text, *end = text + len;
    *ret = (struct check_key){0};
    if (!take_class(&p, end, ret) || !take_writer(&p, end, ret) || p == end || *p != '.')
        return false;
    for (p++; p < end; p++) {
        if ((uint8_t)*p != fill_byte(ret, (size_t)(p - text)))
            return false;
    }
    return true;
}

uint64_t check_digest(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint64_t hash = len * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    for (; len > 0; p++, len--)
        hash = (hash ^ *p) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ (hash >> 29);
}

/* ---- what nodes do ---- */

/* May the proxy have sent it there? By a view in force at some time since the client sent it. */
static bool owner_may_be(const struct checker *k, unsigned node, struct str key, unsigned process,
                         uint64_t since)
{
    uint64_t hash = layout_hash(k->options->proxy.layout, key, k->options->proxy.hash_tags);
    for (uint32_t i = 0; i < k->view_count; i++) {
        const struct check_view *cv = &k->views[i];
        if (!checker_view_counts(k, cv, process, since) || !cv->view->ring)
            continue;
        if (cv->node_of[maglev_lookup(cv->view->ring, hash)] == (int)node)
            return true;
    }
    return false;
}

static void check_order(struct checker *k, unsigned node, const char *verb,
                        const struct check_key *key, uint16_t session, uint64_t connection_died)
{
    struct check_order *last = &k->order[key->client][node];
    uint32_t now = key->seq + 1;
    /*
     * What a node finds in the buffer of a connection that has ended it still executes, after newer
     * commands that came another way. Who closes that gap is the issue "Always there"; until then
     * it is a mistake only if the old connection lived when the newer command was executed.
     */
    bool stale = connection_died != 0 && connection_died <= last->step;
    /* A reply nobody asked for that was taken for that of a command under way makes the proxy
     * believe it is done, and then what follows may go another way. */
    bool tainted = k->tainted_from[node] != 0 && io_sim_now(k->world) <= k->tainted_until[node];
    if (now < last->seq_plus_1 && session == last->session && !stale && !tainted)
        checker_fail(k,
                     "order: node %u executes %s of %c%u, client %u command %" PRIu32
                     ", after its command %" PRIu32,
                     node, verb, key->class, key->number, key->client, key->seq,
                     last->seq_plus_1 - 1);
    if (now >= last->seq_plus_1)
        *last = (struct check_order){now, session, k->step};
}

struct check_part *checker_executes(struct checker *k, unsigned node, const char *verb,
                                    struct str key_text, const struct check_key *key, bool writes,
                                    uint64_t connection_died)
{
    k->step++;
    k->executed++;
    uint64_t since = 0;
    struct check_command *c = NULL;
    if (key->tagged) {
        c = checker_find(k, key->client, key->seq);
        if (!c || key->index >= c->part_count || c->parts[key->index].key.number != key->number ||
            c->parts[key->index].key.class != key->class) {
            checker_fail(k, "node %u got a key nobody sent: %.*s", node, (int)key_text.len,
                         key_text.p);
            return NULL;
        }
        since = c->sent_at;
    }
    stale_executes(k, node, verb, key, connection_died != 0);
    if (!owner_may_be(k, node, key_text, c ? c->process : CHECK_ANY_PROCESS, since))
        checker_fail(k, "route: node %u got %s of key %.*s, which is not its own", node, verb,
                     (int)key_text.len, key_text.p);
    if (!c)
        return NULL;
    struct check_part *p = &c->parts[key->index];
    p->executions++;
    /* A read that is sent again, because its upstream broke, comes after what was done behind it
     * the first time; of that nobody has been told. Nor of one on a connection that is gone. */
    if (p->executions == 1 && (writes || connection_died == 0))
        check_order(k, node, verb, key, c->session, connection_died);
    if (p->executions > 1 && writes)
        checker_fail(k, "once: node %u executes %s of client %u command %" PRIu32 " again", node,
                     verb, key->client, key->seq);
    /* Sent again, and only then done by the one that was asked first: nobody hears of that. */
    if (p->executions > 1 && connection_died != 0)
        return NULL;
    p->node = (int8_t)node;
    return p;
}

void checker_clears(struct checker *k, unsigned node, const char *verb, const struct check_key *key)
{
    k->step++;
    stale_executes(k, node, verb, key, false);
}

void checker_reply_moves(struct checker *k, unsigned client, uint32_t seq, bool begins,
                         uint64_t len)
{
    struct check_command *c = checker_find(k, client, seq);
    if (!c)
        return;
    c->reply_moved_at = io_sim_now(k->world);
    c->reply_read += len;
    if (begins && c->reply_began_at == 0) {
        const struct check_command *before = seq > 0 ? c - 1 : NULL;
        c->reply_began_at = c->reply_moved_at;
        c->aside_then = k->aside;
        c->out_of_turn = before && before->session == c->session && !before->answered;
    }
}

void checker_reply_unseen(struct checker *k, unsigned client, uint32_t seq)
{
    struct check_command *c = checker_find(k, client, seq);
    if (c)
        c->reply_unseen = true;
}

/* ---- large and small ---- */

bool checker_lanes_mix(const struct checker *k)
{
    const struct sim_options *o = k->options;
    return (uint64_t)o->value_max * (o->split_max > 0 ? o->split_max : 1) + FRAME_SLACK >
           o->proxy.bulk_above;
}

bool checker_may_stream(const struct checker *k, const struct check_command *c)
{
    bool key_first = c->kind == CHECK_SET || c->kind == CHECK_SETEX || c->kind == CHECK_APPEND;
    return key_first && check_command_len(c) > k->options->proxy.bulk_above;
}

/* The nodes that may own a key in any view so far: views change seldom. */
static uint32_t owners(const struct checker *k, const struct check_key *key, unsigned process)
{
    char text[64];
    struct str name = {text, check_key_print(key, text, sizeof(text))};
    uint64_t hash = layout_hash(k->options->proxy.layout, name, k->options->proxy.hash_tags);
    uint32_t nodes = 0;
    for (uint32_t i = 0; i < k->view_count; i++) {
        const struct check_view *cv = &k->views[i];
        if (cv->view->ring && cv->process == process)
            nodes |= 1U << cv->node_of[maglev_lookup(cv->view->ring, hash)];
    }
    return nodes;
}

bool checker_share_node(const struct checker *k, const struct check_command *a,
                        const struct check_command *b)
{
    uint32_t of_a = 0, of_b = 0;
    for (uint32_t i = 0; i < a->part_count; i++)
        of_a |= owners(k, &a->parts[i].key, a->process);
    for (uint32_t i = 0; i < b->part_count; i++)
        of_b |= owners(k, &b->parts[i].key, b->process);
    return (of_a & of_b) != 0;
}

bool checker_stopped_inside(const struct checker *k, const struct check_command *c)
{
    const struct sim_options *o = k->options;
    if (check_command_len(c) <= o->proxy.bulk_above)
        return false;
    /* What its network may add to the pause it made. */
    uint64_t late = o->weather.latency_max + o->weather.spike + 2 * o->pause_max +
                    (o->client_clog ? o->fault_max : 0);
    uint64_t end = c->read_at ? c->read_at : io_sim_now(k->world);
    bool stopped = c->idle > 0 && c->idle + late >= o->proxy.client_stall_timeout;
    bool too_slow = c->idle > 0 && o->proxy.client_min_rate > 0 && c->begun_at != 0 &&
                    end >= c->begun_at + o->proxy.stall_timeout;
    return stopped || too_slow;
}

bool checker_is_tainted(const struct checker *k, const struct check_command *c)
{
    uint64_t now = io_sim_now(k->world);
    for (unsigned n = 0; n < SIM_NODES_MAX; n++) {
        if (k->tainted_from[n] != 0 && k->tainted_from[n] <= now &&
            k->tainted_until[n] >= c->sent_at)
            return true;
    }
    return false;
}

uint64_t checker_due(const struct checker *k, const struct check_command *c, uint64_t floor)
{
    if (c->read_at == 0 || checker_is_tainted(k, c))
        return NSEC_NEVER;
    const struct proxy_settings *s = &k->options->proxy;
    uint64_t start = c->read_at > floor ? c->read_at : floor;
    uint64_t late =
        2 * k->options->pause_max + TURN_SLACK_US * NSEC_US; /* a worker may run so late */
    uint64_t timeout = s->request_timeout;
    if (check_kind_is_of_all((enum check_kind)c->kind)) /* of whose answers nobody knows when */
        timeout = s->fanout_timeout + BEGUN_STALLS * s->stall_timeout;
    uint64_t due = start + timeout + late;
    /* A reply that began in time may go on as long as it does not stall. */
    if (c->reply_began_at != 0 && c->reply_began_at <= due &&
        c->reply_moved_at + s->stall_timeout + late > due)
        due = c->reply_moved_at + s->stall_timeout + late;
    if (c->reply_unseen) /* it may have begun until just now, and then it may stall */
        due += s->stall_timeout + late;
    if (!s->hash_tags) /* then nobody knows whose a node's reply is, and when it began */
        due += 3 * s->request_timeout + s->stall_timeout;
    return due;
}

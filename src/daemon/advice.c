/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/advice.h"

#include "base/must.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KB UINT64_C(1024)
#define MB (1024 * KB)
#define GB (1024 * MB)

const char *advice_level_name(enum advice_level l)
{
    static const char *const NAMES[] = {"wrong", "better", "note"};
    return NAMES[l];
}

char *advice_print_size(uint64_t bytes, char to[ADVICE_SIZE_MAX])
{
    static const struct {
        uint64_t bytes;
        const char *name;
    } UNITS[] = {{GB, "GB"}, {MB, "MB"}, {KB, "kB"}};
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        double size = (double)bytes / (double)UNITS[i].bytes;
        if (bytes < UNITS[i].bytes)
            continue;
        snprintf(to, ADVICE_SIZE_MAX, "%.*f %s", size < 10 ? 1 : 0, size, UNITS[i].name);
        return to;
    }
    snprintf(to, ADVICE_SIZE_MAX, "%" PRIu64 " bytes", bytes);
    return to;
}

/* ---- reading ---- */

/* What its digits say, up to the first other byte ("7" of "7.0.15"). */
static uint64_t number_of(struct str s)
{
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            break;
        value = 10 * value + digit;
    }
    return value;
}

struct str advice_info(const struct advice_facts *f, struct str name)
{
    struct str text = f->info;
    while (text.len > 0) {
        struct str value = str_cut_line(&text);
        struct str found = str_cut(&value, ':');
        if (str_eq(found, name))
            return value;
    }
    return (struct str){NULL, 0};
}

struct str advice_setting(const struct advice_facts *f, struct str name)
{
    for (uint32_t i = 0; i < f->setting_count; i++)
        if (str_eq(f->settings[i].name, name))
            return f->settings[i].value;
    return (struct str){NULL, 0};
}

uint64_t advice_info_number(const struct advice_facts *f, struct str name)
{
    return number_of(advice_info(f, name));
}

static bool setting_is(const struct advice_facts *f, struct str name, struct str value)
{
    struct str found = advice_setting(f, name);
    return found.p && str_eq(found, value);
}

/* Known, and a number other than 0? */
static bool setting_is_number(const struct advice_facts *f, struct str name, uint64_t *ret)
{
    struct str found = advice_setting(f, name);
    if (!found.p)
        return false;
    *ret = number_of(found);
    return *ret > 0;
}

/* Loans of a node's text, ready for "%.*s": at most 80 bytes of it. */
#define TEXT(s) (int)((s).len < 80 ? (s).len : 80), (s).len > 0 ? (s).p : ""

static void __attribute__((format(printf, 5, 6)))
say(struct advice *a, enum advice_level level, const char *id, const char *todo, const char *what,
    ...)
{
    va_list ap;
    must(a->count < ADVICE_FINDINGS_MAX);
    struct advice_finding *f = &a->findings[a->count++];
    *f = (struct advice_finding){.level = level, .id = id, .todo = todo};
    a->counts[level]++;
    va_start(ap, what);
    vsnprintf(f->what, sizeof(f->what), what, ap);
    va_end(ap);
    for (char *c = f->what; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* ---- what it is ---- */

static void check_kind(const struct advice_facts *f, struct advice *a)
{
    struct str version = advice_info(f, STR("redis_version"));
    uint64_t replicas = advice_info_number(f, STR("connected_slaves"));
    if (version.len > 0 && number_of(version) < 6)
        say(a, ADVICE_WRONG, "version", "use Redis 6 to 8, or Valkey",
            "version %.*s is older than what sumcache is tested with", TEXT(version));
    if (advice_info_number(f, STR("cluster_enabled")) == 1)
        say(a, ADVICE_WRONG, "cluster-enabled", "cluster-enabled no, and a restart",
            "it is of a Redis Cluster, which answers -MOVED for the keys of others");
    if (str_eq(advice_info(f, STR("role")), STR("slave")))
        say(a, ADVICE_WRONG, "replicaof", "REPLICAOF NO ONE",
            "it is a replica: it refuses writes, and its values are another node's");
    if (replicas > 0)
        say(a, ADVICE_BETTER, "replicas", "REPLICAOF NO ONE there, and use them as nodes",
            "%" PRIu64 " replicas copy it: memory and traffic that hold nothing new", replicas);
    if (advice_info_number(f, STR("loading")) == 1)
        say(a, ADVICE_WRONG, "loading", "remove its snapshot and append-only file",
            "it is loading a file, and answers -LOADING until that is over");
}

/* ---- what outlives a restart ---- */

static void check_persistence(const struct advice_facts *f, struct advice *a)
{
    struct str save = advice_setting(f, STR("save"));
    uint64_t replicas;
    if (save.len > 0)
        say(a, ADVICE_WRONG, "save", "save \"\"",
            "snapshots (save \"%.*s\"): after a restart it has old values again, and each fork may "
            "double its memory",
            TEXT(save));
    if (advice_info_number(f, STR("aof_enabled")) == 1)
        say(a, ADVICE_WRONG, "appendonly", "appendonly no",
            "it writes an append-only file: after a restart it has old values again, and its disk "
            "sets its pace");
    if (setting_is_number(f, STR("min-replicas-to-write"), &replicas))
        say(a, ADVICE_WRONG, "min-replicas-to-write", "min-replicas-to-write 0",
            "it refuses writes unless it has %" PRIu64 " replicas", replicas);
}

/* ---- memory ---- */

struct keyspace {
    uint64_t keys, lasting; /* of database 0; those without a TTL */
    uint64_t elsewhere;     /* keys of other databases */
};

static struct keyspace keyspace_of(const struct advice_facts *f)
{
    struct keyspace k = {0};
    struct str text = f->info;
    while (text.len > 0) {
        struct str value = str_cut_line(&text);
        struct str name = str_cut(&value, ':');
        uint64_t keys = 0, expires = 0;
        if (!str_begins(name, STR("db")) || name.len < 3 || name.p[2] < '0' || name.p[2] > '9')
            continue;
        while (value.len > 0) {
            struct str number = str_cut(&value, ',');
            struct str what = str_cut(&number, '=');
            if (str_eq(what, STR("keys")))
                keys = number_of(number);
            else if (str_eq(what, STR("expires")))
                expires = number_of(number);
        }
        if (str_eq(name, STR("db0"))) {
            k.keys = keys;
            k.lasting = keys > expires ? keys - expires : 0;
        } else {
            k.elsewhere += keys;
        }
    }
    return k;
}

static void check_maxmemory(const struct advice_facts *f, struct advice *a)
{
    char max_text[ADVICE_SIZE_MAX], total_text[ADVICE_SIZE_MAX];
    uint64_t total = advice_info_number(f, STR("total_system_memory"));
    uint64_t max = advice_info_number(f, STR("maxmemory"));
    if (!advice_info(f, STR("maxmemory")).p)
        return;
    if (max == 0)
        say(a, ADVICE_WRONG, "maxmemory", "maxmemory, three quarters of what it may use",
            "no maxmemory: it grows until the kernel kills it");
    else if (total > 0 && max / 10 > total / 10 * 9 / 10)
        say(a, ADVICE_WRONG, "maxmemory", "maxmemory, three quarters of what it may use",
            "maxmemory %s of the host's %s leaves too little for buffers and fragmentation",
            advice_print_size(max, max_text), advice_print_size(total, total_text));
}

static void check_eviction(const struct advice_facts *f, const struct keyspace *k, struct advice *a)
{
    static const char TODO[] = "maxmemory-policy allkeys-lru";
    struct str policy = advice_info(f, STR("maxmemory_policy"));
    if (str_eq(policy, STR("noeviction")))
        say(a, ADVICE_WRONG, "maxmemory-policy", TODO,
            "noeviction: when it is full, every write fails (-OOM)");
    else if (str_begins(policy, STR("volatile-")) && k->lasting > 0)
        say(a, ADVICE_WRONG, "maxmemory-policy", TODO,
            "%.*s, and %" PRIu64 " of %" PRIu64
            " keys have no TTL: they are never evicted, and when they fill it, every write fails",
            TEXT(policy), k->lasting, k->keys);
    else if (str_begins(policy, STR("volatile-")))
        say(a, ADVICE_BETTER, "maxmemory-policy", TODO,
            "%.*s: a key without a TTL would never be evicted", TEXT(policy));
    else if (str_eq(policy, STR("allkeys-random")))
        say(a, ADVICE_BETTER, "maxmemory-policy", TODO,
            "allkeys-random evicts what is read all the time as readily as what nobody reads");
}

static void check_keys(const struct advice_facts *f, const struct keyspace *k, struct advice *a)
{
    char size[ADVICE_SIZE_MAX];
    if (k->lasting > 0)
        say(a, ADVICE_NOTE, "ttl", "EX at each SET, or a default_ttl in policy.rules",
            "%" PRIu64 " of %" PRIu64
            " keys have no TTL: what the application forgets to delete stays until it is evicted",
            k->lasting, k->keys);
    if (k->elsewhere > 0)
        say(a, ADVICE_NOTE, "databases", "FLUSHDB in those that `databases` does not offer",
            "%" PRIu64 " keys are in databases other than 0, which few configurations offer",
            k->elsewhere);
    if (f->largest >= MB)
        say(a, f->largest >= 64 * MB ? ADVICE_BETTER : ADVICE_NOTE, "large-values",
            "divide it, or compress it; max_value in policy.rules sets a limit",
            "of %" PRIu32 " keys that were looked at, '%.*s' is the largest: %s", f->sampled,
            TEXT(f->largest_key), advice_print_size(f->largest, size));
}

static void check_waste(const struct advice_facts *f, struct advice *a)
{
    struct str ratio = advice_info(f, STR("mem_fragmentation_ratio"));
    bool on_eviction = !setting_is(f, STR("lazyfree-lazy-eviction"), STR("no"));
    bool on_expire = !setting_is(f, STR("lazyfree-lazy-expire"), STR("no"));
    uint64_t whole = number_of(ratio);
    struct str rest = ratio;
    (void)str_cut(&rest, '.');
    bool is_high = whole >= 2 || (whole == 1 && rest.len > 0 && rest.p[0] >= '5');
    if (is_high && advice_info_number(f, STR("used_memory")) > 100 * MB &&
        setting_is(f, STR("activedefrag"), STR("no")))
        say(a, ADVICE_BETTER, "fragmentation",
            "activedefrag yes, if it was built for that, or restarts, one node after the other",
            "it takes %.*s times the memory that it counts", TEXT(ratio));
    if (!on_eviction || !on_expire)
        say(a, f->largest >= MB ? ADVICE_BETTER : ADVICE_NOTE, "lazyfree",
            "lazyfree-lazy-eviction yes, lazyfree-lazy-expire yes",
            "large values that %s stop it while they are freed",
            on_eviction ? "expire"
            : on_expire ? "are evicted"
                        : "expire or are evicted");
}

static void check_huge_pages(const struct advice_facts *f, struct advice *a)
{
    static const char TODO[] =
        "disable-thp yes and a restart, or 'never' in /sys/kernel/mm/transparent_hugepage/enabled";
    if (f->huge_pages)
        say(a, ADVICE_BETTER, "huge-pages", TODO,
            "it has transparent huge pages (LATENCY DOCTOR): slower, and larger after forks");
    else if (setting_is(f, STR("disable-thp"), STR("no")))
        say(a, ADVICE_BETTER, "huge-pages", TODO,
            "disable-thp no: if its host gives transparent huge pages, it takes them");
    else if (f->host_huge_pages && f->setting_count > 0 && !advice_setting(f, STR("disable-thp")).p)
        say(a, ADVICE_BETTER, "huge-pages", TODO,
            "this host gives transparent huge pages to all, and it cannot refuse them");
}

/* ---- connections ---- */

static bool is_loopback(struct str address)
{
    if (str_begins(address, STR("-"))) /* one that may be missing */
        address = (struct str){address.p + 1, address.len - 1};
    return str_begins(address, STR("127.")) || str_eq(address, STR("::1")) ||
           str_eq(address, STR("localhost"));
}

/* Does it listen beyond its own host? */
static bool is_reachable(struct str bind)
{
    bool any = bind.len == 0; /* none given: all */
    while (bind.len > 0) {
        struct str address = str_cut(&bind, ' ');
        any = any || (address.len > 0 && !is_loopback(address));
    }
    return any;
}

static void check_access(const struct advice_facts *f, struct advice *a)
{
    static const char TODO[] =
        "a password (requirepass there, nodes.password_file here), or protected-mode no where "
        "a firewall or NetworkPolicy lets only proxies in";
    struct str bind = advice_setting(f, STR("bind"));
    bool has_bind = bind.p && bind.len > 0;
    if (!has_bind)
        bind.len = 0; /* not told, or none */
    /* Before 7.0 an address in `bind` was enough to switch protected mode off. */
    bool guards = number_of(advice_info(f, STR("redis_version"))) >= 7 || !has_bind;
    if (f->setting_count == 0 || !setting_is(f, STR("requirepass"), STR("")))
        return;
    if (!is_reachable(bind))
        say(a, ADVICE_NOTE, "bind", "bind an address that the proxies reach",
            "bind %.*s: only proxies on its own host reach it", TEXT(bind));
    else if (guards && setting_is(f, STR("protected-mode"), STR("yes")))
        say(a, ADVICE_WRONG, "protected-mode", TODO,
            "protected-mode yes without a password: proxies on other hosts are refused (-DENIED)");
    else
        say(a, ADVICE_NOTE, "requirepass", "a password, or a firewall that lets only proxies in",
            "no password: whoever reaches its port may read and change everything");
}

/* "normal 0 0 0 slave …": the hard and the soft limit of ordinary clients. */
static void check_output_limit(const struct advice_facts *f, struct advice *a)
{
    struct str text = advice_setting(f, STR("client-output-buffer-limit"));
    char hard_text[ADVICE_SIZE_MAX], soft_text[ADVICE_SIZE_MAX];
    while (text.len > 0) {
        struct str class = str_cut(&text, ' ');
        uint64_t hard = number_of(str_cut(&text, ' ')), soft = number_of(str_cut(&text, ' '));
        (void)str_cut(&text, ' ');
        if (str_eq(class, STR("normal")) && (hard > 0 || soft > 0))
            say(a, ADVICE_WRONG, "client-output-buffer-limit",
                "client-output-buffer-limit normal 0 0 0",
                "it closes connections that are owed %s (soft: %s), and with a proxy's all "
                "requests on it",
                hard ? advice_print_size(hard, hard_text) : "any amount",
                soft ? advice_print_size(soft, soft_text) : "none");
    }
}

static void check_connections(const struct advice_facts *f, struct advice *a)
{
    enum { CLIENTS_MIN = 1000 };
    uint64_t n;
    if (setting_is_number(f, STR("timeout"), &n))
        say(a, ADVICE_BETTER, "timeout", "timeout 0",
            "it closes connections after %" PRIu64 " s without a request, proxies' too", n);
    if (setting_is(f, STR("tcp-keepalive"), STR("0")))
        say(a, ADVICE_BETTER, "tcp-keepalive", "tcp-keepalive 60",
            "tcp-keepalive 0: connections of a proxy that vanished are kept for ever");
    if (setting_is_number(f, STR("maxclients"), &n) && n < CLIENTS_MIN)
        say(a, ADVICE_BETTER, "maxclients", "maxclients 10000",
            "maxclients %" PRIu64 ": each worker of each proxy may open 10 connections", n);
    if (setting_is_number(f, STR("maxmemory-clients"), &n))
        say(a, ADVICE_BETTER, "maxmemory-clients", "maxmemory-clients 0",
            "it closes the connections with most in their buffers: those of proxies");
    if (setting_is_number(f, STR("proto-max-bulk-len"), &n) && n < 512 * MB)
        say(a, ADVICE_NOTE, "proto-max-bulk-len", "limits.max_value here, to the same",
            "values above %" PRIu64 " bytes are refused", n);
    n = advice_info_number(f, STR("rejected_connections"));
    if (n > 0)
        say(a, ADVICE_NOTE, "rejected-connections", "a larger maxclients, if this number grows",
            "it has refused %" PRIu64 " connections since its start (maxclients)", n);
    check_output_limit(f, a);
}

static void check_habits(const struct advice_facts *f, struct advice *a)
{
    struct str events = advice_setting(f, STR("notify-keyspace-events"));
    if (events.len > 0)
        say(a, ADVICE_NOTE, "notify-keyspace-events",
            "notify-keyspace-events \"\", if nobody listens",
            "it publishes events of keys (%.*s), which costs it time at each write", TEXT(events));
    if (setting_is(f, STR("loglevel"), STR("debug")))
        say(a, ADVICE_BETTER, "loglevel", "loglevel notice",
            "loglevel debug: it writes lines for each client");
}

void advice_of_node(const struct advice_facts *f, struct advice *a)
{
    if (f->is_denied) {
        say(a, ADVICE_WRONG, "protected-mode",
            "a password (requirepass there, nodes.password_file here), or protected-mode no where "
            "a firewall or NetworkPolicy lets only proxies in",
            "protected-mode yes without a password: it refuses this host, as it does proxies "
            "(-DENIED)");
        return;
    }
    struct keyspace k = keyspace_of(f);
    if (f->setting_count == 0)
        say(a, ADVICE_NOTE, "config", "let its user do CONFIG GET, or read its redis.conf",
            "CONFIG GET is refused, so its settings are not known: %.*s", TEXT(f->config_error));
    check_kind(f, a);
    check_persistence(f, a);
    check_maxmemory(f, a);
    check_eviction(f, &k, a);
    check_keys(f, &k, a);
    check_waste(f, a);
    check_huge_pages(f, a);
    check_access(f, a);
    check_connections(f, a);
    check_habits(f, a);
}

/* ---- all nodes ---- */

static void check_twins(const struct advice_facts *nodes, uint32_t count, struct advice *a)
{
    for (uint32_t i = 0; i < count; i++) {
        struct str id = advice_info(&nodes[i], STR("run_id"));
        for (uint32_t k = 0; id.len > 0 && k < i; k++) {
            if (!str_eq(advice_info(&nodes[k], STR("run_id")), id))
                continue;
            say(a, ADVICE_WRONG, "twins", "name each server once",
                "%.*s and %.*s are one server: the second stays out", TEXT(nodes[k].name),
                TEXT(nodes[i].name));
            return; /* there may be many of them, and one shows what is the matter */
        }
    }
}

/* Keys are spread by weight, so what a node should have is its weight's share. */
static void check_balance(const struct advice_facts *nodes, uint32_t count, struct advice *a)
{
    const struct advice_facts *least = NULL, *most = NULL;
    char least_text[ADVICE_SIZE_MAX], most_text[ADVICE_SIZE_MAX];
    double least_share = 0, most_share = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t max = advice_info_number(&nodes[i], STR("maxmemory"));
        double share = (double)max / (double)(nodes[i].weight > 0 ? nodes[i].weight : 1);
        if (max == 0)
            continue;
        if (!least || share < least_share) {
            least = &nodes[i];
            least_share = share;
        }
        if (!most || share > most_share) {
            most = &nodes[i];
            most_share = share;
        }
    }
    if (least && most_share > least_share * 1.25)
        say(a, ADVICE_BETTER, "balance", "weights in proportion to maxmemory, or the same of both",
            "%.*s has %s for weight %" PRIu32 ", %.*s %s for weight %" PRIu32
            ": the first is full while the other has room",
            TEXT(least->name),
            advice_print_size(advice_info_number(least, STR("maxmemory")), least_text),
            least->weight, TEXT(most->name),
            advice_print_size(advice_info_number(most, STR("maxmemory")), most_text), most->weight);
}

static void check_hosts(const struct advice_facts *nodes, uint32_t count, struct advice *a)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t total = advice_info_number(&nodes[i], STR("total_system_memory")), sum = 0;
        uint32_t together = 0;
        bool is_first = true;
        char sum_text[ADVICE_SIZE_MAX], total_text[ADVICE_SIZE_MAX];
        for (uint32_t k = 0; k < count; k++) {
            uint64_t max = advice_info_number(&nodes[k], STR("maxmemory"));
            if (!str_eq(nodes[k].host, nodes[i].host) || max >= UINT64_MAX / 8192)
                continue;
            is_first = is_first && k >= i;
            sum += max;
            together++;
        }
        if (!is_first || together < 2 || total == 0 || sum / 10 <= total / 10 * 9 / 10)
            continue;
        say(a, ADVICE_WRONG, "host-memory", "a smaller maxmemory, or fewer nodes there",
            "the %" PRIu32 " nodes at %.*s may use %s of its %s", together, TEXT(nodes[i].host),
            advice_print_size(sum, sum_text), advice_print_size(total, total_text));
        return;
    }
}

void advice_of_all(const struct advice_facts *nodes, uint32_t count, struct advice *a)
{
    check_twins(nodes, count, a);
    check_balance(nodes, count, a);
    check_hosts(nodes, count, a);
    if (count == 1)
        say(a, ADVICE_NOTE, "one-node", "more nodes, each with a part of the memory",
            "there is one node: when it is gone, every read is a miss and every write an error");
}

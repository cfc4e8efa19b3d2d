/* SPDX-License-Identifier: Apache-2.0 */
#include "cache.h"

#include "clock.h"
#include "refresher.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
    BUDGET_MS = 50,
    BUDGET_MAX_MS = 3600000,
    CONNECTIONS = 64,
    CONNECTIONS_MAX = 65536,
    QUEUE = 1024,
    QUEUE_MAX = 1 << 20,
    QUEUE_BYTES = 16 << 20,
    VALUE = 5 << 20,
    VALUE_MAX = 512 << 20, /* a Redis takes no larger ones */
    MEMORY_TTL_MS = 1000,
    WINDOW = 20,
    WINDOW_MAX = 32, /* bits of a word */
    PERCENT = 50,
    PROBE_MS = 100,
    PROBE_MAX_MS = 60000,
    LOG_LINES_MAX = 10, /* a minute */
    ALIVE_BYTES = 4096,
};

unsigned sc_version(void)
{
    return SC_VERSION;
}

const char *sc_error_text(int error)
{
    switch (error) {
    case -EINVAL:
        return "an argument makes no sense";
    case -ENOMEM:
        return "no memory";
    case -EAGAIN:
        return "no thread or descriptor";
    default:
        return error >= 0 ? "ok" : "unknown error";
    }
}

const char *sc_cause_name(int cause)
{
    static const char *const names[] = {
        [SC_CAUSE_NONE] = "none",           [SC_CAUSE_ABSENT] = "absent",
        [SC_CAUSE_TIMEOUT] = "timeout",     [SC_CAUSE_CONNECT] = "connect",
        [SC_CAUSE_CLOSED] = "closed",       [SC_CAUSE_PROTOCOL] = "protocol",
        [SC_CAUSE_SERVER] = "server",       [SC_CAUSE_BREAKER] = "breaker",
        [SC_CAUSE_BUSY] = "busy",           [SC_CAUSE_DECODE] = "decode",
        [SC_CAUSE_TOO_LARGE] = "too large", [SC_CAUSE_INVALIDATED] = "invalidated",
        [SC_CAUSE_LOADER] = "loader",
    };
    bool is_known = cause >= 0 && (size_t)cause < sizeof(names) / sizeof(names[0]);
    return is_known ? names[cause] : "unknown";
}

/* --- what calls have come to --- */

enum sc_cause cause_of(int error)
{
    switch (error) {
    case 0:
        return SC_CAUSE_NONE;
    case -ETIMEDOUT:
        return SC_CAUSE_TIMEOUT;
    case -ECONNREFUSED:
        return SC_CAUSE_CONNECT;
    case -ECONNRESET:
        return SC_CAUSE_CLOSED;
    case -EMSGSIZE:
        return SC_CAUSE_TOO_LARGE;
    case -EACCES: /* AUTH was refused */
        return SC_CAUSE_SERVER;
    case -EBUSY:
    case -ENOMEM:
        return SC_CAUSE_BUSY;
    default:
        return SC_CAUSE_PROTOCOL;
    }
}

void cache_note(struct sc_cache *c, int cause)
{
    static const enum counter counters[] = {
        [SC_CAUSE_TIMEOUT] = COUNT_TIMEOUTS,     [SC_CAUSE_CONNECT] = COUNT_CONNECT_ERRORS,
        [SC_CAUSE_CLOSED] = COUNT_CLOSED,        [SC_CAUSE_PROTOCOL] = COUNT_PROTOCOL_ERRORS,
        [SC_CAUSE_SERVER] = COUNT_SERVER_ERRORS,
    };
    bool has_failed = cause >= SC_CAUSE_TIMEOUT && cause <= SC_CAUSE_SERVER;
    if (has_failed) {
        count(c, counters[cause], 1);
    } else if (cause == SC_CAUSE_BUSY) {
        return; /* says nothing about the server */
    }
    if (breaker_note(&c->breaker, has_failed)) {
        cache_log(c, "the cache is not asked any more: %s", sc_cause_name(cause));
        io_wake(c->io);
    }
}

/* Four rows for each power of two of microseconds. */
static unsigned cost_row(uint32_t us)
{
    if (us < 4) {
        return us;
    }
    unsigned power = 31 - (unsigned)__builtin_clz(us);
    return 4 * (power - 1) + (us >> (power - 2) & 3);
}

/* The first number above a row. */
static uint64_t cost_above(unsigned row)
{
    if (row < 4) {
        return row + 1;
    }
    return (uint64_t)(row % 4 + 5) << (row / 4 - 1);
}

void cache_note_cost(struct sc_cache *c, int64_t cost_ns)
{
    int64_t us = cost_ns / 1000;
    unsigned row = cost_row(us > UINT32_MAX ? UINT32_MAX : (uint32_t)us);
    atomic_fetch_add_explicit(&c->costs[row], 1, memory_order_relaxed);
}

void cache_log(struct sc_cache *c, const char *format, ...)
{
    if (c->log == NULL) {
        return;
    }
    int64_t minute = clock_ns() / (INT64_C(60) * 1000 * NS_PER_MS);
    if (atomic_exchange(&c->log_minute, minute) != minute) {
        atomic_store(&c->log_lines, 0);
    }
    if (atomic_fetch_add(&c->log_lines, 1) >= LOG_LINES_MAX) {
        return;
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    c->log(c->log_arg, text);
}

static void seed(struct sc_cache *c)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
        random = (uint64_t)clock_ns() ^ (uint64_t)(uintptr_t)c ^ (uint64_t)clock_wall_ms() << 20;
    }
    atomic_store(&c->random, random);
}

uint64_t cache_random(struct sc_cache *c)
{
    uint64_t x;
    do { /* splitmix64: no number comes twice */
        x = atomic_fetch_add_explicit(&c->random, 0x9E3779B97F4A7C15U, memory_order_relaxed);
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
        x = (x ^ x >> 27) * 0x94D049BB133111EBU;
        x ^= x >> 31;
    } while (x == 0);
    return x;
}

/* --- options --- */

bool options_read(void *to, size_t size, const void *from)
{
    size_t given;
    memcpy(&given, from, sizeof(given)); /* the first field of each */
    if (given < sizeof(given) || given > 4096) {
        return false;
    }
    for (size_t i = size; i < given; i++) {
        if (((const char *)from)[i] != 0) {
            return false;
        }
    }
    memset(to, 0, size);
    memcpy(to, from, given < size ? given : size);
    return true;
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given != 0 ? given : otherwise;
}

static size_t or_default_size(size_t given, size_t otherwise)
{
    return given != 0 ? given : otherwise;
}

static int read_options(struct sc_cache *c, const struct sc_options *o)
{
    uint32_t budget_ms = or_default(o->budget_ms, BUDGET_MS);
    c->budget_ns = (int64_t)budget_ms * NS_PER_MS;
    c->connections_max = or_default(o->connections_max, CONNECTIONS);
    c->queue_max = or_default(o->queue_max, QUEUE);
    c->value_max = or_default_size(o->value_max, VALUE);
    size_t queue_bytes = 4 * c->value_max > QUEUE_BYTES ? 4 * c->value_max : QUEUE_BYTES;
    c->queue_bytes_max = or_default_size(o->queue_bytes_max, queue_bytes);
    c->memory_max = o->memory_max;
    c->memory_ttl_ms = or_default(o->memory_ttl_ms, MEMORY_TTL_MS);
    c->probe_ms = or_default(o->breaker_probe_ms, PROBE_MS);
    uint32_t window = or_default(o->breaker_window, WINDOW);
    uint32_t percent = or_default(o->breaker_percent, PERCENT);
    c->log = o->log;
    c->log_arg = o->log_arg;
    bool is_sane = budget_ms <= BUDGET_MAX_MS && c->connections_max <= CONNECTIONS_MAX &&
                   c->queue_max <= QUEUE_MAX && c->value_max <= VALUE_MAX &&
                   window >= BREAKER_CALLS_MIN && window <= WINDOW_MAX && percent <= 100 &&
                   c->probe_ms <= PROBE_MAX_MS && (o->user == NULL || o->password != NULL);
    breaker_init(&c->breaker, window, percent);
    return is_sane ? 0 : -EINVAL;
}

/* --- life --- */

static void init_locks(struct sc_cache *c)
{
    flights_init(&c->flights);
    pthread_mutex_init(&c->refresher_lock, NULL);
    pthread_mutex_init(&c->stores_lock, NULL);
}

/* What has been made so far of a cache whose I/O thread has ended, or has never begun. */
static void free_cache(struct sc_cache *c)
{
    pool_fini(&c->pool);
    greeting_fini(&c->greeting);
    address_book_free(c->book);
    flights_fini(&c->flights);
    memory_free(c->memory);
    pthread_mutex_destroy(&c->refresher_lock);
    pthread_mutex_destroy(&c->stores_lock);
    if (c->alive != NULL) {
        munmap(c->alive, ALIVE_BYTES);
    }
    free(c);
}

static int make_alive(struct sc_cache *c)
{
    void *page =
        mmap(NULL, ALIVE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -ENOMEM;
    }
    c->alive = page;
    if (madvise(page, ALIVE_BYTES, MADV_WIPEONFORK) != 0) {
        return -EAGAIN; /* Linux before 4.14: a fork could not be noticed */
    }
    atomic_store(&c->alive[0], 1);
    return 0;
}

int sc_open(const struct sc_options *options, struct sc_cache **ret_cache)
{
    struct sc_options o = {0};
    if (ret_cache == NULL || (options != NULL && !options_read(&o, sizeof(o), options))) {
        return -EINVAL;
    }
    struct address_book *book;
    int rc = address_book_new(o.address != NULL ? o.address : "127.0.0.1:6379", &book);
    if (rc != 0) {
        return rc;
    }
    struct sc_cache *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        address_book_free(book);
        return -ENOMEM;
    }
    c->book = book;
    rc = read_options(c, &o);
    seed(c);
    init_locks(c);
    int greeting_rc = greeting_init(&c->greeting, o.user, o.password);
    pool_init(&c->pool, book, &c->greeting, c->connections_max, c->value_max + ENVELOPE_HEADER);
    rc = rc != 0 ? rc : greeting_rc;
    if (rc == 0 && c->memory_max > 0) {
        c->memory = memory_new(c->memory_max);
        rc = c->memory == NULL ? -ENOMEM : 0;
    }
    rc = rc != 0 ? rc : make_alive(c);
    rc = rc != 0 ? rc : address_book_start(c->book);
    bool has_thread;
    rc = rc != 0 ? rc : io_new(c, false, &c->io, &has_thread);
    if (rc != 0) {
        free_cache(c);
        return rc;
    }
    *ret_cache = c;
    return 0;
}

void sc_close(struct sc_cache *cache, uint32_t flush_ms)
{
    if (cache == NULL) {
        return;
    }
    cache_check_process(cache);
    cache->refresher = refresher_free(cache->refresher);
    cache->io = io_free(cache->io, flush_ms);
    free_cache(cache);
}

/* --- in the child of a fork --- */

/* Deletes that the parent has not got through are the parent's to repeat: here we only know that
 * old values may be there, as long as they live. */
static void reopen_store(struct sc_store *s)
{
    struct fences *f = &s->fences;
    unsigned pending = atomic_load(&f->pending_all);
    for (int i = 0; i < FENCE_SLOTS; i++) {
        pending |= atomic_load(&f->pending[i]);
        atomic_store(&f->pending[i], 0);
    }
    atomic_store(&f->pending_all, 0);
    atomic_store(&s->is_blind, 0);
    if (pending != 0) {
        store_blind(s);
    }
}

void cache_reopen(struct sc_cache *c)
{
    unsigned free_yet = 0;
    if (!atomic_compare_exchange_strong(&c->alive[1], &free_yet, 1)) {
        while (atomic_load(&c->alive[0]) == 0) { /* another thread of the child is at it */
            sched_yield();
        }
        return;
    }
    /* Locks may be held, and what they guard half changed, by threads that are not here: what the
     * parent had is let go of, not freed. */
    pool_reopen(&c->pool);
    init_locks(c);
    seed(c);
    c->refresher = NULL;
    if (c->memory != NULL) {
        c->memory = memory_new(c->memory_max);
    }
    (void)address_book_reopen(c->book); /* without a thread: what is known stays known */
    bool has_thread = false;
    if (io_new(c, true, &c->io, &has_thread) != 0) {
        abort(); /* no memory for what every call needs, and nobody to tell it to */
    }
    if (!has_thread) { /* nor will there be probes: everything is a miss, nothing is written */
        atomic_store(&c->breaker.state, BREAKER_OPEN);
    }
    for (struct sc_store *s = c->stores; s != NULL; s = s->next_open) {
        reopen_store(s);
    }
    atomic_store_explicit(&c->alive[0], 1, memory_order_release);
}

/* --- stats --- */

static void read_costs(struct sc_cache *c, struct sc_stats *ret)
{
    uint64_t sum = 0, rows[COST_ROWS];
    for (int i = 0; i < COST_ROWS; i++) {
        rows[i] = atomic_load_explicit(&c->costs[i], memory_order_relaxed);
        sum += rows[i];
    }
    uint64_t below = 0;
    for (unsigned i = 0; i < COST_ROWS; i++) {
        uint64_t before = below;
        below += rows[i];
        if (before * 2 < sum && below * 2 >= sum) {
            ret->cost_us_p50 = cost_above(i);
        }
        if (before * 100 < sum * 99 && below * 100 >= sum * 99) {
            ret->cost_us_p99 = cost_above(i);
        }
    }
}

void sc_stats_read(struct sc_cache *cache, struct sc_stats *ret_stats)
{
    cache_check_process(cache);
    struct memory_stats memory = {0};
    struct io_numbers numbers;
    if (cache->memory != NULL) {
        memory_stats_read(cache->memory, &memory);
    }
    io_read_numbers(cache->io, &numbers);
#define COUNTED(name) atomic_load_explicit(&cache->counters[COUNT_##name], memory_order_relaxed)
    struct sc_stats s = {
        .hits_memory = memory.hits,
        .hits = COUNTED(HITS),
        .stale = COUNTED(STALE),
        .negative = COUNTED(NEGATIVE),
        .misses = COUNTED(MISSES),
        .loads = COUNTED(LOADS),
        .loads_failed = COUNTED(LOADS_FAILED),
        .loads_shared = COUNTED(LOADS_SHARED),
        .loads_refreshed = COUNTED(LOADS_REFRESHED),
        .sets = COUNTED(SETS),
        .sets_shed = COUNTED(SETS_SHED),
        .dels = COUNTED(DELS),
        .dels_repeated = COUNTED(DELS_REPEATED),
        .dels_pending = numbers.dels_pending,
        .timeouts = COUNTED(TIMEOUTS),
        .connect_errors = COUNTED(CONNECT_ERRORS),
        .closed = COUNTED(CLOSED),
        .protocol_errors = COUNTED(PROTOCOL_ERRORS),
        .server_errors = COUNTED(SERVER_ERRORS),
        .decode_errors = COUNTED(DECODE_ERRORS),
        .breaker_opened = atomic_load(&cache->breaker.opened),
        .breaker_skipped = COUNTED(BREAKER_SKIPPED),
        .connections_opened = atomic_load(&cache->pool.opened) + COUNTED(CONNECTIONS),
        .bytes_in = COUNTED(BYTES_IN),
        .bytes_out = COUNTED(BYTES_OUT),
        .memory_bytes = memory.bytes,
        .memory_values = memory.values,
        .memory_evicted = memory.evicted,
        .breaker_state = atomic_load(&cache->breaker.state),
    };
#undef COUNTED
    read_costs(cache, &s);
    s.size = ret_stats->size;
    memcpy(ret_stats, &s, ret_stats->size < sizeof(s) ? ret_stats->size : sizeof(s));
}

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sumcache.h
 * libsumcache: a cache client that never makes its caller wait.
 *
 * A cache call costs at most its budget (50 ms by default), never fails because of the network, and
 * what a loader has loaded always reaches its caller. Speaks to sumcache, twemproxy or a Redis.
 *
 * Conventions, for all functions:
 *  - Answers are >= 0 (enum sc_answer). Below 0 is a mistake of the caller or of the machine:
 *    -EINVAL, -ENOMEM, -EAGAIN (no thread). The network never makes a number below 0: it makes
 *    SC_MISS or SC_SKIPPED, and struct sc_info says why.
 *  - Times are in milliseconds, where a name does not say otherwise. Lengths are in bytes.
 *  - Bytes that go in are copied; they need to live only until the call returns.
 *  - All functions may be called from any thread, at the same time, with the same objects. In the
 *    child of a fork() the objects work on, with connections of their own.
 *  - No signal is sent, caught or left pending; SIGPIPE does not happen. errno is not used.
 *
 * C99 and C++98. The library's soname changes when a program that was compiled before would break.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SC_API        __attribute__((visibility("default")))
#define SC_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SC_API
#define SC_MUST_CHECK
#endif

/** The version this header came with: major * 10000 + minor * 100 + patch. */
#define SC_VERSION 200

/** The version of the library in use, as SC_VERSION. */
SC_API unsigned sc_version(void);

/** What a call has to say. */
enum sc_answer {
    SC_OK = 0,     /**< done */
    SC_HIT = 0,    /**< found, fresh */
    SC_MISS = 1,   /**< not found, or the cache did not answer within the budget */
    SC_STALE = 2,  /**< found; its time is over, but it may still be used */
    SC_NONE = 3,   /**< found: there is nothing of this name (a negative value) */
    SC_LOADED = 4, /**< made by the loader just now */
    SC_FAILED = 5, /**< the loader failed, and there is no old value */
    SC_SKIPPED = 6 /**< not stored or not (yet) deleted; the cache is down, slow or full */
};

/** Why a call was answered as it was: of a miss, a stale value, a skipped write. */
enum sc_cause {
    SC_CAUSE_NONE = 0,    /**< nothing to explain */
    SC_CAUSE_ABSENT,      /**< the cache has no value under this key, or one that has expired */
    SC_CAUSE_TIMEOUT,     /**< no answer within the budget */
    SC_CAUSE_CONNECT,     /**< no connection: refused, unreachable, name not (yet) resolved */
    SC_CAUSE_CLOSED,      /**< the connection was closed in mid-call */
    SC_CAUSE_PROTOCOL,    /**< bytes that are no answer to what was asked */
    SC_CAUSE_SERVER,      /**< an error reply: LOADING, OOM, READONLY, WRONGTYPE, … */
    SC_CAUSE_BREAKER,     /**< not asked: the breaker is open */
    SC_CAUSE_BUSY,        /**< too many calls or bytes under way */
    SC_CAUSE_DECODE,      /**< stored bytes that are no value of ours, or of another codec */
    SC_CAUSE_TOO_LARGE,   /**< larger than value_max */
    SC_CAUSE_INVALIDATED, /**< deleted meanwhile, or a delete is still under way */
    SC_CAUSE_LOADER       /**< the loader failed: an old value was given instead */
};

/** A short text for a number below 0, an answer being "ok". Static, never NULL. */
SC_API const char *sc_error_text(int error);
/** The name of a cause, "timeout". Static, never NULL. */
SC_API const char *sc_cause_name(int cause);

/** One cache: connections, breaker, memory, an I/O thread. */
struct sc_cache;
/** A view of a cache: a name, times, a kind of group. Cheap. */
struct sc_store;
/** Where a loader puts what it has loaded. */
struct sc_result;

/** Bytes that nobody changes. Shared, not copied; every one is given back with sc_value_free(). */
struct sc_value {
    const void *data; /**< NULL if there is no value */
    size_t len;
    void *owner; /**< the library's */
};

/** Gives a value back, and empties the struct. One that is empty already stays so. */
SC_API void sc_value_free(struct sc_value *value);
/** Another share of the same bytes, to be given back by itself. */
SC_API void sc_value_share(const struct sc_value *value, struct sc_value *ret_value);

/** How a call went. An out parameter that may be NULL; its caller sets `size`, no other field. */
struct sc_info {
    size_t size;      /**< sizeof(struct sc_info) */
    int cause;        /**< enum sc_cause */
    int layer;        /**< where the value came from: 1 memory, 2 the cache, 0 neither */
    int loader_error; /**< what the loader returned, if it was not 0 */
    uint32_t
        cost_us;    /**< microseconds the cache has cost: without loader, without waiting for one */
    int64_t age_ms; /**< since the value was loaded, -1 if unknown */
    int64_t fresh_ms; /**< until it is stale; below 0: it is */
};

/** What a log function is called with: state changes and mistakes, a few lines a minute at most. */
typedef void (*sc_log_fn)(void *arg, const char *text);

/** Options of a cache. A field that is 0 or NULL has its default. */
struct sc_options {
    size_t size;         /**< sizeof(struct sc_options) */
    const char *address; /**< "host:port", "[::1]:port", "/path/of.sock"; several with commas: the
                              first that can be connected to is used. Default 127.0.0.1:6379 */
    const char *user;    /**< for AUTH; NULL: none */
    const char *password;
    uint32_t budget_ms;       /**< what one call may cost in all. Default 50 */
    uint32_t connections_max; /**< for calls of this API at the same time. Default 64 */
    uint32_t queue_max;       /**< background writes that wait or are under way. Default 1024 */
    size_t queue_bytes_max;   /**< their bytes. Default 16 MiB */
    size_t value_max;       /**< largest value, stored and loaded. Default 5 MiB, at most 512 MiB */
    size_t memory_max;      /**< bytes of the memory layer. Default 0: none */
    uint32_t memory_ttl_ms; /**< longest time a value is taken from memory. Default 1000 */
    uint32_t breaker_window;   /**< last calls that it looks at, 5 to 32. Default 20 */
    uint32_t breaker_percent;  /**< of them failed: it opens. Default 50 */
    uint32_t breaker_probe_ms; /**< between probes while it is open: first; four times it: last.
                                    Default 100 */
    sc_log_fn log;             /**< called from any thread; must not call the library */
    void *log_arg;
};

/**
 * Makes a cache. Never waits, never fails because the cache is down: it connects when it is used.
 * `options` may be NULL. *ret_cache is closed with sc_close().
 * -EINVAL: an option makes no sense. -ENOMEM, -EAGAIN: no memory, no thread.
 */
SC_API SC_MUST_CHECK int sc_open(const struct sc_options *options, struct sc_cache **ret_cache);

/**
 * Ends a cache; waits at most flush_ms for writes that are queued, and for a loader that refreshes
 * in the background just now. Its stores have been closed before, no call is under way, all loads
 * have been finished. Completions that were not run are dropped. NULL is fine.
 */
SC_API void sc_close(struct sc_cache *cache, uint32_t flush_ms);

/** How the keys of a store belong together: docs/stored-format.md. */
enum sc_group {
    SC_KEYS = 0,   /**< not at all: there is no sc_clear() */
    SC_GENERATION, /**< by a random generation: sc_clear() is one command; any size */
    SC_HASH, /**< in one hash: sc_clear() is one command and frees memory; up to 100,000 keys */
    SC_LIST  /**< as SC_GENERATION, and sc_clear() frees the memory of what is listed */
};

/** How values are compressed: `compress_min`. Both are read, whatever a store says. */
enum sc_compression {
    SC_BEST = 0, /**< zstd if the library was built with it, else zlib */
    SC_ZLIB      /**< zlib: where readers have no zstd, such as Node.js before 22.15 */
};

/** Options of a store. A field that is 0 or NULL has its default. */
struct sc_store_options {
    size_t size;            /**< sizeof(struct sc_store_options) */
    const char *namespace_; /**< first part of all names, such as the application. Default "" */
    const char *prefix;     /**< second part, such as what is cached. Default "" */
    enum sc_group group;
    uint32_t ttl_ms;          /**< for which a value is fresh. Default 60,000 */
    uint32_t stale_ms;        /**< after that, for which it may be used if need be. Default 0 */
    uint32_t negative_ttl_ms; /**< for "there is nothing". Default 0: not stored */
    uint32_t
        jitter_percent;     /**< times are shortened by up to that, at random. Default 10; 101: 0 */
    uint32_t load_wait_ms;  /**< that a call waits for another's load of its key, then it loads by
                                 itself. Default 1000 */
    uint32_t retry_ms;      /**< after a failed load with a stale value at hand, until the next try.
                                 Default 1000 */
    uint32_t early_percent; /**< early refresh: 100 is the usual beta of 1. Default 0: none */
    uint32_t compress_min;  /**< bytes from which on values are compressed. Default 0: never */
    uint8_t codec;          /**< what the bytes are, 0 to 255: values of another codec are misses */
    enum sc_compression compression; /**< by what they are compressed. Default SC_BEST */
};

/**
 * Makes a store of `cache`, which outlives it. Closed with sc_store_close().
 * -EINVAL: an option makes no sense (names above 256 bytes, ttl_ms + stale_ms above 2^31). -ENOMEM.
 */
SC_API SC_MUST_CHECK int sc_store_open(struct sc_cache *cache,
                                       const struct sc_store_options *options,
                                       struct sc_store **ret_store);
/** Ends a store. No call on it is under way, but background writes may be. NULL is fine. */
SC_API void sc_store_close(struct sc_store *store);

/* Keys: 1 to 4,096 bytes of any kind. -EINVAL otherwise, in all functions below. */

/**
 * Looks a key up. SC_HIT and SC_STALE: *ret_value has the value. SC_NONE, SC_MISS: it is empty.
 * ret_value must be empty or uninitialised before: it is overwritten.
 */
SC_API int sc_get(struct sc_store *store, const void *key, size_t key_len,
                  struct sc_value *ret_value, struct sc_info *info);

/**
 * Stores a value in the background. ttl_ms 0: the store's. SC_OK: it is queued. SC_SKIPPED: it is
 * not (the breaker is open, the queue is full, it is too large): nothing else happens. In a group
 * it asks for the generation first, within the budget: a clear after it finds nothing it could not
 * undo.
 */
SC_API int sc_set(struct sc_store *store, const void *key, size_t key_len, const void *data,
                  size_t len, uint32_t ttl_ms, struct sc_info *info);

/**
 * Deletes a key. From the call on, this process does not get the old value any more. SC_OK: it is
 * gone from the cache. SC_SKIPPED: the cache has not said so within the budget; the delete is sent
 * again until it has, and until then the key is a miss here.
 */
SC_API int sc_del(struct sc_store *store, const void *key, size_t key_len, struct sc_info *info);

/** As sc_del(), for all keys of the store's group. -EINVAL: the store is no group. */
SC_API int sc_clear(struct sc_store *store, struct sc_info *info);

/** One key of a batch. */
struct sc_item {
    const void *key;
    size_t key_len;
    const void *data; /**< sc_set_many(): the value */
    size_t len;
    struct sc_value value; /**< sc_get_many(): the value found, to be given back */
    int answer;            /**< what sc_get() or sc_set() would have returned */
    int cause;             /**< enum sc_cause */
};

/** sc_get() of `count` keys within one budget. Returns how many were found (hit, stale or none). */
SC_API int sc_get_many(struct sc_store *store, struct sc_item *items, size_t count,
                       struct sc_info *info);
/** sc_set() of `count` keys. Returns how many are queued. */
SC_API int sc_set_many(struct sc_store *store, struct sc_item *items, size_t count, uint32_t ttl_ms,
                       struct sc_info *info);

/**
 * Loads what is to be cached. Returns 0 after it has put something into `result`, or any other
 * number as its error. May call the library, even for the same key; not sc_close().
 */
typedef int (*sc_load_fn)(void *arg, const void *key, size_t key_len, struct sc_result *result);

/** The result is a copy of these bytes. -ENOMEM; -EINVAL: too large for any value (512 MiB). */
SC_API int sc_result_set(struct sc_result *result, const void *data, size_t len);
/** The result is these bytes; `free_fn(data)` is called when nobody needs them. Takes them always.
 */
SC_API int sc_result_give(struct sc_result *result, void *data, size_t len,
                          void (*free_fn)(void *));
/** The result is that there is nothing: SC_NONE, stored for the store's negative_ttl_ms. */
SC_API void sc_result_none(struct sc_result *result);
/** How long this result is fresh. 0: it is not stored at all. */
SC_API void sc_result_ttl(struct sc_result *result, uint32_t ttl_ms);

/** A loader and what it is called with. */
struct sc_loader {
    sc_load_fn load;
    void *arg;
    /**
     * Above 0: *arg may be copied, so many bytes, and a stale value is then refreshed in the
     * background by a thread of the library. 0: the first call that finds it stale loads, the
     * others get the stale value meanwhile.
     */
    size_t arg_len;
};

/**
 * Memoizes: what sc_get() finds; or runs the loader, once per process and key at a time, gives its
 * result and stores it in the background. SC_HIT, SC_STALE, SC_LOADED: *ret_value has the value.
 * SC_NONE: there is nothing. SC_FAILED: the loader said so, info->loader_error. The loader runs in
 * the caller's thread, whatever state the cache is in.
 */
SC_API int sc_fetch(struct sc_store *store, const void *key, size_t key_len,
                    const struct sc_loader *loader, struct sc_value *ret_value,
                    struct sc_info *info);

/* The asynchronous API. A call returns at once; its completion is run by sc_complete(), in the
 * thread that calls it: a foreign event loop, when sc_descriptor() becomes readable. */

/** A completion: `value` is a loan until it returns (sc_value_share() to keep it), never NULL. */
typedef void (*sc_done_fn)(void *arg, int answer, const struct sc_value *value,
                           const struct sc_info *info);
/** Starts a load; runs in sc_complete(). The load ends with sc_result_finish(), now or later. */
typedef void (*sc_start_fn)(void *arg, const void *key, size_t key_len, struct sc_result *result);

/** A descriptor that is readable while completions wait. The library's: do not read or close it. */
SC_API int sc_descriptor(struct sc_cache *cache);
/** Runs completions that are due, at most `max` (0: all). Never waits. Returns how many. */
SC_API int sc_complete(struct sc_cache *cache, int max);

/** sc_get(). 0: `done` will be called once, within the budget. -EINVAL, -ENOMEM: never. */
SC_API SC_MUST_CHECK int sc_get_async(struct sc_store *store, const void *key, size_t key_len,
                                      sc_done_fn done, void *arg);
/** sc_del(), as above. */
SC_API SC_MUST_CHECK int sc_del_async(struct sc_store *store, const void *key, size_t key_len,
                                      sc_done_fn done, void *arg);
/** sc_clear(), as above. */
SC_API SC_MUST_CHECK int sc_clear_async(struct sc_store *store, sc_done_fn done, void *arg);
/**
 * sc_fetch(). `start` is called if something is to be loaded, with `arg`, as is `done`, which comes
 * within the budget, or when the load ends; who shares another's load waits load_wait_ms for it,
 * and then `start` is called. A stale value is given at once, and refreshed: `start` is called
 * before `done`, and the load may end after it.
 */
SC_API SC_MUST_CHECK int sc_fetch_async(struct sc_store *store, const void *key, size_t key_len,
                                        sc_start_fn start, sc_done_fn done, void *arg);
/** Ends a load that `start` has begun; from any thread. `result` is gone after it. */
SC_API void sc_result_finish(struct sc_result *result, int loader_error);

/** A key made of typed arguments: no two lists of them give the same (docs/stored-format.md). */
struct sc_key {
    uint64_t state[14];
};

/** Begins a key with the name of what is called. */
SC_API void sc_key_init(struct sc_key *key, const char *name);
SC_API void sc_key_null(struct sc_key *key);
SC_API void sc_key_bool(struct sc_key *key, int value);
SC_API void sc_key_int(struct sc_key *key, int64_t value);
/** A whole number is the same key as sc_key_int() of it. */
SC_API void sc_key_real(struct sc_key *key, double value);
/** UTF-8 with a 0 at its end. */
SC_API void sc_key_text(struct sc_key *key, const char *text);
SC_API void sc_key_bytes(struct sc_key *key, const void *data, size_t len);
/** Ends the key: writes 22 characters and a 0, returns 22. More arguments may follow. */
SC_API size_t sc_key_finish(const struct sc_key *key, char ret_text[23]);

/** Counters since sc_open(), and the state now. The caller sets `size`. */
struct sc_stats {
    size_t size;
    uint64_t hits_memory, hits, stale, negative, misses;
    uint64_t loads, loads_failed, loads_shared, loads_refreshed;
    uint64_t sets, sets_shed, dels, dels_repeated, dels_pending;
    uint64_t timeouts, connect_errors, closed, protocol_errors, server_errors, decode_errors;
    uint64_t breaker_opened, breaker_skipped;
    uint64_t connections_opened, bytes_in, bytes_out;
    uint64_t memory_bytes, memory_values, memory_evicted;
    uint64_t cost_us_p50, cost_us_p99; /**< of calls that asked the cache; within a quarter */
    int breaker_state;                 /**< 0 closed, 1 open, 2 half open */
};
SC_API void sc_stats_read(struct sc_cache *cache, struct sc_stats *ret_stats);

#ifdef __cplusplus
}
#endif

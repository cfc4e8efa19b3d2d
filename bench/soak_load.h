/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_soak: thousands of clients that come, ask, misbehave and go, and that look at every byte
 * they get. What its parts share. bench/soak starts it, and the proxy and nodes it talks to.
 *
 * Like the load generator it is a tool beside the product: it links with nothing of src/, so that
 * a slip in the product's code cannot hide itself in its own test. One thread.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    SOAK_HEAD_BYTES = 64,   /* of a value: what it is, in clear text; also the smallest value */
    SOAK_LARGE = 64 * 1024, /* bytes; above, a value counts against the rate of large ones */
    SOAK_VALUE_MAX = 5 * 1024 * 1024,
    SOAK_PIPELINE_MAX = 4,
    SOAK_MGET_MAX = 8,
    SOAK_TEXT_MAX = 384, /* of one request without its value: an MGET of SOAK_MGET_MAX keys */
    SOAK_SEGMENTS_MAX = SOAK_PIPELINE_MAX * 4,
    SOAK_LINE_MAX = 160,   /* of a reply's line; the rest of a longer one is cut */
    SOAK_ERROR_KINDS = 32, /* told apart in the report */
    SOAK_READ_BYTES = 256 * 1024,
    SOAK_LATENCY_SLOTS = 64 * 16, /* 16 per power of two: 6 % */
};

static const uint64_t SOAK_MS = 1000000;
static const uint64_t SOAK_S = 1000000000;

/* ------------------------------------------------------------------- values (soak_value.c) */

/*
 * The bytes of a value are a function of its key and version: a line that names both, its size
 * and a checksum of the three, padded to SOAK_HEAD_BYTES, then a stretch of one long random text
 * whose place depends on key and version. Bytes that are missing, doubled, moved or somebody else's
 * differ from what they should be.
 */
struct soak_value {
    uint32_t key, version;
    size_t size;      /* bytes, head included */
    const char *body; /* the bytes behind the head: a loan from struct soak_values */
    char head[SOAK_HEAD_BYTES];
};

/* Keys are numbers; which sizes a key's values have depends on its class. */
enum soak_class {
    SOAK_CLASS_SMALL,  /* 64 B to 4 KiB */
    SOAK_CLASS_MIDDLE, /* 4 KiB to 64 KiB */
    SOAK_CLASS_LARGE,  /* 64 KiB to 1 MiB */
    SOAK_CLASS_HUGE,   /* 1 MiB to 5 MiB */
    SOAK_CLASS_MIXED,  /* any of these, another with each version */
    SOAK_CLASSES,
};

struct soak_values {
    char *text;       /* owned */
    uint32_t *issued; /* owned; per key the last version that was given out, 0: none */
    uint32_t first[SOAK_CLASSES + 1]; /* number of the first key of a class */
};

/* `percent` of the usual number of keys, at least one of each class. */
void soak_values_init(struct soak_values *v, double percent);
void soak_values_fini(struct soak_values *v);

/* `version` must be > 0. */
struct soak_value soak_value_of(const struct soak_values *v, uint32_t key, uint32_t version);
size_t soak_value_size(const struct soak_values *v, uint32_t key, uint32_t version); /* bytes */

/* What a GET of the key is expected to bring: the size of the version given out last; 0: nothing.
 */
size_t soak_size_expected(const struct soak_values *v, uint32_t key);

/*
 * Reads the head of a value that was answered for `key`, `size` bytes long. 0 and the value it has
 * to be, or -EPROTO: it is not of this key, or was never written, or has another length.
 */
int soak_value_read(const struct soak_values *v, uint32_t key, size_t size,
                    const char head[SOAK_HEAD_BYTES], struct soak_value *ret_value);

struct soak_random {
    uint64_t state;
};
uint64_t soak_random(struct soak_random *r);
uint64_t soak_below(struct soak_random *r, uint64_t limit); /* 0 to limit − 1; limit > 0 */
bool soak_chance(struct soak_random *r, unsigned percent);

/* ------------------------------------------------------------------- counters */

struct soak_error_kind {
    char text[SOAK_LINE_MAX]; /* addresses and numbers taken out */
    uint64_t count;
};

struct soak_counters {
    uint64_t connects, connect_failures;
    uint64_t requests; /* written, at least in part */
    uint64_t replies;  /* whole ones */
    uint64_t hits, misses;
    uint64_t large;         /* hits above SOAK_LARGE */
    uint64_t checked_bytes; /* of values that were read and were right */
    uint64_t sent_bytes;    /* of values that were written */
    uint64_t errors;        /* `-ERR sumcache: …`, or a node's own plight: allowed */
    uint64_t closed_own; /* by the proxy, for what the client did: read slowly, stopped writing */
    uint64_t closed_cut; /* by the proxy, while a large reply came or was due */
    uint64_t left_politely, left_abruptly, left_in_request, left_in_reply;

    /* Each of these is a failure of the run. */
    uint64_t wrong;   /* bytes that are not what they have to be, or a reply of the wrong kind */
    uint64_t strange; /* errors that nobody should see */
    uint64_t hung;    /* a patient, well-behaved client got nothing for soak_hung_ns */
    uint64_t closed_other; /* by the proxy, without a reason */

    struct soak_error_kind kinds[SOAK_ERROR_KINDS];
    uint64_t
        latency[SOAK_LATENCY_SLOTS]; /* of small requests, from their write to the first byte */
    uint64_t latency_max;            /* ns */
};

void soak_latency_add(struct soak_counters *n, uint64_t ns);
uint64_t soak_latency_quantile(const struct soak_counters *n, double share); /* ns */
void soak_error_add(struct soak_counters *n, const char *line);

/* Has the run failed? */
bool soak_has_failed(const struct soak_counters *n);

/* ------------------------------------------------------------------- clients */

enum soak_command {
    SOAK_GET,
    SOAK_SET,
    SOAK_MGET,
    SOAK_DEL,
    SOAK_HELLO, /* HELLO 3 */
    SOAK_QUIT,
};

struct soak_request {
    enum soak_command command;
    unsigned key_count;
    uint32_t keys[SOAK_MGET_MAX];
    uint32_t version; /* SOAK_SET: what it writes */
    bool is_large;    /* it, or what it is expected to bring */
    char text[SOAK_TEXT_MAX];
    char head[SOAK_HEAD_BYTES]; /* SOAK_SET: the value's */
};

/* Where in a reply the next byte belongs. */
struct soak_reply {
    bool in_body;
    unsigned elements_left;  /* of an array whose head was read; 0: at the reply's beginning */
    unsigned key_at;         /* index of the key that the next value belongs to */
    size_t body_len;         /* of the current bulk string, without CRLF */
    size_t body_done;        /* bytes of it that were read, CRLF included */
    struct soak_value value; /* once its head was read: what it has to be */
    char head[SOAK_HEAD_BYTES];
    char line[SOAK_LINE_MAX];
    unsigned line_len;
    uint64_t skip_left; /* HELLO: elements still to pass over */
};

enum soak_pace {
    SOAK_NORMAL,
    SOAK_SLOW,    /* reads at a rate of its own */
    SOAK_DEAF,    /* reads nothing for a while */
    SOAK_DAWDLER, /* writes in pieces, with pauses */
};

enum soak_leave {
    SOAK_LEAVE_QUIT,
    SOAK_LEAVE_CLOSE,
    SOAK_LEAVE_ABRUPTLY,   /* a reset, its requests unanswered */
    SOAK_LEAVE_IN_REQUEST, /* a part of it is written */
    SOAK_LEAVE_IN_REPLY,   /* a part of it is read */
};

enum soak_state {
    SOAK_DOWN, /* not connected; comes at wake_ns */
    SOAK_CONNECTING,
    SOAK_THINKING, /* asks again at wake_ns */
    SOAK_BUSY,     /* writes, or waits for replies */
    SOAK_LEAVING,  /* waits for the proxy to close; until wake_ns */
};

struct soak_segment {
    const char *bytes; /* loan */
    size_t len;
};

struct soak_client {
    int fd; /* -1 while SOAK_DOWN */
    enum soak_state state;
    enum soak_pace pace;
    enum soak_leave leave;
    bool is_resp3, is_last_batch;
    bool read_by_tick; /* slow or deaf: read when the clock says so, not when there is something */
    uint32_t events;   /* what epoll looks for */
    uint64_t wake_ns, progress_ns, asked_ns;
    uint64_t read_rate; /* SOAK_SLOW: bytes/s */
    uint64_t deaf_until_ns;
    uint64_t life_end_ns;    /* of any pace but the normal one: when it goes, whatever it is at */
    uint64_t pause_until_ns; /* SOAK_DAWDLER */
    unsigned requests_left;
    bool has_missed;
    uint32_t missed_key; /* to be written next, as a cache's user does */

    struct soak_request requests[SOAK_PIPELINE_MAX];
    unsigned request_count, answered;
    bool timed; /* the first byte's latency is of interest, and has not been seen */
    struct soak_segment out[SOAK_SEGMENTS_MAX];
    unsigned out_count, out_at;
    size_t out_done;  /* bytes of out[out_at] */
    size_t out_limit; /* bytes of the batch after which the client leaves; SIZE_MAX: never */
    size_t in_limit;  /* the same of bytes read */
    size_t written, received;
    struct soak_reply reply;
};

struct soak {
    struct sockaddr_in address;
    unsigned client_count;
    double request_rate; /* per second, all clients together */
    double keys_percent;
    double large_rate; /* bytes per second of large values, both ways together */
    uint64_t end_ns;
    bool is_ending;
    int epoll_fd;
    struct soak_client *clients;
    unsigned connected;
    double large_allowance; /* bytes; below 0: no large value for now */
    uint64_t refilled_ns;
    uint64_t now_ns;
    uint64_t mean_pause_ns; /* between a client's batches */
    struct soak_random random;
    struct soak_values values;
    struct soak_counters counters;
    char *scratch; /* SOAK_READ_BYTES */
};

/* Prints `what` happened to the client, at most so many times that the log stays readable. */
void soak_tell(struct soak *s, const struct soak_client *c, const char *what);

/* soak_request.c: fills c->requests, c->out and the limits for the next batch. */
void soak_batch_make(struct soak *s, struct soak_client *c);

/* soak_reply.c: takes bytes that were read, checks and counts them. 0, or -EPROTO: wrong, counted
 * and told; the connection is of no more use. */
int soak_reply_take(struct soak *s, struct soak_client *c, const char *bytes, size_t len);

/* soak_client.c */
void soak_client_event(struct soak *s, struct soak_client *c, uint32_t events);
void soak_client_tick(struct soak *s, struct soak_client *c, uint64_t passed_ns);
void soak_client_close(struct soak *s, struct soak_client *c, bool with_reset);

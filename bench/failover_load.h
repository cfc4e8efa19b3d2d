/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_failover_load: a steady open-loop load that knows, for each value it reads, whether a
 * cache may still return it. What its parts share. bench/failover starts it, and the proxies,
 * nodes and faults around it.
 *
 * Staleness is judged by the order in which this one thread acts. A write is acknowledged when its
 * reply has been read; a GET starts when its bytes are put together for the send that follows. What
 * was acknowledged by then is noted beside the GET, and a lower version in its reply is stale. No
 * clock is compared, so nothing is judged that could have been otherwise.
 *
 * Like the other loads it is a tool beside the product: it links with nothing of src/.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    FAILOVER_ADDRESSES_MAX = 4, /* proxies before the same nodes */
    FAILOVER_NODES_MAX = 16,
    FAILOVER_NAME_MAX = 64,       /* of a node or a window, with its end */
    FAILOVER_KEY_NAME_MAX = 16,   /* "fo:00000000" with its end */
    FAILOVER_VALUE_MIN = 64,      /* bytes: the head has to fit in */
    FAILOVER_VALUE_MAX = 16384,   /* bytes */
    FAILOVER_KEYS_MAX = 10000000, /* so many have eight digits */
    FAILOVER_CONNECTIONS_MAX = 1000,
    FAILOVER_WINDOWS_MAX = 32,
    FAILOVER_LINE_MAX = 160,                     /* of a reply; the rest of a longer one is cut */
    FAILOVER_OUT_BYTES = 2 * FAILOVER_VALUE_MAX, /* at least one request */
    FAILOVER_READ_BYTES = 64 * 1024,
    FAILOVER_DETAILS_MAX = 20, /* so many stale and so many wrong values are told in full */
    FAILOVER_ERROR_KINDS = 32, /* told apart in the report */
    FAILOVER_PROBES_MAX = 32,  /* new connections under way at a time */
    FAILOVER_NO_NODE = 255,
};

#define FAILOVER_NONE UINT32_MAX /* no record, no write */

static const uint64_t FAILOVER_MS = 1000000;
static const uint64_t FAILOVER_S = 1000000000;

enum failover_command {
    FAILOVER_GET,
    FAILOVER_SET,
    FAILOVER_DEL,
    FAILOVER_HELLO, /* HELLO 3; this and the rest are sent by a probe */
    FAILOVER_SETINFO,
    FAILOVER_PING,
};

enum failover_probe_kind { FAILOVER_PROBE_NONE, FAILOVER_PROBE_RESP2, FAILOVER_PROBE_RESP3 };

struct failover_options {
    struct sockaddr_in addresses[FAILOVER_ADDRESSES_MAX];
    unsigned address_count;
    unsigned connection_count;
    uint32_t key_count;
    uint32_t value_min, value_max; /* bytes */
    double rate;                   /* requests per second, all together */
    double set_share, del_share;   /* 0 to 1, of the requests */
    uint64_t length_ns;            /* of the measured time; it may be ended sooner */
    uint64_t give_up_ns;           /* what comes after it is late */
    uint64_t seed;
    bool waits;    /* for `go` on standard input, between filling and measuring */
    bool is_apart; /* the focus's keys have connections of their own */
    enum failover_probe_kind probe;
    const char *map_path;   /* key and node, a line each; loan from the command line, or NULL */
    const char *focus_name; /* the node that the fault hits; the same */
    const char *phases;     /* the same */
};

/* ------------------------------------------------------------------- values and versions */

enum failover_write_state {
    FAILOVER_WRITE_UNDER_WAY,
    FAILOVER_WRITE_ACKNOWLEDGED,
    FAILOVER_WRITE_FAILED, /* an error, or its connection was lost: it may have happened or not */
};

/* A SET or DEL that was given a version. A DEL has one too, and no value bears it. */
struct failover_write {
    uint32_t key, version;
    uint32_t before; /* the key's write before this one; FAILOVER_NONE: it was filled before */
    uint8_t command, state, address;
    uint64_t sent_ns, answered_ns; /* 0: not yet */
};

struct failover_key {
    uint32_t newest;                               /* version given out last; 0: none */
    uint32_t acknowledged[FAILOVER_ADDRESSES_MAX]; /* the highest through each proxy */
    uint32_t last_write;                           /* FAILOVER_NONE: none but the filling */
    bool is_busy; /* a write is under way: versions would not be in order with a second one */
    uint8_t node; /* FAILOVER_NO_NODE: not told */
};

struct failover_keys {
    struct failover_key *list;     /* owned */
    struct failover_write *writes; /* owned; room for all of the run */
    uint32_t count, write_count, write_max;
    uint32_t value_min, value_max;
    char *text; /* owned; bodies are slices of it */
    char node_names[FAILOVER_NODES_MAX][FAILOVER_NAME_MAX];
    unsigned node_count;
};

enum failover_flag {
    FAILOVER_STALE = 1,       /* older than what was acknowledged through the same proxy */
    FAILOVER_STALE_OTHER = 2, /* … only through another one */
    FAILOVER_WRONG = 4,
    FAILOVER_UNSENT = 8, /* no connection was up */
};

void failover_keys_init(struct failover_keys *k, const struct failover_options *options,
                        uint32_t write_max);
void failover_keys_fini(struct failover_keys *k);

/* Reads lines `KEY<TAB>NODE` as `sumcache ring` prints them; lines of another kind are passed over.
 * 0, or the negative errno of the file, or -ENOENT: it names none of our keys. */
int failover_keys_map(struct failover_keys *k, const char *path);

/* The number of a node that the map names, or FAILOVER_NO_NODE. */
uint8_t failover_keys_node(const struct failover_keys *k, const char *name);

void failover_key_name(uint32_t key, char to[FAILOVER_KEY_NAME_MAX]);

/* Writes the value that key and version have; returns its length, at most value_max. */
size_t failover_value_write(const struct failover_keys *k, uint32_t key, uint32_t version,
                            char *to);

/* The highest version of the key that is acknowledged, whoever told it. */
uint32_t failover_key_floor(const struct failover_key *key);

/* Opens a write of the key, which must not be busy. Returns its number. */
uint32_t failover_write_begin(struct failover_keys *k, uint32_t key, enum failover_command command,
                              unsigned address);
void failover_write_end(struct failover_keys *k, uint32_t write, bool is_acknowledged,
                        uint64_t now_ns);

/* The write that gave the version out; NULL: none did, or the filling. */
const struct failover_write *failover_write_find(const struct failover_keys *k, uint32_t key,
                                                 uint32_t version);

/*
 * What a value says that a GET of the key brought. `floor` and `floor_same` are the versions that
 * were acknowledged when the GET started, by anyone and through the same proxy. Returns flags;
 * *ret_version is 0 if the value is wrong.
 */
unsigned failover_judge(const struct failover_keys *k, uint32_t key, const char *value, size_t len,
                        uint32_t floor, uint32_t floor_same, uint32_t *ret_version);

/* ------------------------------------------------------------------- requests, connections */

struct failover_request {
    uint64_t due_ns, sent_ns;
    uint32_t key;
    uint32_t write;             /* in failover_keys.writes; FAILOVER_NONE: no write */
    uint32_t record;            /* in failover.records; FAILOVER_NONE: not counted */
    uint32_t floor, floor_same; /* of a GET: acknowledged when it was sent */
    enum failover_command command;
};

/* Where in a reply the next byte belongs. */
struct failover_reply {
    bool in_body;
    uint64_t elements_left; /* of maps and arrays, nested ones included */
    size_t body_len;        /* without CRLF */
    size_t body_done;       /* read of it, CRLF included */
    unsigned line_len;
    char line[FAILOVER_LINE_MAX];
    char body[FAILOVER_VALUE_MAX + 2]; /* its beginning; a longer one is wrong anyway */
};

enum failover_connection_state { FAILOVER_DOWN, FAILOVER_CONNECTING, FAILOVER_UP };

/* Positions count requests: head <= unsent <= tail; what lies before head is answered. A position's
 * place is its remainder by queue_size, a power of two. */
struct failover_connection {
    int fd; /* -1 while FAILOVER_DOWN */
    enum failover_connection_state state;
    unsigned address;
    uint64_t wake_ns; /* DOWN: connects then; CONNECTING: gives up then */
    uint64_t backoff_ns;
    struct failover_request *queue; /* owned */
    size_t head, unsent, tail, queue_size;
    size_t out_len, out_done;
    char out[FAILOVER_OUT_BYTES];
    struct failover_reply reply;
    struct failover_probe *probe; /* loan; NULL: one of the load's */
};

enum failover_probe_result {
    FAILOVER_PROBE_UNDER_WAY,
    FAILOVER_PROBE_READY,
    FAILOVER_PROBE_REFUSED, /* no connection */
    FAILOVER_PROBE_CLOSED,
    FAILOVER_PROBE_TIMED_OUT,
};

/* An application that starts: a new connection and its first requests. */
struct failover_probe {
    uint64_t begun_ns, first_ns, ready_ns; /* 0: did not come so far */
    enum failover_probe_result result;
    unsigned errors; /* replies of it that were errors */
};

/* ------------------------------------------------------------------- what is kept */

enum failover_outcome {
    FAILOVER_UNANSWERED,
    FAILOVER_HIT,
    FAILOVER_MISS,
    FAILOVER_DONE, /* a write, acknowledged */
    FAILOVER_ERROR,
    FAILOVER_LATE, /* answered, after the time to give up */
};

struct failover_record {
    uint64_t due_ns;     /* since the start of the measured time */
    uint64_t latency_ns; /* of who was never answered: how long it waited */
    uint32_t lag_us;     /* from due to sent: what the generator itself was late */
    uint32_t key;
    uint8_t command, outcome, flags, node;
};

struct failover_detail {
    struct failover_request request;
    uint64_t answered_ns;
    uint32_t version;
    unsigned flags, connection;
    size_t len;
    char begin[80]; /* of the value */
    size_t begin_len;
};

struct failover_window {
    char name[FAILOVER_NAME_MAX];
    uint64_t from_ns, to_ns; /* since the start; to_ns UINT64_MAX: to the next phase or the end */
    bool is_phase;
};

struct failover_error_kind {
    char text[FAILOVER_LINE_MAX]; /* addresses and numbers taken out */
    uint64_t count;
};

struct failover {
    struct failover_options options;
    struct failover_keys keys;
    int epoll_fd;
    uint64_t now_ns;
    uint64_t start_ns; /* of the measured time; 0: not begun */
    uint64_t end_ns;
    uint64_t random_state;
    uint64_t drawn;            /* requests of the schedule so far */
    uint64_t turn, focus_turn; /* whose turn it is among the connections, and the focus's own */
    uint8_t focus;             /* FAILOVER_NO_NODE: none */
    uint32_t fill_next, fill_done;
    bool is_over; /* who is not answered by now never will be */

    struct failover_connection *connections; /* owned */
    struct failover_connection probe_connections[FAILOVER_PROBES_MAX];
    struct failover_probe *probes; /* owned */
    uint32_t probe_count, probe_max;

    struct failover_record *records; /* owned */
    uint32_t record_count, record_max;
    struct failover_window windows[FAILOVER_WINDOWS_MAX];
    unsigned window_count;

    struct failover_detail details[2 * FAILOVER_DETAILS_MAX];
    unsigned detail_count, wrong_detail_count;
    struct failover_error_kind kinds[FAILOVER_ERROR_KINDS];
    uint64_t probe_stale, probe_wrong; /* values that probes got */
    uint64_t stray_count;              /* replies that nobody asked for */
    uint64_t lost_count, connect_failures;
    char control[512]; /* a line from standard input that is not whole yet */
    size_t control_len;
    char scratch[FAILOVER_READ_BYTES];
};

uint64_t failover_clock_ns(void);
void *failover_alloc(size_t count, size_t size); /* zeroed; ends the program when there is none */
uint64_t failover_random(struct failover *f);

/* failover_options.c: 0, or -EINVAL and a line on standard error. */
int failover_options_read(int argc, char **argv, struct failover_options *ret_options);

/* failover_window.c */
int failover_window_add(struct failover *f, const char *name, uint64_t from_ns, uint64_t to_ns,
                        bool is_phase); /* 0, or -EINVAL, -ENOSPC */
/* `NAME:SECONDS,…`, from the start on; *ret_length_ns: all of them together. */
int failover_phases_add(struct failover *f, const char *text, uint64_t *ret_length_ns);
/* Takes the lines that come on standard input within `most_ms`. 0; 1: `go` was among them; 2:
 * `end`; -EINVAL: one that cannot be understood; -EPIPE: there will be no more. */
int failover_control_read(struct failover *f, int most_ms);

/* failover_connection.c */
void failover_connection_init(struct failover_connection *c, unsigned address);
void failover_connection_open(struct failover *f, struct failover_connection *c);
void failover_connection_event(struct failover *f, struct failover_connection *c, uint32_t events);
/* Puts a request at the end of the queue; it is written by failover_connection_write(). */
struct failover_request *failover_connection_queue(struct failover_connection *c);
void failover_connection_write(struct failover *f, struct failover_connection *c);
/* Closes it; what is outstanding has failed. A connection of the load comes again after a while. */
void failover_connection_lose(struct failover *f, struct failover_connection *c,
                              enum failover_probe_result result);

/* failover_reply.c: takes bytes that were read. 0, or -EPROTO: they are no replies to what was
 * asked; the connection is of no more use. */
int failover_reply_take(struct failover *f, struct failover_connection *c, const char *bytes,
                        size_t len);
/* A request that will not be answered any more. */
void failover_request_fail(struct failover *f, const struct failover_request *q);
void failover_error_add(struct failover *f, const char *line);

/* failover_schedule.c */
int failover_fill(struct failover *f);          /* every key once; 0, or -ETIMEDOUT */
void failover_schedule_run(struct failover *f); /* queues and writes what is due */
bool failover_schedule_is_over(const struct failover *f);
uint64_t failover_schedule_pause_ns(const struct failover *f);
void failover_fill_more(struct failover *f, struct failover_connection *c);
void failover_probes_run(struct failover *f);
void failover_probe_step(struct failover *f, struct failover_connection *c, bool is_error);
void failover_wait(struct failover *f, uint64_t most_ns); /* one round of epoll */
void failover_reconnect(struct failover *f);

/* failover_report.c */
void failover_report(struct failover *f);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the load generator share: the options, the histogram, the CPU samples and the
 * connections.
 *
 * The generator is a tool beside the product. It uses system calls of its own choice and links
 * with nothing of src/, so that a slip in the product's code cannot hide itself in its own
 * measurement. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum load_command {
    LOAD_GET,
    LOAD_SET,
    LOAD_MGET,
};

enum {
    LOAD_ADDRESS_MAX = 16,
    LOAD_PID_MAX = 64,           /* processes whose CPU time is sampled */
    LOAD_CONNECTION_MAX = 60000, /* fewer than the ports of one address pair */
    LOAD_KEY_MAX = 65536,        /* above it two keys would share a value, see load_value() */
    LOAD_KEY_DIGITS = 8,
    LOAD_LINE_MAX = 160,          /* of a reply's first line; the rest of a longer one is cut */
    LOAD_LARGE_VALUE = 16 * 1024, /* a SET's value of this size or more is sent from where it is */
    LOAD_SCRATCH_SIZE = 256 * 1024,
};

struct load_address {
    const char *host; /* IPv4; loan from the command line */
    uint16_t port;
};

struct load_options {
    struct load_address addresses[LOAD_ADDRESS_MAX];
    unsigned address_count; /* with several, the key says which one a request goes to */
    enum load_command command;
    unsigned mget_count;    /* keys per MGET; 1 for the other commands */
    size_t value_size;      /* bytes */
    uint32_t key_count;     /* size of the key space */
    unsigned clients;       /* at work at the same time, each with a connection to each address */
    unsigned pipeline;      /* requests of a batch */
    double rate;            /* requests a second of all clients together; 0: a closed loop */
    double read_rate;       /* bytes a second that a connection reads at most; 0: all it gets */
    uint64_t request_count; /* stop after so many; 0: the time alone decides */
    uint64_t warmup_ns;     /* time before the measured window */
    uint64_t window_ns;     /* the measured window, or the bound of a counted run */
    bool in_order;          /* take the keys one after the other, each once: fills a node */
    bool verify;            /* compare every byte of every value */
    const int *pids;        /* loan: lives as long as main() */
    unsigned pid_count;
};

/*
 * Reads the command line into *ret_options. `pids` has room for LOAD_PID_MAX and is lent to the
 * options. Returns 0; prints what is wrong and returns -EINVAL otherwise.
 */
int load_options_read(int argc, char **argv, int *pids, struct load_options *ret_options);

/*
 * A log-linear histogram of nanoseconds: 64 steps per power of two, so a figure read from it is
 * at most 0.8 % off.
 */
enum {
    HISTOGRAM_STEP_BITS = 6,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_OCTAVES = 36, /* up to 2^41 ns, over half an hour */
    HISTOGRAM_SLOTS = (HISTOGRAM_OCTAVES + 1) * HISTOGRAM_STEPS,
};

struct histogram {
    uint64_t total;
    uint64_t slots[HISTOGRAM_SLOTS];
};

/* Adds `count` values of `ns` nanoseconds. */
void histogram_add(struct histogram *histogram, uint64_t ns, uint64_t count);

/* The value in nanoseconds below which `share` (0 to 1) of the values lie; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* CPU time a process has used since it started, over all its living threads. */
struct cpu_sample {
    uint64_t sched_ns; /* sum of task/<tid>/schedstat: nanoseconds */
    uint64_t stat_ns;  /* utime + stime of /proc/PID/stat: in clock ticks, as a cross-check */
};

/* Reads the sample of a process. All zero when it is gone. */
struct cpu_sample cpu_sample_read(int pid);

/* Busy time of all CPUs together since boot (everything but idle and iowait), in nanoseconds. */
uint64_t cpu_machine_busy_ns(void);

/* What the next byte of a connection's input belongs to. */
enum input_state {
    INPUT_LINE, /* the first line of a reply or of an array's element */
    INPUT_BODY, /* a bulk value and its CRLF */
};

/* Somebody who asks: in a closed loop, all of a client's replies are here before its next batch. */
struct load_client {
    struct connection *connections; /* one per address; owned by the bench */
    unsigned waiting;               /* requests without their reply */
    bool lost;                      /* one of its connections broke: it asks no more */
};

/*
 * One socket and the queue of its requests. Positions count requests since the connection was
 * opened: head <= unsent <= tail, and what lies before head is answered. A position's place in the
 * arrays is its remainder by queue_size, a power of two.
 */
struct connection {
    int fd; /* -1 once closed */
    bool connected;
    struct load_client *client;
    size_t head;
    size_t unsent; /* the first request that is not yet in `out` */
    size_t tail;
    size_t queue_size;
    uint64_t *due_ns; /* when each was to be sent: latency runs from here */
    uint32_t *keys;   /* mget_count numbers per request */

    enum input_state state;
    unsigned elements_left; /* of the current array; 0 outside one */
    unsigned element_at;    /* which key of the request at `head` the next value belongs to */
    unsigned line_len;
    size_t body_len;        /* of the current bulk value, without CRLF */
    size_t body_done;       /* bytes of it read, CRLF included */
    uint64_t read_until_ns; /* with a read rate: up to when its bytes are spent */

    size_t out_len;    /* bytes that are being sent, a large value included */
    size_t out_done;   /* of which written */
    const char *value; /* the large value among them, a loan from the bench; else NULL */
    char *out;         /* up to `pipeline` copies of the template, patched in place */
    char line[LOAD_LINE_MAX];
};

enum phase {
    PHASE_WARMUP,
    PHASE_MEASURE,
    PHASE_DRAIN, /* no new batches; what still comes is not counted */
};

struct bench {
    struct load_options options;
    struct load_client *clients;
    struct connection *connections; /* of all clients */
    unsigned connection_count;
    unsigned open_count;
    uint64_t waiting; /* requests without their reply, on connections that live */
    int epoll_fd;
    enum phase phase;
    uint64_t random_state;
    uint64_t started_requests; /* sent or queued, for -n and for the schedule */
    uint64_t schedule_ns;      /* when the first request of an open loop was due */
    uint64_t requests;         /* answered inside the window */
    uint64_t error_count;      /* error replies */
    uint64_t miss_count;       /* nil where a value was expected */
    uint64_t wrong_count;      /* wrong length, kind or bytes */
    uint64_t lost_count;       /* connections that broke */
    uint64_t unsent_count;     /* open loop: due, but its client was lost */
    char first_error[LOAD_LINE_MAX];
    uint64_t window_start_ns;
    uint64_t window_end_ns;
    size_t template_len;
    size_t value_at; /* where the value lies in a SET */
    size_t *key_at;  /* where each key's digits lie in the template */
    char *template;
    char *values;  /* value_size + LOAD_KEY_MAX pseudo-random letters */
    char *scratch; /* LOAD_SCRATCH_SIZE, shared by all connections */
    struct cpu_sample cpu_start[LOAD_PID_MAX];
    struct cpu_sample cpu_end[LOAD_PID_MAX];
    uint64_t own_cpu_ns;
    uint64_t machine_ns;
    struct histogram latency;
};

/*
 * The value of a key: a slice of one long text. An odd factor modulo 2^16 gives each key a slice
 * of its own.
 */
static inline const char *load_value(const struct bench *bench, uint32_t key)
{
    return bench->values + (key * 40503U) % LOAD_KEY_MAX;
}

/* The number of the key that the next value on this connection belongs to. */
static inline uint32_t load_key_now(const struct bench *bench, const struct connection *c)
{
    size_t place = c->head & (c->queue_size - 1);

    return c->keys[place * bench->options.mget_count + c->element_at];
}

/* Nanoseconds of a clock that never jumps. */
uint64_t load_now_ns(void);

/* Zeroed memory; ends the program when there is none. */
void *load_alloc(size_t count, size_t size);

/*
 * Makes the values and the template of a request, and connects everybody, before the first
 * request. Returns 0 or what connecting failed with (-ECONNREFUSED, -ETIMEDOUT …).
 */
int load_open(struct bench *bench);

/* Sends the first batch of every client of a closed loop, or starts the schedule of an open one. */
void load_start(struct bench *bench, uint64_t now);

/* Queues and sends what an open loop's schedule says is due; reads what slow readers may read. */
void load_tick(struct bench *bench, uint64_t now);

/* Nanoseconds until load_tick() has something to do: at most 10 ms. */
uint64_t load_pause_ns(const struct bench *bench, uint64_t now);

/* Writes and reads on a connection for which epoll said `events`. */
void load_event(struct bench *bench, struct connection *c, uint32_t events);

/* Charges an open loop's requests that were never answered with the time they have waited. */
void load_finish(struct bench *bench, uint64_t now);

/*
 * Takes `len` bytes that a connection has read at the time `now` (nanoseconds, monotonic), checks
 * them and counts the replies that they complete. Returns 0, or -EPROTO when they cannot be
 * understood; then the connection is of no more use.
 */
int load_take_reply(struct bench *bench, struct connection *c, const char *bytes, size_t len,
                    uint64_t now);

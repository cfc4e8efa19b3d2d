/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold in every run. The checker keeps a record of each command that a client sends, of
 * what nodes did for it, and judges each reply at the moment the proxy writes it.
 *
 * Keys tell where they come from: "{s7}.c2.q31.i0" is string key 7 as client 2 named it in its
 * command 31, argument 0. Nodes treat it as "s7", and the ring does too because of the hash tag.
 * With hash tags off keys are plain ("s7"), and only values tell who wrote them.
 */
#pragma once
#include "answer.h"
#include "base/nsec.h"
#include "base/str.h"
#include "cluster/view.h"
#include "io_sim.h"
#include "options.h"
#include "stale.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHECK_GONE_MAX = 4, CHECK_MESSAGE_MAX = 4000, CHECK_ANY_PROCESS = CHECK_PROCESSES_MAX };

enum check_kind {
    /* Sent to nodes. */
    CHECK_GET,
    CHECK_SET,
    CHECK_SETEX,
    CHECK_INCR,
    CHECK_APPEND,
    CHECK_STRLEN,
    CHECK_HGETALL,
    CHECK_SUNION, /* two keys: CROSSSLOT unless one node has both */
    CHECK_MGET,   /* from here on split */
    CHECK_MSET,
    CHECK_DEL,
    CHECK_UNLINK,
    CHECK_EXISTS,
    CHECK_TOUCH,
    CHECK_FLUSH,     /* FLUSHALL and FLUSHDB, of all nodes */
    CHECK_COUNT_ALL, /* DBSIZE */
    CHECK_NAME_ALL,  /* KEYS */
    CHECK_NAME_SOME, /* SCAN */
    CHECK_NAME_ONE,  /* RANDOMKEY */
    CHECK_EXEC_GET,  /* EXEC of a transaction that only reads one key, or only writes it; its parts
                      */
    CHECK_EXEC_SET,  /* are the commands behind MULTI, which name it as theirs */
    CHECK_WATCH,
    /* Answered by the proxy. */
    CHECK_PING,
    CHECK_PING_TEXT,
    CHECK_ECHO,
    CHECK_ECHO_LARGE,
    CHECK_HELLO,
    CHECK_FAILURES,
    CHECK_CLIENT_ID,
    CHECK_SELECT,
    CHECK_MULTI,
    CHECK_QUEUED,
    CHECK_UNKNOWN,
    CHECK_REFUSED,
    CHECK_ARITY,
    CHECK_QUIT,
    CHECK_MALFORMED,
    CHECK_KINDS,
};

const char *check_kind_name(enum check_kind kind);

/* Is it made of what all nodes answer? */
static inline bool check_kind_is_of_all(enum check_kind kind)
{
    return kind >= CHECK_FLUSH && kind <= CHECK_NAME_ONE;
}

static inline bool check_kind_is_local(enum check_kind kind)
{
    return kind >= CHECK_PING;
}

enum key_class { KEY_STRING = 's', KEY_NUMBER = 'n', KEY_LOG = 'a', KEY_HASH = 'h' };

struct check_key {
    char class; /* enum key_class */
    uint16_t number;
    bool tagged; /* the three below are known */
    uint16_t client, index;
    uint32_t seq;
};

/* What a node did for one key of a command. */
enum check_outcome {
    OUTCOME_NONE, /* nothing yet */
    OUTCOME_NIL,
    OUTCOME_BULK,   /* value: digest of the bytes, len: how many */
    OUTCOME_NUMBER, /* value */
    OUTCOME_OK,
    OUTCOME_MAP,
    OUTCOME_EMPTY,
    OUTCOME_ERROR,
};

struct check_part {
    struct check_key key;
    uint8_t outcome; /* enum check_outcome */
    uint8_t executions;
    int8_t node;
    bool empty; /* writes an empty value, which does not tell whose it is */
    uint64_t value, len;
    struct stale_floor floor; /* of a read: stale.h */
};

struct check_command {
    uint8_t kind; /* enum check_kind */
    uint8_t proto;
    uint8_t process;  /* of a proxy, which its client was connected to */
    uint16_t session; /* of its client */
    bool errors;      /* the client wants failed reads told */
    bool vague;  /* its client's HELLO was refused for want of memory: nobody knows what it gets */
    bool strict; /* sent when all is well: no failure is excused */
    bool answered;
    bool failed;      /* answered, but not with what its nodes said */
    bool is_inline;   /* sent as words on a line */
    bool watched;     /* EXEC: behind a WATCH */
    int64_t argument; /* HELLO: the version; ECHO, PING: the number in its text, or its length */
    uint64_t begin_offset, end_offset; /* its bytes in its session's stream */
    uint64_t sent_at, answered_at;     /* 0: not yet */
    uint64_t begun_at, read_at;        /* its first and its last byte, by the proxy */
    uint64_t idle;      /* the longest time within it for which the client gave nothing to read */
    uint64_t due;       /* when it was to be answered, as far as was known when it was */
    uint64_t reply_end; /* of the reply in the stream to the client; 0: not yet */
    uint64_t reply_began_at, reply_moved_at; /* at a node: bytes of its reply that the proxy read */
    uint64_t reply_read;                     /* how many those are */
    uint64_t aside_then;                     /* checker.aside when they began */
    bool reply_unseen; /* its node closed with bytes of it under way: when they are read, and if
                          at all, is not known */
    struct stale_span span;
    bool out_of_turn; /* … before it was the next one to be answered, so all of it may be read */
    uint32_t part_count;
    struct check_part *parts; /* owned */
};

struct check_client {
    struct check_command *commands; /* owned; by sequence number */
    uint32_t count, room;
};

/* The newest executed command of one client on one node, whatever its key, its size or the RESP
 * version. Order is promised within one connection of a client. */
struct check_order {
    uint32_t seq_plus_1;
    uint16_t session;
    uint64_t step;
};

struct check_view {
    struct view *view; /* a reference */
    unsigned process;
    int node_of[SIM_NODES_MAX]; /* index in the view → number of the node model */
    uint64_t posted_at, superseded_at;
};

/* A proxy from its start to its end. One that is started again is another. */
struct check_process {
    unsigned proxy;
    bool alive;
};

struct checker {
    struct io_sim *world;
    const struct sim_options *options;
    bool failed;
    char message[CHECK_MESSAGE_MAX];

    struct check_client clients[SIM_CLIENTS_MAX + 1]; /* the last: who looks whether all is well */
    struct check_process processes[CHECK_PROCESSES_MAX];
    uint32_t process_count;
    struct check_view *views; /* owned; of all processes, oldest first */
    uint32_t view_count, view_room;
    uint64_t step; /* grows with each execution */
    struct stale stale;
    struct check_order order[SIM_CLIENTS_MAX + 1][SIM_NODES_MAX];
    /* Nodes that sent a reply nobody asked for while a request may have been on its way: the proxy
     * cannot tell the two apart. From when, and until when the connection lived. */
    uint64_t tainted_from[SIM_NODES_MAX], tainted_until[SIM_NODES_MAX];
    uint64_t executed, judged, failures_told, masked; /* for the summary */
    uint64_t refused_early_at; /* when a node last refused what it had not read whole; 0: never */
    uint64_t aside; /* how often a worker took a large reply in whole, to free an upstream */
};

void checker_init(struct checker *k, struct io_sim *world, const struct sim_options *options);
void checker_fini(struct checker *k);

/* Notes the first mistake; later ones follow from it. */
void checker_fail(struct checker *k, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- proxies and their views ---- */

/* A process begins as this proxy. Returns its number, from 0. */
unsigned checker_process_begins(struct checker *k, unsigned proxy);
void checker_process_ends(struct checker *k, unsigned process);
/* The one that is, or was last, this proxy. */
unsigned checker_process_of(const struct checker *k, unsigned proxy);
void checker_view_posted(struct checker *k, unsigned process, struct view *v, const int *node_of);
/* NULL: none yet. A loan until the next view of anybody. */
struct check_view *checker_newest_view(const struct checker *k, unsigned process);
/* May this view have been in force, in its process, for something that was sent by a client of
 * `process` (or CHECK_ANY_PROCESS) at `since` or later? */
bool checker_view_counts(const struct checker *k, const struct check_view *cv, unsigned process,
                         uint64_t since);

/* ---- commands ---- */
struct check_command *checker_command(struct checker *k, unsigned client, enum check_kind kind,
                                      uint32_t parts, uint32_t *ret_seq);
struct check_command *checker_find(struct checker *k, unsigned client, uint32_t seq); /* or NULL */

/* The key as it is sent. Returns its length. */
size_t check_key_print(const struct check_key *key, char *to, size_t size);
bool check_key_parse(const char *text, size_t len, struct check_key *ret);
/* The value that a command writes, `len` bytes (raised to hold who wrote it, unless 0). Returns the
 * length. `to` may be NULL. */
size_t check_value_make(const struct check_key *key, size_t len, char *to);
/* Is it a value that somebody wrote to this key? Sets class, number and writer of *ret. */
bool check_value_parse(const char *text, size_t len, struct check_key *ret);
uint64_t check_digest(const void *bytes, size_t len);

/* ---- what nodes do ---- */

/*
 * A node executes a command for a key. `connection_died`: the step at which the proxy (or a fault)
 * ended the connection it came on; 0: it lives. `verb` is for messages. Returns the part to note
 * the outcome in, or NULL: the key does not tell whose it is, or nobody will hear of it.
 */
struct check_part *checker_executes(struct checker *k, unsigned node, const char *verb,
                                    struct str key_text, const struct check_key *key, bool writes,
                                    uint64_t connection_died);
/* The proxy itself removes a key from a node, for no client's command. */
void checker_clears(struct checker *k, unsigned node, const char *verb,
                    const struct check_key *key);
/* The proxy read `len` bytes of the reply to this command. */
void checker_reply_moves(struct checker *k, unsigned client, uint32_t seq, bool begins,
                         uint64_t len);
/* Its node has closed with bytes of the reply under way. */
void checker_reply_unseen(struct checker *k, unsigned client, uint32_t seq);

/* ---- what clients get ---- */
void checker_judge(struct checker *k, unsigned client, uint32_t seq, const struct answer *a);

/* Bytes of the request, as its client sends it. */
static inline uint64_t check_command_len(const struct check_command *c)
{
    return c->end_offset - c->begin_offset;
}

/* How long a worker may go on by a view after the next one was posted. */
static inline uint64_t checker_view_lag(const struct checker *k)
{
    return k->options->adopt_max + k->options->pause_max + NSEC_MS;
}

/* Are there large and small ones in this run, so that requests go different ways to one node? */
bool checker_lanes_mix(const struct checker *k);
/* May it be sent on before its last byte is there? Its key comes first, and then what is large. */
bool checker_may_stream(const struct checker *k, const struct check_command *c);
/* Does it take an upstream of its own, and does what comes behind it wait? */
static inline bool check_is_private(const struct check_command *c)
{
    return c->kind == CHECK_WATCH || c->watched;
}
/* May both have to go to one node? */
bool checker_share_node(const struct checker *k, const struct check_command *a,
                        const struct check_command *b);
/* Did its client stop inside it for so long that the proxy need not have waited for the rest? */
bool checker_stopped_inside(const struct checker *k, const struct check_command *c);

/* May it fail because of a node, as far as is known now? */
bool checker_may_fail(struct checker *k, unsigned client, uint32_t seq);

/* May replies to this command have been mixed up by a node that spoke out of turn? */
bool checker_is_tainted(const struct checker *k, const struct check_command *c);

/* When the answer must be there at the latest, from what is known now; NSEC_NEVER: the proxy has
 * not read it. `floor`: when it became this command's turn (its client's fault until then). */
uint64_t checker_due(const struct checker *k, const struct check_command *c, uint64_t floor);

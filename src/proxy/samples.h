/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker hands to the admin listener, so that it can say which keys are hot and what was
 * slow: two rings of a fixed size, written by the worker, read by one other thread. A ring that is
 * full takes nothing, so a reader that is slow, or not there, costs nothing. Which request becomes
 * a sample is a matter of counting, not of chance: the same run gives the same samples.
 */
#pragma once
#include "base/addr.h"
#include "base/metric.h"
#include "base/str.h"
#include "proxy/outcomes.h"
#include "proxy/slow_key.h"

#include <stdbool.h>
#include <stdint.h>

struct request;
struct worker;

enum {
    SAMPLE_KEY_MAX = 64, /* of a longer key so many bytes are told */
    SAMPLES_MAX = 256,   /* a power of two, as the next */
    SAMPLES_SLOW_MAX = 64,
    SAMPLES_PENDING_MAX = 16, /* samples whose reply has not come; with more none is taken */
};

struct sample {
    uint64_t hash;  /* of the whole key */
    uint64_t bytes; /* of the arguments or of the reply, whichever is longer */
    uint16_t command;
    uint8_t outcome; /* enum outcome */
    uint8_t key_len;
    bool cut; /* the key is longer */
    char key[SAMPLE_KEY_MAX];
};

struct slow_request {
    uint64_t ended; /* ns, of the monotonic clock */
    uint64_t client_id;
    struct addr client;
    uint32_t node;      /* its number in the control plane (pulse.node); UINT32_MAX: none */
    uint32_t queue_us;  /* until it might be sent */
    uint32_t node_us;   /* from then to the first byte; of several parts the last one */
    uint64_t total_us;  /* what the two leave was waited for the rest, or for the client */
    uint64_t bytes_in;  /* of the request, as it went to nodes … */
    uint64_t bytes_out; /* … and of the whole reply */
    struct slow_key key;
    uint16_t command;
    uint8_t outcome;
};

struct samples {
    uint32_t left;               /* requests until the next sample */
    uint32_t slow_from;          /* of slow requests those before are forgotten: SLOWLOG RESET */
    uint32_t pending_used;       /* a bit for each of `pending` */
    atomic_uint head, slow_head; /* written by the worker … */
    char apart[64];              /* … and on another cache line, … */
    atomic_uint tail, slow_tail; /* … by the reader */
    struct sample pending[SAMPLES_PENDING_MAX];
    struct sample ring[SAMPLES_MAX];
    struct slow_request slow[SAMPLES_SLOW_MAX];
};

/* ---- the worker ---- */

/* A request for one key goes out, every settings.sample_each-th of them (samples.left counts); its
 * arguments are in w->args. */
void samples_begin(struct worker *w, struct request *r, struct str key, uint64_t hash);
/* A request that was to be a sample dies; it is one if it was answered. */
void samples_end(struct worker *w, struct request *r);
/* One that is answered took `took` ns, which is slow. */
void samples_give_slow(struct worker *w, const struct request *r, uint64_t took);

/* What it still has of them, read by others or not, by age: 0 is the newest. *ret_number: which of
 * all it was. NULL: there are not so many. */
const struct slow_request *samples_slow(const struct samples *s, unsigned age,
                                        uint32_t *ret_number);
/* samples_slow() gives no more what there is now. */
void samples_forget_slow(struct samples *s);

/* ---- the one reader, any thread ---- */

/* The oldest; false: there is none. */
bool samples_take(struct samples *s, struct sample *ret);
bool samples_take_slow(struct samples *s, struct slow_request *ret);

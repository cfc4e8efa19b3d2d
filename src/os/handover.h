/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that go from one process to the next, as sd_listen_fds(3) has it: they are
 * descriptors 3 and following, $LISTEN_FDS says how many, and $LISTEN_PID for whom. That may come
 * from a service manager (socket activation) or from a sumcache that is to be replaced; then
 * $SUMCACHE_READY is one more descriptor, on which its successor says that it serves, and
 * $SUMCACHE_TESTAMENT one that has a text for it. Main thread only, while there is no other: these
 * read and write the environment.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    HANDOVER_PATH_MAX = 108,  /* of a Unix socket, as the kernel has it */
    HANDOVER_TEXT_MAX = 128,  /* an address for people */
    HANDOVER_MAX = 16 * 1024, /* sockets: a worker has its own of each address */
    HANDOVER_PROGRAM_MAX = 4096,
    HANDOVER_TESTAMENT_MAX = 32 * 1024 * 1024, /* bytes */
};

struct handover_socket {
    int handle; /* -1: somebody took it */
    struct addr at;
    char path[HANDOVER_PATH_MAX]; /* of a Unix socket */
};

struct handover {
    struct handover_socket *sockets; /* owned */
    unsigned count;
    int ready;         /* -1: nobody waits for us */
    int testament;     /* the descriptor; -1: there is none */
    bool by_a_process; /* not by a service manager */
    bool activated;    /* by a service manager in the first place: names of Unix sockets are its */
};

/* What this process was started with, mostly nothing; takes it out of the environment. 0, or -errno
 * of the first descriptor that is no listening socket (*ret_bad), or -ENOMEM. */
int handover_receive(struct handover *h, int *ret_bad) MUST_CHECK;
/* Closes what nobody took. */
void handover_close_rest(struct handover *h);
/* The same, and forgets who waits. */
void handover_fini(struct handover *h);

/* The next socket of this address that nobody took, which is the caller's then; `path` is that of a
 * Unix socket. -ENOENT: there is none. */
int handover_take(struct handover *h, const struct addr *at, const char *path);
/* Gives one to it, in place of one that was taken. */
void handover_put(struct handover *h, int handle, const struct addr *at);
/* How many of them are left. */
unsigned handover_left(const struct handover *h, const struct addr *at, const char *path);
/* The first that nobody took, for people; NULL: there is none. Returns `to`. */
const char *handover_stray(const struct handover *h, char to[HANDOVER_TEXT_MAX]);

/* May others listen at the same address (SO_REUSEPORT)? */
bool handover_is_shared(int handle);
/* Another descriptor of the same socket. → handle, or -errno. */
int handover_copy(int handle);

/* What the process that this one replaces left to it, with a NUL behind it; owned by the caller.
 * NULL: there is none. 0 or -errno. Once. */
int handover_read_testament(struct handover *h, char **ret, size_t *ret_len) MUST_CHECK;

/* To the process that this one replaces: it serves. Once. */
void handover_say_ready(struct handover *h);

/* ---- the other side ---- */

/* The file that this process runs, by its name at this moment. 0 or -errno. */
int handover_program(char to[HANDOVER_PROGRAM_MAX]) MUST_CHECK;

struct handover_successor {
    int pid;
    int ready; /* descriptor; handover_await_ready() reads it */
};

/* What a successor gets; loans. */
struct handover_estate {
    const int *handles; /* listening sockets */
    unsigned count;
    struct str testament; /* what handover_read_testament() gives to it */
    bool activated;       /* as handover.activated */
};
/* Starts `program` as this process was started (arguments, environment, standard descriptors), with
 * that. It outlives us. 0, or -errno, of exec too. */
int handover_spawn(const char *program, const struct handover_estate *estate,
                   struct handover_successor *ret) MUST_CHECK;
/* 1: it serves; 0: not yet; -EPIPE: it has ended, or never will. Never waits. */
int handover_poll(const struct handover_successor *s);
/* Forgets it; it goes on. */
void handover_let_go(struct handover_successor *s);

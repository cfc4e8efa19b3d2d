/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket. Accepts at most a few connections per event, so that a storm of them does not
 * hold up requests, and pauses for a moment when the process is out of descriptors or memory.
 */
#pragma once
#include "base/addr.h"
#include "net/loop.h"

#include <stdbool.h>

struct listener;

struct listener_events {
    /* Owns `handle` from then on. */
    void (*on_accept)(void *owner, const struct listener *at, int handle, const struct addr *peer);
    void (*on_pause)(void *owner, int err); /* -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM */
};

struct listener {
    struct source source;
    struct loop *loop;
    const struct listener_events *events;
    void *owner;
    struct io_socket_options options;
    struct timer resume;
    struct addr at;
    int handle;
    bool paused;
    bool tls; /* its owner's: what it accepts begins with a handshake */
};

/* `handle` listens already, and is its own from then on, closed on failure; -1: it is opened. 0, or
 * -errno of listen. */
int listener_open(struct listener *l, struct loop *loop, int handle, const struct addr *at,
                  const struct io_socket_options *options, const struct listener_events *events,
                  void *owner) MUST_CHECK;
void listener_close(struct listener *l);

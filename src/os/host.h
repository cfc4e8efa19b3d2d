/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of this host, and short talks with a server: for start-up and for commands that ask a
 * running proxy. These calls may block; workers never make them.
 */
#pragma once
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Could a socket listen there? Asks without SO_REUSEPORT, so that a second process of the same user
 * is told -EADDRINUSE instead of getting a share of the first one's clients. 0 or -errno.
 */
int host_can_listen(const struct addr *at) MUST_CHECK;

/* A Unix socket at `path`, with these permissions, that listens. What a process that is gone has
 * left there is replaced; -EADDRINUSE: somebody listens; -EEXIST: it is no socket; or another
 * -errno. → descriptor */
int host_listen_unix(const char *path, unsigned mode) MUST_CHECK;
/* Removes it. */
void host_remove_unix(const char *path);

/* The first port from `first` to `last` on which 127.0.0.1 could be listened on at this moment.
 * -EADDRINUSE: there is none; or another -errno. */
int host_free_port(uint16_t first, uint16_t last, uint16_t *ret_port) MUST_CHECK;

/* Connects, sends `question` and reads as many bytes as `answer` has: are they the same? Takes at
 * most timeout_ns. */
bool host_answers(const struct addr *at, struct str question, struct str answer,
                  uint64_t timeout_ns);

/* The first address of `name` (a number, or what this host's resolver knows); port is that of
 * *ret_at. 0 or -ENOENT: *ret_why, a text that stays, says why. There is no time-out. */
int host_find(struct str name, uint16_t port, struct addr *ret_at, const char **ret_why) MUST_CHECK;

/* A connection for one who may wait, each call at most until `until` (process_now_ns()). They give
 * -ETIMEDOUT then, or another -errno. */
int host_connect(const struct addr *at, uint64_t until) MUST_CHECK; /* → descriptor */
int host_connect_unix(const char *path, uint64_t until) MUST_CHECK; /* → descriptor */
int host_send(int fd, struct str bytes, uint64_t until) MUST_CHECK; /* all of them, or not 0 */
ssize_t host_receive(int fd, char *to, size_t size, uint64_t until) MUST_CHECK; /* 0: the end */
void host_close(int fd);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short messages between processes of this host: to the service manager (the protocol of
 * sd_notify(3): a datagram to $NOTIFY_SOCKET), and from a daemon to whoever sent it a signal. None
 * of them blocks but notify_await(). Main thread only.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lines of VARIABLE=value to the service manager; without one, nothing happens. False: there is
 * one, and it did not take them. */
bool notify_manager(const char *lines);

/* How often the service manager wants to be told WATCHDOG=1 at least ($WATCHDOG_USEC), in ns; 0: it
 * does not. */
uint64_t notify_watchdog(void);

/*
 * A mailbox of this process for one answer, which process `pid` gets by notify_answer() with our
 * id. Its name is of our network namespace and goes with the descriptor. → descriptor, or -errno.
 */
int notify_open(void) MUST_CHECK;
void notify_close(int handle);
/* Waits for the answer of process `pid`, and for no other's. 0; -ETIMEDOUT; or another -errno. */
int notify_await(int handle, unsigned pid, uint64_t timeout_ns, char *to, size_t size) MUST_CHECK;
/* To process `pid`, if it waits for one: did what it asked for come to pass, and what is to be said
 * of it, which notify_await() gives behind one of NOTIFY_…. */
enum { NOTIFY_DONE = '+', NOTIFY_FAILED = '-', NOTIFY_ANSWER_MAX = 2048 };
void notify_answer(unsigned pid, bool failed, const char *text);

/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel behind the seam: epoll, edge-triggered, every descriptor registered once. */
#pragma once
#include "base/cleanup.h"
#include "os/io.h"

/* Opens what it needs. 0, -EMFILE, -ENFILE, -ENOMEM. io_epoll_free() when no handle is in use. */
int io_epoll_new(struct io *ret_io) MUST_CHECK;
void io_epoll_free(struct io *io);

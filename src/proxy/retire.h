/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a worker ends.
 *
 *   serves ──post_retire──► retires: accepts nobody, serves whom it has
 *      │                       │  timeouts.drain, or all have left
 *      └──post_drain──► drains ◄┘: takes no more requests, finishes what is under way
 *                         │  timeouts.drain, or all have left
 *                         ▼
 *                       ended
 *
 * The inside of the worker; worker_post_drain() and worker_post_retire() are what others call.
 */
#pragma once
#include "proxy/worker.h"

int retire_init(struct worker *w) MUST_CHECK; /* 0 or -ENOMEM */
void retire_fini(struct worker *w);           /* closes its listeners too */

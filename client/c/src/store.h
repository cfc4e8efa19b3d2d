/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the asynchronous calls need of the others.
 */
#pragma once

#include "cache.h"

/* Begins a delete (JOB_DEL, JOB_CLEAR): from now on this process does not get the old value.
 * Returns a share of the job, NULL if there is no memory. Takes `notice` if *ret_is_queued;
 * otherwise the store is blind for a while. */
struct job *store_del(struct sc_store *s, enum job_kind kind, const void *key, size_t key_len,
                      struct job *notice, bool *ret_is_queued);

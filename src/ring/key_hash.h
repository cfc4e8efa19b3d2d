/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash of a key, as Envoy's redis_proxy computes it: MurmurHash2, 64 bit, seed 0xc70f6907 (the
 * std::hash<std::string> of libstdc++), over the key or, with tags on, over its hash tag.
 */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

uint64_t murmur2_64(struct str bytes, uint64_t seed);

/* The part of a key between the first '{' and the next '}', if it is not empty; else the key
 * (redis.io/docs/reference/cluster-spec, "Hash tags"). */
struct str key_tag(struct str key);

uint64_t key_hash(struct str key, bool hash_tags);

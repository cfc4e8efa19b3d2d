#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/resp/command_slots.h, the hash table over the names in src/resp/command_table.h.

Run it after a name was added or removed; `--check` only tells whether the file is up to date.
"""

import pathlib
import random
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src/resp"
BITS = 10
MASK64 = 2**64 - 1
# What caches are asked most: these must be found at the first slot looked at.
FREQUENT = (
    "get set mget mset del unlink exists touch expire ttl incr incrby setex psetex getex hget hset hmget "
    "hgetall zadd zrange zscore sadd smembers sismember lpush rpush lrange eval evalsha ping hello"
).split()


def names():
    text = (SOURCE / "command_table.h").read_text()
    return re.findall(r'^COMMAND_ROW\(\w+, "([^"]+)"', text, re.M)


def place(name_list, factors):
    """The slots for these factors, and the sum of all probes; None if a frequent name has moved."""
    slots = [0] * (1 << BITS)
    probes = 0
    order = sorted(range(len(name_list)), key=lambda i: name_list[i] not in FREQUENT)
    for index in order:
        padded = name_list[index].encode().ljust(32, b"\0")
        words = [int.from_bytes(padded[i : i + 8], "little") for i in range(0, 32, 8)]
        total = words[0] + sum(w * f for w, f in zip(words[1:], factors[1:]))
        slot = ((total & MASK64) * factors[0] & MASK64) >> (64 - BITS)
        probe = 0
        while slots[slot]:
            slot = (slot + 1) % len(slots)
            probe += 1
        if probe and name_list[index] in FREQUENT:
            return None
        slots[slot] = index + 1
        probes += probe
    return probes, slots


def generate():
    name_list = names()
    assert max(map(len, name_list)) < 32 and len(name_list) < (1 << BITS) * 2 // 3
    rng = random.Random(7)  # the same table each time
    best = None
    for _ in range(300):
        factors = [rng.getrandbits(64) | 1 for _ in range(4)]
        placed = place(name_list, factors)
        if placed and (best is None or placed[0] < best[0]):
            best = (*placed, factors)
    _, slots, factors = best
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/*",
        " * Made by tools/gen_command_slots.py from command_table.h: do not edit. Row index + 1 by hash of",
        " * the name, 0 for an empty slot, the next slot on a collision.",
        " */",
        "/* clang-format off */",
        "enum { SLOT_BITS = %d };" % BITS,
        "",
        "static const uint64_t SLOT_FACTORS[4] = {",
        *["    UINT64_C(0x%016x)," % f for f in factors],
        "};",
        "",
        "static const uint16_t SLOTS[1 << SLOT_BITS] = {",
        *["    " + " ".join("%d," % s for s in slots[i : i + 16]) for i in range(0, len(slots), 16)],
        "};",
        "/* clang-format on */",
        "",
    ]
    return "\n".join(lines)


def main():
    target = SOURCE / "command_slots.h"
    text = generate()
    if "--check" in sys.argv[1:]:
        if not target.exists() or target.read_text() != text:
            sys.exit("src/resp/command_slots.h is out of date: run tools/gen_command_slots.py")
        return
    target.write_text(text)


if __name__ == "__main__":
    main()

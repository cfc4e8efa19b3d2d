# SPDX-License-Identifier: Apache-2.0
"""The ring, written a second time and independently, as the oracle of the tests.

xxHash64 and MurmurHash2-64 from their public descriptions; Maglev from the paper's section 3.4.
"""
MASK = (1 << 64) - 1
SLOTS = 65537

_P1, _P2, _P3, _P4, _P5 = (11400714785074694791, 14029467366897019727, 1609587929392839161,
                           9650029242287828579, 2870177450012600261)


def _rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def _round(lane, word):
    return _rotate((lane + word * _P2) & MASK, 31) * _P1 & MASK


def xxhash64(data, seed=0):
    at = 0
    if len(data) >= 32:
        lanes = [(seed + _P1 + _P2) & MASK, (seed + _P2) & MASK, seed, (seed - _P1) & MASK]
        while at + 32 <= len(data):
            for i in range(4):
                lanes[i] = _round(lanes[i], int.from_bytes(data[at + 8 * i:at + 8 * i + 8], "little"))
            at += 32
        value = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * _P1 + _P4) & MASK
    else:
        value = (seed + _P5) & MASK
    value = (value + len(data)) & MASK
    while at + 8 <= len(data):
        value ^= _round(0, int.from_bytes(data[at:at + 8], "little"))
        value = (_rotate(value, 27) * _P1 + _P4) & MASK
        at += 8
    if at + 4 <= len(data):
        value ^= int.from_bytes(data[at:at + 4], "little") * _P1 & MASK
        value = (_rotate(value, 23) * _P2 + _P3) & MASK
        at += 4
    for byte in data[at:]:
        value ^= byte * _P5 & MASK
        value = _rotate(value, 11) * _P1 & MASK
    for shift, factor in ((33, _P2), (29, _P3), (32, 1)):
        value = (value ^ (value >> shift)) * factor & MASK
    return value


def murmur2_64(data, seed=0xC70F6907):
    factor = 0xC6A4A7935BD1E995
    value = (seed ^ (len(data) * factor)) & MASK
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at:at + 8], "little") * factor & MASK
        word = (word ^ (word >> 47)) * factor & MASK
        value = (value ^ word) * factor & MASK
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * factor & MASK
    value = (value ^ (value >> 47)) * factor & MASK
    return value ^ (value >> 47)


def tag(key):
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            return key[start + 1:end]
    return key


class Ring:
    """Names → owner of a key. `weights`: by name; equal unless given."""

    def __init__(self, names, slots=SLOTS, hash_tags=True, weights=None):
        self.names = sorted(names)
        self.hash_tags = hash_tags
        order = [(xxhash64(n.encode()) % slots, xxhash64(n.encode(), 1) % (slots - 1) + 1)
                 for n in self.names]
        self.table = [-1] * slots
        following = [0] * len(order)
        total = sum(weights.values()) if weights else 1
        share = [weights[name] / total if weights else 1 for name in self.names]
        target = [0.0] * len(order)
        filled = turn = 0
        while filled < slots:
            turn += 1
            for node, (offset, skip) in enumerate(order):
                if filled == slots:
                    break
                if turn * share[node] < target[node]:
                    continue
                target[node] += max(share)
                while True:
                    slot = (offset + skip * following[node]) % slots
                    following[node] += 1
                    if self.table[slot] < 0:
                        break
                self.table[slot] = node
                filled += 1

    def slot(self, key):
        key = key.encode() if isinstance(key, str) else key
        return murmur2_64(tag(key) if self.hash_tags else key) % len(self.table)

    def owner(self, key):
        return self.names[self.table[self.slot(key)]]

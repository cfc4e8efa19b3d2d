#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/stored-format.md in Python, and the writer of its test vectors.

  client/stored_format.py           prints what stored-format-vectors.json has to hold
  client/stored_format.py --check   compares; exits 1 if the file says something else
"""

import base64
import hashlib
import json
import os
import struct
import sys
import zlib

SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
HEADER = struct.Struct("<BBBBIQIIIIQ")
FUTURE_MAX_MS = 60000


def escape(text):
    return b"".join(bytes([c]) if c in SAFE else b"%%%02X" % c for c in text)


def value_name(namespace, prefix, key):
    return escape(namespace) + b":" + escape(prefix) + b":k:" + key


def fenced_name(namespace, prefix, key):
    return escape(namespace) + b":" + escape(prefix) + b":f:" + key


def group_names(namespace, prefix, bucket):
    base = escape(namespace) + b":" + escape(prefix)
    return base + b":g", b"{%s}:h%d" % (base, bucket), base + b":l"


def with_length(tag, data):
    return tag + struct.pack("<I", len(data)) + data


def canonical_real(number):
    if number == int(number) if abs(number) < 2.0**53 else False:
        return b"i" + struct.pack("<q", int(number))
    if number != number:
        return b"d" + bytes.fromhex("000000000000f87f")
    return b"d" + struct.pack("<d", number)


def canonical(argument):
    """argument: [type, value], as in the vectors."""
    kind, value = argument
    if kind in ("null", "undefined"):
        return kind[:1].encode()
    if kind == "bool":
        return b"t" if value else b"f"
    if kind == "int":
        return b"i" + struct.pack("<q", int(value))
    if kind == "real":  # by its bits, most significant first: JSON has no NaN
        return canonical_real(struct.unpack(">d", bytes.fromhex(value))[0])
    if kind == "bigint":
        return with_length(b"I", value.encode())
    if kind == "text":
        return with_length(b"s", value.encode())
    if kind == "bytes":
        return with_length(b"b", bytes.fromhex(value))
    if kind == "time":
        return b"D" + struct.pack("<q", int(value))
    if kind == "list":
        parts = [canonical(v) for v in value]
        return b"l" + struct.pack("<I", len(parts)) + b"".join(parts)
    if kind == "set":
        parts = sorted(canonical(v) for v in value)
        return b"S" + struct.pack("<I", len(parts)) + b"".join(parts)
    if kind == "map":
        parts = sorted(canonical(k) + canonical(v) for k, v in value)
        return b"m" + struct.pack("<I", len(parts)) + b"".join(parts)
    raise ValueError(kind)


def typed_key(name, arguments):
    form = b"\x01" + with_length(b"s", name.encode()) + b"".join(canonical(a) for a in arguments)
    digest = hashlib.sha256(form).digest()[:16]
    return form, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def encode(identity, payload, *, created, soft, hard, delta=0, epoch=0, codec=0, compression=0,
           negative=False, size=None, **bent):
    """`bent` overwrites header fields: for values that have to be misses."""
    stored = zlib.compress(payload, 6) if compression == 1 else payload
    head = {
        "magic": 0xC5, "version": 1, "flags": compression | (4 if negative else 0), "codec": codec,
        "checksum": 0, "created": created, "soft": soft, "hard": hard, "delta": delta,
        "size": len(payload) if size is None else size, "epoch": epoch,
    }
    head.update(bent)
    raw = HEADER.pack(*head.values()) + stored
    checksum = zlib.crc32(identity + raw[:4] + raw[8:])
    return raw[:4] + struct.pack("<I", checksum) + raw[8:]


def decode(identity, raw, *, now, codec=0, epoch=0, size_max=5 << 20):
    """("miss", None), or ("fresh" | "stale" | "negative" | "negative-stale", payload)."""
    miss = ("miss", None)
    if len(raw) < HEADER.size:
        return miss
    magic, version, flags, stored_codec, checksum, created, soft, hard, _, size, stored_epoch = HEADER.unpack(raw[:40])
    payload = raw[40:]
    compression, negative = flags & 3, bool(flags & 4)
    if magic != 0xC5 or version != 1 or flags & 0xF8 or compression not in (0, 1):
        return miss
    if negative and (size or payload) or size > size_max or hard < soft:
        return miss
    if compression == 0 and size != len(payload):
        return miss
    if created > now + FUTURE_MAX_MS or now >= created + hard:
        return miss
    if stored_codec != codec or stored_epoch != epoch:
        return miss
    if zlib.crc32(identity + raw[:4] + raw[8:]) != checksum:
        return miss
    if compression == 1:
        inflater = zlib.decompressobj()
        try:
            payload = inflater.decompress(payload, size + 1)
        except zlib.error:
            return miss
        if len(payload) != size or not inflater.eof or inflater.unused_data:
            return miss
    stale = now >= created + soft
    if negative:
        return ("negative-stale" if stale else "negative", b"")
    return ("stale" if stale else "fresh", payload)


def key_vectors():
    real = lambda x: ["real", struct.pack(">d", x).hex()]
    cases = [
        ["f", []],
        ["getUser", [["int", "7"], ["text", "fr"]]],
        ["getUser", [real(7.0), ["text", "fr"]]],
        ["getUser", [["text", "7"], ["text", "fr"]]],
        ["getUser", [["text", "7f"], ["text", "r"]]],
        ["f", [["null", None]]],
        ["f", [["undefined", None]]],
        ["f", [["bool", True], ["bool", False]]],
        ["f", [["int", "-1"], ["int", "9223372036854775807"], ["int", "-9223372036854775808"]]],
        ["f", [real(-0.0)]],
        ["f", [real(0.5), real(1e300), real(float("inf")), real(float("-inf"))]],
        ["f", [["real", "7ff8000000000000"]]],
        ["f", [["real", "fff0000000000001"]]],
        ["f", [real(9007199254740991.0), real(9007199254740992.0)]],
        ["f", [["text", ""], ["text", "größer 😀"]]],
        ["f", [["bytes", ""], ["bytes", "00ff10"]]],
        ["f", [["time", "1700000000000"], ["time", "-1"]]],
        ["f", [["bigint", "-123456789012345678901234567890"]]],
        ["f", [["list", [["int", "1"], ["list", []], ["text", "x"]]]]],
        ["f", [["set", [["text", "b"], ["int", "2"], ["text", "a"]]]]],
        ["f", [["map", [[["text", "b"], ["int", "1"]], [["text", "a"], ["null", None]]]]]],
    ]
    rows = []
    for name, arguments in cases:
        form, text = typed_key(name, arguments)
        rows.append({"name": name, "arguments": arguments, "form": form.hex(), "key": text})
    return rows


def name_vectors():
    rows = []
    for namespace, prefix, key, bucket in [
        (b"", b"", b"a", 0),
        (b"shop", b"users", b"42", 29000000),
        (b"a:b", b"c", b"d", 1),
        (b"a", b"b:c", b"d", 1),
        (b"{x}", b"%\xff ", b"\x00\r\n:k:", 12),
        ("höhe".encode(), b"a/b-c.d_e~f", b"x" * 40, 18446744073709551),
    ]:
        generation, hash_name, list_name = group_names(namespace, prefix, bucket)
        rows.append({"namespace": namespace.hex(), "prefix": prefix.hex(), "key": key.hex(), "bucket": str(bucket),
                     "value_name": value_name(namespace, prefix, key).hex(), "generation_name": generation.hex(),
                     "bucket_name": hash_name.hex(), "list_name": list_name.hex(),
                     "fenced_name": fenced_name(namespace, prefix, key).hex()})
    return rows


def value_vectors():
    """(what it is, keywords of encode or None, bytes, reader's expectations, result)."""
    t0, ident = 1700000000000, value_name(b"shop", b"users", b"42")
    base = {"created": t0, "soft": 30000, "hard": 60000}
    long_text = b"".join(b"line %d of a text that compresses\n" % i for i in range(100))
    rows = []

    def row(what, raw, written=None, now=t0 + 1000, codec=0, epoch=0, identity=ident, payload=b"", size_max=5 << 20):
        result, out = decode(identity, raw, now=now, codec=codec, epoch=epoch, size_max=size_max)
        rows.append({"what": what, "identity": identity.hex(), "bytes": raw.hex(), "now": str(now), "codec": codec,
                     "epoch": f"{epoch:016x}", "size_max": size_max, "result": result,
                     "payload": None if out is None else out.hex(), "written": written})

    def write(what, payload, **kw):
        """A value that a writer has to make byte for byte (uncompressed), and a reader has to take."""
        args = {**base, **kw}
        written = {"payload": payload.hex(), "created": str(args["created"]), "soft": args["soft"], "hard": args["hard"],
                   "delta": args.get("delta", 0), "epoch": f"{args.get('epoch', 0):016x}", "codec": args.get("codec", 0),
                   "negative": args.get("negative", False)}
        row(what, encode(ident, payload, **args), written, codec=args.get("codec", 0), epoch=args.get("epoch", 0))

    write("plain bytes", b"hello")
    write("no bytes is a value", b"")
    write("bytes of every kind", bytes(range(256)))
    write("JSON", b'{"id":42}', codec=2, delta=17)
    write("of a group", b"x", epoch=0x0123456789ABCDEF)
    write("an epoch beyond 63 bits", b"x", epoch=0xFFFFFFFFFFFFFFFE)
    write("negative", b"", negative=True)
    write("largest times", b"x", soft=0xFFFFFFFF, hard=0xFFFFFFFF, delta=0xFFFFFFFF)

    good = encode(ident, b"hello", **base)
    row("fresh to the last millisecond", good, now=t0 + 29999)
    row("stale from soft on", good, now=t0 + 30000)
    row("stale to the last millisecond", good, now=t0 + 59999)
    row("expired at hard", good, now=t0 + 60000)
    row("a negative value gets stale", encode(ident, b"", negative=True, **base), now=t0 + 30000)
    row("a writer's clock a minute ahead", good, now=t0 - 60000)
    row("created in the future", good, now=t0 - 60001)
    packed = encode(ident, long_text, compression=1, **base)
    row("zlib", packed)
    row("zlib, of no bytes", encode(ident, b"", compression=1, **base))
    row("zlib, as large as allowed", packed, size_max=len(long_text))
    row("zlib, larger than allowed", packed, size_max=len(long_text) - 1)
    row("zlib, size says less", encode(ident, long_text, compression=1, size=len(long_text) - 1, **base))
    row("zlib, size says more", encode(ident, long_text, compression=1, size=len(long_text) + 1, **base))

    def resealed(raw):
        return raw[:4] + struct.pack("<I", zlib.crc32(ident + raw[:4] + raw[8:])) + raw[8:]

    row("zlib, cut", resealed(packed[:-3]))
    row("zlib, with a byte after its end", resealed(packed + b"x"))
    row("zlib, of garbage", encode(ident, b"not zlib at all", size=20, flags=1, **base))
    row("zstd, which this reader does not know", encode(ident, b"hello", flags=2, **base))
    row("compression 3", encode(ident, b"hello", flags=3, **base))
    row("empty", b"")
    row("39 bytes", good[:39])
    row("only a header, size 5", good[:40])
    row("cut by one byte", good[:-1])
    row("one byte more", good + b"x")
    row("other magic", encode(ident, b"hello", magic=0xC4, **base))
    row("version 2", encode(ident, b"hello", version=2, **base))
    for bit in range(3, 8):
        row(f"unknown flag {bit}", encode(ident, b"hello", flags=1 << bit, **base))
    row("negative with a payload", encode(ident, b"x", negative=True, **base))
    row("hard below soft", encode(ident, b"hello", created=t0, soft=60000, hard=59999))
    row("size says less", encode(ident, b"hello", size=4, **base))
    row("size says 4 GB", encode(ident, b"hello", size=0xFFFFFFFF, **base))
    row("another codec", encode(ident, b"hello", codec=1, **base))
    row("another epoch", encode(ident, b"hello", epoch=1, **base), epoch=2)
    row("an epoch where none is expected", encode(ident, b"hello", epoch=1, **base))
    row("no epoch where one is expected", good, epoch=1)
    row("of another key", good, identity=value_name(b"shop", b"users", b"43"))
    row("JSON text", b'{"id":42,"name":"somebody with a long name"}')
    for offset in (4, 8, 15, 24, 27, 40, 44):
        bad = bytearray(good)
        bad[offset] ^= 1
        row(f"one bit wrong at {offset}", bytes(bad))
    return rows


def main():
    vectors = {"format": 1, "keys": key_vectors(), "names": name_vectors(), "values": value_vectors()}
    text = json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"
    if sys.argv[1:] != ["--check"]:
        sys.stdout.write(text)
        return
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stored-format-vectors.json")
    with open(path, encoding="utf-8") as f:
        if f.read() != text:
            sys.exit("stored-format-vectors.json: not what stored_format.py says")


if __name__ == "__main__":
    main()

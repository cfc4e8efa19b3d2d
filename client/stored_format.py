#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/stored-format.md in Python, and the writer of its test vectors.

  client/stored_format.py           prints what stored-format-vectors.json has to hold
  client/stored_format.py --check   compares; exits 1 if the file says something else
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import zlib

SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
HEADER = struct.Struct("<BBBBIQIIIIQ")
FUTURE_MAX_MS = 60000
SIGNED = 8
SIGNATURE_BYTES = 16


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


def signature(key, identity, unsigned):
    """unsigned: the value without its signature; its checksum does not count."""
    message = struct.pack("<I", len(identity)) + identity + unsigned[:4] + unsigned[8:]
    return hmac.new(key, message, hashlib.sha256).digest()[:SIGNATURE_BYTES]


def encode(identity, payload, *, created, soft, hard, delta=0, epoch=0, codec=0, compression=0,
           negative=False, size=None, key=None, **bent):
    """`bent` overwrites header fields: for values that have to be misses."""
    stored = zlib.compress(payload, 6) if compression == 1 else payload
    head = {
        "magic": 0xC5, "version": 1, "flags": compression | (4 if negative else 0) | (SIGNED if key else 0), "codec": codec,
        "checksum": 0, "created": created, "soft": soft, "hard": hard, "delta": delta,
        "size": len(payload) if size is None else size, "epoch": epoch,
    }
    head.update(bent)
    raw = HEADER.pack(*head.values()) + stored
    if key:
        raw += signature(key, identity, raw)
    checksum = zlib.crc32(identity + raw[:4] + raw[8:])
    return raw[:4] + struct.pack("<I", checksum) + raw[8:]


def decode(identity, raw, *, now, codec=0, epoch=0, size_max=5 << 20, keys=()):
    """("miss", None), or ("fresh" | "stale" | "negative" | "negative-stale", payload). With keys only what is signed
    with one of them counts, without any only what is not signed."""
    miss = ("miss", None)
    if len(raw) < HEADER.size:
        return miss
    magic, version, flags, stored_codec, checksum, created, soft, hard, _, size, stored_epoch = HEADER.unpack(raw[:40])
    compression, negative, signed = flags & 3, bool(flags & 4), bool(flags & SIGNED)
    if magic != 0xC5 or version != 1 or flags & 0xF0 or compression not in (0, 1) or signed != bool(keys):
        return miss
    end = len(raw) - (SIGNATURE_BYTES if signed else 0)
    if end < HEADER.size:
        return miss
    payload = raw[40:end]
    if negative and (size or payload) or size > size_max or hard < soft:
        return miss
    if compression == 0 and size != len(payload):
        return miss
    if created > now + FUTURE_MAX_MS or now >= created + hard:
        return miss
    if stored_codec != codec and not negative or stored_epoch != epoch:
        return miss
    if zlib.crc32(identity + raw[:4] + raw[8:]) != checksum:
        return miss
    if signed and not any(hmac.compare_digest(signature(key, identity, raw[:end]), raw[end:]) for key in keys):
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
    row("zstd, or what calls itself so", encode(ident, b"hello", flags=2, **base))
    row("compression 3", encode(ident, b"hello", flags=3, **base))
    row("empty", b"")
    row("39 bytes", good[:39])
    row("only a header, size 5", good[:40])
    row("cut by one byte", good[:-1])
    row("one byte more", good + b"x")
    row("other magic", encode(ident, b"hello", magic=0xC4, **base))
    row("version 2", encode(ident, b"hello", version=2, **base))
    for bit in range(3, 8):  # bit 3 says signed: no reader without a key believes that
        row(f"unknown flag {bit}", encode(ident, b"hello", flags=1 << bit, **base))
    row("negative with a payload", encode(ident, b"x", negative=True, **base))
    row("hard below soft", encode(ident, b"hello", created=t0, soft=60000, hard=59999))
    row("size says less", encode(ident, b"hello", size=4, **base))
    row("size says 4 GB", encode(ident, b"hello", size=0xFFFFFFFF, **base))
    row("another codec", encode(ident, b"hello", codec=1, **base))
    row("negative, of another codec", encode(ident, b"", negative=True, codec=2, **base))
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


def signed_vectors():
    """As value_vectors, with the keys that the reader has and the one that the writer signs with."""
    t0, ident = 1700000000000, value_name(b"shop", b"users", b"42")
    base = {"created": t0, "soft": 30000, "hard": 60000}
    new, old, other = b"a key of 16 byte", bytes(range(32)), b"of somebody else, and quite long: more than a block of SHA-256 has"
    rows = []

    def row(what, raw, keys, identity=ident, epoch=0, written=None):
        result, out = decode(identity, raw, now=t0 + 1000, epoch=epoch, keys=keys)
        rows.append({"what": what, "identity": identity.hex(), "keys": [key.hex() for key in keys], "bytes": raw.hex(),
                     "now": str(t0 + 1000), "codec": 0, "epoch": f"{epoch:016x}", "size_max": 5 << 20, "result": result,
                     "payload": None if out is None else out.hex(), "written": written})

    def write(what, payload, key, **kw):
        written = {"payload": payload.hex(), "created": str(t0), "soft": 30000, "hard": 60000, "delta": 0,
                   "epoch": f"{kw.get('epoch', 0):016x}", "codec": 0, "negative": kw.get("negative", False), "key": key.hex()}
        row(what, encode(ident, payload, key=key, **base, **kw), [key], epoch=kw.get("epoch", 0), written=written)

    write("signed", b"hello", new)
    write("signed, no bytes", b"", old)
    write("signed, negative", b"", old, negative=True)
    write("signed, of a group, with a long key", b"hello", other, epoch=0x0123456789ABCDEF)

    good = encode(ident, b"hello", key=new, **base)
    row("the second of the reader's keys", good, [old, new])
    row("signed with another key", good, [old])
    row("signed, and the reader has no key", good, [])
    row("not signed, and the reader has one", encode(ident, b"hello", **base), [new])
    row("of another key name", good, [new], identity=value_name(b"shop", b"users", b"43"))
    row("signed and compressed", encode(ident, b"x" * 1000, key=new, compression=1, **base), [new])
    row("no room for a signature", encode(ident, b"hello", flags=SIGNED, **base), [new])

    def resealed(raw, identity=ident):
        return raw[:4] + struct.pack("<I", zlib.crc32(identity + raw[:4] + raw[8:])) + raw[8:]

    other_ident = value_name(b"shop", b"users", b"43")
    row("moved to another name, with a checksum that is right", resealed(good, other_ident), [new], identity=other_ident)
    for offset in (3, 8, 16, 24, 32, 40, 45, 60):
        bad = bytearray(good)
        bad[offset] ^= 1
        epoch = HEADER.unpack(bytes(bad[:40]))[-1]
        row(f"changed at {offset}, with a checksum that is right", resealed(bytes(bad)), [new], epoch=epoch)
    row("without its flag, with a checksum that is right", resealed(good[:2] + b"\0" + good[3:]), [new])
    return rows


# What zstd makes of the long text of value_vectors: Python has no zstd of its own.
ZSTD = bytes.fromhex(
    "28b52ffd603e0ca504003288171790296d60d120fa55a1d2d2dd49caeede2923677615830399999999998888888888777777777766666666665555555555"
    "ffffffbf6ddbb6ddb66ddb1211111151e259dd258029c61445e27008c83108879c4539c4208383044841140c0164a821fcfaff06d01bd501112404ff3f42"
    "e0e10fb101000200bc8ad5aa0ad54e456a45056affa7804ecb318b39d31243005205")


def zstd_vectors():
    """For readers that know zstd: [what, bytes, result]. The payload is lines of text."""
    t0, ident = 1700000000000, value_name(b"shop", b"users", b"42")
    base = {"created": t0, "soft": 30000, "hard": 60000, "flags": 2}
    text = b"".join(b"line %d of a text that compresses\n" % i for i in range(100))
    rows = []
    for what, stored, size, result in [
        ("zstd", ZSTD, len(text), "fresh"),
        ("size says less", ZSTD, len(text) - 1, "miss"),
        ("size says more", ZSTD, len(text) + 1, "miss"),
        ("cut", ZSTD[:-3], len(text), "miss"),
        ("a byte after its end", ZSTD + b"x", len(text), "miss"),
        ("garbage", b"not zstd at all", 20, "miss"),
    ]:
        raw = encode(ident, stored, size=size, **base)
        rows.append({"what": what, "identity": ident.hex(), "bytes": raw.hex(), "now": str(t0 + 1000), "codec": 0,
                     "epoch": "0" * 16, "size_max": 5 << 20, "result": result,
                     "payload": text.hex() if result == "fresh" else None})
    return rows


def main():
    vectors = {"format": 1, "keys": key_vectors(), "names": name_vectors(), "values": value_vectors(),
               "signed": signed_vectors(), "zstd": zstd_vectors()}
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

# SPDX-License-Identifier: Apache-2.0
"""docs/stored-format.md: the vectors that all client libraries go through."""
import json
import random
import shutil
import subprocess
import sys
import zlib

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "client"))
import stored_format  # noqa: E402

VECTORS = json.loads((ROOT / "client" / "stored-format-vectors.json").read_text())
ZLIB, ZSTD = 1, 2
KNOWN = {"null", "bool", "int", "real", "text", "bytes"}


@pytest.fixture(scope="module")
def ask():
    process = subprocess.Popen([BUILD / "client" / "c" / "tests" / "client_vectors"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    def asked(*words):
        process.stdin.write(" ".join(str(w) if w != "" else "-" for w in words) + "\n")
        process.stdin.flush()
        return ["" if w == "-" else w for w in process.stdout.readline().split()]
    yield asked
    process.stdin.close()
    assert process.wait(timeout=10) == 0


def argument(kind, value):
    if kind == "text":
        value = value.encode().hex() or "-"
    if kind == "bool":
        value = int(value)
    return f"{kind}:{value if value not in (None, '') else '-'}"


def test_typed_keys(ask):
    tried = 0
    for row in VECTORS["keys"]:
        if {kind for kind, _ in row["arguments"]} <= KNOWN:
            words = [argument(kind, value) for kind, value in row["arguments"]]
            assert ask("key", row["name"].encode().hex(), *words) == [row["key"]], row
            tried += 1
    assert tried >= 14


def test_names(ask):
    for row in VECTORS["names"]:
        assert ask("names", row["namespace"], row["prefix"], row["key"], row["bucket"]) == [
            row["value_name"], row["generation_name"], row["bucket_name"], row["list_name"]]


@pytest.mark.parametrize("row", VECTORS["values"], ids=[row["what"] for row in VECTORS["values"]])
def test_values(ask, row):
    assert decoded(ask, row) == [row["result"], row["payload"] or ""]
    if row["written"]:
        w = row["written"]
        assert ask("encode", row["identity"], w["payload"], w["created"], w["soft"], w["hard"], w["delta"], w["epoch"],
                   w["codec"], int(w["negative"]), 0, 0) == [row["bytes"]]


def decoded(ask, row):
    """What is of a writer that knows more is a miss, too: only that it is not removed."""
    said = ask("decode", row["identity"], row["bytes"], row["now"], row["codec"], row["epoch"], row["size_max"])
    return ["miss", ""] if said[0] == "foreign" else said


@pytest.mark.parametrize("row", VECTORS["zstd"], ids=[row["what"] for row in VECTORS["zstd"]])
def test_zstd(ask, row):
    """Without libzstd all of it is of writers that know more."""
    said = ask("decode", row["identity"], row["bytes"], row["now"], row["codec"], row["epoch"], row["size_max"])
    has_zstd = ask("best") == [str(ZSTD)]
    assert said == ([row["result"], row["payload"] or ""] if has_zstd else ["foreign", ""])


@pytest.mark.parametrize("row", VECTORS["signed"], ids=[row["what"] for row in VECTORS["signed"]])
def test_signed_values_are_not_ours(ask, row):
    """The library has no keys: what is signed is a miss, and is left to those who have one. What is not signed it
    reads as ever."""
    said = ask("decode", row["identity"], row["bytes"], row["now"], row["codec"], row["epoch"], row["size_max"])
    if int(row["bytes"][4:6], 16) & stored_format.SIGNED:
        assert said == ["foreign", ""]
    else:
        result, _ = stored_format.decode(bytes.fromhex(row["identity"]), bytes.fromhex(row["bytes"]), now=int(row["now"]))
        assert said[0] == result


def test_whose_a_value_is(ask):
    """What a later writer has made is left alone, what is broken is not."""
    now, name = 1700000000000, b"k"
    base = {"created": now, "soft": 5, "hard": 9}
    for expected, raw in [
        ("foreign", stored_format.encode(name, b"hello", version=2, **base)),
        ("foreign", stored_format.encode(name, b"hello", flags=3, **base)),
        ("foreign", stored_format.encode(name, b"hello", flags=0x80, **base)),
        ("foreign", stored_format.encode(name, b"hello", codec=2, **base)),
        ("miss", stored_format.encode(b"other", b"hello", codec=2, **base)),  # of nobody: its checksum is wrong
        ("miss", stored_format.encode(name, b"hello", magic=0xC4, **base)),
        ("miss", stored_format.encode(name, b"hello", size=4, **base)),
        ("fresh", stored_format.encode(name, b"hello", **base)),
    ]:
        assert ask("decode", name.hex(), raw.hex(), now, 0, "0", 1 << 20)[0] == expected, raw


@pytest.mark.parametrize("payload", [b"\0" * (4 << 20), b"ab" * 1000], ids=["a bomb", "a small one"])
def test_a_bomb_is_a_miss(ask, payload):
    """Nothing is unpacked beyond what the header says, and nothing whose header says too much."""
    [raw] = zstd_or_zlib(ask, payload)
    size_at = 28
    for size, size_max, result in [(len(payload), 1 << 30, "fresh"), (len(payload), len(payload) - 1, "miss"),
                                   (100, 1 << 30, "miss"), (0, 1 << 30, "miss"), (0xFFFFFFFF, 1 << 30, "miss")]:
        bent = bytearray(raw)
        bent[size_at:size_at + 4] = size.to_bytes(4, "little")
        bent[4:8] = zlib.crc32(b"k" + bytes(bent[:4]) + bytes(bent[8:])).to_bytes(4, "little")
        assert ask("decode", b"k".hex(), bent.hex(), 1001, 0, "0", size_max)[0] == result


def zstd_or_zlib(ask, payload):
    """A stored value made by another program than ours: `zstd` of the system, where there is one."""
    if shutil.which("zstd") and ask("best") == [str(ZSTD)]:
        packed = subprocess.run(["zstd", "-19", "-c"], input=payload, stdout=subprocess.PIPE, check=True).stdout
        return [stored_format.encode(b"k", packed, size=len(payload), created=1000, soft=5, hard=9, flags=2)]
    return [stored_format.encode(b"k", payload, created=1000, soft=5, hard=9, compression=1)]


def test_zstd_is_read_by_others(ask):
    if not shutil.which("zstd"):
        pytest.skip("machine: no zstd to read it with")
    if ask("best") != [str(ZSTD)]:
        pytest.skip("machine: built without libzstd")
    rng = random.Random(8)
    for size in (100, 5000, 100000):
        payload = bytes(rng.choice(b"abcd") for _ in range(size))
        [raw] = ask("encode", "6b", payload.hex(), 1000, 5, 9, 0, "0", 0, 0, 1, ZSTD)
        stored = bytes.fromhex(raw)
        assert stored[2] == ZSTD and len(stored) < size
        back = subprocess.run(["zstd", "-d", "-c"], input=stored[40:], stdout=subprocess.PIPE, check=True).stdout
        assert back == payload
        assert ask("decode", "6b", raw, 1001, 0, "0", size) == ["fresh", payload.hex()]
        assert ask("decode", "6b", raw, 1001, 0, "0", size - 1)[0] == "miss"


def test_what_is_compressed_is_read_by_others(ask):
    """Compressed bytes differ by version of zlib: they are read back by Python's."""
    rng = random.Random(7)
    for size in (2, 100, 5000, 100000):
        payload = bytes(rng.choice(b"abcd") for _ in range(size))
        [raw] = ask("encode", "6b", payload.hex(), 1000, 5, 9, 0, "0", 0, 0, 1, ZLIB)
        assert stored_format.decode(b"k", bytes.fromhex(raw), now=1001) == ("fresh", payload)
    noise = rng.randbytes(1000)  # does not get smaller: stored as it is
    [raw] = ask("encode", "6b", noise.hex(), 1000, 5, 9, 0, "0", 0, 0, 1, ask("best")[0])
    assert len(raw) // 2 == 1040 and len(zlib.compress(noise)) > 1000

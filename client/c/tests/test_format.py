# SPDX-License-Identifier: Apache-2.0
"""docs/stored-format.md: the vectors that all client libraries go through."""
import json
import random
import subprocess
import sys
import zlib

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "client"))
import stored_format  # noqa: E402

VECTORS = json.loads((ROOT / "client" / "stored-format-vectors.json").read_text())
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
    said = ask("decode", row["identity"], row["bytes"], row["now"], row["codec"], row["epoch"], row["size_max"])
    assert said == [row["result"], row["payload"] or ""]
    if row["written"]:
        w = row["written"]
        assert ask("encode", row["identity"], w["payload"], w["created"], w["soft"], w["hard"], w["delta"], w["epoch"],
                   w["codec"], int(w["negative"]), 0) == [row["bytes"]]


def test_what_is_compressed_is_read_by_others(ask):
    """Compressed bytes differ by version of zlib: they are read back by Python's."""
    rng = random.Random(7)
    for size in (2, 100, 5000, 100000):
        payload = bytes(rng.choice(b"abcd") for _ in range(size))
        [raw] = ask("encode", "6b", payload.hex(), 1000, 5, 9, 0, "0", 0, 0, 1)
        assert stored_format.decode(b"k", bytes.fromhex(raw), now=1001) == ("fresh", payload)
    noise = rng.randbytes(1000)  # does not get smaller: stored as it is
    [raw] = ask("encode", "6b", noise.hex(), 1000, 5, 9, 0, "0", 0, 0, 1)
    assert len(raw) // 2 == 1040 and len(zlib.compress(noise)) > 1000

# SPDX-License-Identifier: Apache-2.0
"""Each key lies on the node that the ring says, and on no other."""
import random

import pytest

import processes
from ring import Ring, murmur2_64, xxhash64

# Key → node 10.0.0.N of three and of five, as Envoy's MAGLEV places them.
VECTORS = {
    "foo": (2, 2), "bar": (1, 5), "lyft": (3, 4), "": (2, 2), "a": (1, 1), "b": (1, 4), "c": (3, 3),
    "hello": (3, 4), "user:1000": (1, 1), "user:1001": (1, 5), "key:000000000001": (2, 2),
    "image:42": (3, 3), "{user1000}.following": (2, 4), "{user1000}.followers": (2, 4),
}
VECTORS_WITHOUT_TAGS = {"{user1000}.following": (3, 3), "{user1000}.followers": (2, 5), "foo": (2, 2)}


def names(count):
    return [f"10.0.0.{i + 1}:6379" for i in range(count)]


def test_the_oracle():
    """The second implementation agrees with the published vectors."""
    assert xxhash64(b"foo") == 3728699739546630719
    assert xxhash64(b"") == 17241709254077376921
    assert murmur2_64(b"lyft") == 12847078931730529320
    assert murmur2_64(b"foo\nbar") == 16306510975912980159
    for tags, vectors in ((True, VECTORS), (False, VECTORS_WITHOUT_TAGS)):
        rings = Ring(names(3), hash_tags=tags), Ring(names(5), hash_tags=tags)
        for key, wanted in vectors.items():
            for ring, node in zip(rings, wanted):
                assert ring.owner(key) == f"10.0.0.{node}:6379", key


def ring_command(*args):
    done = processes.run("ring", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ring_keys(stdout, count):
    return dict(line.split("\t", 1) for line in stdout.splitlines()[:count])


@pytest.mark.proxy_only
@pytest.mark.parametrize("column,count", [(0, 3), (1, 5)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_ring_command(column, count, shuffled):
    nodes = names(count)
    if shuffled:
        random.Random(count).shuffle(nodes)
    keys = [key for key in VECTORS if key]
    options = [part for key in keys for part in ("--key", key)]
    found = ring_keys(ring_command("--nodes", ",".join(nodes), *options), len(keys))
    assert found == {key: f"10.0.0.{VECTORS[key][column]}:6379" for key in keys}


@pytest.mark.proxy_only
def test_ring_command_tells_shares_and_moves():
    out = ring_command("--nodes", ",".join(names(5)))
    for name in names(5):
        assert name in out
    assert "20." in out  # A fifth each.
    less = ring_command("--nodes", ",".join(names(5)), "--remove", names(5)[2])
    assert "20." in less.replace(out, ""), less
    more = ring_command("--nodes", ",".join(names(4)), "--add", "10.0.0.9:6379")
    assert "20." in more, more


@pytest.mark.proxy_only
@pytest.mark.parametrize("args", [[], ["--nodes", "a:1,a:1"], ["--nodes", "a:x"], ["--nodes", "a:99999"],
                                  ["--nodes", "a:1,b:1", "--remove", "c:1"], ["--nope"]])
def test_ring_command_refuses(args):
    done = processes.run("ring", *args)
    assert done.returncode != 0 and done.stderr.strip() and len(done.stderr) < 2000


def random_keys(count):
    rng = random.Random(42)
    for i in range(count):
        length = rng.choice([1, 2, 7, 8, 9, 15, 16, 31, 100])
        yield b"%d:" % i + rng.randbytes(length)


@pytest.mark.proxy_only
@pytest.mark.parametrize("hash_tags", ["on", "off"])
def test_keys_lie_where_the_ring_says(start, hash_tags):
    nodes = start.nodes(4)
    proxy = start.proxy(nodes, {"ring": {"hash_tags": hash_tags}, "timeouts": {"request": "5s"}})
    ring = Ring([node.name for node in nodes], hash_tags=hash_tags == "on")
    keys = [*random_keys(600), b"{user1000}.following", b"{user1000}.followers", b"{}x", b"{}{y}", b"{",
            b"a{b", b"a}b{c}d", b"{{x}}", b"x{\r\n}y", b"x" * 70000, "clé".encode()]
    with proxy.connect() as client:
        for key in keys:
            assert client.ask("SET", key, b"v:" + key) == "OK"
    wanted = {node.name: set() for node in nodes}
    for key in keys:
        wanted[ring.owner(key)].add(key)
    for node in nodes:
        found = set(node.ask("KEYS", "*"))
        assert found == wanted[node.name]
    listed = [key for key in keys if key.isascii() and all(33 <= c < 127 for c in key) and len(key) < 99]
    options = [part for key in listed for part in ("--key", key.decode())]
    if hash_tags == "on":
        out = ring_command("--nodes", ",".join(node.name for node in nodes), *options)
        assert ring_keys(out, len(listed)) == {key.decode(): ring.owner(key) for key in listed}


@pytest.mark.proxy_only
def test_split_commands_reach_the_owners(start):
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, {"timeouts": {"request": "5s"}})
    ring = Ring([node.name for node in nodes])
    keys = [b"key:%d" % i for i in range(300)]
    with proxy.connect() as client:
        assert client.ask("MSET", *[part for key in keys for part in (key, b"v" + key)]) == "OK"
        for node in nodes:
            assert set(node.ask("KEYS", "*")) == {key for key in keys if ring.owner(key) == node.name}
        assert client.ask("MGET", *keys) == [b"v" + key for key in keys]
        assert client.ask("DEL", *keys[:100]) == 100
        assert client.ask("UNLINK", *keys[50:150]) == 50
        assert client.ask("EXISTS", *keys) == 150
        assert client.ask("TOUCH", *keys[:200]) == 50
    for node in nodes:
        assert set(node.ask("KEYS", "*")) == {key for key in keys[150:] if ring.owner(key) == node.name}
    # One part per node, not one per key.
    calls = [info for node in nodes for info in node.ask("INFO", "commandstats").decode().split("\r\n")
             if info.startswith("cmdstat_mget:")]
    assert len(calls) == 3 and all("calls=1," in call for call in calls)

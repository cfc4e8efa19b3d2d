# SPDX-License-Identifier: Apache-2.0
"""Moving here from elsewhere: what was written before is found, on the nodes where it lies."""
import os
import re
import shutil
import subprocess

import pytest

import processes
import resp

KEYS = [b"user:%d:profile" % i for i in range(1600)] + ["bücher:%d".encode() % i for i in range(200)] + \
       [b"{group%d}:%s" % (i, name) for i in range(100) for name in (b"a", b"b")]


def written_through_twemproxy(start, nodes, servers, distribution, hash_name, tags):
    proxy = start.twemproxy(servers, distribution, hash_name, tags)
    with proxy.connect() as client:
        for key in KEYS:
            assert client.ask("SET", key, b"v:" + key) == "OK"
    sizes = [node.ask("DBSIZE") for node in nodes]
    assert sum(sizes) == len(KEYS) == 2000 and min(sizes) > 0


@pytest.mark.proxy_only
@pytest.mark.parametrize("distribution,hash_name,tags,weights,named", [
    ("ketama", "fnv1a_64", False, [1, 1, 1, 1], False),
    ("ketama", "murmur", True, [1, 2, 3, 1], True),
    ("ketama", "one_at_a_time", False, [1, 1, 1, 1], True),
    ("modula", "crc32a", False, [3, 1, 1, 2], False),
    ("modula", "hsieh", True, [1, 1, 1, 1], True),
])
def test_all_that_twemproxy_wrote_is_found(start, distribution, hash_name, tags, weights, named):
    nodes = start.nodes(4)
    places = [node.name for node in nodes[:3]] + [f"LocalHost:{nodes[3].port}"]  # one is looked up
    names = [f"cache-{letter}" if named else "" for letter in ("a", "bb", "c", "d")]
    written_through_twemproxy(start, nodes, list(zip(places, names, weights)),
                              distribution, hash_name, tags)
    static = [f"{place} weight={w}" + (f" name={name}" if name else "") for place, name, w in zip(places, names, weights)]
    proxy = start.proxy(nodes, {
        "nodes": {"static": static}, "timeouts": {"request": "5s"},
        "ring": {"kind": distribution, "hash": hash_name, "hash_tags": "on" if tags else "off"}})
    resp.eventually(lambda: [proxy.state_of(place) for place in places] == ["up"] * 4, what="all are up")
    with proxy.connect() as client:
        assert [key for key in KEYS if client.ask("GET", key) != b"v:" + key] == []
        assert client.ask("MGET", *KEYS) == [b"v:" + key for key in KEYS]
    shares = {name: float(line["slots"]) for name, line in proxy.node_lines().items()}
    assert sum(shares.values()) == 65537


@pytest.mark.proxy_only
def test_a_node_of_ketama_dies_and_comes_back_and_nothing_is_stale(start):
    """Its keys go to the others and home again; what was written meanwhile is what is read."""
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, {"ring": {"kind": "ketama"}, "timeouts": {"request": "1s"},
                                "health": {"interval": "50ms", "interval_out": "50ms", "hold_min": "100ms"}})
    keys = KEYS[:600]
    with proxy.connect() as client:
        for key in keys:
            assert client.ask("SET", key, b"old") == "OK"
        sizes = [node.ask("DBSIZE") for node in nodes]
        nodes[1].freeze()
        resp.eventually(lambda: proxy.state_of(nodes[1]) == "out", within=10 * processes.SLOWNESS, what="it is out")
        resp.eventually(lambda: proxy.counters()["slots_away"] > 0, what="slots have moved")
        for key in keys:
            resp.eventually(lambda key=key: client.ask("SET", key, b"new") == "OK", what="it is written")
        nodes[1].thaw()
        resp.eventually(lambda: proxy.state_of(nodes[1]) == "up" and proxy.counters()["slots_away"] == 0,
                        within=20 * processes.SLOWNESS, what="it is back")
        values = [client.ask("GET", key) for key in keys]
        assert set(values) <= {b"new", None} and values.count(b"new") > 300
        for key in keys:
            assert client.ask("SET", key, b"again") == "OK"
        resp.eventually(lambda: [node.ask("DBSIZE") for node in nodes] == sizes, within=10 * processes.SLOWNESS,
                        what="all is where it was")
        assert client.ask("MGET", *keys) == [b"again"] * len(keys)


GUIDE = (processes.ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
BLOCKS = [re.sub(r"^ +", "", block, flags=re.M) for block in re.findall(r"^ *```\n(.*?)^ *```$", GUIDE, re.S | re.M)]


def shell(command, directory):
    """As somebody types it, with the program that is tested as `sumcache`."""
    tools = directory / "bin"
    tools.mkdir(exist_ok=True)
    if not (tools / "sumcache").exists():
        (tools / "sumcache").symlink_to(processes.BINARY)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", command], cwd=directory, env=env, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.proxy_only
def test_the_guide_from_twemproxy(start, tmp_path):
    """Its commands, one after the other: import, start beside, check the keys, check the nodes, and back."""
    assert len(BLOCKS) == 2
    nodes = start.nodes(3)
    old = start.twemproxy([(node.name, name, 1) for node, name in zip(nodes, ("a", "", "long-name"))], "ketama", "murmur",
                          True)
    (tmp_path / "nutcracker.yml").write_text(old.path.read_text().replace("cache:", "alpha:"), encoding="utf-8")
    shutil.copy(processes.ROOT / "tests/vectors/import/envoy-maglev.yaml", tmp_path / "envoy.yaml")
    assert "the settings are right" in shell(BLOCKS[0], tmp_path)
    new = processes.free_port()
    assert "`sumcache --config sumcache.yaml --listen 0.0.0.0:6380`" in GUIDE
    proxy = start.process([processes.BINARY, "--config", tmp_path / "sumcache.yaml", "--listen", new])
    resp.eventually(lambda: processes.is_open(new), what="it listens")
    there = BLOCKS[1].replace("6379", str(old.port)).replace("6380", str(new))
    assert shell(there, tmp_path).splitlines()[-1] == "500"
    back = BLOCKS[1].replace("6379", str(new)).replace("6380", str(old.port)).replace("migration:", "back:")
    assert shell(back, tmp_path).splitlines()[-1] == "500"
    assert "`sumcache nodes --connect 127.0.0.1:6380`" in GUIDE
    resp.eventually(lambda: resp.ask(new, "INFO", "sumcache").count(b"state=up") == 3, what="all are up")
    listed = shell(f"sumcache nodes --connect 127.0.0.1:{new}", tmp_path)
    assert listed.count(" up ") == 3
    assert proxy.end() == 0


@pytest.mark.proxy_only
def test_the_guide_names_what_there_is(start):
    proxy = start.proxy(start.nodes(1))
    counters = set(re.findall(r"`((?:requests|node)_\w+)`", GUIDE))
    assert len(counters) >= 4 and counters <= set(proxy.counters())
    settings = set(re.findall(r"`((?:ring|limits|on_failure|nodes)\.\w+)", GUIDE))
    known = subprocess.run([processes.BINARY, "--help"], capture_output=True, text=True, timeout=10).stdout
    assert len(settings) >= 6 and {name for name in settings if f"  {name} " not in known} == set()

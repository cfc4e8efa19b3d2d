# SPDX-License-Identifier: Apache-2.0
"""`sumcache nodes` beside real nodes that die and come back."""
import json
import subprocess

import pytest

import processes
from processes import BINARY, SLOWNESS
from resp import eventually

pytestmark = pytest.mark.proxy_only

HEALTH = {"interval": "100ms", "interval_out": "50ms", "hold_min": "100ms", "hold_max": "100ms"}


def ask(proxy, *options):
    return processes.run("nodes", "--connect", proxy.port, *options)


def node_of(proxy, node):
    return next(seen for seen in json.loads(ask(proxy, "--json").stdout)["nodes"] if seen["name"] == node.name)


def table_of(text):
    """State and share by node, and the line below."""
    lines = text.splitlines()
    assert lines[0].split() == ["NODE", "STATE", "SINCE", "SHARE", "IN", "FLIGHT", "CHECK", "REASON"]
    rows = [line.split() for line in lines[1:-1]]
    return {row[0]: (row[1], float(row[4].rstrip("%"))) for row in rows}, lines[-1]


def test_a_killed_node_is_seen_until_it_is_back(start):
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, {"health": HEALTH})
    eventually(lambda: ask(proxy).returncode == 0, within=5 * SLOWNESS, what="all nodes are up")
    found, below = table_of(ask(proxy).stdout)
    assert {name: state for name, (state, _) in found.items()} == {node.name: "up" for node in nodes}
    assert all(33.2 < share < 33.5 for _, share in found.values())
    assert "slots: 0 away from home, 0 fenced; journal: 0 keys; DNS: not asked" in below

    nodes[0].kill()
    eventually(lambda: ask(proxy).returncode == 1, within=5 * SLOWNESS, what="the dead node is out")
    eventually(lambda: " 0 fenced" in ask(proxy).stdout, within=5 * SLOWNESS, what="its slots have moved")
    found, below = table_of(ask(proxy).stdout)
    assert found[nodes[0].name] == ("out", 0.0)
    assert all(found[node.name][0] == "up" and found[node.name][1] > 49 for node in nodes[1:])
    assert f"ring {proxy.counter('ring_hash')}, " in below
    # What ejects it may be a reset; what keeps it out is that it refuses.
    eventually(lambda: node_of(proxy, nodes[0])["reason"] == "Connection refused", within=5 * SLOWNESS, what="why")
    seen = json.loads(ask(proxy, "--json").stdout)
    assert seen["well"] is False and seen["slots_away"] > 20000
    assert node_of(proxy, nodes[0])["state"] == "out" and node_of(proxy, nodes[0])["slots"] == 0

    nodes[0].start_again()
    eventually(lambda: ask(proxy).returncode == 0, within=10 * SLOWNESS, what="it is up again")
    eventually(lambda: json.loads(ask(proxy, "--json").stdout)["slots_away"] == 0, within=5 * SLOWNESS, what="home")


def test_a_node_that_cannot_be_cleaned_stays_out_and_says_why(start):
    """It refuses UNLINK, so what was written while it was away cannot be removed there."""
    nodes = start.nodes(2)
    proxy = start.proxy(nodes, {"health": HEALTH})
    keys = [f"k{i}" for i in range(200)]
    with proxy.connect() as client:
        for key in keys:
            assert client.ask("SET", key, "old") == "OK"
        nodes[0].ask("ACL", "SETUSER", "default", "-unlink")
        nodes[0].freeze()
        eventually(lambda: [client.ask("SET", key, "new") for key in keys] == ["OK"] * len(keys),
                   within=10 * SLOWNESS, what="the other node has all keys")
        nodes[0].thaw()
        eventually(lambda: node_of(proxy, nodes[0])["reason"].startswith("UNLINK: NOPERM"),
                   within=10 * SLOWNESS, what="it is asked in vain")
        eventually(lambda: node_of(proxy, nodes[0])["state"] == "out", within=5 * SLOWNESS, what="it is out again")
        assert {client.ask("GET", key) for key in keys} == {b"new"}
        nodes[0].ask("ACL", "SETUSER", "default", "+unlink")
        eventually(lambda: ask(proxy).returncode == 0, within=10 * SLOWNESS, what="it may come back")
        assert {client.ask("GET", key) for key in keys} <= {b"new", None}


def test_watch_goes_on(start, nodes, tmp_path):
    proxy = start.proxy(nodes)
    with open(tmp_path / "seen", "w+b") as out:
        command = [BINARY, "nodes", "--watch", "--json", "--connect", f"localhost:{proxy.port}"]
        with subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as watch:
            try:
                path = tmp_path / "seen"
                eventually(lambda: path.read_bytes().count(b"\n") >= 2, within=10 * SLOWNESS, what="two tables")
                proxy.kill()
                eventually(lambda: b"Connection refused" in path.read_bytes(), within=10 * SLOWNESS, what="an error")
                assert watch.poll() is None
            finally:
                watch.terminate()
    assert len(json.loads(path.read_bytes().splitlines()[0])["nodes"]) == 3


def test_a_plain_redis_is_told_apart(redis):
    done = processes.run("nodes", f"--connect={redis.name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"sumcache nodes: {redis.name} is no sumcache: its INFO has no section Sumcache\n"


def test_all_of_a_thousand_nodes_are_listed(start):
    """None of them exists; each has its line all the same."""
    names = [f"127.0.0.2:{port}" for port in range(1, 1001)]
    proxy = start.proxy(names, {"health": {"interval": "1m"}, "limits": {"clients": 100}})
    assert sorted(proxy.node_lines()) == sorted(names)
    assert sorted(node["name"] for node in json.loads(ask(proxy, "--json").stdout)["nodes"]) == sorted(names)

# SPDX-License-Identifier: Apache-2.0
"""Nodes that come and go by DNS while the daemon runs, beside a real DNS server and one that fails.

What discovery makes of each kind of answer: tests/unit/test_discovery.c, test_resolver.py.
"""
import threading
import time

import pytest

import cluster
import processes
from cluster import by_dns, expect, owner, put_all, values, wait_for_members
from dns_servers import FakeServer, address, reply
from processes import SLOWNESS
from resp import Error, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE


def hosts(nodes):
    return [node.host for node in nodes]


def connection_ids(node):
    """CLIENT IDs of the proxy's connections at the node, its checks' among them."""
    lines = node.ask("CLIENT", "LIST").decode().splitlines()
    fields = [dict(item.split("=", 1) for item in line.split()) for line in lines]
    return {one["id"] for one in fields if one["cmd"] != "client|list"}


class Writer(cluster.Background):
    """Writes keys all the time; each write has to be acknowledged."""

    def __init__(self, proxy, keys):
        super().__init__()
        self.proxy, self.keys, self.errors, self.count = proxy, keys, [], 0

    def _run(self):
        with self.proxy.connect() as client:
            while not self.over.is_set():
                for key in self.keys:
                    answer = client.ask("SET", key, "w")
                    self.count += 1
                    if isinstance(answer, Error):
                        self.errors.append(str(answer))


def test_addresses_that_come_and_go(start, dns):
    nodes = start.nodes_of_a_name(3)
    first, second, third = nodes
    dns.set(redis=hosts([first, second]))
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{first.port}"], grace="300ms"), workers=2)
    wait_for_members(proxy, first, second)
    ids = connection_ids(first)
    assert len(ids) >= 3  # of two workers, and the checks'
    keys = [f"k:{i}" for i in range(200)]
    with Writer(proxy, keys[:50]) as writer:
        dns.set(redis=hosts(nodes))
        wait_for_members(proxy, *nodes)
        put_all(proxy, dict.fromkeys(keys[50:], "1"))
        mine = [key for key in keys[50:] if owner(nodes, key) is third]
        assert values(third, mine) == dict.fromkeys(mine, b"1") and len(mine) > 20
        # One goes: it serves on for its grace, and then others have its keys.
        dns.set(redis=hosts([first, third]))
        eventually(lambda: proxy.state_of(second) == "leaving", within=PATIENCE)
        began = time.monotonic()
        assert int(proxy.node_lines()[second.name]["slots"]) > 20000
        mine = [key for key in keys[50:] if owner(nodes, key) is second]
        expect(proxy, mine, dict.fromkeys(mine, b"1"))
        wait_for_members(proxy, first, third)
        assert 0.1 < time.monotonic() - began < 0.3 + 1 * SLOWNESS
        eventually(lambda: connection_ids(second) == set(), within=PATIENCE, what="nobody is connected to it")
        put_all(proxy, dict.fromkeys(mine, "2"))
        assert values(second, mine) == dict.fromkeys(mine, b"1")
    assert not writer.errors, writer.errors[:3]
    assert writer.count > 100 and ids <= connection_ids(first), "those who stay keep their connections"
    for event, words in (("node-added", third.name), ("node-leaves", second.name), ("node-left", second.name),
                         ("nodes-changed", "found=1 "), ("nodes-changed", "gone=1 ")):
        assert any(words in line for line in proxy.events(event)), (event, words)
    assert proxy.counter("nodes_in_ring") == 2


def test_a_name_that_comes_back_within_its_grace(start, dns):
    """Nothing moves: neither slots nor what the node holds."""
    nodes = start.nodes_of_a_name(3)
    dns.set(redis=hosts(nodes))
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"], grace="60s"))
    wait_for_members(proxy, *nodes)
    keys = [f"k:{i}" for i in range(100)]
    put_all(proxy, dict.fromkeys(keys, "1"))
    ring = proxy.counter("ring_hash")
    ids = connection_ids(nodes[2])
    dns.set(redis=hosts(nodes[:2]))
    eventually(lambda: any("gone=1 " in line for line in proxy.events("nodes-changed")), within=PATIENCE)
    assert proxy.counter("ring_hash") == ring
    dns.set(redis=hosts(nodes))
    wait_for_members(proxy, *nodes)
    assert values(proxy, keys) == dict.fromkeys(keys, b"1")
    assert proxy.counter("ring_hash") == ring and ids <= connection_ids(nodes[2])
    # One that is not well is not kept.
    nodes[2].kill()
    dns.set(redis=hosts(nodes[:2]))
    wait_for_members(proxy, *nodes[:2])


def test_shuffled_answers_change_nothing(start, dns):
    nodes = start.nodes_of_a_name(4)
    dns.set(redis=hosts(nodes))
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"]))
    wait_for_members(proxy, *nodes)
    before = proxy.counters()
    orders = [nodes[i:] + nodes[:i] for i in range(4)] + [nodes[::-1]]
    for order in orders:
        asked = dns.log().count("query[A] redis.test")
        dns.set(redis=hosts(order))
        eventually(lambda asked=asked: dns.log().count("query[A] redis.test") >= asked + 2, within=PATIENCE)
    after = proxy.counters()
    assert after["view_version"] == before["view_version"] and after["ring_hash"] == before["ring_hash"]
    assert len(proxy.events("nodes-changed")) == 1


FAULTS = {
    "servfail": lambda query: reply(query, code=2),
    "nxdomain": lambda query: reply(query, code=3),
    "refused": lambda query: reply(query, code=5),
    "empty": reply,
    "silence": lambda query: None,
    "garbage": lambda query: query[:2] + b"\xff" * 20,
}
REASONS = {"servfail": "SERVFAIL", "nxdomain": "NXDOMAIN", "refused": "REFUSED", "empty": "empty answer",
           "silence": "timed out", "garbage": "timed out"}


def test_a_resolver_that_fails_changes_nothing(start):
    """Each kind of failure, all at once, each of a name of its own."""
    nodes = dict(zip(FAULTS, start.nodes_of_a_name(len(FAULTS))))
    fails = threading.Event()

    def answer(query, _is_tcp):
        name = query[13:13 + query[12]].decode()
        return FAULTS[name](query) if fails.is_set() else reply(query, [address(nodes[name].host)])

    with FakeServer(answer) as server:
        proxy = start.proxy([], by_dns(server.port, family="v4",
                                       dns=[f"{name}.test:{node.port}" for name, node in nodes.items()]))
        wait_for_members(proxy, *nodes.values())
        keys = [f"k:{i}" for i in range(100)]
        put_all(proxy, dict.fromkeys(keys, "1"))
        before = proxy.counters()
        assert before["dns_failing"] == 0
        fails.set()
        eventually(lambda: proxy.counter("dns_failing") == len(FAULTS), within=PATIENCE, what="all are failing")
        lines = {name: [line for line in proxy.events("resolve-failed") if f"asked={name}.test " in line]
                 for name in FAULTS}
        for name, mine in lines.items():
            assert mine[0].startswith("warn ") and f'reason="{REASONS[name]}' in mine[0], mine[0]
        assert values(proxy, keys) == dict.fromkeys(keys, b"1")
        put_all(proxy, dict.fromkeys(keys, "2"))
        after = proxy.counters()
        assert after["view_version"] == before["view_version"] and after["dns_failures"] >= len(FAULTS)
        fails.clear()
        eventually(lambda: proxy.counter("dns_failing") == 0, within=PATIENCE, what="all are well")
        assert len(proxy.events("resolve-recovered")) == len(FAULTS)
        assert proxy.counter("view_version") == before["view_version"]
        # Each is complained of once.
        warned = [line for line in proxy.events("resolve-failed") if line.startswith("warn ")]
        assert len(warned) == len(FAULTS)


@pytest.mark.parametrize("given", ["nobody else", "a given node too"])
def test_a_resolver_that_is_dead_from_the_start(start, given):
    """The application gets its first answers at once, and nodes when they are known."""
    port = processes.free_port()
    nodes = start.nodes_of_a_name(2)
    static = start.nodes(1) if given != "nobody else" else []
    sources = {"dns": [f"redis.test:{nodes[0].port}"]}
    if static:
        sources["static"] = [static[0].name]
    proxy = start.proxy([], by_dns(port, **sources))
    began = time.monotonic()
    with proxy.connect() as client:
        assert client.ask("HELLO", "3")[b"proto"] == 3 and client.ask("PING") == "PONG"
        assert client.ask("GET", "a") is None
        answer = client.ask("SET", "a", "1")
        assert time.monotonic() - began < 0.005 + 0.1 * SLOWNESS
        if static:
            assert answer == "OK" and static[0].ask("GET", "a") == b"1"
        else:
            assert str(answer) == "ERR sumcache: no node is known"
        eventually(lambda: proxy.events("resolve-failed"), within=PATIENCE)
        server = start.dns(port=port)
        server.set(redis=hosts(nodes))
        wait_for_members(proxy, *nodes, *static)
        put_all(proxy, {f"k:{i}": 1 for i in range(50)})


def slots(proxy):
    return {name: int(line["slots"]) for name, line in proxy.node_lines().items()}


def test_weights(start, dns):
    light, heavy = start.nodes(2)
    proxy = start.proxy([], by_dns(dns.port, static=[light.name, f"{heavy.name} weight=3"]))
    wait_for_members(proxy, light, heavy)
    assert slots(proxy)[heavy.name] / slots(proxy)[light.name] == pytest.approx(3, rel=0.05)
    # Of SRV records, and other ones while it runs.
    name = "_redis._tcp.cache.test"
    dns.set(**{"redis-1": [light.host], "redis-2": [heavy.host]})
    one, two = f"redis-1.test:{light.port}", f"redis-2.test:{heavy.port}"
    dns.set_services((name, "redis-1.test", light.port, 10, 10), (name, "redis-2.test", heavy.port, 10, 40))
    proxy = start.proxy([], by_dns(dns.port, srv=[name]))
    wait_for_members(proxy, one, two)
    assert slots(proxy)[two] / slots(proxy)[one] == pytest.approx(4, rel=0.05)
    put_all(proxy, {f"k:{i}": "1" for i in range(100)})
    dns.set_services((name, "redis-1.test", light.port, 10, 10), (name, "redis-2.test", heavy.port, 10, 10))
    eventually(lambda: slots(proxy)[two] / slots(proxy)[one] == pytest.approx(1, rel=0.05), within=PATIENCE)
    assert proxy.counter("node_ejections") == 0


def test_a_target_with_another_address_keeps_its_place(start, dns):
    """As a pod that is started anew by its stateful set."""
    nodes = start.nodes_of_a_name(3)
    name, port = "_redis._tcp.cache.test", nodes[0].port
    dns.set(**{"redis-1": [nodes[0].host], "redis-2": [nodes[1].host]})
    dns.set_services((name, "redis-1.test", port, 10, 10), (name, "redis-2.test", port, 10, 10))
    proxy = start.proxy([], by_dns(dns.port, srv=[name]), workers=2)
    one, two = f"redis-1.test:{port}", f"redis-2.test:{port}"
    wait_for_members(proxy, one, two)
    before, ring = slots(proxy), proxy.counter("ring_hash")
    ids = connection_ids(nodes[0])
    keys = [f"k:{i}" for i in range(100)]
    put_all(proxy, dict.fromkeys(keys, "1"))
    dns.set(**{"redis-1": [nodes[0].host], "redis-2": [nodes[2].host]})
    eventually(lambda: connection_ids(nodes[1]) == set() and len(connection_ids(nodes[2])) >= 3, within=PATIENCE,
               what="the new address is used")
    wait_for_members(proxy, one, two)
    put_all(proxy, dict.fromkeys(keys, "2"))
    assert slots(proxy) == before and proxy.counter("ring_hash") == ring and ids <= connection_ids(nodes[0])
    assert len(values(nodes[2], keys)) + len(values(nodes[0], keys)) == 100
    assert any(f"node={two} " in line for line in proxy.events("node-address"))


def test_several_sources_are_one_cache(start, dns):
    """Given nodes, two names and a service; of what is named twice there is one."""
    nodes = start.nodes_of_a_name(3)
    static, target = start.nodes(2)
    port, service = nodes[0].port, "_redis._tcp.cache.test"
    dns.set(red=hosts(nodes[:2]), blue=hosts(nodes[1:]), pod=[target.host])
    dns.set_services((service, "pod.test", target.port, 1, 1))
    sources = {"dns": [f"red.test:{port}", f"blue.test:{port}"], "srv": [service],
               "static": [static.name, nodes[0].name]}
    proxy = start.proxy([], by_dns(dns.port, **sources))
    wait_for_members(proxy, static, *nodes, f"pod.test:{target.port}")
    keys = [f"k:{i}" for i in range(300)]
    put_all(proxy, dict.fromkeys(keys, "1"))
    counts = [len(values(node, keys)) for node in (static, target, *nodes)]
    assert sum(counts) == 300 and min(counts) > 20
    # Gone from one of its two sources, it stays.
    dns.set(red=hosts(nodes[:1]), blue=hosts(nodes[1:]), pod=[target.host])
    eventually(lambda: any("gone=1 " in line for line in proxy.events("nodes-changed")), within=PATIENCE)
    time.sleep(0.3)  # longer than its grace
    wait_for_members(proxy, static, *nodes, f"pod.test:{target.port}")
    assert values(proxy, keys) == dict.fromkeys(keys, b"1")


def test_proxies_with_the_same_answer_have_the_same_ring(start, dns):
    nodes = start.nodes_of_a_name(3)
    dns.set(redis=hosts(nodes), other=hosts(nodes[:2]))
    one, two = [start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"])) for _ in range(2)]
    third = start.proxy([], by_dns(dns.port, dns=[f"other.test:{nodes[0].port}"]))
    wait_for_members(one, *nodes)
    wait_for_members(two, *nodes)
    wait_for_members(third, *nodes[:2])
    assert one.counter("ring_hash") == two.counter("ring_hash") != third.counter("ring_hash")
    keys = [f"k:{i}" for i in range(100)]
    put_all(one, dict.fromkeys(keys, "1"))
    assert values(two, keys) == dict.fromkeys(keys, b"1")
    dns.set(redis=hosts(nodes[:2]), other=hosts(nodes[:2]))
    for proxy in (one, two):
        wait_for_members(proxy, *nodes[:2])
    assert one.counter("ring_hash") == two.counter("ring_hash") == third.counter("ring_hash")


def test_scaling_while_a_node_is_out(start, dns):
    """The slots of the one that is out cannot be at home; nobody says so again and again."""
    nodes, lame = start.nodes_of_a_name(3), start.node()
    dns.set(redis=hosts(nodes[:2]))
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"], static=[lame.name]))
    wait_for_members(proxy, *nodes[:2], lame)
    lame.kill()
    cluster.wait_for_rest(proxy, out=1)
    dns.set(redis=hosts(nodes))
    eventually(lambda: len(proxy.node_lines()) == 4, within=PATIENCE)
    cluster.wait_for_rest(proxy, out=1)
    eventually(lambda: proxy.events("home-moved"), within=PATIENCE)
    before = proxy.counter("view_version")
    time.sleep(0.7)
    assert len(proxy.events("home-moved")) == 1 and proxy.counter("view_version") <= before + 1
    put_all(proxy, {f"k:{i}": "1" for i in range(100)})
    lame.start_again()
    wait_for_members(proxy, *nodes, lame)
    eventually(lambda: "complete=yes" in proxy.events("home-moved")[-1] and proxy.counter("slots_away") == 0,
               within=PATIENCE)


def test_any_addresses_after_any_others(start, dns):
    """Keys are found by the ring of the addresses, and writes never fail as long as one address stays."""
    nodes = start.nodes_of_a_name(4)
    dns.set(redis=hosts(nodes))
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"], grace="0",
                                   health={"flush_interval": "0"}), workers=2)
    wait_for_members(proxy, *nodes)
    keys = [f"k:{i}" for i in range(100)]
    with Writer(proxy, keys[:20]) as writer:
        for some in (nodes[1:], nodes[:2], nodes[1:3], nodes[2:], nodes):
            dns.set(redis=hosts(some))
            wait_for_members(proxy, *some)
            put_all(proxy, dict.fromkeys(keys[20:], str(len(some))))
            for node in some:
                mine = [key for key in keys[20:] if owner(some, key) is node]
                assert values(node, mine) == dict.fromkeys(mine, str(len(some)).encode())
    assert not writer.errors, writer.errors[:3]

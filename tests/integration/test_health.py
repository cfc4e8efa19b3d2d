# SPDX-License-Identifier: Apache-2.0
"""Who is taken out of the ring, how soon, and when it may come back; and what clients notice of it."""
import re
import statistics
import threading
import time

import pytest

import cluster
import processes
from cluster import (Relay, eject_by_requests, expect, keys_of, owner, put_all, settings, values, wait_for_rest,
                     wait_until_up, without)
from fake_node import FakeNode
from processes import SLOWNESS
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE

DEADLINE = 0.1
# Of what takes milliseconds, on a machine that does other things too.
MARGIN = 0.1 * SLOWNESS


def timed(client, *args):
    began = time.monotonic()
    answer = client.ask(*args)
    return answer, time.monotonic() - began


def until_written(client, key, began):
    """Writes until it is acknowledged. → seconds since `began`"""
    eventually(lambda: client.ask("SET", key, "new") == "OK", within=PATIENCE, every=0.001)
    return time.monotonic() - began


class Traffic(cluster.Background):
    """Writes and reads keys all the time; every answer has to be right."""

    def __init__(self, proxy, keys):
        super().__init__()
        self.proxy, self.keys = proxy, keys
        self.took, self.wrong = [], []

    def _run(self):
        with self.proxy.connect() as client:
            while not self.over.is_set():
                for key in self.keys:
                    for words, right in ((("SET", key, key), "OK"), (("GET", key), key.encode())):
                        answer, took = timed(client, *words)
                        self.took.append(took)
                        if answer != right:
                            self.wrong.append((words, answer))


@pytest.fixture
def three(start):
    return start.nodes(3)


def undisturbed(nodes, victim, count=20):
    """Keys of the others that stay where they are when the victim goes."""
    rest = without(nodes, victim)
    return [key for node in rest for key in keys_of(nodes, node, count) if owner(rest, key) is node]


def test_a_killed_nodes_keys_go_to_others_at_once(start, three):
    victim = three[1]
    proxy = start.proxy(three, settings({"hold_min": "10ms"}), workers=2)
    wait_for_rest(proxy)
    keys = keys_of(three, victim, 3)
    took = []
    with proxy.connect() as client, Traffic(proxy, undisturbed(three, victim)) as others:
        for key in keys:
            assert client.ask("SET", key, "old") == "OK"
            began = time.monotonic()
            victim.kill()
            took.append(until_written(client, key, began))
            wait_for_rest(proxy, out=1)
            assert client.ask("SET", key, "new") == "OK"
            assert values(owner(without(three, victim), key), [key]) == {key: b"new"}
            victim.start_again()
            wait_until_up(proxy, victim)
    assert not others.wrong, others.wrong[:3]
    assert min(took) < 0.05 and statistics.median(took) < 0.05 * SLOWNESS + MARGIN, took
    assert statistics.median(others.took) < 0.005 * SLOWNESS and len(others.took) > 100
    # Three times, and each says why.
    assert proxy.counter("node_ejections") == proxy.counter("node_admissions") == 3
    for line in proxy.events("node-ejected"):
        assert f"node={victim.name} " in line and re.search(r'reason="(Connection refused|closed by the node|'
                                                            r'Connection reset by peer)"', line), line
    assert len(proxy.events("node-admitted")) == 3


def test_a_frozen_nodes_keys_go_to_others_within_a_quarter_of_a_second(start, three):
    victim = three[1]
    proxy = start.proxy(three, settings(), workers=2)
    wait_for_rest(proxy)
    keys = keys_of(three, victim, 210)
    put_all(proxy, dict.fromkeys(keys, "old"))
    with proxy.connect() as client, proxy.connect() as writer, Traffic(proxy, undisturbed(three, victim)) as others:
        began = time.monotonic()
        victim.freeze()
        client.send(b"".join(encode("GET", key) for key in keys[:3]))
        took = until_written(writer, keys[3], began)
        assert client.replies(3) and took < 0.25 + MARGIN, took
        assert took > 0.19, "not before it has been silent for health.eject_after"
        wait_for_rest(proxy, out=1)
        line = proxy.node_lines()[victim.name]
        assert line["state"] == "out" and line["slots"] == "0" and line["in_flight"] == "0"
        assert re.match(r"silent for \d+ ms  ?\d+ deadlines missed", line["reason"]), line
        assert re.search(f'node={victim.name} reason="silent for .* hold_ms=50', proxy.events("node-ejected")[0])
        # While it stays out nobody waits for it.
        missed = proxy.counter("requests_timed_out")
        waited = []
        for key in keys[10:]:
            answer, seconds = timed(client, "GET", key)
            assert answer is None
            waited.append(seconds)
        assert statistics.median(waited) < 0.005 * SLOWNESS and max(waited) < DEADLINE * 0.9 * SLOWNESS
        assert proxy.counter("requests_timed_out") == missed
    assert not others.wrong, others.wrong[:3]
    assert statistics.median(others.took) < 0.005 * SLOWNESS and len(others.took) > 100
    victim.thaw()
    wait_until_up(proxy, victim)
    expect(proxy, keys[10:], dict.fromkeys(keys[10:], b"old"))


def test_two_missed_deadlines_are_not_enough(start, three):
    proxy = start.proxy(three, settings())
    wait_for_rest(proxy)
    key = keys_of(three, three[0], 1)[0]
    with proxy.connect() as client:
        three[0].freeze()
        client.send(encode("GET", key) * 2)
        assert [reply.value for reply in client.replies(2)] == [None, None]
        time.sleep(0.25)
        assert proxy.state_of(three[0]) == "up"
        assert client.ask("GET", key) is None
        eventually(lambda: proxy.state_of(three[0]) == "out", within=PATIENCE)
    assert proxy.counter("requests_timed_out") == 3


def test_a_node_without_requests_is_ejected_by_its_checks(start, three):
    proxy = start.proxy(three, settings({"interval": "50ms", "timeout": "100ms", "unhealthy": 3}))
    wait_for_rest(proxy)
    failed = proxy.counter("checks_failed")
    three[0].freeze()
    eventually(lambda: proxy.state_of(three[0]) == "out", within=PATIENCE)
    assert proxy.counter("checks_failed") >= failed + 3
    assert proxy.node_lines()[three[0].name]["reason"] == "no answer in time"


class Moody:
    """A node that says `mood` instead of PONG, if it has one, and counts its good answers to checks
    since."""

    def __init__(self):
        self.mood = b""
        self.good = 0
        self.node = FakeNode()
        self.node.greet = self.greet
        self.node.answer = self.answer

    def greet(self, connection, args):
        if self.mood and args[0].upper() in (b"PING", b"HELLO"):
            connection.send(self.mood)
            return
        self.good += connection.is_control or args[0].upper() == b"PING"
        FakeNode.proper_greeting(connection, args)

    def answer(self, connection, args):
        connection.send(self.mood or b"+OK\r\n")


@pytest.mark.parametrize("mood", ["LOADING Redis is loading the dataset in memory", "NOAUTH Authentication required.",
                                  "MASTERDOWN Link with MASTER is down"])
def test_a_node_that_cannot_serve_is_not_used_until_it_can(start, three, mood):
    moody = Moody()
    try:
        moody.mood = b"-%s\r\n" % mood.encode()
        members = [moody.node, *three]
        proxy = start.proxy(members, settings({"healthy": 5, "interval": "10s", "hold_min": "1ms"}))
        wait_for_rest(proxy, out=1)
        eventually(lambda: proxy.node_lines()[moody.node.name]["reason"] == mood, within=PATIENCE)
        line = proxy.events("node-ejected")[0]
        assert f"node={moody.node.name} " in line and mood in line
        keys = keys_of(members, moody.node, 30)
        put_all(proxy, dict.fromkeys(keys, "1"))
        expect(proxy, keys, dict.fromkeys(keys, b"1"))
        assert moody.node.requests == []
        moody.mood, moody.good = b"", 0
        states = set()
        while moody.good < 5:  # all five, and not one less
            good = moody.good
            state = proxy.state_of(moody.node)
            if good < 4:
                states.add(state)
            assert moody.node.requests == []
        wait_until_up(proxy, moody.node)
        assert states == {"out"}
        with proxy.connect() as client:
            assert client.ask("SET", keys[0], "2") == "OK"
        assert len(moody.node.requests) == 1
        # It serves, and then it does not any more.
        moody.mood = b"-%s\r\n" % mood.encode()
        moody.node.connections[0].reset()
        for connection in list(moody.node.connections):
            connection.close()
        wait_for_rest(proxy, out=1)
    finally:
        moody.node.end()


def test_flapping_is_damped(start, three):
    """Each time in a row the node stays out twice as long, up to hold_max; one that was well for long
    begins anew."""
    victim = three[0]
    proxy = start.proxy(three, settings({"hold_min": "20ms", "hold_max": "100ms", "healthy": 1,
                                         "interval_out": "10ms"}))
    wait_for_rest(proxy)

    def flap():
        victim.kill()
        eventually(lambda: proxy.state_of(victim) == "out", within=PATIENCE)
        victim.start_again()
        wait_until_up(proxy, victim)

    for _ in range(4):
        flap()
    time.sleep(0.5)
    flap()
    holds = [int(re.search(r"hold_ms=(\d+)", line)[1]) for line in proxy.events("node-ejected")]
    outs = [int(re.search(r"out_ms=(\d+)", line)[1]) for line in proxy.events("node-admitted")]
    assert holds == [20, 40, 80, 100, 20]
    assert len(outs) == 5 and all(out >= hold for out, hold in zip(outs, holds))


def test_nodes_that_were_all_out_are_not_held(start, three):
    proxy = start.proxy(three, settings({"hold_min": "30s", "healthy": 1, "interval_out": "50ms"}))
    wait_for_rest(proxy)
    for node in three:
        node.kill()
    for node in three:
        eventually(lambda node=node: proxy.state_of(node) == "out", within=PATIENCE)
        node.start_again()
    keys = [f"k{i}" for i in range(30)]
    eventually(lambda: all(proxy.ask("SET", key, 1) == "OK" for key in keys), within=5 * SLOWNESS, what="all can be written again")
    # max_ejected is 50, so two are enough; the third may have begun to join before the second was in.
    eventually(lambda: [proxy.state_of(node) for node in three].count("up") >= 2, within=5 * SLOWNESS, what="two are up")


def test_max_ejected_bounds_those_that_are_silent_only(start):
    """Two of four frozen and 25 %: one goes, for the other it may be our own network. A node that
    refuses goes in any case."""
    nodes = start.nodes(4)
    proxy = start.proxy(nodes, settings({"max_ejected": 25}))
    wait_for_rest(proxy)
    keys = {node: keys_of(nodes, node, 3) for node in nodes}
    for node in nodes[:2]:
        node.freeze()
    with proxy.connect() as client:
        def one_is_kept():
            client.send(b"".join(encode("GET", key) for node in nodes[:2] for key in keys[node]))
            assert [reply.value for reply in client.replies(6)] == [None] * 6
            return proxy.counter("node_ejections_refused") >= 1

        eventually(one_is_kept, within=PATIENCE)
        states = sorted(proxy.state_of(node) for node in nodes[:2])
        assert states == ["out", "up"] and proxy.counter("node_ejections") == 1
        kept = next(node for node in nodes[:2] if proxy.state_of(node) == "up")
        assert re.search(f'node={kept.name} reason="silent .*" limit=max_ejected', proxy.events("node-kept")[0])
        nodes[2].kill()
        eventually(lambda: proxy.state_of(nodes[2]) == "out", within=PATIENCE)
        assert proxy.state_of(kept) == "up"
        for node in nodes[:2]:
            node.thaw()
        nodes[2].start_again()
        wait_for_rest(proxy)


@pytest.mark.parametrize("reads", ["miss", "error"])
def test_all_nodes_out(start, three, reads):
    proxy = start.proxy(three, settings(on_failure={"reads": reads}))
    wait_for_rest(proxy)
    for node in three:
        node.kill()
    eventually(lambda: proxy.counter("nodes_out") == 3, within=PATIENCE)
    with proxy.connect() as client:
        took = []
        for i in range(100):
            answer, seconds = timed(client, "GET", f"k{i}")
            assert answer is None if reads == "miss" else str(answer).startswith("ERR sumcache: "), answer
            answer, more = timed(client, "SET", f"k{i}", "1")
            assert isinstance(answer, Error) and str(answer).startswith("ERR sumcache: "), answer
            took += [seconds, more]
        assert statistics.median(took) < 0.005 * SLOWNESS and max(took) < DEADLINE * 0.9 * SLOWNESS
        answer = client.ask("MGET", "a", "b")
        assert answer == [None, None] if reads == "miss" else isinstance(answer, Error)
        three[1].start_again()
        wait_for_rest(proxy, out=2)
        put_all(proxy, {f"k{i}": i for i in range(50)})
        assert len(values(three[1], [f"k{i}" for i in range(50)])) == 50


def test_a_single_node(start):
    node = start.node()
    proxy = start.proxy([node], settings(), workers=2)
    wait_for_rest(proxy)
    put_all(proxy, {"a": 1, "b": 1})
    node.freeze()
    eject_by_requests(proxy, node, "a")
    with proxy.connect() as client:
        took = [timed(client, "GET", "a") for _ in range(50)]
        assert {answer for answer, _ in took} == {None}
        assert statistics.median(seconds for _, seconds in took) < 0.005 * SLOWNESS
        assert isinstance(client.ask("SET", "a", 2), Error)
        node.thaw()
        wait_until_up(proxy, node)
        expect(proxy, ["a", "b"], {"a": b"1", "b": b"1"})
        assert client.ask("SET", "a", 3) == "OK" and client.ask("GET", "a") == b"3"


def test_an_application_that_starts_before_its_nodes(start):
    """Handshakes and first requests are answered at once, with every node down."""
    ports = [processes.free_port() for _ in range(2)]
    names = [f"{processes.HOST}:{port}" for port in ports]
    firsts = []
    while len(firsts) < 10 and (len(firsts) < 3 or min(firsts) >= 0.01 * SLOWNESS):  # the machine may be busy
        proxy = start.proxy(names, settings())
        began = time.monotonic()
        with proxy.connect() as client:
            hello = client.ask("HELLO", "3")
            assert hello[b"proto"] == 3
            assert client.ask("CLIENT", "SETINFO", "LIB-NAME", "x") == "OK" and client.ask("PING") == "PONG"
            assert client.ask("GET", "a") is None
            assert isinstance(client.ask("SET", "a", 1), Error)
            firsts.append(time.monotonic() - began)
    assert min(firsts) < 0.01 * SLOWNESS and max(firsts) < MARGIN, firsts
    for port, name in zip(ports, names):
        eventually(lambda name=name: proxy.state_of(name) == "out")
        start.node(port=port)
    wait_for_rest(proxy)
    put_all(proxy, {f"k{i}": i for i in range(50)})
    assert {line["state"] for line in proxy.node_lines().values()} == {"up"}


def test_a_read_whose_connection_breaks_is_sent_again(start, three):
    """To the node itself, if that can be connected to again."""
    relay = Relay(three[0])
    members = [relay, *three[1:]]
    try:
        proxy = start.proxy(members, settings())
        wait_for_rest(proxy)
        keys = keys_of(members, relay, 10)
        put_all(proxy, dict.fromkeys(keys, "v"))
        cut = []

        def on_request(data):
            if b"GET" not in data or cut:
                return data
            cut.append(data)
            return b""

        relay.on_request = on_request
        with proxy.connect() as client:
            assert client.ask("SUMCACHE.FAILURES", "error") == "OK"
            began = time.monotonic()
            client.send(b"".join(encode("GET", key) for key in keys))
            assert [reply.value for reply in client.replies(10)] == [b"v"] * 10
            assert time.monotonic() - began < DEADLINE + MARGIN
        counters = proxy.counters()
        assert cut and counters["requests_retried"] >= 1 and counters["node_ejections"] == 0
    finally:
        relay.end()


def test_a_read_whose_node_dies_is_sent_to_the_new_owner(start, three):
    victim = three[0]
    proxy = start.proxy(three, settings(timeouts={**cluster.BACKOFF, "request": f"{int(500 * SLOWNESS)}ms"}))
    wait_for_rest(proxy)
    keys = keys_of(three, victim, 10)
    put_all(proxy, dict.fromkeys(keys, "v"))
    with proxy.connect() as client:
        assert client.ask("SUMCACHE.FAILURES", "error") == "OK"
        victim.freeze()
        client.send(b"".join(encode("GET", key) for key in keys))
        eventually(lambda: proxy.node_lines()[victim.name]["in_flight"] != "0" or proxy.counter("requests") > 20,
                   within=PATIENCE)
        victim.kill()
        victim.stopped = False
        # It does not have them, so a miss; what matters is that it is no error.
        assert [reply.value for reply in client.replies(10)] == [None] * 10
        assert proxy.counter("requests_retried") == 10
        wait_for_rest(proxy, out=1)


def test_a_node_that_is_slow_inside_a_large_value_is_well(start, three):
    """Bytes come, though every small request behind the value misses its deadline."""
    size, small = 5_000_000, 8
    behind = threading.Semaphore(0)

    def answer(connection, args):
        if args[1].startswith(b"small"):
            connection.send(b"$1\r\ns\r\n")
        else:
            behind.acquire()  # pylint: disable=consider-using-with
            connection.send(b"$%d\r\n" % size)
            for _ in range(20):
                connection.send(b"x" * (size // 20))
                time.sleep(0.04)
            connection.send(b"\r\n")

    fake = FakeNode(answer)
    try:
        members = [fake, *three]
        proxy = start.proxy(members, settings())
        wait_for_rest(proxy)
        large = keys_of(members, fake, 1, "large")[0]
        others = keys_of(members, fake, small, "small")
        with proxy.connect() as reader, proxy.connect() as client:
            reader.send(encode("GET", large))
            eventually(lambda: any(args[:2] == [b"GET", large.encode()] for args in fake.requests), within=PATIENCE)
            client.send(b"".join(encode("GET", key) for key in others))
            time.sleep(0.02)
            behind.release()
            assert [reply.value for reply in client.replies(small)] == [None] * small
            assert reader.reply().value == b"x" * size
            counters = proxy.counters()
            assert counters["requests_timed_out"] == small and counters["node_ejections"] == 0
            assert proxy.state_of(fake) == "up"
            assert client.ask("GET", others[0]) == b"s"
    finally:
        fake.end()

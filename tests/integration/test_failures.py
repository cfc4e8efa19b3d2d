# SPDX-License-Identifier: Apache-2.0
"""Real nodes that freeze, die, come back, or were never there."""
import random
import socket
import statistics
import threading
import time

import pytest

import processes
from processes import SLOWNESS
from resp import Closed, Error, encode, eventually
from ring import Ring

pytestmark = pytest.mark.proxy_only

DEADLINE = 0.1
MARGIN = 0.15 * SLOWNESS


def owned(nodes, count=50):
    """Keys of each node, by its name."""
    ring = Ring([node.name for node in nodes])
    keys = {node.name: [] for node in nodes}
    i = 0
    while any(len(found) < count for found in keys.values()):
        keys[ring.owner(f"f:{i}")].append(f"f:{i}")
        i += 1
    return keys


def timed(client, *args):
    began = time.monotonic()
    answer = client.ask(*args)
    return answer, time.monotonic() - began


@pytest.fixture
def three(start):
    nodes = start.nodes(3)
    return nodes, owned(nodes)


def test_frozen_node(start, three):
    """One that may not be ejected (with so many misses allowed): what it costs until it is."""
    nodes, keys = three
    proxy = start.proxy(nodes, {"health": {"eject_misses": 1000000, "interval": "10m"}})
    frozen, well = nodes[0], nodes[1]
    with proxy.connect() as client, proxy.connect() as strict, proxy.connect() as other:
        assert strict.ask("SUMCACHE.FAILURES", "error") == "OK"
        for name in keys:
            assert client.ask("MSET", *[x for key in keys[name] for x in (key, "old")]) == "OK"
        frozen.freeze()
        key, spare = keys[frozen.name][:2]
        answer, took = timed(client, "GET", key)
        assert answer is None and DEADLINE * 0.9 < took < DEADLINE + MARGIN
        answer, took = timed(strict, "GET", key)
        assert str(answer) == f"ERR sumcache: node {frozen.name} timed out" and took < DEADLINE + MARGIN
        answer, took = timed(client, "SET", spare, "new")
        assert isinstance(answer, Error) and str(answer).startswith(f"ERR sumcache: node {frozen.name} ")
        assert took < DEADLINE + MARGIN
        # Others are not held up, not even behind a request that waits.
        took = []
        for i in range(50):
            client.send(encode("GET", key))
            answer, seconds = timed(other, "GET", keys[well.name][i])
            assert answer == b"old"
            took.append(seconds)
            assert client.reply().value is None
        assert statistics.median(took) < 0.005 * SLOWNESS
        # A split read has what the others hold.
        names = [keys[node.name][5] for node in nodes]
        assert client.ask("MGET", *names) == [None, b"old", b"old"]
        counters = proxy.counters()
        assert counters["requests_timed_out"] >= 3 and counters["requests_masked"] >= 50
        frozen.thaw()
        eventually(lambda: client.ask("GET", key) == b"old", within=1 + 2 * SLOWNESS, what="it works after SIGCONT")
        assert client.ask("MGET", *names) == [b"old"] * 3


def test_a_pipeline_over_a_frozen_node(start, three):
    """The whole pipeline takes one deadline and not one per request."""
    nodes, keys = three
    proxy = start.proxy(nodes)
    with proxy.connect() as client:
        for name in keys:
            client.ask("MSET", *[x for key in keys[name] for x in (key, "v")])
        nodes[2].freeze()
        order = [(node, keys[node.name][i]) for i in range(50) for node in nodes]
        began = time.monotonic()
        client.send(b"".join(encode("GET", key) for _, key in order))
        for node, _ in order:
            assert client.reply().value == (None if node is nodes[2] else b"v")
        assert time.monotonic() - began < DEADLINE + MARGIN


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [2, 3])
def test_late_replies_reach_nobody_else(start, three, protocol):
    """Many clients, each with its own keys, while a node freezes and thaws: whatever is read is the
    reader's own, in RESP2 and RESP3, by GET and by MGET."""
    nodes, keys = three
    proxy = start.proxy(nodes, {"timeouts": {"request": "20ms", "backoff_max": "50ms"}})
    over = threading.Event()
    mistakes, reads = [], [0, 0]

    def use(me):
        rng = random.Random(me)
        mine = [f"c{me}:{i}" for i in range(30)]
        with proxy.connect(protocol=protocol) as client:
            while not over.is_set() and not mistakes:
                batch = []
                for _ in range(rng.randint(1, 20)):
                    key = rng.choice(mine)
                    batch.append(rng.choice([
                        ("SET", key, f"{key}={rng.random()}" + "x" * rng.choice([0, 10, 3000])), ("GET", key),
                        ("MGET", key, rng.choice(mine))]))
                client.send(b"".join(encode(*command) for command in batch))
                for command in batch:
                    value = client.reply().value
                    pairs = [(command[1], value)] if command[0] != "MGET" else zip(command[1:], value)
                    for key, got in pairs:
                        if command[0] == "SET":
                            right = got == "OK" or isinstance(got, Error) and "sumcache: node" in str(got)
                        else:
                            reads[got is not None] += 1
                            right = got is None or isinstance(got, bytes) and got.startswith(f"{key}=".encode())
                        if not right:
                            mistakes.append((command, got))

    threads = [threading.Thread(target=use, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    try:
        rng = random.Random(5)
        for _ in range(12):
            node = rng.choice(nodes)
            node.freeze()
            seen = proxy.counter("requests_timed_out")
            eventually(lambda seen=seen: proxy.counter("requests_timed_out") > seen + rng.choice([1, 30]) or mistakes,
                       within=5 * SLOWNESS)
            node.thaw()
            answered = reads[1]
            eventually(lambda answered=answered: reads[1] > answered + 200 or mistakes, within=5 * SLOWNESS)
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert not mistakes, mistakes[:5]
    assert not any(thread.is_alive() for thread in threads)
    assert proxy.counter("late_replies") > 0


def test_killed_node(start, three):
    """kill -9 in the middle of traffic, then a restart."""
    nodes, keys = three
    proxy = start.proxy(nodes)
    victim = nodes[1]
    over = threading.Event()
    others, errors = [], []

    def traffic():
        with proxy.connect() as client:
            names = keys[nodes[0].name] + keys[nodes[2].name]
            while not over.is_set():
                for name in names:
                    answer, took = timed(client, "SET", name, "v")
                    others.append(took)
                    if answer != "OK":
                        errors.append(answer)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        with proxy.connect() as client:
            key = keys[victim.name][0]
            assert client.ask("SET", key, "v") == "OK"
            client.send(encode("GET", key) * 100)
            victim.kill()
            assert all(reply.value in (None, b"v") for reply in client.replies(100))
            eventually(lambda: client.ask("GET", key) is None, within=1)
            took = sorted(timed(client, "GET", key)[1] for _ in range(200))
            assert took[100] < 0.005 * SLOWNESS, "a node that is down is answered for at once"
            assert took[-1] < DEADLINE + MARGIN
            eventually(lambda: client.ask("SET", key, "w") == "OK", within=0.2 * SLOWNESS, what="another node has its keys")
            eventually(lambda: proxy.counter("nodes_out") == 1 and proxy.counter("slots_fenced") == 0,
                       what="all of them can be read there, too")
            assert client.ask("SET", key, "w") == "OK" and client.ask("GET", key) == b"w"
            victim.start_again()
            eventually(lambda: proxy.counter("slots_away") + proxy.counter("slots_fenced") == 0, within=5 * SLOWNESS,
                       what="it is admitted")
            assert client.ask("GET", key) is None and client.ask("SET", key, "x") == "OK"
            assert victim.ask("GET", key) == b"x"
    finally:
        over.set()
        thread.join(20)
    assert not errors, errors[:3]
    assert statistics.median(others) < 0.02 * SLOWNESS


def test_all_nodes_down(start):
    dead = [f"127.0.0.1:{processes.free_port()}" for _ in range(3)]
    proxy = start.proxy(dead)
    with proxy.connect() as client:
        assert client.ask("PING") == "PONG"
        client.ask("GET", "a")  # The first may wait for the connect to fail.
        took = []
        for i in range(300):
            answer, seconds = timed(client, "GET", f"k{i}")
            assert answer is None
            took.append(seconds)
        assert statistics.median(took) < 0.005 * SLOWNESS
        answer = client.ask("SET", "a", "1")
        assert isinstance(answer, Error) and str(answer).endswith(("is down", "closed the connection", "no node is up")), answer
        assert client.ask("MGET", "a", "b", "c", "d") == [None] * 4
        answer, seconds = timed(client, "MSET", *[x for i in range(300) for x in (i, i)])
        assert isinstance(answer, Error) and seconds < 0.1 * SLOWNESS
        # Requests do not cause connects: those are paced.
        before = proxy.counter("upstreams_opened")
        for i in range(500):
            client.ask("GET", f"k{i}")
        assert proxy.counter("upstreams_opened") - before < 60


def test_unreachable_node(start):
    """A node whose machine drops every packet: connecting counts against the deadline, and later
    requests do not wait for it at all."""
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    name = "127.0.0.1:%d" % hole.getsockname()[1]
    fillers = []
    try:
        # A full backlog: the kernel drops further connects.
        while True:
            filler = socket.socket()
            filler.settimeout(0.1)
            fillers.append(filler)
            try:
                filler.connect(hole.getsockname())
            except socket.timeout:
                break
            assert len(fillers) < 20
        proxy = start.proxy([name], {"timeouts": {"connect": "300ms"}, "on_failure": {"reads": "error"}})
        with proxy.connect() as client:
            answer, took = timed(client, "GET", "k")
            assert isinstance(answer, Error) and took < DEADLINE + MARGIN
            eventually(lambda: proxy.counter("upstreams_connect_failed") >= 1)
            took = [timed(client, "GET", "k")[1] for _ in range(100)]
            assert statistics.median(took) < 0.005 * SLOWNESS
            assert max(took) < DEADLINE + MARGIN
    finally:
        for each in [hole, *fillers]:
            each.close()


def test_node_that_is_started_after_the_proxy(start):
    port = processes.free_port()
    proxy = start.proxy([f"127.0.0.1:{port}"])
    with proxy.connect() as client:
        assert client.ask("GET", "a") is None
        start.node(port=port)
        # What is written while the node is being taken in may be cleaned away with older things.
        eventually(lambda: client.ask("SET", "a", "1") == "OK" and client.ask("GET", "a") == b"1",
                   within=1 + 2 * SLOWNESS)


@pytest.mark.slow
def test_nodes_killed_again_and_again(start, three):
    """Traffic of many clients while nodes are killed and started: every client stays connected and
    every reply is right, a miss or an error that says which node."""
    nodes, keys = three
    proxy = start.proxy(nodes, {"timeouts": {"backoff_max": "100ms"}, "health": {"hold_max": "100ms", "interval_out": "50ms"}})
    over = threading.Event()
    mistakes = []

    def use(me):
        with proxy.connect() as client:
            while not over.is_set() and not mistakes:
                for i in range(20):
                    key = f"{me}:{i}"
                    try:
                        client.send(encode("SET", key, key) + encode("GET", key) + encode("MGET", key, "no", f"{me}:0"))
                        one, two, three = [reply.value for reply in client.replies(3)]
                    except (Closed, OSError) as error:
                        mistakes.append(repr(error))
                        return
                    if not (one == "OK" or "ERR sumcache: " in str(one)) or two not in (None, key.encode()) or \
                            three[0] not in (None, key.encode()) or three[1] is not None:
                        mistakes.append((key, one, two, three))

    threads = [threading.Thread(target=use, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    try:
        for i in range(9):
            nodes[i % 3].kill()
            eventually(lambda: proxy.counter("nodes_out") > 0 or mistakes, within=3 * SLOWNESS)
            nodes[i % 3].start_again()
            eventually(lambda: proxy.counter("nodes_out") == 0 or mistakes, within=3 + 2 * SLOWNESS)
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert not mistakes, mistakes[:3]

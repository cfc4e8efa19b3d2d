# SPDX-License-Identifier: Apache-2.0
"""Commands that block: as on one Redis, on upstreams of their own, and nobody else waits for them."""
import random
import threading
import time

import pytest

import cluster
from cluster import eject_by_requests, keys_of, keys_where, owner, settings, wait_until_up, without
from processes import SLOWNESS
from resp import Error, encode, eventually

CALM = {"timeouts": {"request": "10s", "stall": "10s", **cluster.BACKOFF}, "health": cluster.HEALTH}
UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"

# What waits for ever if nothing comes: the request, what ends it, and where that leaves nothing behind.
WAITS = [
    (["BLPOP", "{t}l", "0"], ["RPUSH", "{t}l", "v"]),
    (["BLPOP", "{t}k", "{t}l", "0"], ["RPUSH", "{t}l", "v"]),
    (["BRPOP", "{t}l", "{t}l", "0"], ["LPUSH", "{t}l", "v"]),
    (["BLMOVE", "{t}l", "{t}m", "LEFT", "RIGHT", "0"], ["RPUSH", "{t}l", "v"]),
    (["BRPOPLPUSH", "{t}l", "{t}m", "0"], ["RPUSH", "{t}l", "v"]),
    (["BLMPOP", "0", "2", "{t}k", "{t}l", "LEFT", "COUNT", "2"], ["RPUSH", "{t}l", "v", "w"]),
    (["BZPOPMIN", "{t}z", "0"], ["ZADD", "{t}z", "1.5", "m"]),
    (["BZPOPMAX", "{t}y", "{t}z", "0"], ["ZADD", "{t}z", "1", "m"]),
    (["BZMPOP", "0", "1", "{t}z", "MAX"], ["ZADD", "{t}z", "2", "m"]),
    (["XREAD", "BLOCK", "0", "STREAMS", "{t}s", "$"], ["XADD", "{t}s", "1-1", "f", "v"]),
    (["XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", "{t}r", "{t}s", "0", "0"], ["XADD", "{t}s", "1-1", "f", "v"]),
]
# What is answered at once, or soon.
ENDS = [
    ["BLPOP", "{t}l", "0.05"], ["BRPOP", "{t}l", "0.05"], ["BLMOVE", "{t}l", "{t}m", "LEFT", "LEFT", "0.05"],
    ["BRPOPLPUSH", "{t}l", "{t}m", "0.05"], ["BLMPOP", "0.05", "1", "{t}l", "LEFT"], ["BZPOPMIN", "{t}z", "0.05"],
    ["BZPOPMAX", "{t}z", "0.05"], ["BZMPOP", "0.05", "1", "{t}z", "MIN"], ["XREAD", "BLOCK", "50", "STREAMS", "{t}s", "$"],
    ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "50", "STREAMS", "{t}s", ">"], ["BLPOP", "{t}l", "-1"], ["BLPOP", "{t}l", "x"],
    ["BLPOP", "{t}l", "inf"], ["BLPOP", "{t}l", "1e300"], ["BLPOP", "{t}l"], ["BLMPOP", "x", "1", "{t}l", "LEFT"],
    ["BLMPOP", "0", "0", "{t}l", "LEFT"], ["BLMPOP", "0", "1", "{t}l", "MIDDLE"], ["XREAD", "BLOCK", "-1", "STREAMS", "{t}s", "$"],
    ["XREAD", "BLOCK", "x", "STREAMS", "{t}s", "$"], ["XREAD", "BLOCK", "0", "STREAMS", "{t}s"], ["BZPOPMIN", "{t}str", "0"],
    ["BLPOP", "{t}str", "0"], ["BLMOVE", "{t}str", "{t}m", "LEFT", "LEFT", "0"], ["XREAD", "STREAMS", "{t}s", "0"],
    ["CLIENT", "UNBLOCK", "999999"], ["CLIENT", "UNBLOCK", "x"], ["CLIENT", "UNBLOCK", "1", "FOO"],
    ["CLIENT", "UNBLOCK", "1", "ERROR", "FOO"], ["CLIENT", "UNBLOCK"],
]


def tagged(words, tag):
    return [word.replace("{t}", tag) for word in words]


@pytest.fixture
def twins(redis, proxy):
    for node in [redis, *proxy.nodes]:
        node.ask("FLUSHALL")
    return redis, proxy


def is_blocked(proxy, count=1):
    eventually(lambda: proxy.counter("clients_blocked") == count, what=f"{count} blocked")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("how", ["push", "unblock", "error", "before"])
def test_as_on_one_redis(twins, key, protocol, how):
    tag = key("{t}")
    for wait, end in WAITS:
        if how == "before" and "$" in wait:
            continue
        answers = []
        for server in twins:
            with server.connect(protocol=protocol) as waiter, server.connect() as other:
                number = waiter.ask("CLIENT", "ID")
                if how == "before":
                    other.ask(*tagged(end, tag))
                # What comes behind it waits.
                waiter.send(encode(*tagged(wait, tag)) + encode("ECHO", "behind") + encode("EXISTS", tag + "m", tag + "l"))
                if how != "before":
                    time.sleep(0.05)
                    assert waiter.is_quiet(), wait
                if how == "push":
                    other.ask(*tagged(end, tag))
                elif how == "unblock":
                    assert other.ask("CLIENT", "UNBLOCK", number) == 1
                elif how == "error":
                    assert other.ask("CLIENT", "UNBLOCK", number, "ERROR") == 1
                answers.append([reply.raw for reply in waiter.replies(3)])
                other.send(b"".join(encode("DEL", tag + name) for name in "lmzskry"))
                other.replies(7)
                assert other.ask("CLIENT", "UNBLOCK", number) == 0
        assert answers[0] == answers[1], wait


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_ends_soon(twins, key, protocol):
    tag = key("{t}")
    for server in twins:
        server.ask("SET", tag + "str", "x")
        server.ask("XGROUP", "CREATE", tag + "s", "g", "$", "MKSTREAM")
    with twins[0].connect(protocol=protocol) as one, twins[1].connect(protocol=protocol) as other:
        for words in ENDS:
            words = tagged(words, tag)
            began = time.monotonic()
            wanted = one.ask_raw(*words)
            middle = time.monotonic()
            assert other.ask_raw(*words) == wanted, words
            assert time.monotonic() - middle < middle - began + 0.2 * SLOWNESS, words


@pytest.mark.proxy_only
def test_groups(proxy, key):
    stream = key("s")
    with proxy.connect() as waiter, proxy.connect() as other:
        assert other.ask("XGROUP", "CREATE", stream, "g", "$", "MKSTREAM") == "OK"
        waiter.send(encode("XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", stream, ">"))
        is_blocked(proxy)
        other.ask("XADD", stream, "1-1", "f", "v")
        assert waiter.reply().value == [[stream.encode(), [[b"1-1", [b"f", b"v"]]]]]
        assert other.ask("XPENDING", stream, "g")[0] == 1


@pytest.mark.proxy_only
def test_nobody_waits_for_who_waits(start):
    """A thousand clients wait; each gets one element, others are served meanwhile, and nothing is left of it."""
    nodes = start.nodes(2)
    proxy = start.proxy(nodes, {**CALM, "timeouts": {"request": "1s"}}, workers=2)
    keys = [keys_of(nodes, node, 1, "queue")[0] for node in nodes]
    waiters = [proxy.connect(timeout=30) for _ in range(1000)]
    for i, waiter in enumerate(waiters):
        waiter.send(encode("BLPOP", keys[i % 2], "0"))
    is_blocked(proxy, 1000)
    with proxy.connect() as client:
        began = time.monotonic()
        for i in range(200):
            assert client.ask("SET", f"k{i}", i) == "OK" and client.ask("GET", f"k{i}") == str(i).encode()
        assert time.monotonic() - began < 5 * SLOWNESS
        time.sleep(1.5)  # Longer than any deadline, and than silence may last.
        assert proxy.counter("requests_timed_out") == proxy.counter("upstreams_silent") == 0
        assert all(line["state"] == "up" for line in proxy.node_lines().values())
        for i in range(500):
            for key in keys:
                assert client.ask("RPUSH", key, i) == 1
    got = {key: sorted(int(waiter.reply().value[1]) for waiter in waiters[i::2]) for i, key in enumerate(keys)}
    assert got == {key: list(range(500)) for key in keys}
    eventually(lambda: proxy.counter("upstreams_private") <= 2 * 2 * 16, what="few are kept")
    for waiter in waiters:
        waiter.close()


@pytest.mark.proxy_only
@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_who_goes_frees_the_node(start, how):
    """What is pushed afterwards is not popped for nobody, and others may write at any time."""
    node = start.node()
    proxy = start.proxy([node], CALM)
    waiters = [proxy.connect() for _ in range(20)]
    for waiter in waiters:
        waiter.send(encode("BLMOVE", "l", "m", "LEFT", "LEFT", "0"))
    eventually(lambda: b"blocked_clients:20" in node.ask("INFO", "clients"))
    with proxy.connect() as client:
        for waiter in waiters:
            getattr(waiter, how)()
            assert client.ask("SET", "k", "1") == "OK"
        eventually(lambda: b"blocked_clients:0" in node.ask("INFO", "clients"))
        assert client.ask("RPUSH", "l", "v") == 1 and client.ask("LLEN", "l") == 1
        assert proxy.counter("clients_blocked") == 0 and proxy.counter("requests_unsettled") == 0
        assert proxy.counter("upstreams_private") <= 16
    for waiter in waiters:
        waiter.close()


@pytest.mark.proxy_only
def test_limit(start):
    proxy = start.proxy(start.nodes(1), {"limits": {"private": 2}, **CALM})
    waiters = [proxy.connect() for _ in range(3)]
    for waiter in waiters[:2]:
        waiter.send(encode("BLPOP", "l", "0"))
    is_blocked(proxy, 2)
    assert str(waiters[2].ask("BLPOP", "l", "0")) == "ERR sumcache: too many clients watch or wait (limits.private)"
    assert proxy.counter("private_refused") == 1
    proxy.ask("RPUSH", "l", "a")
    is_blocked(proxy, 1)
    waiters[2].send(encode("BLPOP", "l", "0"))
    is_blocked(proxy, 2)
    proxy.ask("RPUSH", "l", "b", "c")
    assert sorted(waiter.reply().value[1] for waiter in waiters) == [b"a", b"b", b"c"]


@pytest.mark.proxy_only
def test_one_that_watches_waits_too(start):
    nodes = start.nodes(2)
    proxy = start.proxy(nodes, CALM)
    near, far = (keys_of(nodes, node, 1, "w")[0] for node in nodes)
    with proxy.connect() as client:
        for waits_for in (near, far):
            assert client.ask("WATCH", near) == "OK"
            client.send(encode("BLPOP", waits_for + "l", "0.01") + encode("BLPOP", far, "0.01"))
            assert [reply.value for reply in client.replies(2)] == [None, None]
            assert client.ask("MULTI") == "OK" and client.ask("SET", near, "1") == "QUEUED" and client.ask("EXEC") == ["OK"]


@pytest.mark.proxy_only
def test_unblock_finds_the_clients_of_all_workers(start):
    proxy = start.proxy(start.nodes(1), CALM, workers=3)
    waiters = [proxy.connect() for _ in range(12)]
    numbers = [waiter.ask("CLIENT", "ID") for waiter in waiters]
    assert len(set(numbers)) == 12 and len({number % 3 for number in numbers}) == 3
    for waiter in waiters:
        waiter.send(encode("BLPOP", "l", "0"))
    is_blocked(proxy, 12)
    with proxy.connect() as client:
        # In one pipeline, with others between; answers come in the order of requests.
        client.send(b"".join(encode("CLIENT", "UNBLOCK", number, "ERROR") + encode("ECHO", number) for number in numbers))
        assert [reply.value for reply in client.replies(24)] == [x for number in numbers for x in (1, str(number).encode())]
        assert [str(waiter.reply().value) for waiter in waiters] == [UNBLOCKED] * 12
        assert [client.ask("CLIENT", "UNBLOCK", number) for number in numbers] == [0] * 12
        # Who asks and goes does no harm.
        waiters[0].send(encode("BLPOP", "l", "0"))
        is_blocked(proxy)
        for _ in range(20):
            with proxy.connect() as other:
                other.send(encode("CLIENT", "UNBLOCK", numbers[1]) * 10)
        assert client.ask("CLIENT", "UNBLOCK", numbers[0]) == 1 and waiters[0].reply().value is None


@pytest.mark.proxy_only
def test_a_drain_ends_them(start):
    proxy = start.proxy(start.nodes(1), CALM)
    with proxy.connect() as waiter:
        waiter.send(encode("BLPOP", "l", "0"))
        is_blocked(proxy)
        proxy.signal(15)
        assert waiter.rest() == b"*-1\r\n"


# ---- nodes that go and come ----

@pytest.fixture
def three(start):
    nodes = start.nodes(3)
    return nodes, start.proxy(nodes, settings(), workers=2)


@pytest.mark.proxy_only
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_an_owner_that_goes(three, how):
    nodes, proxy = three
    victim = nodes[1]
    key, more = keys_of(nodes, victim, 2)
    with proxy.connect() as waiter, proxy.connect(protocol=3) as other:
        for client in (waiter, other):
            client.send(encode("BLPOP", key, "0"))
        eventually(lambda: b"blocked_clients:2" in victim.ask("INFO", "clients"))
        getattr(victim, how)()
        if how == "freeze":
            eject_by_requests(proxy, victim, more)
        eventually(lambda: proxy.state_of(victim) == "out", within=cluster.PATIENCE)
        raw = waiter.reply().raw
        if how == "freeze":
            assert raw == b"*-1\r\n" and other.reply().raw == b"_\r\n"
        else:  # The connection broke, and what was on it may be lost.
            assert raw == f"-ERR sumcache: node {victim.name} closed the connection\r\n".encode()
            other.reply()
        # … and is served by the stand-in.
        eventually(lambda: cluster.slots_rest(proxy), within=cluster.PATIENCE)
        assert proxy.ask("SET", more, "x") == "OK"
        waiter.send(encode("BLPOP", key, "0"))
        is_blocked(proxy)
        assert proxy.ask("RPUSH", key, "v") == 1
        assert waiter.reply().value == [key.encode(), b"v"]
        if how == "freeze":
            # The way back: who waits at the stand-in is told.
            waiter.send(encode("BLPOP", key, "0"))
            is_blocked(proxy)
            victim.thaw()
            wait_until_up(proxy, victim)
            assert waiter.reply().value is None
            waiter.send(encode("BLPOP", key, "0"))
            is_blocked(proxy)
            assert proxy.ask("RPUSH", key, "w") == 1
            assert waiter.reply().value == [key.encode(), b"w"]


@pytest.mark.proxy_only
def test_who_waits_elsewhere_is_left_alone(three):
    nodes, proxy = three
    victim = nodes[1]
    rest = without(nodes, victim)
    key = keys_where(lambda k: owner(nodes, k) is not victim and owner(nodes, k) is owner(rest, k), 1)[0]
    with proxy.connect() as waiter:
        waiter.send(encode("BLPOP", key, "0"))
        is_blocked(proxy)
        victim.kill()
        eventually(lambda: proxy.state_of(victim) == "out", within=cluster.PATIENCE)
        time.sleep(0.2)
        assert waiter.is_quiet() and proxy.ask("RPUSH", key, "v") == 1
        assert waiter.reply().value == [key.encode(), b"v"]


@pytest.mark.proxy_only
def test_a_node_that_hangs_while_it_should_answer(start):
    """Its own time is over, and the node's time for the answer too."""
    node = start.node()
    proxy = start.proxy([node], {"timeouts": {"request": "200ms"}, "health": {"eject_after": "60s"}})
    with proxy.connect() as waiter:
        waiter.send(encode("BLPOP", "l", "0.3"))
        eventually(lambda: b"blocked_clients:1" in node.ask("INFO", "clients"), every=0.001)
        node.freeze()
        began = time.monotonic()
        assert str(waiter.reply().value) == f"ERR sumcache: node {node.name} timed out"
        assert 0.1 < time.monotonic() - began < 0.5 + 0.3 * SLOWNESS
        node.thaw()
        eventually(lambda: waiter.ask("BLPOP", "l", "0.01") is None, within=5 * SLOWNESS)


@pytest.mark.proxy_only
def test_a_queue_under_faults(three):
    """Workers pop while nodes hang and come back. An element may be lost with a node, none comes twice."""
    nodes, proxy = three
    keys = [keys_of(nodes, node, 1, "jobs")[0] for node in nodes]
    got, over, pushed = [], threading.Event(), 0

    def work(seed):
        draw = random.Random(seed)
        with proxy.connect() as client:
            while not over.is_set():
                answer = client.ask("BLPOP", draw.choice(keys), draw.choice(["0.05", "0.2"]))
                if isinstance(answer, list):
                    got.append(answer[1])

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    with proxy.connect() as client:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for key in keys:
                client.ask("RPUSH", key, f"{key}={pushed}")
                pushed += 1
            if 300 < pushed < 303:
                nodes[0].freeze()
            if 900 < pushed < 903:
                nodes[0].thaw()
            time.sleep(0.002)
        if nodes[0].stopped:
            nodes[0].thaw()
        wait_until_up(proxy, nodes[0])
        over.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert len(got) == len(set(got)) and len(got) > pushed / 2
    eventually(lambda: proxy.counter("clients_blocked") == 0)
    assert not any(isinstance(proxy.ask("SET", f"after{i}", "1"), Error) for i in range(50))

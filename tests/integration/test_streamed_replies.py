# SPDX-License-Identifier: Apache-2.0
"""Replies that go to their client while they come in, and what can go wrong inside them. A reply of which
a byte has gone out is completed, or its client is closed; before that a failure is answered as usual."""
import contextlib
import signal
import threading
import time

import pytest

import processes
from fake_node import FakeNode
from large import MIB, PATIENCE, blob, drained, is_closed, keys_on, read_what_comes, settings, slow_connection, wait_counter
from processes import SLOWNESS
from resp import Closed, Error, encode, eventually

pytestmark = pytest.mark.proxy_only

BIG = blob(1_500_000, 6)


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


@pytest.fixture
def fake():
    made = FakeNode(lambda connection, args: connection.send(b"$5\r\nsmall\r\n"))
    yield made
    made.end()


class Scene:
    """A node that the test plays, a real one, and keys on each."""

    def __init__(self, start, fake, with_settings, **options):
        self.fake = fake
        self.good = start.node()
        self.proxy = start.proxy([fake, self.good], with_settings, **options)
        self.keys, self.good_keys = keys_on([fake, self.good])
        self.key, self.good_key = self.keys[0], self.good_keys[0]

    def connect(self, **options):
        return self.proxy.connect(timeout=PATIENCE, **options)

    def knows_as_large(self, client, *keys):
        """The proxy has seen large values under these keys."""
        was, self.fake.answer = self.fake.answer, lambda connection, args: connection.send(bulk(BIG))
        for key in keys or [self.key]:
            assert client.ask("GET", key) == BIG
        self.fake.answer = was


class Held:
    """Requests to a fake node, which the test answers when it likes."""

    def __init__(self, fake):
        self.requests = []
        fake.answer = lambda connection, args: self.requests.append((connection, args))

    def __len__(self):
        return len(self.requests)

    def answer(self, index, data):
        self.requests[index][0].send(data)

    def wait(self, count):
        eventually(lambda: len(self.requests) >= count, what=f"{count} requests reach the node")


def test_it_is_passed_on_while_it_comes(start, fake):
    """The client has most of a reply before the node has sent its end; whether its size was known or not."""
    held = Held(fake)
    scene = Scene(start, fake, settings())
    for protocol in (2, 3):
        with scene.connect(protocol=protocol) as client:
            for turn in range(3):
                before = scene.proxy.counter("replies_streamed")
                client.send(encode("GET", scene.key) + encode("PING"))
                held.wait(1)
                data = bulk(BIG)
                held.answer(0, data[:1_200_000])
                while len(client.buffer) - client.at < 900_000:
                    client._more()
                assert scene.proxy.counter("replies_streamed") == before + 1, turn
                held.answer(0, data[1_200_000:])
                assert client.reply().value == BIG and client.reply().value == "PONG"
                held.requests.clear()


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
@pytest.mark.parametrize("known", [False, True])
def test_node_that_fails_inside_a_reply(start, fake, known, how):
    """Behind so many bytes. Either nothing has gone out and it is a miss, or the client has the beginning and
    is closed: never anything else. Others do not notice."""
    scene = Scene(start, fake, settings(timeouts={"stall": "200ms", "backoff_min": "1ms", "backoff_max": "20ms"}))
    data = bulk(BIG)

    def answer(connection, args):
        if args[1] != scene.key.encode():
            connection.send(b"$5\r\nsmall\r\n")
            return
        connection.send(data[:at])
        if at >= 1_000_000:
            assert begun.wait(5 * SLOWNESS)
            begun.clear()
        if how != "stall":
            getattr(connection, how)()

    begun = threading.Event()
    cuts = 0
    with scene.connect() as other:
        assert other.ask("SET", scene.good_key, BIG) == "OK"
        if known:
            scene.knows_as_large(other)
        fake.answer = answer
        for at in (0, 1, 9, 10, 70_000, 1_000_000, len(data) - 1) if how != "stall" else (10, 1_000_000, len(data) - 1):
            with scene.connect() as client:
                client.send(encode("GET", scene.good_keys[1]) + encode("GET", scene.key) + encode("PING"))
                assert client.reply().value is None
                assert other.ask("GET", scene.good_key) == BIG
                if at <= 9:
                    assert client.reply().raw == b"$-1\r\n" and client.reply().value == "PONG"
                    continue
                del client.buffer[:client.at]
                client.at = 0
                if at >= 1_000_000:
                    # The node fails when its client surely has the beginning.
                    while len(client.buffer) < 500_000:
                        client._more()
                    begun.set()
                try:
                    first = client.reply()
                except Closed:
                    got = bytes(client.buffer)
                    assert data[:at].startswith(got) and got, at
                    cuts += 1
                else:
                    assert at < 1_000_000, at
                    assert first.raw == b"$-1\r\n" and client.reply().value == "PONG", at
            eventually(lambda: other.ask("GET", scene.keys[1]) == b"small", within=3 * SLOWNESS, what="the node works again")
        counters = scene.proxy.counters()
        assert counters["clients_reply_cut"] == cuts and cuts >= 2
        assert counters["upstreams_stalled"] == (3 if how == "stall" else 0)
        assert other.ask("GET", scene.good_key) == BIG


def test_known_large_value_of_a_node_that_is_gone(start, fake):
    """Before its first byte a large reply fails like any other: a miss, or an error for those who want one."""
    scene = Scene(start, fake, settings(timeouts={"request": "200ms"}))
    with scene.connect() as client:
        scene.knows_as_large(client)
        fake.answer = lambda connection, args: None
        began = time.monotonic()
        client.send(encode("GET", scene.key) + encode("PING"))
        assert [reply.value for reply in client.replies(2)] == [None, "PONG"]
        assert 0.19 < time.monotonic() - began < 0.2 + 0.3 * SLOWNESS
        fake.answer = lambda connection, args: connection.close()
        assert client.ask("SUMCACHE.FAILURES", "error") == "OK"
        answer = client.ask("GET", scene.key)
        assert isinstance(answer, Error) and str(answer).startswith(f"ERR sumcache: node {fake.name} "), answer


def test_a_slow_node_is_not_a_dead_one(start, fake):
    """Each pause is shorter than timeouts.stall, the whole is many times as long as any limit."""
    scene = Scene(start, fake, {"timeouts": {"request": "300ms", "stall": "800ms"}})
    data = bulk(BIG)
    done = []

    def answer(connection, args):
        if args[1] != scene.key.encode():
            connection.send(b"$5\r\nsmall\r\n")
            return
        at = 0
        for size in [5, 1, 1, 20_000, 60_000, 1, 300_000, 500_000]:
            connection.send(data[at:at + size])
            at += size
            time.sleep(0.12)
        connection.send(data[at:])
        done.append(True)

    fake.answer = answer
    with scene.connect() as client, scene.connect() as other:
        for _ in range(2):
            client.send(encode("GET", scene.key) + encode("PING"))
            eventually(lambda: scene.proxy.counter("replies_streamed") > len(done), what="it has begun to come")
            for _ in range(20):
                assert other.ask("GET", scene.keys[1]) in (b"small", None)
            assert client.reply().raw == data and client.reply().value == "PONG"
        assert other.ask("GET", scene.keys[1]) == b"small", "others have a shared upstream again"
    counters = scene.proxy.counters()
    assert counters["upstreams_stalled"] == 0 and counters["upstreams_silent"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_real_node_fails_inside_a_reply(start, how):
    """kill -9, or SIGSTOP for longer than timeouts.stall: the client gets a true beginning and is closed."""
    nodes = start.nodes(2)
    (key, *_), (good, *_) = keys_on(nodes)
    proxy = start.proxy(nodes, settings(timeouts={"stall": "300ms", "backoff_min": "1ms", "backoff_max": "50ms"}, limits={"client_min_rate": 0}))
    value = blob(64 * MIB, 1)
    with proxy.connect(timeout=PATIENCE) as other:
        assert other.ask("SET", key, value) == "OK" and other.ask("SET", good, BIG) == "OK"
        with slow_connection(proxy) as client:
            client.send(encode("GET", key) + encode("PING"))
            wait_counter(proxy, "upstreams_paused")
            getattr(nodes[0], how)()
            assert other.ask("GET", good) == BIG
            got = client.rest(PATIENCE)
            assert bulk(value).startswith(got) and MIB < len(got) < len(value), len(got)
        counters = proxy.counters()
        assert counters["clients_reply_cut"] == 1 and counters["upstreams_stalled"] == (how == "freeze"), counters
        if how == "kill":
            nodes[0].start_again()
        else:
            nodes[0].thaw()
        eventually(lambda: other.ask("SET", key, BIG) == "OK" and other.ask("GET", key) == BIG, within=3 * SLOWNESS, what="it works again")
        drained(proxy)


@pytest.mark.slow
def test_real_node_freezes_and_thaws_inside_a_reply(start):
    """Shorter than timeouts.stall: everybody gets everything."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"client_min_rate": 0}))
    value = blob(48 * MIB, 2)
    with slow_connection(proxy) as client:
        assert client.ask("SET", "k", value) == "OK"
        client.send(encode("GET", "k") + encode("STRLEN", "k"))
        wait_counter(proxy, "upstreams_paused")
        node.freeze()
        client.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while len(client.buffer) < 20 * MIB:
                client._more()
        client.socket.settimeout(PATIENCE)
        node.thaw()
        assert client.reply().value == value and client.reply().value == len(value)
    assert proxy.counter("clients_reply_cut") == 0


# Surprises: large replies on the shared upstream.

def test_surprise(start):
    """The shared upstream becomes a bulk one and another the shared one; known by then, it takes a bulk one."""
    node = start.node()
    proxy = start.proxy([node], settings())
    assert node.ask("SET", "k", BIG) == "OK"
    with proxy.connect(timeout=PATIENCE) as client:
        assert client.ask("SET", "small", "1") == "OK"
        assert proxy.counter("upstreams_bulk") == 0
        client.send(encode("GET", "k") + encode("GET", "small"))
        assert [reply.value for reply in client.replies(2)] == [BIG, b"1"]
        counters = proxy.counters()
        assert counters["upstreams_promoted"] == 1 and counters["upstreams_bulk"] == 1 and counters["requests_bulk"] == 0, counters
        for i in range(5):
            client.send(encode("GET", "k") + encode("GET", "small"))
            assert [reply.value for reply in client.replies(2)] == [BIG, b"1"]
            assert proxy.counter("requests_bulk") == i + 1
        counters = proxy.counters()
        assert counters["upstreams_promoted"] == 1 and counters["upstreams_bulk"] <= 2 and counters["upstreams_opened"] <= 3


def test_large_values_of_a_split_request_move_aside(start, nodes, key):
    """MGET over several nodes is gathered, but what it gathers does not stand before others either."""
    proxy = start.proxy(nodes, settings())
    value = blob(3_000_000, 1)
    names = [key(i) for i in range(12)]
    with proxy.connect(timeout=PATIENCE) as client:
        for name in names:
            assert client.ask("SET", name, value) == "OK"
        assert client.ask("MGET", *names) == [value] * len(names)
    counters = proxy.counters()
    assert counters["requests_split"] == 1 and counters["upstreams_promoted"] >= 2, counters


def test_nobody_waits_behind_a_surprise(start, fake):
    """Others' requests stand behind a large reply whose client reads nothing: it is read into that client's
    budget, so that they are answered."""
    held = Held(fake)
    scene = Scene(start, fake, settings())
    value = blob(20_000_000, 1)
    with slow_connection(scene.proxy) as slow, scene.connect() as other, scene.connect() as third:
        slow.send(encode("GET", scene.keys[0]))
        held.wait(1)
        other.send(encode("GET", scene.keys[1]) + encode("GET", scene.keys[2]))
        held.wait(3)
        assert held.requests[0][0] is held.requests[2][0], "all are on the shared upstream"
        threading.Thread(target=held.answer, args=(0, bulk(value) + b"$1\r\n1\r\n$1\r\n2\r\n"), daemon=True).start()
        assert [reply.value for reply in other.replies(2)] == [b"1", b"2"]
        fake.answer = lambda connection, args: connection.send(b"$5\r\nsmall\r\n")
        assert third.ask("GET", scene.keys[3]) == b"small"
        assert slow.reply().value == value
        counters = scene.proxy.counters()
        assert counters["upstreams_promoted"] == 1 and counters["clients_output_limit"] == 0
    drained(scene.proxy)


def test_a_surprise_above_client_output(start, fake):
    """It does not fit its client's budget: that client is closed, those behind it are answered."""
    held = Held(fake)
    scene = Scene(start, fake, settings(limits={"client_output": "1mb"}))
    value = blob(40_000_000, 1)
    with slow_connection(scene.proxy) as slow, scene.connect() as other:
        slow.send(encode("GET", scene.keys[0]))
        held.wait(1)
        other.send(encode("GET", scene.keys[1]))
        held.wait(2)
        assert held.requests[0][0] is held.requests[1][0], "both are on the shared upstream"
        threading.Thread(target=held.answer, args=(0, bulk(value) + b"$1\r\n1\r\n"), daemon=True).start()
        wait_counter(scene.proxy, "clients_output_limit")
        fake.answer = lambda connection, args: connection.send(b"$5\r\nsmall\r\n")
        # What is left of the reply is dropped as it comes, or its upstream is closed, which is a miss.
        assert other.reply().value in (b"1", None)
        eventually(lambda: other.ask("GET", scene.keys[2]) == b"small", within=3 * SLOWNESS)
        assert bulk(value).startswith(slow.rest(PATIENCE))
        assert scene.proxy.counter("clients_output_limit") == 1
    drained(scene.proxy)


def test_surprises_of_many(start):
    """A pipeline of large values nobody knows of, and small ones between, for two clients at once."""
    node = start.node()
    values = {f"k{i}": blob(100_000 + 37_000 * i, i) for i in range(30)}
    for name, value in values.items():
        assert node.ask("SET", name, value) == "OK"
    proxy = start.proxy([node], settings())
    clients = [proxy.connect(timeout=PATIENCE, protocol=2 + i % 2) for i in range(4)]
    for client in clients:
        client.send(b"".join(encode("GET", name) + encode("STRLEN", name) + encode("PING", name) for name in values))
    for client in clients:
        for name, value in values.items():
            assert [reply.value for reply in client.replies(3)] == [value, len(value), name.encode()]
        client.close()
    counters = proxy.counters()
    assert counters["upstreams_promoted"] >= 2
    eventually(lambda: proxy.counter("upstreams_bulk") <= 4, what="pools are of two, per RESP version")
    assert counters["clients_reply_cut"] == 0 and counters["upstreams_protocol_error"] == 0


# Order and budgets.

def test_a_reply_that_is_not_the_next(start, fake):
    """It fits: it is read while an earlier one is still to come, and its upstream is free for others."""
    held = Held(fake)
    scene = Scene(start, fake, settings(limits={"bulk_max": 1}))
    with scene.connect() as client, scene.connect() as other:
        assert other.ask("SET", scene.good_key, BIG) == "OK"
        client.send(encode("GET", scene.key) + encode("GET", scene.good_key) + encode("PING"))
        held.wait(1)
        wait_counter(scene.proxy, "bytes_from_nodes", len(BIG))
        eventually(lambda: scene.proxy.counter("buffer_bytes") > len(BIG), what="it is kept")
        for _ in range(3):
            assert other.ask("GET", scene.good_key) == BIG
        assert client.is_quiet()
        held.answer(0, b"$5\r\nfirst\r\n")
        assert [reply.value for reply in client.replies(3)] == [b"first", BIG, "PONG"]
    drained(scene.proxy)


def test_a_reply_that_is_not_the_next_and_does_not_fit(start, fake):
    """Its request is not sent before it is the next."""
    held = Held(fake)
    scene = Scene(start, fake, settings(limits={"client_output": "1mb"}))
    with scene.connect() as client, scene.connect() as other:
        assert other.ask("SET", scene.good_key, BIG) == "OK"
        client.send(encode("GET", scene.key) + encode("GET", scene.good_key) + encode("SET", scene.good_key, "new") + encode("PING"))
        held.wait(1)
        wait_counter(scene.proxy, "requests_held")
        before = scene.proxy.counter("bytes_from_nodes")
        for _ in range(20):
            assert other.ask("GET", scene.good_keys[1]) is None
        assert scene.proxy.counter("bytes_from_nodes") - before < 1000
        held.answer(0, b"$5\r\nfirst\r\n")
        assert [reply.value for reply in client.replies(4)] == [b"first", BIG, "OK", "PONG"]
        assert other.ask("GET", scene.good_key) == b"new"
        assert scene.proxy.counter("clients_output_limit") == 0


def test_one_client_may_ask_for_more_than_its_budget(start, nodes, key):
    """Ten times limits.client_output of known values in one pipeline, over several nodes: in turn."""
    proxy = start.proxy(nodes, settings(limits={"client_output": "1mb"}))
    values = [blob(500_000 + i, i) for i in range(20)]
    with slow_connection(proxy) as client:
        for i, value in enumerate(values):
            assert client.ask("SET", key(i), value) == "OK"
        client.send(b"".join(encode("GET", key(i)) + encode("STRLEN", key(i)) for i in range(20)))
        for value in values:
            began = time.monotonic()
            assert [reply.value for reply in client.replies(2)] == [value, len(value)]
            # Nobody else is there to wake the proxy up when one has been read and the next may be sent.
            assert time.monotonic() - began < 0.5 * SLOWNESS
    counters = proxy.counters()
    assert counters["clients_output_limit"] == 0 and counters["requests_held"] > 0


def test_late_large_reply(start, fake):
    """The deadline passed before its first byte. It is dropped, wherever it came; nobody else gets a byte of it."""
    scene = Scene(start, fake, {"timeouts": {"request": "150ms", "stall": "5s", "backoff_min": "1ms", "backoff_max": "20ms"}})
    with scene.connect() as client, scene.connect() as other:
        for known in (False, True):
            if known:
                fake.answer = None
                scene.knows_as_large(client)
            held = Held(fake)
            late = scene.proxy.counter("late_replies")
            assert client.ask("GET", scene.key) is None
            held.wait(1)
            held.answer(0, bulk(blob(3_000_000, 3)))
            fake.answer = lambda connection, args: connection.send(b"$5\r\nsmall\r\n")
            eventually(lambda: client.ask("GET", scene.keys[1]) == b"small" and other.ask("GET", scene.keys[2]) == b"small", within=3 * SLOWNESS)
            eventually(lambda late=late: scene.proxy.counter("late_replies") > late or not held.requests[0][0].open, what="it is dropped")
            assert client.is_quiet() and other.is_quiet()
    drained(scene.proxy)


def test_client_that_leaves_inside_a_reply(start):
    """What is left of it goes to nobody, and its upstream serves the next or is closed."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"bulk_max": 1}))
    value = blob(30_000_000, 1)
    with proxy.connect(timeout=PATIENCE) as other:
        assert other.ask("SET", "k", value) == "OK" and other.ask("SET", "l", BIG) == "OK"
        for i in range(12):
            client = slow_connection(proxy, protocol=2 + i % 2)
            client.send(encode("GET", "k") + encode("GET", "l"))
            while len(client.buffer) < (0 if i < 2 else 100_000):
                client._more()
            if i % 3 == 0:
                client.reset()
            else:
                client.close()
            assert other.ask("GET", "l") == BIG
            assert other.ask("SET", "small", i) == "OK" and other.ask("GET", "small") == b"%d" % i
        eventually(lambda: proxy.counter("clients") == 2)
    drained(proxy)
    counters = proxy.counters()
    assert counters["upstreams_bulk"] <= 2 and counters["upstreams_protocol_error"] == 0


# What else a node may send.

def nested(depth, leaf):
    return b"*2\r\n" * depth + b":1\r\n" + leaf + b"$3\r\nend\r\n" * (depth - 1)


LARGE_REPLIES = {
    "many elements": b"*50000\r\n" + b":12345\r\n" * 50_000,
    "large elements": b"*5\r\n" + bulk(BIG) * 3 + b"*0\r\n$-1\r\n",
    "nested": nested(20, bulk(BIG)),
    "many strings": b"*10000\r\n" + bulk(b"x" * 40) * 10_000,
    "nested arrays": b"*10\r\n" + (b"*1000\r\n" + bulk(b"abc") * 1000) * 10,
    "just large": bulk(b"\r\n" * 40_000),
}
LARGE_RESP3 = {
    "map": b"%3\r\n+a\r\n" + bulk(BIG) + b"+b\r\n~2\r\n:1\r\n" + bulk(BIG) + b"+c\r\n_\r\n",
    "verbatim": b"=%d\r\ntxt:%s\r\n" % (len(BIG) + 4, BIG),
    "blob error": b"!%d\r\nERR %s\r\n" % (len(BIG) + 4, BIG),
    "attribute": b"|1\r\n+ttl\r\n" + bulk(BIG) + bulk(BIG),
}


@pytest.mark.parametrize("name", [*LARGE_REPLIES, *LARGE_RESP3])
def test_replies_of_any_form(start, fake, name):
    """Whole and cut anywhere, in every place a client may see them."""
    protocol = 3 if name in LARGE_RESP3 else 2
    data = LARGE_REPLIES.get(name) or LARGE_RESP3[name]
    scene = Scene(start, fake, settings())
    cut = [len(data)]

    def answer(connection, args):
        if args[1] == scene.keys[1].encode():
            connection.send(b":7\r\n")
            return
        for at in range(0, len(data), cut[0]):
            connection.send(data[at:at + cut[0]])

    fake.answer = answer
    with scene.connect(protocol=protocol) as client:
        for cut[0] in (len(data), 99_991, 65_536, 16_384):
            client.send(encode("GET", scene.key) + encode("GET", scene.keys[1]) + encode("GET", scene.key) + encode("PING"))
            got = [client.reply().raw for _ in range(4)]
            assert got == [data, b":7\r\n", data, b"+PONG\r\n"], cut
    assert scene.proxy.counter("upstreams_protocol_error") == 0


def test_bad_end_of_a_large_reply(start, fake):
    """What comes instead of the end is no RESP: the client has had the beginning, so it is closed."""
    scene = Scene(start, fake, settings(timeouts={"backoff_min": "1ms", "backoff_max": "20ms"}))
    for known, bad in enumerate([bulk(BIG)[:-2] + b"xx", b"*3\r\n" + bulk(BIG) * 2 + b"junk\r\n"]):
        with scene.connect() as client, scene.connect() as other:
            if known:
                scene.knows_as_large(other)
            held = Held(fake)
            client.send(encode("GET", scene.key) + encode("PING"))
            held.wait(1)
            held.answer(0, bad[:1_200_000])
            while len(client.buffer) < 500_000:
                client._more()
            fake.answer = lambda connection, args: connection.send(b"$5\r\nsmall\r\n")
            held.answer(0, bad[1_200_000:])
            assert bad.startswith(client.rest(PATIENCE))
            eventually(lambda: other.ask("GET", scene.key) == b"small", within=3 * SLOWNESS)
    counters = scene.proxy.counters()
    assert counters["clients_reply_cut"] == 2 and counters["upstreams_protocol_error"] == 2


def test_one_reply_too_many_behind_a_large_one(start, fake):
    """Nobody asked for it: that upstream is closed, the reply before it was right."""
    scene = Scene(start, fake, settings(timeouts={"backoff_min": "1ms", "backoff_max": "20ms"}))
    with scene.connect() as client, scene.connect() as other:
        for i in range(2):
            fake.answer = lambda connection, args: connection.send(bulk(BIG) + b"$7\r\nunasked\r\n")
            assert client.ask("GET", scene.key) == BIG
            wait_counter(scene.proxy, "upstreams_protocol_error", i + 1)
            fake.answer = lambda connection, args: connection.send(b"$5\r\nsmall\r\n")
            eventually(lambda: client.ask("GET", scene.keys[1]) == b"small" and other.ask("GET", scene.keys[2]) == b"small", within=3 * SLOWNESS)


@pytest.mark.parametrize("at", [0, 20, 100_000, 2_900_000])
def test_part_of_a_split_request_that_breaks_off(start, fake, at):
    """Parts are gathered, so nothing has gone out: the node's values are misses, those of the other are there."""
    scene = Scene(start, fake, settings(timeouts={"backoff_min": "1ms", "backoff_max": "20ms"}))
    data = b"*2\r\n" + bulk(BIG) * 2

    def answer(connection, args):
        connection.send(data[:at])
        connection.close()

    with scene.connect() as client:
        assert client.ask("SET", scene.good_key, BIG) == "OK"
        assert client.ask("GET", scene.keys[3]) == b"small"
        fake.answer = answer
        assert client.ask("MGET", scene.keys[0], scene.good_key, scene.keys[1]) == [None, BIG, None]
        fake.answer = lambda connection, args: connection.send(data)
        eventually(lambda: client.ask("MGET", scene.keys[0], scene.good_key, scene.keys[1]) == [BIG] * 3, within=3 * SLOWNESS)
    assert scene.proxy.counter("clients_reply_cut") == 0


# The end.

@pytest.mark.slow
def test_drain_finishes_a_reply(start):
    """SIGTERM while a large value streams: its client gets all of it, then the proxy ends."""
    node = start.node()
    proxy = start.proxy([node], settings(timeouts={"drain": "10s"}))
    value = blob(30_000_000, 4)
    with slow_connection(proxy) as client, slow_connection(proxy) as other:
        assert client.ask("SET", "k", value) == "OK" and other.ask("PING") == "PONG"
        client.send(encode("GET", "k") + encode("STRLEN", "k"))
        wait_counter(proxy, "upstreams_paused")
        proxy.signal(signal.SIGTERM)
        eventually(lambda: is_closed(other) and not processes.is_open(proxy.port), what="idle clients are closed, none is accepted")
        assert client.reply().value == value and client.reply().value == len(value)
        eventually(lambda: is_closed(client))
    assert proxy.wait(5 * SLOWNESS) == 0

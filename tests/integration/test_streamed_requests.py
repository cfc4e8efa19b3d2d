# SPDX-License-Identifier: Apache-2.0
"""Requests that are sent on while they come in, and what can go wrong inside them: the client, the node,
the time, the limits. Whatever it is, it costs that request and its bulk upstream, and nothing else."""
import signal
import threading
import time

import pytest

import processes
from fake_node import FakeNode
from large import BULK, KIB, MIB, PATIENCE, Upload, Watch, blob, drained, is_closed, keys_on, query_buffers, settings, wait_counter
from processes import SLOWNESS
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only

BIG = blob(1_500_000, 5)


def failed(answer, node, *endings):
    """An error that names the node, and ends with one of these texts if any are given."""
    return isinstance(answer, Error) and str(answer).startswith(f"ERR sumcache: node {node.name} ") and \
        (not endings or str(answer).endswith(endings))


@pytest.fixture
def fake():
    made = FakeNode(lambda connection, args: connection.send(b"+OK\r\n"))
    yield made
    made.end()


class Scene:
    """A node that the test plays, a real one, and a key on each."""

    def __init__(self, start, fake, with_settings, **options):
        self.fake = fake
        self.good = start.node()
        self.proxy = start.proxy([fake, self.good], with_settings, **options)
        (self.key, self.key2, *self.keys), (self.good_key, *self.good_keys) = keys_on([fake, self.good])

    def connect(self, **options):
        return self.proxy.connect(timeout=PATIENCE, **options)


# The client.

@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_client_that_vanishes_inside_a_body(start, how):
    """The node keeps the value it had; what others have under way at the same node goes on."""
    node = start.node()
    proxy = start.proxy([node], settings())
    with proxy.connect(timeout=PATIENCE) as other, proxy.connect(timeout=PATIENCE) as third:
        for size in (10, 200_000):
            old = blob(size, size)
            assert other.ask("SET", "k", old) == "OK"
            upload = Upload(proxy.connect(timeout=PATIENCE), "SET", "k", blob(5_000_000)).send(3_500_000)
            eventually(lambda: query_buffers(node)[0] > 1_000_000, within=5 * SLOWNESS, what="the node has much of the body")
            behind = Upload(third, "SET", "other", BIG).send(800_000)
            other.send(encode("GET", "k") + encode("SET", "small", "1") + encode("GET", "small"))
            getattr(upload.client, how)()
            third.send(behind.rest() + encode("GET", "other"))
            assert [reply.value for reply in third.replies(2)] == ["OK", BIG]
            assert [reply.value for reply in other.replies(3)] == [old, "OK", b"1"]
            eventually(lambda: query_buffers(node)[0] < 100_000, within=5 * SLOWNESS, what="the node is rid of the body")
            assert other.ask("GET", "k") == old
            upload.client.close()
        eventually(lambda: proxy.counter("clients") == 3, what="it is gone")
        assert other.ask("SET", "k", BIG) == "OK" and other.ask("GET", "k") == BIG
    drained(proxy)
    counters = proxy.counters()
    assert counters["upstreams_protocol_error"] == 0 and counters["requests_node_closed"] == 0


def test_only_that_upstream_is_closed(start, fake):
    """Of two uploads to one node the one whose client vanishes costs its connection; the other's and the
    shared one live."""
    scene = Scene(start, fake, settings())
    with scene.connect() as other, scene.connect() as small:
        assert small.ask("GET", scene.key) == "OK"
        bodies = []
        fake.before_body = lambda connection, args, size: bodies.append(connection)
        upload = Upload(scene.connect(), "SET", scene.key, BIG).send(500_000)
        eventually(lambda: len(bodies) == 1)
        behind = Upload(other, "SET", scene.key2, BIG).send(500_000)
        eventually(lambda: len(bodies) == 2)
        assert scene.proxy.counter("upstreams_bulk") == 2
        shared = [connection for connection in fake.connections if connection not in bodies]
        assert bodies[0] is not bodies[1] and len(shared) == 1
        upload.client.close()
        eventually(lambda: not bodies[0].open, what="its upstream is closed")
        other.send(behind.rest())
        assert other.reply().value == "OK" and small.ask("GET", scene.key) == "OK"
        assert bodies[1].open and shared[0].open
        assert [args[1] for args in fake.requests] == [name.encode() for name in (scene.key, scene.key2, scene.key)]


@pytest.mark.slow
def test_client_that_stops_inside_a_body(start):
    """After timeouts.client_stall the request is given up; the connection is not: the rest of the body is
    read and dropped whenever it comes, and what follows works."""
    node = start.node()
    proxy = start.proxy([node], settings(timeouts={"client_stall": "300ms", "stall": "200ms"}))
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        assert client.ask("SET", "k", "old") == "OK"
        upload = Upload(client, "SET", "k", BIG).send(700_000)
        began = time.monotonic()
        wait_counter(proxy, "requests_too_slow")
        assert time.monotonic() - began > 0.25
        eventually(lambda: query_buffers(node)[0] < 100_000, what="the node is rid of the body")
        assert other.ask("SET", "other", BIG) == "OK" and other.ask("GET", "other") == BIG
        upload.send(300_000)
        client.send(upload.rest() + encode("GET", "k") + encode("PING") + encode("SET", "k", BIG) + encode("GET", "k"))
        answers = [reply.value for reply in client.replies(5)]
        assert isinstance(answers[0], Error) and str(answers[0]).startswith("ERR sumcache: "), answers[0]
        assert answers[1:] == [b"old", "PONG", "OK", BIG]
        assert proxy.counter("requests_too_slow") == 1


@pytest.mark.slow
def test_client_too_slow_for_those_who_wait(start):
    """One that gives less than limits.client_min_rate while others wait for its bulk upstream loses it."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"bulk_max": 1, "client_min_rate": "1mb"}, timeouts={"stall": "250ms"}))
    with proxy.connect(timeout=PATIENCE) as slow, proxy.connect(timeout=PATIENCE) as other:
        assert slow.ask("SET", "k", "old") == "OK"
        upload = Upload(slow, "SET", "k", BIG).send(300_000)
        wait_counter(proxy, "requests_streamed")
        for _ in range(30):
            upload.send(1000)
            time.sleep(0.02)
        assert proxy.counter("requests_too_slow") == 0, "nobody waits"
        other.send(encode("SET", "other", BIG) + encode("GET", "other"))
        end = time.monotonic() + 5 * SLOWNESS
        while proxy.counter("requests_too_slow") == 0 and time.monotonic() < end:
            upload.send(1000)
            time.sleep(0.02)
        assert [reply.value for reply in other.replies(2)] == ["OK", BIG]
        slow.send(upload.rest() + encode("GET", "k"))
        answers = [reply.value for reply in slow.replies(2)]
        assert isinstance(answers[0], Error) and answers[1] == b"old", answers
        counters = proxy.counters()
        assert counters["requests_too_slow"] == 1 and counters["bulk_waits"] >= 1


def test_fast_enough_for_those_who_wait(start):
    """Others wait in their turn, however long an upload takes that is not too slow."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"bulk_max": 1, "client_min_rate": "100kb"}, timeouts={"stall": "250ms"}))
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        upload = Upload(client, "SET", "k", BIG).send(100_000)
        wait_counter(proxy, "requests_streamed")
        other.send(encode("SET", "other", BIG))
        wait_counter(proxy, "bulk_waits")
        while upload.at < len(upload.data):
            assert other.is_quiet()
            upload.send(70_000)
            time.sleep(0.05)
        assert client.reply().value == "OK" and other.reply().value == "OK"
        assert client.ask("GET", "k") == BIG and client.ask("GET", "other") == BIG
        assert proxy.counter("requests_too_slow") == 0


# The node.

@pytest.mark.parametrize("at", [0, 1, 70_000, 1_000_000, len(BIG)])
def test_node_that_closes_inside_a_body(start, fake, at):
    """Behind so many bytes of it. The error stands where the reply would, and the rest is not taken for
    requests."""
    def before_body(connection, args, size):
        connection.wait_for(at)
        connection.close()

    scene = Scene(start, fake, settings())
    with scene.connect() as client, scene.connect() as other:
        assert other.ask("SET", scene.good_key, "g") == "OK"
        fake.before_body = before_body
        closed = fake.accepted
        upload = Upload(client, "SET", scene.key, BIG.replace(b"\n", b"\r\n")[:len(BIG)]).send(1_200_000)
        if at < 1_000_000:
            eventually(lambda: fake.accepted > closed and not any(c for c in fake.connections if c.buffer), what="it has closed")
        assert other.ask("GET", scene.good_key) == b"g"
        client.send(upload.rest() + encode("PING") + encode("GET", scene.good_key))
        answers = [reply.value for reply in client.replies(3)]
        assert failed(answers[0], fake, "closed the connection"), answers[0]
        assert answers[1:] == ["PONG", b"g"]
        fake.before_body = lambda connection, args, size: None
        eventually(lambda: client.ask("SET", scene.key, BIG) == "OK", within=3 * SLOWNESS, what="uploads work again")
        assert fake.requests[-1] == [b"SET", scene.key.encode(), BIG]
    counters = scene.proxy.counters()
    assert counters["requests_node_closed"] >= 1 and counters["clients_reply_cut"] == 0


def test_the_error_waits_for_the_end_of_the_body(start, fake):
    """Clients that do not read before they have written everything must find it there and not before."""
    def before_body(connection, args, size):
        connection.wait_for(100_000)
        connection.close()
        closed.set()

    closed = threading.Event()
    scene = Scene(start, fake, settings())
    with scene.connect() as client:
        fake.before_body = before_body
        upload = Upload(client, "SET", scene.key, BIG).send(600_000)
        assert closed.wait(5 * SLOWNESS)
        wait_counter(scene.proxy, "requests_node_closed")
        upload.send(600_000)
        for _ in range(20):
            assert scene.proxy.ask("PING") == "PONG" and client.is_quiet()
        client.send(upload.rest())
        assert failed(client.reply().value, fake, "closed the connection")
        assert client.ask("PING") == "PONG"


@pytest.mark.slow
def test_node_killed_inside_a_body(start):
    """kill -9 of a real one; the upload fails, and the next one goes to the node that has its key from then on."""
    nodes = start.nodes(2)
    (key, small, *_), (good, *_) = keys_on(nodes)
    proxy = start.proxy(nodes, {"timeouts": {"request": "5s", "backoff_max": "100ms"}})
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        assert other.ask("SET", good, BIG) == "OK" and other.ask("SET", small, "s") == "OK"
        upload = Upload(client, "SET", key, blob(5_000_000)).send(2_000_000)
        eventually(lambda: query_buffers(nodes[0])[0] > 1_000_000, within=5 * SLOWNESS, what="the node has much of the body")
        nodes[0].kill()
        eventually(lambda: proxy.counter("nodes_out") == 1 and proxy.counter("slots_fenced") == 0, what="it is ejected")
        assert other.ask("GET", small) is None and other.ask("GET", good) == BIG
        client.send(upload.rest() + encode("GET", good) + encode("SET", key, BIG) + encode("PING"))
        answers = [reply.value for reply in client.replies(4)]
        assert failed(answers[0], nodes[0]) and answers[1:] == [BIG, "OK", "PONG"], answers
        nodes[0].start_again()
        eventually(lambda: proxy.counter("slots_away") + proxy.counter("slots_fenced") == 0, within=5 * SLOWNESS,
                   what="it is back")
        assert client.ask("GET", key) is None, "what another node had meanwhile"
        assert client.ask("SET", key, BIG) == "OK" and client.ask("GET", key) == BIG
    drained(proxy)


@pytest.mark.slow
def test_node_frozen_inside_a_body(start):
    """While it takes nothing the client is not read, and little is kept for it; then it goes on."""
    node = start.node()
    proxy = start.proxy([node], settings())
    with proxy.connect(timeout=PATIENCE) as client:
        upload = Upload(client, "SET", "k", blob(64 * MIB)).send(200_000)
        wait_counter(proxy, "requests_streamed")
        node.freeze()
        with Watch(lambda: proxy.counter("buffer_bytes"), every=0.02) as watch:
            sent = upload.send_what_goes(quiet=0.3 * SLOWNESS)
        assert sent < 64 * MIB, "the kernel's buffers hold much but not everything"
        assert watch.most < MIB, f"{watch.most} bytes are kept"
        node.thaw()
        client.send(upload.rest() + encode("GET", "k"))
        assert client.reply().value == "OK" and client.reply().value == blob(64 * MIB)


@pytest.mark.slow
def test_frozen_node_is_given_up_inside_a_body(start):
    """With short deadlines: the client gets rid of its request in bounded time, is told, and goes on."""
    nodes = start.nodes(2)
    (key, *_), (good, *_) = keys_on(nodes)
    proxy = start.proxy(nodes, {"timeouts": {"request": "300ms"}})
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        eventually(lambda: client.ask("SET", key, "old") == "OK" and client.ask("SET", good, BIG) == "OK")
        upload = Upload(client, "SET", key, blob(64 * MIB)).send(200_000)
        wait_counter(proxy, "requests_streamed")
        nodes[0].freeze()
        began = time.monotonic()
        client.send(upload.rest() + encode("GET", good) + encode("PING"))
        answers = [reply.value for reply in client.replies(3)]
        took = time.monotonic() - began
        assert failed(answers[0], nodes[0]) and answers[1:] == [BIG, "PONG"], answers
        assert took < 4 * SLOWNESS, took
        nodes[0].thaw()
        eventually(lambda: other.ask("SET", key, BIG) == "OK", within=3 * SLOWNESS, what="it works after SIGCONT")
        assert other.ask("GET", key) == BIG


def test_node_whose_own_limit_is_lower(start):
    """It says so in the middle of the body and closes; the client gets an error and keeps its connection."""
    node = start.node()
    assert node.ask("CONFIG", "SET", "proto-max-bulk-len", "1mb") == "OK"
    proxy = start.proxy([node], settings())
    with proxy.connect(timeout=PATIENCE) as client:
        for _ in range(3):
            client.send(encode("SET", "k", blob(5_000_000)) + encode("PING"))
            answer, pong = [reply.value for reply in client.replies(2)]
            assert isinstance(answer, Error) and pong == "PONG"
            eventually(lambda: client.ask("SET", "k", blob(900_000)) == "OK", within=3 * SLOWNESS)
            assert client.ask("GET", "k") == blob(900_000)


@pytest.mark.parametrize("early", [b"+OK\r\n", b"-ERR no more\r\n", b"-ERR no more\r\n+OK\r\n", b"$100\r\nabc", b"junk\r\n"])
def test_node_that_answers_before_the_end_of_the_body(start, fake, early):
    """No node does so; if one does, its client gets one reply all the same, and nobody else's moves."""
    def before_body(connection, args, size):
        connection.wait_for(300_000)
        connection.send(early)
        answered.set()

    answered = threading.Event()
    scene = Scene(start, fake, settings(timeouts={"stall": "300ms"}))
    with scene.connect() as client, scene.connect() as other:
        assert client.ask("SET", scene.good_key, "g") == "OK"
        fake.before_body = before_body
        upload = Upload(client, "SET", scene.key, BIG).send(900_000)
        assert answered.wait(5 * SLOWNESS)
        assert other.ask("GET", scene.key) == "OK"
        client.send(upload.rest() + encode("GET", scene.good_key) + encode("PING"))
        answers = [reply.value for reply in client.replies(3)]
        assert answers[0] == "OK" or isinstance(answers[0], Error), answers[0]
        assert answers[1:] == [b"g", "PONG"]
        fake.before_body = lambda connection, args, size: None
        eventually(lambda: client.ask("SET", scene.key, BIG) == "OK", within=3 * SLOWNESS, what="uploads work again")
        assert client.ask("GET", scene.key) == "OK"


def test_no_node_is_up(start):
    """Uploads to nodes that are not there are read to their end, cost no memory, and are answered in order."""
    dead = [f"127.0.0.1:{processes.free_port()}" for _ in range(2)]
    proxy = start.proxy(dead, {"limits": {"memory": "2mb"}})
    clients = [proxy.connect(timeout=PATIENCE, protocol=2 + i % 2) for i in range(10)]
    for client in clients:
        assert client.ask("PING") == "PONG"
    for client in clients:
        client.send(encode("SET", "a", blob(5_000_000)) + encode("HSET", "b", "f", BIG) + encode("GET", "a") + encode("PING"))
    for client in clients:
        answers = [reply.value for reply in client.replies(4)]
        assert all(isinstance(answer, Error) and "sumcache: no" in str(answer) for answer in answers[:2]), answers
        assert answers[2:] == [None, "PONG"]
        client.close()
    assert proxy.counter("memory_limit_hits") == 0
    drained(proxy)


# The deadline.

def test_deadline_starts_with_the_last_byte(start, fake):
    """However long the body took; the reply that comes late goes to nobody."""
    held = []
    fake.answer = lambda connection, args: held.append(connection)
    scene = Scene(start, fake, {"timeouts": {"request": "200ms", "stall": "250ms"}})
    with scene.connect() as client:
        upload = Upload(client, "SET", scene.key, BIG)
        for _ in range(3):
            upload.send(400_000)
            time.sleep(0.2)
        assert client.is_quiet()
        client.send(upload.rest() + encode("PING"))
        began = time.monotonic()
        assert failed(client.reply().value, fake, "timed out")
        assert 0.19 < time.monotonic() - began < 0.2 + 0.3 * SLOWNESS
        assert client.reply().value == "PONG"
        held[0].send(b"+OK\r\n")
        fake.answer = lambda connection, args: connection.send(b"$3\r\nnew\r\n")
        assert client.ask("GET", scene.key) in (b"new", None)
        eventually(lambda: client.ask("GET", scene.key) == b"new", within=3 * SLOWNESS)
        counters = scene.proxy.counters()
        assert counters["requests_timed_out"] >= 1 and counters["requests_streamed"] == 1


def test_deadline_while_it_waits_for_a_bulk_upstream(start, fake):
    """The pool is taken: who waits too long is told, after its body, and has not been sent."""
    scene = Scene(start, fake, settings(limits={"bulk_max": 1}, timeouts={"request": "300ms"}))
    with scene.connect() as holder, scene.connect() as second, scene.connect() as small:
        upload = Upload(holder, "SET", scene.key, BIG).send(300_000)
        wait_counter(scene.proxy, "requests_streamed")
        behind = Upload(second, "SET", scene.key2, BIG).send(300_000)
        wait_counter(scene.proxy, "bulk_waits")
        wait_counter(scene.proxy, "requests_timed_out")
        assert small.ask("GET", scene.key2) == "OK", "small requests do not wait"
        second.send(behind.rest() + encode("PING"))
        assert failed(second.reply().value, fake, "timed out") and second.reply().value == "PONG"
        holder.send(upload.rest())
        assert holder.reply().value == "OK"
        assert second.ask("SET", scene.key2, BIG) == "OK"
        assert [args[:2] for args in fake.requests] == [[b"GET", scene.key2.encode()], [b"SET", scene.key.encode()], [b"SET", scene.key2.encode()]]


# The pool.

def test_client_that_leaves_while_it_waits_in_line(start, fake):
    """What it asked for is not executed any more."""
    scene = Scene(start, fake, settings(limits={"bulk_max": 1}))
    with scene.connect() as holder, scene.connect() as waits:
        upload = Upload(holder, "SET", scene.key, BIG).send(300_000)
        wait_counter(scene.proxy, "requests_streamed")
        tag = "{" + scene.key2 + "}"
        waits.send(encode("MSET", tag + "a", blob(100_000), tag + "b", "x"))
        wait_counter(scene.proxy, "bulk_waits")
        waits.reset()  # a plain close may be a half one
        eventually(lambda: scene.proxy.counter("clients") == 2, what="it has left")
        holder.send(upload.rest() + encode("GET", scene.key2))
        assert [reply.value for reply in holder.replies(2)] == ["OK", "OK"]
        assert holder.ask("SET", scene.key, BIG) == "OK"  # would come behind it in the line
    assert [args[0] for args in fake.requests] == [b"SET", b"GET", b"SET"]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_bulk_max(start, fake, most):
    """So many uploads at a time to one node, and as many again in RESP3; the next wait, first come, first
    served."""
    scene = Scene(start, fake, settings(limits={"bulk_max": most}))
    names = scene.keys[:most + 3]
    clients = [scene.connect() for _ in names]
    uploads = []
    for i, (client, name) in enumerate(zip(clients, names)):
        uploads.append(Upload(client, "SET", name, blob(200_000, i)).send(150_000))
        wait_counter(scene.proxy, "requests_streamed" if i < most else "bulk_waits", i + 1 if i < most else i + 1 - most)
    counters = scene.proxy.counters()
    assert counters["upstreams_bulk"] == most and counters["bulk_waits"] == 3
    with scene.connect(protocol=3) as third:
        assert third.ask("SET", scene.key, BIG) == "OK", "RESP3 has a pool of its own"
    for i, (client, upload) in enumerate(zip(clients, uploads)):
        # Those that wait have given their whole body by now; the first of them is the next to go.
        if i >= most:
            client.send(upload.rest())
    for i in range(most):
        clients[i].send(uploads[i].rest())
        assert clients[i].reply().value == "OK"
    for client in clients:
        if client not in clients[:most]:
            assert client.reply().value == "OK"
        client.close()
    sets = [args[1].decode() for args in fake.requests if args[1] != scene.key.encode()]
    assert sorted(sets) == sorted(names)
    if most == 1:
        assert sets == names
    assert [args[2] for args in sorted(fake.requests[1:], key=lambda args: names.index(args[1].decode()))] == \
        [blob(200_000, i) for i in range(len(names))]
    assert scene.proxy.counter("upstreams_bulk") <= 2 * most


def test_what_takes_a_bulk_upstream(start, fake):
    """A request longer than limits.bulk_above, to the byte; and a gathered one to one node."""
    scene = Scene(start, fake, settings())
    with scene.connect() as client:
        head = len(encode("SET", scene.key, blob(BULK - 100))) - (BULK - 100)
        for over, command in [(0, ["SET", scene.key, blob(BULK - head)]), (1, ["SET", scene.keys[0], blob(BULK - head + 1)]),
                              (1, ["MSET", scene.keys[1], BIG]), (0, ["MSET", scene.keys[2], "1"]), (1, ["HSET", scene.keys[3], "f", BIG]),
                              (1, ["EVAL", "return 1", 1, scene.keys[4], BIG]), (0, ["SET", scene.keys[5], "1"])]:
            before = scene.proxy.counter("requests_bulk")
            assert client.ask(*command) == "OK"
            assert scene.proxy.counter("requests_bulk") - before == over, command[:2]


@pytest.mark.parametrize("command", [["MSET", "{t}1"], ["MSET", "{t}1", "x", "{t}2"], ["ECHO"], ["EVAL", "return 1", 1, "{t}"],
                                     ["NOSUCHCOMMAND", "x"],
                                     ["MGET", "{t}", "other"], ["PING"], ["SET"]], ids=lambda command: " ".join(map(str, command)))
def test_gathered_requests_have_a_limit(start, nodes, command):
    """What cannot be sent on before it is whole may be as long as limits.max_split_request; what is longer
    is read, dropped, refused in order, and costs no memory."""
    proxy = start.proxy(nodes, settings(limits={"max_split_request": "1mb", "memory": "4mb"}))
    with proxy.connect(timeout=PATIENCE) as client:
        fits = encode(*command, blob(900_000))
        client.send(fits + encode("PING", "between"))
        answer, between = client.replies(2)
        assert "max_split_request" not in repr(answer.raw[:200]) and between.value == b"between"
        upload = Upload(client, *command, blob(8 * MIB))
        with Watch(lambda: proxy.counter("buffer_bytes"), every=0.01) as watch:
            upload.send(7 * MIB)
            assert client.is_quiet(), "it is answered at its end"
            client.send(upload.rest() + encode("PING", "behind"))
            answer, behind = [reply.value for reply in client.replies(2)]
        assert str(answer) == "ERR sumcache: request is longer than limits.max_split_request" and behind == b"behind"
        assert watch.most < 3 * MIB, watch.most
        assert proxy.counter("requests_split_limit") == 1
        # The same length is no matter for a request that is sent on.
        assert client.ask("SET", "{t}", blob(8 * MIB)) == "OK" and client.ask("GET", "{t}") == blob(8 * MIB)
        assert proxy.counter("requests_split_limit") == 1


# Limits.

def test_max_value_inside_a_streamed_request(start):
    """The first body is on its way when the next is too long: a protocol error as at Redis, and the node
    has nothing of it."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"max_value": "1mb"}))
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        assert client.ask("SET", "v", blob(MIB)) == "OK" and client.ask("GET", "v") == blob(MIB)
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$%d\r\n" % (MIB + 1))
        assert client.rest() == b"-ERR Protocol error: invalid bulk length\r\n"
        streamed = proxy.counter("requests_streamed")
        for bad, wanted in [(b"$%d\r\n" % (MIB + 1), b"invalid bulk length"),
                            (b"junk\r\n", b"expected '$', got 'j'"), (b"$-5\r\n", b"invalid bulk length")]:
            with proxy.connect(timeout=PATIENCE) as wrong:
                head = b"*6\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$1000000\r\n" + blob(1_000_000) + b"\r\n$1\r\ng\r\n"
                wrong.send(encode("SET", "before", "1") + head)
                assert wrong.reply().value == "OK"
                streamed += 1
                wait_counter(proxy, "requests_streamed", streamed)
                wrong.send(bad + b"x" * 1000)
                assert wrong.rest() == b"-ERR Protocol error: " + wanted + b"\r\n"
            assert other.ask("EXISTS", "h") == 0
            assert other.ask("SET", "v", BIG[:MIB]) == "OK"
    drained(proxy)
    assert proxy.counter("clients_protocol_error") == 4


def test_uploads_take_little_memory(start):
    """Sixty clients with half a body each, most of which wait for an upstream."""
    node = start.node()
    proxy = start.proxy([node], settings(limits={"memory": "64mb"}, timeouts={"client_stall": "60s"}))
    clients = [proxy.connect(timeout=PATIENCE) for _ in range(60)]
    for client in clients:
        assert client.ask("PING") == "PONG"
    before = proxy.rss()
    uploads = [Upload(client, "SET", f"k{i}", blob(2_000_000, i)) for i, client in enumerate(clients)]
    with Watch(lambda: proxy.counter("buffer_bytes"), every=0.02) as watch, Watch(proxy.rss) as rss:
        for upload in uploads:
            upload.send_what_goes(quiet=0.02)
        for client, upload in zip(clients, uploads):
            client.send(upload.rest() + encode("STRLEN", "k0"))
            assert [reply.value for reply in client.replies(2)] == ["OK", 2_000_000]
    assert watch.most < 60 * 330 * KIB, watch.most
    if SLOWNESS == 1:
        assert rss.most - before < 32 * MIB, rss.most - before
    assert proxy.counter("memory_limit_hits") == 0
    for i, client in enumerate(clients):
        assert client.ask("GET", f"k{i}") == blob(2_000_000, i)
        client.close()
    drained(proxy)


def test_memory_limit_inside_uploads(start, nodes, key):
    """Far too little for all: each gets OK or is told, keeps its connection, and succeeds alone."""
    proxy = start.proxy(nodes, settings(limits={"memory": "1mb"}, timeouts={"client_stall": "60s"}))
    clients = [proxy.connect(timeout=PATIENCE) for _ in range(30)]
    uploads = [Upload(client, "SET", key(i), blob(600_000, i)) for i, client in enumerate(clients)]
    for upload in uploads:
        upload.send_what_goes(quiet=0.02)
    stored = []
    for client, upload in zip(clients, uploads):
        client.send(upload.rest() + encode("PING"))
        answer, pong = [reply.value for reply in client.replies(2)]
        assert answer == "OK" or "limits.memory" in str(answer), answer
        assert pong == "PONG"
        stored.append(answer == "OK")
    for i, client in enumerate(clients):
        assert client.ask("GET", key(i)) == (blob(600_000, i) if stored[i] else None)
        assert client.ask("SET", key(i), blob(700_000, i)) == "OK"
        assert client.ask("GET", key(i)) == blob(700_000, i)
        client.close()
    assert any(stored)


# Order.

def test_small_request_behind_an_upload(start, fake):
    """To the same node: it is not executed before the upload is, though a shared upstream stands free."""
    held = []
    fake.answer = lambda connection, args: held.append((connection, args)) if args[1] == scene.key.encode() else connection.send(b"+free\r\n")
    scene = Scene(start, fake, settings())
    with scene.connect() as client, scene.connect() as other:
        assert other.ask("GET", scene.key2) == "free"
        client.send(encode("SET", scene.key, BIG) + encode("GET", scene.key) + encode("SET", scene.good_key, "g"))
        eventually(lambda: held)
        for _ in range(20):
            assert other.ask("GET", scene.key2) == "free"
        assert held[0][1][0] == b"SET" and all(connection is held[0][0] for connection, _ in held)
        held[0][0].send(b"+OK\r\n")
        eventually(lambda: len(held) == 2, what="then it is sent")
        held[1][0].send(b"$3\r\nnew\r\n")
        assert [reply.value for reply in client.replies(3)] == ["OK", b"new", "OK"]


def test_upload_behind_a_small_request(start, fake):
    """It waits for the answer, and does not wait when there is none to wait for."""
    held = []
    fake.answer = lambda connection, args: held.append((connection, args))
    scene = Scene(start, fake, settings())
    with scene.connect() as client:
        client.send(encode("INCR", scene.key) + encode("SET", scene.key, BIG) + encode("PING"))
        eventually(lambda: held)
        wait_counter(scene.proxy, "requests_held")
        assert len(held) == 1 and scene.proxy.counter("requests_bulk") == 0
        held[0][0].send(b":1\r\n")
        eventually(lambda: len(held) == 2)
        assert held[1][1] == [b"SET", scene.key.encode(), BIG]
        held[1][0].send(b"+OK\r\n")
        assert [reply.value for reply in client.replies(3)] == [1, "OK", "PONG"]


def test_upload_behind_a_tombstone(start, fake):
    """A small request timed out and may still be executed: an upload on another connection could overtake
    it, so it fails at once, whoever sends it. When the late reply has come, it works."""
    held = []
    fake.answer = lambda connection, args: held.append((connection, args))
    scene = Scene(start, fake, {"timeouts": {"request": "200ms", "stall": "5s"}, "on_failure": {"reads": "error"}})
    with scene.connect() as client, scene.connect() as other:
        assert failed(client.ask("INCR", scene.key), fake, "timed out")
        began = time.monotonic()
        client.send(encode("SET", scene.key, BIG) + encode("PING"))
        assert failed(client.reply().value, fake, "timed out") and client.reply().value == "PONG"
        assert time.monotonic() - began < 0.15 * SLOWNESS, "at once, and not after another deadline"
        assert len(held) == 1
        fake.answer = lambda connection, args: connection.send(b"+OK\r\n")
        assert failed(other.ask("SET", scene.key, BIG), fake, "timed out"), "nor may another client's overtake it"
        held[0][0].send(b":1\r\n")
        eventually(lambda: client.ask("SET", scene.key, BIG) == "OK", within=3 * SLOWNESS, what="uploads work again")


# The end.

def test_drain_finishes_an_upload(start):
    """SIGTERM in the middle of a body: its rest is taken, answered, stored; then the proxy ends."""
    node = start.node()
    proxy = start.proxy([node], settings(timeouts={"drain": "10s"}))
    with proxy.connect(timeout=PATIENCE) as client:
        upload = Upload(client, "SET", "k", BIG).send(800_000)
        wait_counter(proxy, "requests_streamed")
        proxy.signal(signal.SIGTERM)
        eventually(lambda: not processes.is_open(proxy.port), what="no new client is accepted")
        upload.send(300_000)
        client.send(upload.rest())
        assert client.reply().value == "OK"
        eventually(lambda: is_closed(client))
    assert proxy.wait(5 * SLOWNESS) == 0
    assert node.ask("GET", "k") == BIG


def test_drain_has_an_end_inside_an_upload(start):
    node = start.node()
    proxy = start.proxy([node], settings(timeouts={"drain": "300ms"}))
    with proxy.connect(timeout=PATIENCE) as client:
        Upload(client, "SET", "k", BIG).send(800_000)
        wait_counter(proxy, "requests_streamed")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait(5 * SLOWNESS) == 0
    assert node.ask("EXISTS", "k") == 0

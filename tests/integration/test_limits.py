# SPDX-License-Identifier: Apache-2.0
"""Every limit: hit, it is a clear answer to one client and a counter that moves; all others go on."""
import time

import pytest

from fake_node import FakeNode
from processes import SLOWNESS, counters_of
from resp import Closed, Connection, Error, encode, eventually

pytestmark = pytest.mark.proxy_only


def counters_by(client):
    return counters_of(client.ask("INFO"))


@pytest.fixture
def silent():
    """A node that answers its greeting and then nothing."""
    made = FakeNode(lambda connection, args: None)
    yield made
    made.end()


def test_clients(start, nodes):
    proxy = start.proxy(nodes, {"limits": {"clients": 5}})
    clients = [proxy.connect_alone()] + [proxy.connect() for _ in range(4)]
    assert all(client.ask("PING") == "PONG" for client in clients)
    for _ in range(3):
        with Connection(proxy.port) as extra:
            assert extra.rest() == b"-ERR max number of clients reached\r\n"
    counters = counters_by(clients[0])
    assert counters["clients_refused"] == 3 and counters["clients"] == 5
    clients.pop().close()

    def fits():
        # Until the end of the other is seen, the answer is still no.
        client = proxy.connect()
        clients.append(client)
        try:
            return client.ask("PING") == "PONG"
        except (Closed, OSError):
            return False

    eventually(fits, what="a place that was left is given to the next")
    for client in clients:
        client.close()


def test_clients_with_workers(start, nodes):
    """The limit is of the process, not of each worker."""
    proxy = start.proxy(nodes, {"limits": {"clients": 9}}, workers=2)
    clients = [proxy.connect_alone()] + [proxy.connect() for _ in range(8)]
    assert all(client.ask("PING") == "PONG" for client in clients)
    with Connection(proxy.port) as extra:
        assert extra.rest() == b"-ERR max number of clients reached\r\n"
    for client in clients:
        client.close()


def test_client_idle(start, nodes):
    proxy = start.proxy(nodes, {"timeouts": {"client_idle": "300ms", "request": "5s"}})
    with proxy.connect() as idle, proxy.connect() as busy, proxy.connect() as half:
        assert idle.ask("PING") == "PONG"
        half.send(b"*1\r\n$4\r\nPI")
        began = time.monotonic()
        idle.socket.settimeout(0.01)
        closed = False
        while not closed and time.monotonic() < began + 5 * SLOWNESS:
            assert busy.ask("PING") == "PONG"
            try:
                closed = idle.socket.recv(1) == b""
            except TimeoutError:
                pass
        assert closed and time.monotonic() - began > 0.25
        assert half.rest(timeout=3 * SLOWNESS) == b""
        assert busy.ask("PING") == "PONG"
        assert counters_by(busy)["clients_idle_closed"] == 2


def test_client_that_waits_for_its_reply_is_not_idle(start, silent):
    proxy = start.proxy([silent], {"timeouts": {"client_idle": "100ms", "request": "500ms"}})
    with proxy.connect() as client:
        assert client.ask("GET", "k") is None


def test_client_stall(start, nodes, key):
    """A client that takes nothing of what it is owed is closed, and what it was owed given back."""
    proxy = start.proxy(nodes, {"timeouts": {"client_stall": "300ms", "request": "5s"}})
    with proxy.connect(rcvbuf=4096) as stalled, proxy.connect() as other:
        assert other.ask("SET", key("v"), "x" * 1_000_000) == "OK"
        stalled.send(encode("GET", key("v")) * 40)
        began = time.monotonic()
        eventually(lambda: other.ask("GET", key("v")) and proxy.counter("clients_stalled") == 1, within=5 * SLOWNESS)
        assert time.monotonic() - began > 0.25
        with pytest.raises((Closed, OSError)):
            stalled.replies(40)
        eventually(lambda: proxy.counter("buffer_bytes") < 1 << 20)


@pytest.mark.slow
def test_slow_client_is_not_stalled(start, nodes, key):
    """One that takes a little all the time is left alone, however long it takes in all. The kernel
    says that there is room again only when much of its buffer has gone; that is not a stall."""
    proxy = start.proxy(nodes, {"timeouts": {"client_stall": "1s", "request": "5s"}})
    with proxy.connect(rcvbuf=4096) as slow:
        assert slow.ask("SET", key("v"), "x" * 400_000) == "OK"
        slow.send(encode("GET", key("v")) * 30)
        wanted = 30 * len(b"$400000\r\n" + b"x" * 400_000 + b"\r\n")
        got, began = 0, time.monotonic()
        while got < wanted:
            if time.monotonic() - began < 3:
                time.sleep(0.02)
            data = slow.socket.recv(5000 if time.monotonic() - began < 3 else 100_000)
            assert data, f"closed after {got} bytes and {time.monotonic() - began:.1f} s"
            got += len(data)
        assert got == wanted and proxy.counter("clients_stalled") == 0


def test_client_output(start, nodes, key):
    """Values that are not large, for those wait until they fit (test_streamed_replies.py)."""
    proxy = start.proxy(nodes, {"limits": {"client_output": "1mb"}, "timeouts": {"request": "5s"}})
    with proxy.connect(rcvbuf=4096) as greedy, proxy.connect() as other:
        assert other.ask("SET", key("v"), "x" * 50_000) == "OK"
        greedy.send(encode("GET", key("v")) * 500)
        eventually(lambda: proxy.counter("clients_output_limit") == 1)
        assert other.ask("STRLEN", key("v")) == 50_000
        with pytest.raises((Closed, OSError)):
            greedy.replies(500)
        # In small portions it can have as much as it likes.
        for _ in range(100):
            assert len(other.ask("GET", key("v"))) == 50_000


def test_client_pending(start, nodes, key):
    """Above it a client is not read, and loses nothing."""
    proxy = start.proxy(nodes, {"limits": {"client_pending": 10}, "timeouts": {"request": "5s"}})
    with proxy.connect() as client:
        client.send(b"".join(encode("SET", key(i), i) + encode("GET", key(i)) for i in range(1000)))
        for i in range(1000):
            assert [reply.value for reply in client.replies(2)] == ["OK", b"%d" % i]
        assert counters_by(client)["clients_pending_limit"] > 0


def test_node_requests(start, silent):
    proxy = start.proxy([silent], {"limits": {"node_requests": 4}, "timeouts": {"request": "3s"},
                                   "on_failure": {"reads": "error"}})
    waiting = [proxy.connect() for _ in range(4)]
    for i, client in enumerate(waiting):
        client.send(encode("GET", f"k{i}"))
    eventually(lambda: len(silent.requests) == 4)
    with proxy.connect() as client:
        began = time.monotonic()
        answer = client.ask("GET", "k")
        assert isinstance(answer, Error) and str(answer).startswith(f"ERR sumcache: node {silent.name} "), answer
        assert isinstance(client.ask("SET", "k", "v"), Error)
        assert time.monotonic() - began < 0.5 * SLOWNESS
        assert client.ask("SUMCACHE.FAILURES", "miss") == "OK"
        assert client.ask("GET", "k") is None
        assert counters_by(client)["requests_node_limit"] == 3
        # When the node answers, there is room again.
        silent.answer = silent.echo
        for connection in list(silent.connections):
            connection.send(b"+late\r\n" * 4)
        assert [each.reply().value for each in waiting] == ["late"] * 4
        assert client.ask("GET", "k") == b"k"
    for each in waiting:
        each.close()


def test_node_bytes(start, silent):
    proxy = start.proxy([silent], {"limits": {"node_bytes": "1mb"}, "timeouts": {"request": "3s"}})
    with proxy.connect() as first, proxy.connect() as second:
        first.send(encode("SET", "a", "x" * 40_000) * 25)
        eventually(lambda: len(silent.requests) == 25)
        answer = second.ask("SET", "b", "x" * 60_000)
        assert isinstance(answer, Error) and "sumcache: node" in str(answer)
        assert counters_by(second)["requests_node_limit"] == 1
        second.send(encode("SET", "c", "small"))
        eventually(lambda: len(silent.requests) == 26)


def test_max_split_request(start, nodes, key):
    proxy = start.proxy(nodes, {"limits": {"max_split_request": "1mb"}, "timeouts": {"request": "5s"}})
    with proxy.connect() as client:
        pairs = [x for i in range(100) for x in (key(i), "x" * 9000)]
        assert client.ask("MSET", *pairs) == "OK"
        big = [x for i in range(100) for x in (key(i), "y" * 12000)]
        answer = client.ask("MSET", *big)
        assert isinstance(answer, Error) and "max_split_request" in str(answer)
        assert client.ask("GET", key(0)) == b"x" * 9000, "part of it was done"
        assert counters_by(client)["requests_split_limit"] == 1
        # What is sent on while it comes may be longer.
        assert client.ask("SET", key("big"), "x" * 2_000_000) == "OK"
        assert client.ask("PING") == "PONG"


def test_max_value(start, nodes, key):
    proxy = start.proxy(nodes, {"limits": {"max_value": "1mb"}, "timeouts": {"request": "5s"}})
    with proxy.connect() as client:
        assert client.ask("SET", key("v"), "x" * (1 << 20)) == "OK"
        assert len(client.ask("GET", key("v"))) == 1 << 20
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
        assert client.rest() == b"-ERR Protocol error: invalid bulk length\r\n"
    assert proxy.counter("clients_protocol_error") == 1


def test_max_elements(start, nodes, key):
    proxy = start.proxy(nodes, {"limits": {"max_elements": 100}, "timeouts": {"request": "5s"}})
    with proxy.connect() as client:
        names = [key(i) for i in range(99)]
        assert client.ask("MGET", *names) == [None] * 99
        client.send(b"*101\r\n")
        assert client.rest() == b"-ERR Protocol error: invalid multibulk length\r\n"
    # The same limit for what nodes send costs the upstream.
    with proxy.connect() as client:
        for i in range(2):
            assert client.ask("RPUSH", key("l"), *range(90)) == 90 * (i + 1)
        proxy_error = client.ask("SUMCACHE.FAILURES", "error")
        assert proxy_error == "OK"
        assert isinstance(client.ask("LRANGE", key("l"), 0, -1), Error)
        eventually(lambda: client.ask("LLEN", key("l")) == 180)
        assert counters_by(client)["upstreams_protocol_error"] == 1


def test_memory_of_requests(start, nodes, key):
    """Many clients that each hold most of a large request that has to be gathered: those that do not
    fit are told, and what fits works; afterwards everything does."""
    proxy = start.proxy(nodes, {"limits": {"memory": "8mb"}, "timeouts": {"request": "5s"}})
    value = "x" * 1_000_000
    request = encode("MSET", key("v"), value)
    with proxy.connect() as other:
        clients = [proxy.connect() for _ in range(20)]
        for client in clients:
            client.send(request[:-10])
        eventually(lambda: counters_by(other)["bytes_from_clients"] >= 20 * (len(request) - 10), within=5 * SLOWNESS,
                   what="it goes on reading, for a client must learn its answer")
        assert counters_by(other)["buffer_bytes"] <= 8 << 20
        assert other.ask("SET", key("small"), "1") == "OK" and other.ask("GET", key("small")) == b"1"
        answers = []
        for client in clients:
            client.send(request[-10:])
            answers.append(client.reply().value)
        refused = [answer for answer in answers if isinstance(answer, Error)]
        assert 10 <= len(refused) < 20 and all("limits.memory" in str(answer) for answer in refused), answers
        assert counters_by(other)["memory_limit_hits"] >= len(refused)
        for client in clients:
            assert client.ask("SET", key("v"), value) == "OK", "the connection lives on and the memory is free"
            client.close()
        eventually(lambda: counters_by(other)["buffer_bytes"] < 1 << 20)


def test_memory_of_replies(start, nodes, key):
    """Clients that ask for far more than fits and do not read. More of it in test_slow_readers.py."""
    proxy = start.proxy(nodes, {"limits": {"memory": "8mb"}, "timeouts": {"request": "10s", "stall": "10s", "client_stall": "1s"}})
    with proxy.connect() as other:
        for i in range(40):
            assert other.ask("SET", key(i), "x" * 50_000) == "OK"
        # Of values that are not large so much is under way at a time that it cannot all fit.
        clients = [proxy.connect(rcvbuf=4096) for _ in range(20)]
        for client in clients:
            client.send(b"".join(encode("GET", key(i % 40)) for i in range(200)))
        for _ in range(100):
            assert other.ask("SET", key("s"), "1") in ("OK",) or counters_by(other)["memory_limit_hits"] > 0
            assert counters_by(other)["buffer_bytes"] <= (8 << 20) + (1 << 20), "more than operations.md says"
        eventually(lambda: counters_by(other)["memory_limit_hits"] > 0, within=3 * SLOWNESS)
        for client in clients:
            client.close()
        eventually(lambda: counters_by(other)["buffer_bytes"] < 1 << 20, within=5 * SLOWNESS)
        assert len(other.ask("GET", key(0))) == 50_000


@pytest.mark.skipif(SLOWNESS > 1, reason="a sanitizer's allocator keeps what is freed")
def test_rss_after_a_burst(start, nodes, key):
    """Memory that a burst took is given back."""
    proxy = start.proxy(nodes, {"timeouts": {"request": "5s"}})
    with proxy.connect() as client:
        client.ask("SET", key("v"), "x" * 16_000_000)
        before = proxy.rss()
        for _ in range(3):
            clients = [proxy.connect() for _ in range(8)]
            for each in clients:
                each.send(encode("GET", key("v")))
            for each in clients:
                assert len(each.reply().value) == 16_000_000
                each.close()
        eventually(lambda: proxy.rss() < before + (24 << 20), within=3 * SLOWNESS, what="memory is given back")
        client.ask("DEL", key("v"))

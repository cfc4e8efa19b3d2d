# SPDX-License-Identifier: Apache-2.0
"""Clients that take their large replies slowly or not at all. They cost bounded memory and their own time;
nobody else waits for them, and they are closed only if somebody would have to."""
import selectors
import threading
import time

import pytest

from large import MIB, PATIENCE, Upload, Watch, blob, drained, keys_on, settings, slow_connection, wait_counter
from processes import SLOWNESS, counters_of
from resp import Closed, Error, encode, eventually

pytestmark = pytest.mark.proxy_only

LONG = blob(8_000_000, 7)
BIG = blob(1_500_000, 8)


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


@pytest.fixture
def node(start):
    made = start.node()
    assert made.ask("SET", "long", LONG) == "OK" and made.ask("SET", "big", BIG) == "OK"
    return made


def hold(proxy, key="long"):
    """A client that has asked for a long value and reads nothing: its upstream is paused."""
    client = slow_connection(proxy)
    before = proxy.counter("upstreams_paused")
    client.send(encode("GET", key))
    wait_counter(proxy, "upstreams_paused", before + 1)
    return client


def knows(proxy):
    """A client; the proxy knows by now that both values are large."""
    client = proxy.connect(timeout=PATIENCE)
    # Short deadlines may be missed on a busy machine.
    eventually(lambda: client.ask("GET", "long") == LONG and client.ask("GET", "big") == BIG, within=5 * SLOWNESS)
    return client


def test_a_paused_node_is_not_read(start, node):
    """Little is kept for a client that reads nothing and that nobody waits behind, however long; then it
    gets all."""
    proxy = start.proxy([node], settings(timeouts={"client_stall": "60s", "stall": "100ms", "request": "300ms"}))
    knows(proxy).close()
    clients = [hold(proxy), hold(proxy)]
    with proxy.connect(timeout=PATIENCE) as other:
        for i in range(50):
            assert other.ask("SET", "small", i) == "OK"
            time.sleep(0.01)
        counters = proxy.counters()
        assert counters["buffer_bytes"] < MIB and counters["clients_too_slow"] == 0 and counters["upstreams_stalled"] == 0, counters
        assert counters["replies_absorbed"] == 0
    for client in clients:
        assert client.reply().value == LONG
        assert client.ask("PING") == "PONG"
        client.close()


def test_a_slow_reader_that_fits_is_absorbed(start, node):
    """Somebody waits for its upstream: the rest of its value is read for it, it loses nothing, and the other
    is served at once."""
    proxy = start.proxy([node], settings(limits={"bulk_max": 1}, timeouts={"request": "1s"}))
    with knows(proxy) as other, hold(proxy) as slow:
        began = time.monotonic()
        assert other.ask("GET", "big") == BIG
        assert time.monotonic() - began < 0.7 * SLOWNESS
        assert other.ask("SET", "another", BIG) == "OK"
        counters = proxy.counters()
        assert counters["replies_absorbed"] == 1 and counters["clients_too_slow"] == 0 and counters["bulk_waits"] >= 1, counters
        assert slow.reply().value == LONG
        assert slow.ask("STRLEN", "long") == len(LONG)
    drained(proxy)


@pytest.mark.parametrize("limits", [{"client_output": "1mb"}, {"memory": "8mb"}])
def test_a_slow_reader_that_does_not_fit_is_closed(start, node, limits):
    """What is left of its value is more than its budget, or than half of limits.memory."""
    proxy = start.proxy([node], settings(limits={"bulk_max": 1, **limits}, timeouts={"request": "2s", "stall": "300ms", "client_stall": "60s"}))
    with knows(proxy) as other, hold(proxy) as slow:
        began = time.monotonic()
        assert other.ask("GET", "big") == BIG
        assert time.monotonic() - began < 1.9 * SLOWNESS
        counters = proxy.counters()
        assert counters["clients_too_slow"] == 1 and counters["replies_absorbed"] == 0, counters
        got = slow.rest(PATIENCE)
        assert bulk(LONG).startswith(got) and len(got) < len(LONG)
        assert other.ask("GET", "long") == LONG
    drained(proxy)


def test_no_minimal_rate(start, node):
    """With limits.client_min_rate 0 it is the others that do not get what it holds, within their deadlines."""
    proxy = start.proxy([node], {"limits": {"bulk_max": 1, "client_min_rate": 0, "client_output": "1mb"},
                                 "timeouts": {"request": "500ms", "stall": "100ms", "client_stall": "60s"}})
    with knows(proxy) as other, hold(proxy) as slow:
        began = time.monotonic()
        assert other.ask("GET", "big") is None
        assert 0.45 < time.monotonic() - began < 0.5 + 0.4 * SLOWNESS
        assert other.ask("SET", "small", "1") == "OK"
        counters = proxy.counters()
        assert counters["requests_timed_out"] >= 1 and counters["clients_too_slow"] == 0 and counters["replies_absorbed"] == 0
        assert slow.reply().value == LONG
        eventually(lambda: other.ask("GET", "big") == BIG)


def test_a_reader_that_is_fast_enough(start, node):
    """Others wait behind it in their turn as long as it takes more than limits.client_min_rate."""
    proxy = start.proxy([node], settings(limits={"bulk_max": 1, "client_min_rate": "200kb", "client_output": "1mb"}, timeouts={"stall": "1s"}))
    with knows(proxy) as other, hold(proxy) as reader:
        other.send(encode("GET", "big"))
        wanted = bulk(LONG)
        got = bytearray()
        end = time.monotonic() + 1.5
        while len(got) < len(wanted):
            if time.monotonic() < end:
                time.sleep(0.005)
            piece = reader.socket.recv(40_000)
            assert piece, f"closed after {len(got)}"
            got += piece
        assert got == wanted and other.reply().value == BIG
        counters = proxy.counters()
        assert counters["clients_too_slow"] == 0 and counters["replies_absorbed"] == 0 and counters["bulk_waits"] >= 1


def test_client_stall(start, node):
    """One that takes no byte for timeouts.client_stall is closed, also when nobody waits for it."""
    proxy = start.proxy([node], settings(timeouts={"client_stall": "300ms"}))
    with knows(proxy) as other, hold(proxy) as slow:
        began = time.monotonic()
        wait_counter(proxy, "clients_stalled")
        assert time.monotonic() - began > 0.2
        got = slow.rest(PATIENCE)
        assert bulk(LONG).startswith(got) and len(got) < len(LONG)
        assert other.ask("GET", "long") == LONG
        counters = proxy.counters()
        assert counters["clients_stalled"] == 1 and counters["clients_too_slow"] == 0
    drained(proxy)


def test_one_that_reads_a_little_is_not_stalled(start, node):
    """However slow it is, if nobody waits for what it holds."""
    proxy = start.proxy([node], settings(timeouts={"client_stall": "700ms"}))
    with hold(proxy) as slow:
        wanted = bulk(LONG)
        got = bytearray()
        end = time.monotonic() + 2
        while len(got) < len(wanted):
            if time.monotonic() < end:
                time.sleep(0.02)
            piece = slow.socket.recv(5000 if time.monotonic() < end else 1 << 20)
            assert piece, f"closed after {len(got)}"
            got += piece
        assert got == wanted
        assert proxy.counter("clients_stalled") == 0


def test_a_client_holds_one_paused_upstream(start):
    """It asks two nodes for long values and reads nothing: the second is read whole into its budget, so that
    others get at that node."""
    nodes = start.nodes(2)
    (first, *_), (second, *_) = keys_on(nodes)
    proxy = start.proxy(nodes, settings(limits={"bulk_max": 1}, timeouts={"client_stall": "60s"}))
    with proxy.connect(timeout=PATIENCE) as other, slow_connection(proxy) as slow:
        assert other.ask("SET", first, LONG) == "OK" and other.ask("SET", second, LONG) == "OK"
        slow.send(encode("GET", first) + encode("GET", second))
        wait_counter(proxy, "upstreams_paused")
        eventually(lambda: proxy.counter("buffer_bytes") > len(LONG), what="the second is kept")
        assert other.ask("GET", second) == LONG
        counters = proxy.counters()
        assert counters["replies_absorbed"] == 0 and counters["upstreams_paused"] >= 1
        assert slow.reply().value == LONG and slow.reply().value == LONG
    drained(proxy)


@pytest.mark.parametrize("client_output", ["256mb", "1mb"])
def test_two_clients_that_wait_for_each_other(start, client_output):
    """Each asks for two values, in opposite order, over pools of one. Both read; none is held up for good."""
    nodes = start.nodes(2)
    (first, *_), (second, *_) = keys_on(nodes)
    proxy = start.proxy(nodes, settings(limits={"bulk_max": 1, "client_output": client_output}, timeouts={"client_stall": "60s", "stall": "5s"}))
    with slow_connection(proxy) as one, slow_connection(proxy) as two:
        assert one.ask("SET", first, LONG) == "OK" and two.ask("SET", second, LONG) == "OK"
        one.send(encode("GET", first) + encode("GET", second))
        two.send(encode("GET", second) + encode("GET", first))
        wait_counter(proxy, "upstreams_paused", 2)
        mistakes = []

        def read(client):
            try:
                if [reply.value for reply in client.replies(2)] != [LONG, LONG]:
                    mistakes.append("wrong")
            except (Closed, OSError) as error:
                mistakes.append(repr(error))

        readers = [threading.Thread(target=read, args=(client,), daemon=True) for client in (one, two)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(PATIENCE)
        assert not mistakes and not any(reader.is_alive() for reader in readers), (mistakes, proxy.counters())


def test_slow_readers_beside_fast_ones(start, node):
    """Several that read nothing hold all bulk upstreams again and again; the fast ones do not notice."""
    proxy = start.proxy([node], settings(timeouts={"client_stall": "60s"}), workers=2)
    knows(proxy).close()
    slow = [slow_connection(proxy, protocol=2 + i % 2) for i in range(6)]
    with proxy.connect(timeout=PATIENCE) as other, proxy.connect(timeout=PATIENCE, protocol=3) as third:
        for client in slow:
            client.send(encode("GET", "long") * 2)
            for fast in (other, third):
                began = time.monotonic()
                assert fast.ask("GET", "big") == BIG
                assert time.monotonic() - began < 2 * SLOWNESS
                began = time.monotonic()
                assert fast.ask("SET", "small", "1") == "OK" and fast.ask("GET", "small") == b"1"
                assert time.monotonic() - began < 0.5 * SLOWNESS
    for client in slow:
        assert [reply.value for reply in client.replies(2)] == [LONG, LONG]
        client.close()
    drained(proxy)


# Memory.

@pytest.mark.slow
def test_readers_that_never_read(start, key):
    """Twenty clients ask for 25 values of 5 MB each and read nothing: 2.5 GB are owed, limits.memory holds,
    others are answered meanwhile, and afterwards the memory is given back."""
    limit = 64 * MIB
    proxy = start.proxy(start.nodes(3), {"limits": {"memory": limit}, "timeouts": {"request": "2s", "stall": "500ms", "client_stall": "60s"}})
    values = [blob(5_000_000, i) for i in range(25)]
    with proxy.connect(timeout=PATIENCE) as other:
        for i, value in enumerate(values):
            assert other.ask("SET", key(i), value) == "OK"
        warm = [proxy.connect(timeout=PATIENCE) for _ in range(20)]
        for client in warm:
            assert client.ask("GET", key(0)) == values[0]
            client.close()
        eventually(lambda: counters_of(other.ask("INFO"))["clients"] == 1)
        before = proxy.rss()
        requests = [encode("GET", key(i)) for i in range(25)]
        with Watch(proxy.rss, every=0.01) as rss, Watch(lambda: counters_of(proxy.ask("INFO"))["buffer_bytes"], every=0.02) as buffers:
            clients = [slow_connection(proxy) for _ in range(20)]
            for i, client in enumerate(clients):
                client.send(b"".join(requests[i:] + requests[:i]))
            took, large = [], []
            end = time.monotonic() + 2
            while time.monotonic() < end or len(took) < 150:
                i = len(took)
                began = time.monotonic()
                other.send(encode("SET", key("small"), i) + encode("GET", key("small")))
                assert [reply.value for reply in other.replies(2)] == ["OK", b"%d" % i]
                took.append(time.monotonic() - began)
                if i % 50 == 49:
                    # Until it is known who does not read, a large one may wait for its whole deadline.
                    began = time.monotonic()
                    which = i // 50 % 25
                    large.append(other.ask("GET", key(which)) == values[which])
                    large.append(other.ask("SET", key("upload"), values[which]) == "OK")
                    assert time.monotonic() - began < 4 + 0.5 * SLOWNESS
            assert sum(large) >= len(large) / 2, (large, counters_of(other.ask("INFO")))
            assert other.ask("GET", key(3)) == values[3] and other.ask("SET", key("upload"), values[4]) == "OK"
            for client in clients:
                client.close()
        took.sort()
        assert took[len(took) // 2] < 0.03 * SLOWNESS and took[-1] < 1 * SLOWNESS, (len(took), took[len(took) // 2], took[-1])
        assert buffers.most <= limit + MIB, buffers.most
        if SLOWNESS == 1:
            assert rss.most < before + limit + 4 * MIB, (before, rss.most)
            eventually(lambda: proxy.rss() < before * 1.2, within=5, what=f"RSS is back at {before}: {proxy.rss()}")
        eventually(lambda: counters_of(other.ask("INFO"))["clients"] == 1)


@pytest.mark.slow
def test_a_hundred_reading_clients(start, key):
    """Half a gigabyte on its way to those who read it takes less than 64 MiB in all. On a busy machine they
    read slowly, and then what is left of a value would be read for them while it fits; here it never does."""
    proxy = start.proxy(start.nodes(2), settings(limits={"client_output": "1mb", "client_min_rate": 0}))
    values = [blob(5 * MIB, i) for i in range(6)]
    with proxy.connect(timeout=PATIENCE) as other:
        for i, value in enumerate(values):
            assert other.ask("SET", key(i), value) == "OK"
        clients = [proxy.connect(timeout=PATIENCE) for _ in range(100)]
        got = [bytearray() for _ in clients]
        with Watch(proxy.rss, every=0.01) as rss, selectors.DefaultSelector() as ready:
            for i, client in enumerate(clients):
                client.send(encode("GET", key(i % 6)))
                ready.register(client.socket, selectors.EVENT_READ, i)
            left = len(clients)
            while left:
                events = ready.select(PATIENCE)
                assert events, (left, counters_of(other.ask("INFO")))
                for event, _ in events:
                    data = got[event.data]
                    piece = event.fileobj.recv(1 << 20)
                    assert piece, (event.data, len(data), counters_of(other.ask("INFO")))
                    data += piece
                    left -= len(data) == len(b"$5242880\r\n") + 5 * MIB + 2
        assert [i for i, data in enumerate(got) if data != bulk(values[i % 6])] == []
        if SLOWNESS == 1:
            assert rss.most < 64 * MIB, (rss.most, {k: v for k, v in counters_of(other.ask("INFO")).items() if v})
        for client in clients:
            client.close()
    drained(proxy)


@pytest.mark.slow
def test_memory_of_those_who_never_read_and_never_end(start, key):
    """Readers that do not read and uploads that do not end, together, under a small limit; afterwards
    everything works and the buffers are empty."""
    proxy = start.proxy(start.nodes(2), settings(limits={"memory": "8mb"}, timeouts={"client_stall": "1s"}))
    with proxy.connect(timeout=PATIENCE) as other:
        assert other.ask("SET", key("v"), BIG) == "OK" and other.ask("GET", key("v")) == BIG
        readers = [slow_connection(proxy) for _ in range(10)]
        uploads = [Upload(proxy.connect(timeout=PATIENCE), "SET", key(i), BIG) for i in range(10)]
        for reader in readers:
            reader.send(encode("GET", key("v")) * 20)
        for upload in uploads:
            upload.send_what_goes(quiet=0.01)
        for _ in range(30):
            answer = other.ask("SET", key("s"), "1")
            assert answer == "OK" or "limits.memory" in str(answer), answer
            assert counters_of(other.ask("INFO"))["buffer_bytes"] <= 9 * MIB
        for upload in uploads:
            upload.client.send(upload.rest())
            answer = upload.client.reply().value
            assert answer == "OK" or isinstance(answer, Error), answer
            assert upload.client.ask("PING") == "PONG"
        for reader in readers:
            reader.close()
        eventually(lambda: counters_of(other.ask("INFO"))["buffer_bytes"] < MIB, within=5 * SLOWNESS)
        for i in range(10):
            assert other.ask("SET", key(i), BIG) == "OK" and other.ask("GET", key(i)) == BIG

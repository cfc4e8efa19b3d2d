# SPDX-License-Identifier: Apache-2.0
"""Values and keys of every size around the boundaries at which buffers change, byte for byte."""
import hashlib
import random
import threading

import pytest

from resp import Connection, encode

KIB, MIB = 1 << 10, 1 << 20

# What is drawn once is cut for all: fast, and no two offsets look alike.
POOL = random.Random(1).randbytes(4 * MIB + 4321)


def value(size, salt=0):
    start = salt * 977 % 4096
    if size <= len(POOL) - start:
        return POOL[start:start + size]
    whole = POOL[start:] * (size // (len(POOL) - start) + 1)
    return whole[:size]


def around(*centres, by=3):
    return sorted({max(0, centre + d) for centre in centres for d in range(-by, by + 1)})


POWERS = around(*[1 << n for n in range(3, 21)])
# Chunks of 16, 64 and 256 KiB and their multiples, with room for the header and the terminator.
CHUNKS = around(*[n * 16 * KIB for n in (1, 2, 3, 5)], 48 * KIB, 192 * KIB, 256 * KIB, 320 * KIB, 512 * KIB, by=40)


@pytest.mark.parametrize("protocol", [2, 3])
def test_small_sizes(proxy, key, protocol):
    """Every size from 0 to 600 bytes, in one pipeline."""
    with proxy.connect(protocol=protocol) as client:
        client.send(b"".join(encode("SET", key(n), value(n, n)) + encode("GET", key(n)) for n in range(600)))
        for n in range(600):
            assert client.reply().raw == b"+OK\r\n"
            assert client.reply().value == value(n, n), n


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [2, 3])
def test_sizes_around_powers(proxy, key, protocol):
    with proxy.connect(protocol=protocol) as client:
        for size in POWERS:
            assert client.ask("SET", key("v"), value(size, size)) == "OK", size
            assert client.ask("GET", key("v")) == value(size, size), size


@pytest.mark.slow
def test_sizes_around_chunks(client, key):
    for size in CHUNKS:
        client.send(encode("SET", key("v"), value(size, size)) + encode("GET", key("v")))
        assert client.reply().raw == b"+OK\r\n"
        assert client.reply().value == value(size, size), size


def test_sizes_in_the_middle_of_a_pipeline(client, key):
    """A large value between small requests; the boundary falls on another byte each time."""
    for size in around(16 * KIB, 64 * KIB, 256 * KIB):
        small = b"".join(encode("SET", key(f"s{i}"), i) for i in range(7))
        data = small + encode("SET", key("v"), value(size)) + encode("GET", key("s3")) + encode("GET", key("v")) + \
            encode("GET", key("s5")) + encode("STRLEN", key("v"))
        client.send(data)
        assert [reply.value for reply in client.replies(12)] == \
            ["OK"] * 8 + [b"3", value(size), b"5", size]


@pytest.mark.slow
@pytest.mark.parametrize("size", [MIB + 1, 5 * MIB - 1, 8 * MIB, 16 * MIB + 3, 33 * MIB, 64 * MIB - 1, 64 * MIB])
def test_large_values(client, key, size):
    wanted = value(size, 5)
    assert client.ask("SET", key("v"), wanted) == "OK"
    assert client.ask("STRLEN", key("v")) == size
    got = client.ask("GET", key("v"))
    assert len(got) == size
    assert hashlib.sha256(got).digest() == hashlib.sha256(wanted).digest()
    assert client.ask("DEL", key("v")) == 1


@pytest.mark.slow
def test_mset_and_mget(client, key):
    sizes = around(0, 16 * KIB, 64 * KIB, 256 * KIB) + around(MIB, by=1)
    random.Random(3).shuffle(sizes)
    for n in range(1, len(sizes), 5):
        part = sizes[:n]
        client.send(encode("MSET", *[x for i, size in enumerate(part) for x in (key(i), value(size, i))]))
        assert client.reply().raw == b"+OK\r\n"
        got = client.ask("MGET", *[key(i) for i in range(n)], key("nothing"))
        assert got == [value(size, i) for i, size in enumerate(part)] + [None]
    assert client.ask("DEL", *[key(i) for i in range(len(sizes))]) == n


@pytest.mark.slow
def test_large_mset_and_mget(client, key):
    """48 MiB in one request, below max_split_request."""
    pairs = [(key(i), value(4 * MIB + i, i)) for i in range(12)]
    assert client.ask("MSET", *[x for pair in pairs for x in pair]) == "OK"
    got = client.ask("MGET", *[k for k, _ in pairs])
    assert got == [v for _, v in pairs]
    client.ask("DEL", *[k for k, _ in pairs])


def test_key_sizes(client, key):
    sizes = [1, 2, 255, 256, *around(16 * KIB, 64 * KIB), 256 * KIB, MIB]
    for size in sizes:
        name = key("").encode() + value(size, 1)
        assert client.ask("SET", name, str(size)) == "OK"
        assert client.ask("GET", name) == b"%d" % size
    names = [key("").encode() + value(size, 1) for size in sizes]
    assert client.ask("MGET", *names) == [b"%d" % size for size in sizes]
    assert client.ask("DEL", *names) == len(sizes)


def test_empty_key_and_value(client):
    assert client.ask("SET", "", "") == "OK"
    assert client.ask("MGET", "", "") == [b"", b""]
    assert client.ask("DEL", "") == 1


def test_many_arguments(client, key):
    """Requests and replies of very many elements."""
    count = 20000
    names = [key(i) for i in range(count)]
    assert client.ask("MSET", *[x for name in names for x in (name, name)]) == "OK"
    assert client.ask("MGET", *names) == [name.encode() for name in names]
    assert client.ask("RPUSH", key("list"), *range(count)) == count
    assert client.ask("LRANGE", key("list"), 0, -1) == [b"%d" % i for i in range(count)]
    assert client.ask("EXISTS", *names, *names) == 2 * count
    assert client.ask("UNLINK", *names) == count


def cut_sends(client, data, sizes):
    at = 0
    for size in sizes:
        client.send(data[at:at + size])
        at += size
    client.send(data[at:])


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 61])
def test_requests_in_tiny_pieces(client, key, piece):
    """The kernel glues pieces together as it likes; over many requests all cuts occur."""
    data = b"".join(encode("SET", key(i), value(i, i)) + encode("MGET", key(i), key(i - 1)) for i in range(1, 40))
    cut_sends(client, data, [piece] * (len(data) // piece))
    for i in range(1, 40):
        assert client.reply().raw == b"+OK\r\n"
        assert client.reply().value == [value(i, i), value(i - 1, i - 1) if i > 1 else None]


@pytest.mark.parametrize("protocol", [2, 3])
def test_pipeline_of_ten_thousand(proxy, key, protocol):
    """Sent by one thread while another reads, over all nodes; every reply in its place."""
    with proxy.connect(protocol=protocol) as client:
        data = b"".join(encode("SET", key(i), f"v{i}") for i in range(5000)) + \
            b"".join(encode("GET", key(i)) for i in range(5000))
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        for _ in range(5000):
            assert client.reply().raw == b"+OK\r\n"
        for i in range(5000):
            assert client.reply().value == b"v%d" % i
        sender.join()


def test_pipeline_of_ten_thousand_sent_before_reading(client, key):
    data = b"".join(encode("INCR", key(i % 7)) + encode("PING", i) for i in range(5000))
    client.send(data)
    for i in range(5000):
        assert client.reply().value == i // 7 + 1
        assert client.reply().value == b"%d" % i


@pytest.mark.slow
def test_large_pipeline_of_mixed_sizes(client, key):
    """Order holds when answers of other nodes, of other sizes and of the proxy itself mix."""
    rng = random.Random(11)
    data, wanted = [], []
    stored = {}
    for i in range(4000):
        kind = rng.random()
        name = key(rng.randrange(200))
        if kind < 0.3:
            stored[name] = value(rng.choice([0, 5, 100, 1000, 16384, 70000]), i)
            data.append(encode("SET", name, stored[name]))
            wanted.append("OK")
        elif kind < 0.6:
            data.append(encode("GET", name))
            wanted.append(stored.get(name))
        elif kind < 0.7:
            names = [key(rng.randrange(200)) for _ in range(5)]
            data.append(encode("MGET", *names))
            wanted.append([stored.get(n) for n in names])
        elif kind < 0.8:
            data.append(encode("ECHO", i))
            wanted.append(b"%d" % i)
        elif kind < 0.9:
            names = {name, key(rng.randrange(200))}
            data.append(encode("DEL", *names))
            wanted.append(sum(stored.pop(n, None) is not None for n in names))
        else:
            data.append(b"PING\r\n")
            wanted.append("PONG")
    sender = threading.Thread(target=client.send, args=(b"".join(data),))
    sender.start()
    for i, answer in enumerate(wanted):
        assert client.reply().value == answer, i
    sender.join()


@pytest.mark.slow
def test_a_thousand_clients(proxy, key):
    clients = [Connection(proxy.port) for _ in range(1000)]
    try:
        for i, client in enumerate(clients):
            client.send(encode("SET", key(i), f"v{i}") + encode("GET", key(i)))
        for i, client in enumerate(clients):
            assert [reply.value for reply in client.replies(2)] == ["OK", b"v%d" % i]
        for step in range(3):
            for i, client in enumerate(clients):
                client.send(encode("MGET", key(i), key((i + step) % 1000), key(f"no{i}")) + encode("PING", i))
            for i, client in enumerate(clients):
                assert client.reply().value == [b"v%d" % i, b"v%d" % ((i + step) % 1000), None]
                assert client.reply().value == b"%d" % i
    finally:
        for client in clients:
            client.close()


def test_a_slow_reader_does_not_hold_up_others(proxy, key):
    """A client that asks for much and reads nothing for a while; others go on; then it gets all."""
    with proxy.connect(rcvbuf=8192) as slow, proxy.connect() as other:
        assert slow.ask("SET", key("v"), value(300000)) == "OK"
        slow.send(encode("GET", key("v")) * 50)
        for i in range(200):
            assert other.ask("SET", key("o"), i) == "OK"
            assert other.ask("GET", key("v")) == value(300000)
        for _ in range(50):
            assert slow.reply().value == value(300000)

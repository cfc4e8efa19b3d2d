# SPDX-License-Identifier: Apache-2.0
"""What clients may send. Redis 7.0 is the judge: the same bytes come back from the proxy, and it
closes where Redis closes.

Each input is sent whole, then our side is closed; so all that the server had to say is read up to the
end. A protocol error shows in the bytes, and what follows it must not be answered.
"""
import random
import re
import socket

import pytest

from processes import SLOWNESS
from resp import Connection, ask, encode, eventually, exchange

# Requests of Envoy's decoder tests (inline commands, then what it refuses), and what Redis itself is
# known to be peculiar about. The proxy's own limits are tested elsewhere.
INLINE = [
    b"ping", b"echo hello", b"42", b"echo 42", b"   ping   ", b'""', b'"ping"', b'echo "hello world"', b'echo ""',
    b'set "foo \'bar\' baz" quux', b'   "echo"   ', b'"\\\\\\"\\x01\\n\\r\\t\\b\\a"', b'"\\xyu\\c\\x0"', b"'echo'",
    b"echo 'hello world'", b"echo ''", b"set 'foo \"bar\" baz' quux", b"'\\''", b"'\\x01'", b"echo '\\x41'",
    b'echo "\\x41\\x4a\\x4A\\xzz"', b'echo "a\\nb\\"c"', b"\tping\t", b"ping\x0b", b"echo a\x00b", b"\x00ping", b"", b" ",
    b"get k", b"set k v", b"GET  k ", b"mget k k k", b"quit", b"QUIT", b"echo a\\", b"echo a\\x41", b"echo 'a''b'",
    b'echo a"b"', b'echo "a" b', b"\xff\xfe", b"nosuch \xff", b"POST / HTTP/1.1", b"Host: x", b"post", b"host:",
    b"GET / HTTP/1.1", b"hello 1", b"*", b"echo *1", b"-1", b":1", b"$3", b"+OK", b"%1", b"~1", b">1", b"^", b"#t", b"_",
    b"echo " + b"x" * 1000, b"nosuch " + b"y" * 300, b"x" * 300, b"\r", b"ping\r", b"\rping", b"pi\rng",
]
UNBALANCED = [b'"', b'"""', b'"foo', b'" foo', b'"fo"o', b"'", b"'''", b"'foo", b"' foo", b"'fo'o", b'"hello', b"'hello",
              b'echo "\\', b'echo "\\"', b"echo '\\'", b'"\\x4']
FRAMES = [
    b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n", b"*0\r\n", b"*-1\r\n", b"*-2\r\n", b"*-10\r\n", b"*-0\r\n",
    b"*\r\n", b"*x\r\n", b"*1x\r\n", b"*x1\r\n", b"* 1\r\n", b"*1 \r\n", b"*+1\r\n", b"*01\r\n", b"*1\n$4\nPING\n", b"*1\n",
    b"*9999999999999999999999999\r\n", b"*9223372036854775807\r\n", b"*9223372036854775808\r\n", b"*2147483648\r\n",
    b"*-9223372036854775808\r\n", b"*-9223372036854775809\r\n",
    b"*1\r\nECHO\r\n", b"*1\r\n+PING\r\n", b"*1\r\n:1\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n\r\n", b"*1\r\n$\r\n",
    b"*1\r\n$-1\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$x\r\n", b"*1\r\n$4x\r\nPING\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$9999999999999999999999999\r\n", b"*1\r\n$9223372036854775808\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$0\r\n\r\n", b"*2\r\n$0\r\n\r\n$0\r\n\r\n", b"*1\r\n$4\r\nPINGxx", b"*1\r\n$4\r\nPING\n\n", b"*1\r\n$4\rxPING\r\n",
    b"*1\rx$4\r\nPING\r\n", b"*1\r\n$3\r\nPING\r\n", b"*1\r\n$5\r\nPING\r\n", b"*1\r\n$4\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$1\r\nab\r\n",
    b"*2\r\n$4\r\nECHO\r\n$1\r\na\ra", b"*2\r\n$4\r\nECHO\r\n$-1\r\n", b"*2\r\n$4\r\nECHO\r\n", b"*2\r\n$4\r\nECHO\r\nhello\r\n",
    b"*2\r\n$4\r\nECHO\r\n\x00\r\n", b"*1\r\n\x00\r\n", b"*1\r\n\x80\r\n", b"*1\r\n'\r\n", b"*1\x00\r\n$4\r\nPING\r\n",
    b"*\x001\r\n", b"*1\r\n$4\x00\r\nPING\r\n", b"*1\r\n$\x004\r\nPING\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"*1\r\n$4\r\nQUIT\r\n", b"*2\r\n$4\r\nQUIT\r\n$1\r\nx\r\n",
    b"*2\r\n$4\r\necho\r\n$3\r\nfoo\r\nset baz \"foo bar\"\r\n*1\r\n$4\r\nping\r\n",
    b"*1\r\n$4\r\nPOST\r\n", b"*1\r\n$5\r\nHost:\r\n", b"*2\r\n$5\r\nNOSUC\r\n$3\r\na\nb\r\n", b"$1\r\nab", b":-a\r\n", b":-123\ra\r\n",
    b"^\r\n", b"%1\r\n", b"|1\r\n+k\r\n+v\r\n+OK\r\n", b"=8\r\ntxthello\r\n", b"(123abc\r\n", b"\r\n\r\n\r\n", b"\n", b"\n\n", b"\r",
    b"PING\n", b"PING", b"*", b"*1", b"*1\r", b"*1\r\n", b"*1\r\n$", b"*1\r\n$4", b"*1\r\n$4\r\nPI", b"*1\r\n$4\r\nPING\r",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000000\r\nabc",
]
LONG = [
    b"x" * 65534 + b"\r\n", b"x" * 65536, b"x" * 70000, b"*" + b"1" * 65536, b"*" + b"1" * 70000,
    b"*1\r\n$" + b"1" * 65536, b"*1\r\n$" + b"1" * 70000, b"*" + b"0" * 100 + b"1\r\n$4\r\nPING\r\n",
    b"echo " + b"x" * 65000 + b"\r\n", b"*1\r\n" + b"x" * 1000 + b"\r\n", b"\x00" * 70000, b" " * 65000 + b"ping\r\n",
    b"*1" + b"\x00" * 65600, b"*1\r\n$4" + b"\x00" * 65600,
]
# The answer to it says whether the server still listens; it is inline, so it survives most nonsense.
TAIL = b"\r\nPING\r\n"

VECTORS = [v + TAIL for v in INLINE + UNBALANCED] + [v + end for v in FRAMES for end in (b"", TAIL)]


@pytest.fixture
def twins(redis, proxy):
    """Ports of Redis and of the proxy, both empty."""
    for node in [redis, *proxy.nodes]:
        node.ask("FLUSHALL")
    return redis.port, proxy.port


def compare(twins, inputs):
    differences = []
    for data in inputs:
        wanted, got = exchange(twins[0], data), exchange(twins[1], data)
        if wanted != got:
            differences.append(f"sent {data[:200]!r} ({len(data)} B)\n  Redis {wanted[:300]!r}\n  proxy {got[:300]!r}")
            assert len(differences) < 20, "\n".join(differences)
    assert not differences, "\n".join(differences)


def test_vectors(twins):
    compare(twins, VECTORS)


@pytest.mark.parametrize("index", range(len(LONG)))
def test_long_vectors(twins, index):
    """Beyond 64 KiB the server may close while we still send; what it said must have reached us, and
    so the tail is left out: bytes the server never reads would make the kernel drop its words. Lines of
    64 KiB and a little more are left out too: what Redis says to them depends on how it reads."""
    compare(twins, [LONG[index]])


def test_vectors_behind_a_request(twins):
    """An error in the middle of a pipeline: what came before it is answered, nothing after it."""
    head = encode("SET", "head", "1") + encode("MGET", "head", "b", "c") + encode("GET", "head")
    compare(twins, [head + vector for vector in VECTORS])


@pytest.mark.slow
def test_vectors_cut_everywhere(redis, proxy):
    """Sent in two pieces, for every place to cut; a request of another client between them makes
    the server see the first piece alone."""
    differences = []
    with Connection(proxy.port) as other:
        for data in VECTORS:
            if len(data) > 60:
                continue
            redis.ask("FLUSHALL")
            wanted = exchange(redis.port, data)
            for at in range(1, len(data)):
                for node in proxy.nodes:
                    if b"k" in data or b"baz" in data:
                        node.ask("FLUSHALL")
                with Connection(proxy.port) as client:
                    client.send(data[:at])
                    other.ask("PING")
                    try:
                        client.send(data[at:])
                        client.half_close()
                    except OSError:
                        pass  # It has closed on the first piece.
                    got = client.rest()
                # What a server that has closed did not read makes the kernel drop what it had said
                # before; then a prefix is all that can be asked for.
                if got != wanted and not (wanted.startswith(got) and b"-ERR Protocol" in wanted + got):
                    differences.append(f"{data!r} cut at {at}\n  Redis {wanted!r}\n  proxy {got!r}")
                    assert len(differences) < 20, "\n".join(differences)
    assert not differences, "\n".join(differences)


def closes(data, wanted):
    """Does Redis close by itself after this input? Found out by asking it."""
    return b"-ERR Protocol error" in wanted or b"+OK" == wanted[:3] and b"quit" in data.lower()


def test_it_closes_only_when_redis_closes(twins):
    """Without closing our side: a protocol error and QUIT end the connection, nothing else does."""
    redis_port, proxy_port = twins
    for data in VECTORS:
        outcomes = []
        wanted = exchange(redis_port, data)
        for port in (redis_port, proxy_port):
            with Connection(port) as client:
                try:
                    client.send(data)
                except OSError:
                    pass
                if closes(data, wanted) or (not wanted and re.match(rb"(?i)\s*(post|host:)", data)):
                    outcomes.append(client.rest(timeout=5))
                else:
                    got = b""
                    while len(got) < len(wanted):
                        got += client.socket.recv(len(wanted) - len(got))
                    if ask(port, "PING") != "PONG" or not client.is_quiet():
                        got += b" and then closed"
                    outcomes.append(got)
        assert outcomes[0] == outcomes[1], data


def in_our_limits(data):
    """False for inputs where the proxy's own limit (elements) rightly answers otherwise."""
    return not any(1_000_000 < int(n) <= 2**31 - 1 for n in re.findall(rb"\*0*(\d{7,10})(?!\d)", data))


def harmless(data):
    """False for input that might spell a command that hurts the test's own Redis, or that one Redis
    may answer but the proxy refuses."""
    return not re.search(rb"(?i)shutdown|debug|slaveof|replicaof|sync|monitor|subscribe|failover|select|config|flush|"
                         rb"keys|scan|save|multi|exec|watch|discard|role|time|info|command|client|move|acl|wait|"
                         rb"dbsize|module|latency|memory|lolwut|object|lastsave|randomkey|swapdb|hello|script|unwatch|asking",
                         data)


CORPUS = [
    encode("SET", "a", "1"), encode("GET", "a"), encode("MGET", "a", "b", "c"), encode("MSET", "a", "1", "b", "22"),
    encode("DEL", "a", "b"), encode("ECHO", "hello"), encode("PING"), b"PING\r\n", b"echo \"a b\" 'c'\r\n", b"set a \"1\\n\\x41\"\r\n",
    encode("SET", "bin", bytes(range(256))), encode("HSET", "h", "f", "v"), encode("HGETALL", "h"), encode("EXISTS", "a", "a"),
    encode("NOSUCH", "x", "y"), encode("GET"), b"\r\n", b"*0\r\n", encode("SET", "big", "x" * 20000), encode("APPEND", "a", "$3\r\nxyz\r\n"),
    b"get a\n", b"mget a b\r\nget b\r\n", encode("TYPE", "h"), encode("LPUSH", "l", "", "\r\n"), encode("LRANGE", "l", 0, -1),
]
GARBAGE = [b"\r\n", b"\n", b"\r", b"*", b"$", b"-1", b"0", b"\x00", b" ", b'"', b"'", b"*1\r\n", b"$0\r\n\r\n", b"99999999999999999999", b"\\x",
           b"*-1\r\n", b"\xff", b"536870913"]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(GARBAGE)
        elif kind == 2:
            del data[at:at + rng.choice([1, 1, 2, 5])]
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 4:
            data[at:at] = data[at:at + rng.randrange(20)]
        elif kind == 5:
            digits = [m.span() for m in re.finditer(rb"\d+", bytes(data))]
            if digits:
                start, end = rng.choice(digits)
                data[start:end] = str(rng.choice([0, 1, 2, 3, 4, 5, 10, 100, 65536, -1, 1 << 31, 1 << 63])).encode()
        else:
            data[at:] = data[at:][::-1][:rng.randrange(10)]
    return bytes(data)


def mutated(seed, count):
    rng = random.Random(seed)
    while count:
        pipeline = b"".join(rng.choice(CORPUS) for _ in range(rng.choice([1, 2, 3, 5])))
        data = mutate(rng, pipeline)
        if harmless(data) and in_our_limits(data):
            count -= 1
            yield data


def random_bytes(seed, count):
    rng = random.Random(seed)
    alphabets = [bytes(range(256)), b"*$\r\n0123456789", b"*$\r\n123 \"'\\xPINGping\x00", b"\r\n\x00 '\"abc"]
    while count:
        alphabet = rng.choice(alphabets)
        data = bytes(rng.choice(alphabet) for _ in range(rng.choice([1, 3, 10, 40, 200])))
        if harmless(data) and in_our_limits(data):
            count -= 1
            yield data + rng.choice([b"", b"\r\n", b"\r\nPING\r\n"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_mutated_requests(twins, seed):
    compare(twins, mutated(seed, 1000))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_bytes(twins, seed):
    compare(twins, random_bytes(seed, 1000))


@pytest.mark.proxy_only
def test_a_protocol_error_costs_one_client_only(proxy, key):
    before = proxy.counter("clients_protocol_error")
    with proxy.connect() as good, proxy.connect() as bad:
        good.ask("SET", key("a"), "1")
        bad.send(b"*1\r\nx\r\n")
        assert bad.rest() == b"-ERR Protocol error: expected '$', got 'x'\r\n"
        assert good.ask("GET", key("a")) == b"1"
    assert proxy.counter("clients_protocol_error") == before + 1


def test_half_closed_client_gets_its_replies(proxy, key):
    data = b"".join(encode("SET", key(i), "x" * 1000) + encode("GET", key(i)) for i in range(1000))
    reply = b"+OK\r\n$1000\r\n" + b"x" * 1000 + b"\r\n"
    assert exchange(proxy.port, data) == reply * 1000
    # Also when the last request is not complete.
    assert exchange(proxy.port, data + b"*2\r\n$3\r\nGET\r\n$5\r\nab") == reply * 1000


@pytest.mark.parametrize("quit_request", [encode("QUIT"), b"QUIT\r\n", b"quit\n"])
def test_quit_inside_a_pipeline(proxy, key, quit_request):
    """What was asked before it is answered, then OK, then the end; nothing behind it is done."""
    before = b"".join(encode("SET", key(i), i) for i in range(20)) + encode("MGET", *[key(i) for i in range(20)])
    with proxy.connect() as client:
        client.send(before + quit_request + encode("SET", key("after"), "1") + encode("PING"))
        got = client.rest()
    assert got.startswith(b"+OK\r\n" * 20 + b"*20\r\n") and got.endswith(b"$2\r\n19\r\n+OK\r\n"), got[-100:]
    assert ask(proxy.port, "GET", key("after")) is None


@pytest.mark.proxy_only
def test_clients_that_vanish_harm_nobody(start, key):
    """In the middle of a request, of a reply, of a large body, with and without a word."""
    proxy = start.proxy(start.nodes(2), {"timeouts": {"request": "5s"}})
    value = bytes(range(256)) * 20000
    with proxy.connect() as good:
        assert good.ask("SET", key("v"), value) == "OK"
        request = encode("SET", key("w"), value)
        for kind in range(40):
            client = proxy.connect(rcvbuf=4096 if kind % 3 == 0 else None)
            if kind % 4 == 0:
                client.send(request[:len(request) * kind // 40])
            elif kind % 4 == 1:
                client.send(encode("GET", key("v")) * 3)
                client.socket.recv(1000)
            elif kind % 4 == 2:
                client.send(encode("GET", key("v")) + encode("MGET", key("v"), key("x")) * 3 + request[:1000])
            else:
                client.send(b"*2\r\n$3\r\nGE")
            if kind % 2:
                client.reset()
            else:
                client.close()
            assert good.ask("SET", key("g"), kind) == "OK"
            assert good.ask("GET", key("g")) == b"%d" % kind
        assert good.ask("GET", key("v")) == value
        assert good.ask("GET", key("w")) in (None, value)
        eventually(lambda: proxy.counter("clients") == 2, what="the clients are gone")
        eventually(lambda: proxy.counter("buffer_bytes") < 1 << 20, what="buffers are given back")


@pytest.mark.proxy_only
@pytest.mark.slow
@pytest.mark.skipif(SLOWNESS > 1, reason="a sanitizer's allocator keeps what is freed")
def test_half_a_command_then_silence(start):
    """A thousand clients with half a command each cost their bytes and little more."""
    proxy = start.proxy(start.nodes(1))
    proxy.ask("PING")
    idle = [proxy.connect() for _ in range(1000)]
    assert all(client.ask("PING") == "PONG" for client in idle)
    before, bytes_before = proxy.rss(), proxy.counter("bytes_from_clients")
    half = b"*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$500\r\n" + b"x" * 170
    for client in idle:
        client.send(half)
    read = 1000 * len(half)
    eventually(lambda: proxy.counter("bytes_from_clients") >= bytes_before + read, what="all bytes are read")
    grown = proxy.rss() - before
    # A chunk of 16 KiB each would be 16 MB.
    assert grown < 3 << 20, f"{grown} bytes for {read}, buffers {proxy.counter('buffer_bytes')}"
    # A length that is only announced costs nothing either.
    for client in idle[:200]:
        client.close()
    announced = [proxy.connect() for _ in range(200)]
    for client in announced:
        client.send(b"*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$500000000\r\nabc")
    proxy.ask("PING")
    assert proxy.rss() - before < 6 << 20
    for client in idle[200:]:
        client.send(b"x" * 330 + b"\r\n")
    for client in idle[200:]:
        assert client.reply().raw == b"+OK\r\n"
    for client in idle + announced:
        client.close()


def test_nagle_is_off(proxy, key):
    """Small answers do not wait for the kernel's patience (40 ms each if they did)."""
    with proxy.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        for i in range(100):
            client.send(encode("SET", key("a"), i))
            client.send(encode("GET", key("a")))
            assert [reply.value for reply in client.replies(2)] == ["OK", b"%d" % i]

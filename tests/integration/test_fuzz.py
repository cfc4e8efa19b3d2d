# SPDX-License-Identifier: Apache-2.0
"""Random requests, of every command there is, with any number of arguments of any kind, whole and in
pieces, inline and pipelined, on many connections at a time: nothing crashes, hangs or gets out of step.

How it is known: every few requests an ECHO goes in between with a mark of its own, and the marks come
back in their order, each once, with whole replies between them. Commands that change how a connection
answers (MULTI, SUBSCRIBE, CLIENT REPLY, HELLO, QUIT, what blocks) come on connections where the marks are
looked for in what comes, whatever it is wrapped in; there marks may be missing, but none comes twice,
late, or from somebody else.

A run prints its seed; FUZZ_SEED repeats it, FUZZ_SECONDS makes it longer.
"""
import os
import random
import re
import select
import time

import pytest

import processes
import resp
import surface
from resp import Connection, encode

pytestmark = pytest.mark.proxy_only

ROWS = surface.rows()
SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", time.time_ns() % 1_000_000))

# What would stop or stall the nodes or the proxy itself, rightly, if it were let through.
DEADLY = {"shutdown", "debug", "failover", "replicaof", "slaveof", "client|pause", "script|debug", "config|set", "client|kill",
          "migrate", "save", "bgsave", "bgrewriteaof", "restore-asking"}
# What makes a connection answer more, less, or otherwise than once per request.
STATEFUL = {"multi", "exec", "discard", "watch", "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe",
            "sunsubscribe", "client|reply", "client|tracking", "hello", "reset", "quit", "monitor", "blpop", "brpop", "blmove",
            "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xread", "xreadgroup", "wait", "waitaof", "sync", "psync"}
OPTIONS = """
nx xx get ex px exat pxat keepttl persist ch incr gt lt count match type limit withscores withvalues weights aggregate min
max sum byscore bylex rev left right before after store storedist by asc desc alpha streams group block noack justid idle
force maxlen minid ~ = * $ > - + (1 [a -inf +inf inf nan km m fromlonlat frommember byradius bybox withdist keys replace db
async sync on off skip lib-name nochannels get set incrby overflow fail u8 i5 #1 and or xor not len idx rank maxlen nomkstream
""".split()


class Draw:
    """Requests, drawn by a seed."""

    def __init__(self, rng, stateful):
        self.rng = rng
        names = sorted(name for name in ROWS if name not in DEADLY and (stateful or name not in STATEFUL))
        self.names = [name.split("|") for name in names]
        # Now and then as often as all others together, or they would hardly meet.
        self.often = [name.split("|") for name in sorted(STATEFUL & set(ROWS))] if stateful else []

    def argument(self):
        rng = self.rng
        kind = rng.randrange(12)
        if kind < 4:
            return rng.choice(["a", "b", "c", "{t}1", "{t}2", "list", "hash", "set", "zset", "stream"])
        if kind < 7:
            return str(rng.choice([0, 1, 2, 3, 5, 10, -1, 100, 65536, 1 << 31, 1 << 63, -(1 << 63), 0.01, 1.5]))
        if kind < 10:
            return rng.choice(OPTIONS)
        if kind < 11:
            return rng.randbytes(rng.choice([0, 1, 3, 20]))
        return rng.choice([b"", b"\r\n", b"*3\r\n$3\r\nGET\r\n", "x" * 300, rng.randbytes(20000), rng.randbytes(100000)])

    def words(self):
        rng = self.rng
        name = list(rng.choice(self.often if self.often and rng.random() < 0.3 else self.names))
        if rng.random() < 0.02:
            name = [rng.choice(["nosuch", "", "get ", b"\x00", "x" * 200])]
        # Names of any case; few arguments mostly, since most commands take few.
        name = [word.upper() if isinstance(word, str) and rng.random() < 0.5 else word for word in name]
        count = rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 8, 20])
        if count > 0 and rng.random() < 0.01:
            count = 500
        return name + [self.argument() for _ in range(count)]

    def request(self):
        words = self.words()
        if self.rng.random() < 0.1:
            plain = [word if isinstance(word, str) else word.hex() for word in words]
            line = " ".join(word if re.fullmatch(r"[!-~]+", word) and not re.search(r"[\"'\\]", word) else '""' for word in plain)
            if line.split()[0] != '""' and len(line) < 30000:
                return line.encode() + self.rng.choice([b"\r\n", b"\n"])
        return encode(*words)

    def pieces(self, data):
        """The bytes in random portions, whole mostly."""
        rng = self.rng
        if rng.random() < 0.6:
            return [data]
        at = sorted(rng.randrange(len(data)) for _ in range(rng.choice([1, 2, 5])))
        return [piece for piece in (data[a:b] for a, b in zip([0, *at], [*at, len(data)])) if piece]


def exchange(connection, pieces, is_over, patience):
    """Sends all of it and reads until is_over(all bytes that came), or until the other side closes: →
    the bytes, and whether it closed. Reads while it sends: else both sides might wait for one another."""
    sock, came, out = connection.socket, bytearray(), list(pieces)
    end = time.monotonic() + patience
    sock.setblocking(False)
    try:
        while out or not is_over(came):
            readable, writable, _ = select.select([sock], [sock] if out else [], [], max(0, end - time.monotonic()))
            if not readable and not writable:
                raise AssertionError(f"nothing comes for {patience:g} s; the last was {bytes(came[-200:])!r}")
            if writable:
                sent = sock.send(out[0])
                out[0] = out[0][sent:]
                if not out[0]:
                    out.pop(0)
            if readable:
                data = sock.recv(1 << 18)
                if not data:
                    return bytes(came), True
                came += data
    except (ConnectionResetError, BrokenPipeError):
        return bytes(came), True
    finally:
        sock.settimeout(connection.timeout)
    return bytes(came), False


def replies_of(data, whole=True):
    """The replies that the bytes are, read by the tests' own parser. The last may be cut off unless all
    is `whole`."""
    parser = Connection.__new__(Connection)
    parser.buffer, parser.at = bytearray(data), 0
    parser.socket = None
    replies = []
    while parser.at < len(parser.buffer):
        start = parser.at
        try:
            value = parser._value()
        except AttributeError:  # it wanted to read more from the socket that it does not have
            assert not whole, f"cut off: {bytes(parser.buffer[start:start + 200])!r}"
            break
        replies.append((value, bytes(parser.buffer[start:parser.at])))
    return replies


@pytest.fixture(scope="module")
def own_nodes(shared):
    """What stays behind here, and who still waits for what, is nobody else's."""
    return shared.nodes(3)


def test_every_request_has_one_reply(start, own_nodes):
    """Without what changes a connection's state: exactly one whole reply to each request, in order."""
    proxy = start.proxy(own_nodes, {"timeouts": {"request": "10s", "stall": "10s"}})
    rng = random.Random(SEED)
    draw = Draw(rng, stateful=False)
    end = time.monotonic() + SECONDS
    asked = 0
    while time.monotonic() < end:
        with proxy.connect(protocol=rng.choice([2, 3])) as client:
            for turn in range(20):
                requests, marks = [], []
                for number in range(rng.choice([1, 5, 30])):
                    requests.append(draw.request())
                    if rng.random() < 0.3:
                        marks.append((len(requests), f"mark-{turn}-{number}-{rng.random()}".encode()))
                        requests.append(encode("ECHO", marks[-1][1]))
                last = f"last-{turn}-{rng.random()}".encode()
                requests.append(encode("ECHO", last))
                tail = b"$%d\r\n%s\r\n" % (len(last), last)
                pieces = draw.pieces(b"".join(requests))
                came, closed = exchange(client, pieces, lambda came, tail=tail: came.endswith(tail), 20 * processes.SLOWNESS)
                asked += len(requests)
                assert not closed, f"FUZZ_SEED={SEED}: closed after {asked} requests: {requests[-8:]}"
                replies = replies_of(came)
                assert len(replies) == len(requests), f"FUZZ_SEED={SEED}: {len(requests)} requests, {len(replies)} replies: {requests}"
                for place, mark in marks:
                    assert replies[place][0] == mark, f"FUZZ_SEED={SEED}: {replies[place]} where {mark} should be"
    print(f"FUZZ_SEED={SEED}: {asked} requests")
    assert asked > 1000
    assert proxy.ask("PING") == "PONG"


def take_what_is_there(connection, to, patience):
    """Reads until nothing has come for so long, or the other side has closed."""
    sock = connection.socket
    try:
        while select.select([sock], [], [], patience)[0]:
            data = sock.recv(1 << 18)
            if not data:
                return
            to += data
    except OSError:
        pass


def check_marks(came, marks, others):
    """Marks come in order and each once; nobody else's come."""
    seen = re.findall(rb"mark-[0-9a-f]+-\d+", came)
    assert not [mark for mark in seen if mark in others], "another connection's mark"
    order = [marks.index(mark) for mark in seen if mark in marks]
    return order


def test_connections_in_any_state(start, own_nodes):
    """With MULTI, SUBSCRIBE, CLIENT REPLY, blocking commands and the like, several connections at once:
    what comes is whole replies, marks keep their order, and the connection can be reset or is closed."""
    proxy = start.proxy(own_nodes)
    rng = random.Random(SEED + 1)
    draw = Draw(rng, stateful=True)
    end = time.monotonic() + SECONDS
    runs = said = came_back = 0
    all_marks = set()
    while time.monotonic() < end:
        runs += 1
        clients = [proxy.connect(protocol=rng.choice([2, 3])) for _ in range(4)]
        spoken = {client: [] for client in clients}
        heard = {client: bytearray() for client in clients}
        for turn in range(40):
            client = rng.choice(clients)
            mark = b"mark-%08x-%d" % (rng.getrandbits(32), turn)
            all_marks.add(mark)
            spoken[client].append(mark)
            data = b"".join(draw.request() for _ in range(rng.choice([0, 1, 1, 4]))) + encode("ECHO", mark)
            try:
                for piece in draw.pieces(data):
                    client.send(piece)
            except OSError:
                pass  # closed by a QUIT or for nonsense; what was said before is read below
            for one in clients:
                take_what_is_there(one, heard[one], 0)
        for client in clients:
            # Half closed, so that it is told what is left. Some may wait for what never happens.
            try:
                client.half_close()
            except OSError:
                pass
            take_what_is_there(client, heard[client], 0.2 * processes.SLOWNESS)
            client.close()
            came = bytes(heard[client])
            order = check_marks(came, spoken[client], all_marks - set(spoken[client]))
            said += len(spoken[client])
            came_back += len(order)
            assert order == sorted(order), f"FUZZ_SEED={SEED}: marks out of order: {order}"
            replies_of(came, whole=False)  # raises at what is no reply
        assert proxy.ask("ECHO", "alive") == b"alive", f"FUZZ_SEED={SEED}"
    # Who waits in a command that blocks is not read; behind more than a socket takes, its end is not seen either,
    # until the kernels give up (docs/operations.md). All others are gone at once.
    resp.eventually(lambda: sum(not re.search(rb" flags=\w*b\w* ", line) for line in proxy.ask("CLIENT", "LIST").splitlines()) < 3,
                    within=10 * processes.SLOWNESS, what="they are gone")
    print(f"FUZZ_SEED={SEED}: {runs} runs of 4 connections")
    assert runs > 2 and came_back > said / 10
    with proxy.connect() as client:
        assert client.ask("SET", "after", "1") == "OK" and client.ask("GET", "after") == b"1"

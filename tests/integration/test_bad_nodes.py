# SPDX-License-Identifier: Apache-2.0
"""What nodes may send. A bad reply, one that nobody asked for, or half a one costs the connection it
came on, and nothing else."""
import time

import pytest

from fake_node import FakeNode
from processes import SLOWNESS
from resp import Error, encode, eventually
from ring import Ring

pytestmark = pytest.mark.proxy_only

QUICK = {"timeouts": {"request": "2s", "stall": "200ms", "backoff_min": "1ms", "backoff_max": "20ms"},
         "on_failure": {"reads": "error"}}


# So that who is ejected is soon admitted again.
EAGER = {"interval_out": "20ms", "hold_min": "10ms", "hold_max": "50ms", "timeout": "100ms"}


class Scene:
    """A fake node and a good one behind one proxy, and a key on each."""

    def __init__(self, start, fake, good, settings):
        self.fake = fake
        self.good = good
        self.proxy = start.proxy([fake, good], settings)
        ring = Ring([fake.name, good.name])
        keys = [f"key:{i}" for i in range(100)]
        self.fake_key = next(key for key in keys if ring.owner(key) == fake.name)
        self.good_key = next(key for key in keys if ring.owner(key) == good.name)
        self.fake_echo = self.fake_key.encode()

    def works_again(self):
        """The fake node answers properly, if need be after a new connection."""
        self.fake.answer = self.fake.echo
        self.fake.greet = self.fake.proper_greeting
        with self.proxy.connect() as client:
            eventually(lambda: client.ask("GET", self.fake_key) == self.fake_echo, within=3 * SLOWNESS,
                       what="requests to the fake node work again")


@pytest.fixture(scope="module")
def module_start(tmp_path_factory):
    from conftest import Starter
    starter = Starter(tmp_path_factory.mktemp("bad-nodes"))
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def quick(module_start):
    fake = FakeNode()
    yield Scene(module_start, fake, module_start.node(), QUICK)
    fake.end()


@pytest.fixture
def scene(quick):
    quick.works_again()
    return quick


@pytest.fixture
def fake():
    made = FakeNode()
    yield made
    made.end()


def fails(answer, scene):
    return isinstance(answer, Error) and str(answer).startswith(f"ERR sumcache: node {scene.fake.name} ")


DIGITS = b"1" * 200
BAD_REPLIES = [
    b"^\r\n", b"\r\n", b"\x00", b"OK\r\n", b":-a\r\n", b":1x\r\n", b":--1\r\n", b": 1\r\n", b":-123\ra", b":1\n", b"+OK\n\n\r+",
    b"$1\r\nab", b"$1\r\na\ra", b"$1\na\r\n", b"$x\r\n", b"$?\r\n", b"*?\r\n",
    b":\r\n", b":-\r\n", b"*\r\n", b"$\r\n", b"%\r\n", b"~\r\n", b">\r\n", b"!\r\n", b"=\r\n", b"|\r\n", b"*-\r\n", b"$-\r\n",
    b"$-2\r\n", b"!-1\r\n", b"=-1\r\n", b"*-2\r\n", b"%-1\r\n", b"~-1\r\n", b">-1\r\n", b"$-1x", b"*-1x",
    b"*9999999999999999999999999\r\n", b"$9999999999999999999999999\r\n", b"%9999999999999999999999999\r\n",
    b"~9999999999999999999999999\r\n", b":9223372036854775808\r\n", b":-9223372036854775809\r\n", b":" + DIGITS + b"\r\n",
    b"$536870913\r\n", b"=536870913\r\n", b"!536870913\r\n", b"*2000001\r\n", b"~2000001\r\n", b">2000001\r\n", b"%1000001\r\n",
    b"*800000\r\n" * 5 + b"%97200\r\n", b"*1\r\n" * 130, b"%1\r\n+k\r\n" * 130, b"*1\r\nECHO\r\n", b"*2\r\n:1\r\n^\r\n",
    b"#x\r\n", b"#\r\n", b"#tt\r\n", b",abc\r\n", b",\r\n", b"(123abc\r\n", b"(-\r\n", b"(+\r\n", b"(\r\n", b"=8\r\ntxthello\r\n", b"_x\r\n",
    b"|1\r\n+k\r\n+v\r\n" * 33 + b"+OK\r\n", b">2\r\n+message\r\n+hello\r\n", b">3\r\n$7\r\nmessage\r\n$5\r\nhello\r\n$5\r\nworld\r\n",
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("bad", BAD_REPLIES, ids=lambda bad: repr(bad[:24])[2:-1])
def test_bad_reply(scene, bad, protocol):
    with scene.proxy.connect(protocol=protocol) as client, scene.proxy.connect() as other:
        # The first request opens the upstream of this protocol.
        eventually(lambda: client.ask("GET", scene.fake_key) == scene.fake_echo)
        before = scene.proxy.counters()
        accepted = scene.fake.accepted
        scene.fake.answer = lambda connection, args: connection.send(bad)
        data = encode("SET", scene.good_key, "1") + encode("GET", scene.fake_key) + encode("GET", scene.good_key)
        client.send(data)
        replies = client.replies(3)
        assert replies[0].value == "OK" and replies[2].value == b"1"
        assert fails(replies[1].value, scene), replies[1]
        assert other.ask("GET", scene.good_key) == b"1"
        scene.fake.answer = scene.fake.echo
        eventually(lambda: client.ask("GET", scene.fake_key) == scene.fake_echo, within=3)
        after = scene.proxy.counters()
        assert after["upstreams_protocol_error"] == before["upstreams_protocol_error"] + 1
        assert scene.fake.accepted == accepted + 1


GOOD_REPLIES = [
    b"$-1\r\n", b"*-1\r\n", b"-error\r\n", b"-\r\n", b"+simple string\r\n", b"+\r\n", b"$11\r\nbulk string\r\n", b"$0\r\n\r\n",
    b":9223372036854775807\r\n", b":-1\r\n", b":-9223372036854775808\r\n", b":-0\r\n", b"*0\r\n", b"*2\r\n$5\r\nhello\r\n:-5\r\n",
    b"*2\r\n*3\r\n$5\r\nhello\r\n:0\r\n$-1\r\n$5\r\nworld\r\n", b"*1\r\n" * 127 + b":1\r\n", b"*3\r\n*0\r\n*-1\r\n$-1\r\n",
    b"$4\r\n\r\n\r\n\r\n",
]
GOOD_RESP3 = [
    b"#t\r\n", b"#f\r\n", b"_\r\n", b",3.14\r\n", b",-1.5\r\n", b",inf\r\n", b",-inf\r\n", b",nan\r\n", b",3.140\r\n", b",1e2\r\n",
    b",1.2300\r\n", b"(3492890328409238509324850943850943825024385\r\n", b"(+12345\r\n", b"(-1\r\n", b"!12\r\nSYNTAX error\r\n",
    b"=15\r\ntxt:Some string\r\n", b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", b"%0\r\n", b"~3\r\n+a\r\n+b\r\n+c\r\n", b"~0\r\n",
    b"*2\r\n|1\r\n+k\r\n+v\r\n:42\r\n:99\r\n", b"|1\r\n+k\r\n%2\r\n+b\r\n#t\r\n+d\r\n,3.14\r\n+OK\r\n", b"%1\r\n*1\r\n:1\r\n~1\r\n_\r\n",
]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_good_replies_pass_unchanged(scene, protocol, bytewise):
    good = GOOD_REPLIES + (GOOD_RESP3 if protocol == 3 else [])
    with scene.proxy.connect(protocol=protocol) as client:
        for reply in good:
            scene.fake.answer = lambda connection, args, reply=reply: \
                (connection.send_bytewise if bytewise else connection.send)(reply)
            assert client.ask_raw("GET", scene.fake_key) == reply


def test_replies_cut_everywhere(scene):
    """Two replies in two pieces, for every place to cut, with a request of another client between."""
    data = b"*2\r\n$5\r\nhello\r\n*2\r\n:12\r\n$-1\r\n$3\r\nend\r\n"
    with scene.proxy.connect() as client, scene.proxy.connect() as other:
        for at in range(1, len(data)):
            waiting = []

            def answer(connection, args, at=at, waiting=waiting):
                waiting.append(args)
                if len(waiting) == 2:
                    connection.send(data[:at])
                    other.ask("PING")
                    connection.send(data[at:])

            scene.fake.answer = answer
            client.send(encode("GET", scene.fake_key) * 2)
            assert client.reply().raw + client.reply().raw == data, at


@pytest.mark.parametrize("unasked", [b"+OK\r\n", b"$3\r\nfoo\r\n", b":1\r\n", b">2\r\n+message\r\n+x\r\n", b"-ERR x\r\n", b"\r\n"])
def test_reply_nobody_asked_for(scene, unasked):
    """While the upstream is idle."""
    with scene.proxy.connect() as client:
        assert client.ask("GET", scene.fake_key) == scene.fake_echo
        before = scene.proxy.counter("upstreams_protocol_error")
        connections = list(scene.fake.connections)
        for connection in connections:
            connection.send(unasked)
        eventually(lambda: scene.proxy.counter("upstreams_protocol_error") == before + len(connections))
        assert client.ask("PING") == "PONG"
        eventually(lambda: client.ask("GET", scene.fake_key) == scene.fake_echo, within=3)


def test_one_reply_too_many(scene):
    """The reply that was asked for is delivered; the one behind it goes to nobody."""
    with scene.proxy.connect() as client:
        before = scene.proxy.counter("upstreams_protocol_error")
        scene.fake.answer = lambda connection, args: connection.send(b"$5\r\nasked\r\n$7\r\nunasked\r\n")
        assert client.ask("GET", scene.fake_key) == b"asked"
        eventually(lambda: scene.proxy.counter("upstreams_protocol_error") == before + 1)
        scene.fake.answer = scene.fake.echo
        answers = set()
        eventually(lambda: answers.add(str(client.ask("GET", scene.fake_key))) or
                   client.ask("GET", scene.fake_key) == scene.fake_echo, within=3)
        assert not any("unasked" in answer for answer in answers)


@pytest.mark.parametrize("half", [b"$100\r\nabc", b"*3\r\n:1\r\n", b":12", b"$5\r\nhello", b"$5\r\nhello\r", b"*1000\r\n"])
def test_half_a_reply_then_silence(scene, half):
    with scene.proxy.connect() as client, scene.proxy.connect() as other:
        assert client.ask("GET", scene.fake_key) == scene.fake_echo
        before = scene.proxy.counter("upstreams_stalled")
        scene.fake.answer = lambda connection, args: connection.send(half)
        client.send(encode("GET", scene.fake_key))
        began = time.monotonic()
        assert other.ask("SET", scene.good_key, "x") == "OK"
        assert fails(client.reply().value, scene)
        assert 0.15 < time.monotonic() - began < 0.2 + 0.4 * SLOWNESS
        assert scene.proxy.counter("upstreams_stalled") == before + 1


@pytest.mark.parametrize("said", [b"", b"$100\r\nabc", b"*2\r\n:1\r\n", b":1"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_closes_inside_a_reply(scene, said, how):
    with scene.proxy.connect() as client:
        assert client.ask("GET", scene.fake_key) == scene.fake_echo
        # A connection that is lost sooner than timeouts.backoff_min (1 ms here) makes its node down at once:
        # then the second try of a read of whose reply nothing had come is answered by that.
        time.sleep(0.01)

        def answer(connection, args):
            connection.send(said)
            getattr(connection, how)()

        scene.fake.answer = answer
        error = client.ask("GET", scene.fake_key)
        assert fails(error, scene) and str(error).endswith("closed the connection"), error
        assert client.ask("SET", scene.good_key, "1") == "OK"


def test_closing_hits_all_that_wait_and_each_once(scene):
    """Twenty requests under way, ten answered, then the node closes."""
    with scene.proxy.connect() as client:
        seen = []

        def answer(connection, args):
            seen.append(args)
            if len(seen) == 20:
                connection.send(b"".join(b"$%d\r\n%s\r\n" % (len(a[1]), a[1]) for a in seen[:10]))
                connection.close()

        scene.fake.answer = answer
        names = [f"{{{scene.fake_key}}}{i}" for i in range(20)]
        client.send(b"".join(encode("GET", name) for name in names) + encode("PING", "end"))
        replies = [reply.value for reply in client.replies(21)]
        assert replies[:10] == [name.encode() for name in names[:10]]
        assert all(fails(reply, scene) for reply in replies[10:20])
        assert replies[20] == b"end"


def test_on_failure_as_each_client_wants(scene):
    """SUMCACHE.FAILURES says it per connection: a miss, or an error."""
    with scene.proxy.connect() as client, scene.proxy.connect(protocol=3) as third:
        scene.fake.answer = lambda connection, args: connection.close()
        assert fails(client.ask("GET", scene.fake_key), scene)
        assert client.ask("SUMCACHE.FAILURES", "miss") == "OK"
        assert third.ask("SUMCACHE.FAILURES", "miss") == "OK"
        assert client.ask_raw("GET", scene.fake_key) == b"$-1\r\n"
        assert third.ask_raw("GET", scene.fake_key) == b"_\r\n"
        k = scene.fake_key
        misses = [
            (["EXISTS", k], b":0\r\n", b":0\r\n"), (["TTL", k], b":-2\r\n", b":-2\r\n"), (["TYPE", k], b"+none\r\n", b"+none\r\n"),
            (["STRLEN", k], b":0\r\n", b":0\r\n"), (["GETRANGE", k, 0, 1], b"$0\r\n\r\n", b"$0\r\n\r\n"),
            (["HGETALL", k], b"*0\r\n", b"%0\r\n"), (["HGET", k, "f"], b"$-1\r\n", b"_\r\n"), (["SMEMBERS", k], b"*0\r\n", b"~0\r\n"),
            (["HMGET", k, "f", "g"], b"*2\r\n$-1\r\n$-1\r\n", b"*2\r\n_\r\n_\r\n"), (["LRANGE", k, 0, 1], b"*0\r\n", b"*0\r\n"),
            (["SISMEMBER", k, "m"], b":0\r\n", b":0\r\n"), (["SMISMEMBER", k, "m", "n"], b"*2\r\n:0\r\n:0\r\n", b"*2\r\n:0\r\n:0\r\n"),
            (["ZSCORE", k, "m"], b"$-1\r\n", b"_\r\n"), (["ZRANGE", k, 0, 1], b"*0\r\n", b"*0\r\n"), (["LLEN", k], b":0\r\n", b":0\r\n"),
            (["MGET", k, k], b"*2\r\n$-1\r\n$-1\r\n", b"*2\r\n_\r\n_\r\n"),
        ]
        for command, two, three in misses:
            assert client.ask_raw(*command) == two, command
            assert third.ask_raw(*command) == three, command
        before = scene.proxy.counter("requests_masked")
        assert client.ask("GET", k) is None
        assert scene.proxy.counter("requests_masked") == before + 1
        for command in (["SET", k, "1"], ["INCR", k], ["SETNX", k, "1"], ["DEL", k], ["UNLINK", k], ["MSET", k, "1"], ["GETDEL", k],
                        ["EVAL", "return 1", "1", k], ["EXPIRE", k, "1"], ["HSET", k, "f", "v"], ["LPOP", k], ["GETSET", k, "v"]):
            assert fails(client.ask(*command), scene), command
        # Part of a split command: under `miss` the other node's values are there.
        client.ask("SET", scene.good_key, "here")
        assert client.ask("MGET", k, scene.good_key, k) == [None, b"here", None]
        assert client.ask("EXISTS", k, scene.good_key) == 1
        assert fails(client.ask("DEL", k, scene.good_key), scene)
        assert client.ask("SUMCACHE.FAILURES", "error") == "OK"
        client.ask("SET", scene.good_key, "here")
        assert fails(client.ask("MGET", k, scene.good_key), scene)
        assert fails(client.ask("EXISTS", k, scene.good_key), scene)
        assert isinstance(client.ask("SUMCACHE.FAILURES", "nonsense"), Error)
        assert isinstance(client.ask("SUMCACHE.FAILURES"), Error)


def test_late_reply_is_dropped_in_its_place(start, fake):
    """The upstream lives on, and the next request gets its own reply."""
    held = []
    fake.answer = lambda connection, args: held.append((connection, args))
    scene = Scene(start, fake, start.node(), {"timeouts": {"request": "100ms"}, "on_failure": {"reads": "error"}})
    with scene.proxy.connect() as client, scene.proxy.connect() as other:
        began = time.monotonic()
        error = client.ask("GET", scene.fake_key)
        took = time.monotonic() - began
        assert fails(error, scene) and str(error).endswith("timed out"), error
        assert 0.09 < took < 0.1 + 0.2 * SLOWNESS
        other.send(encode("GET", scene.fake_key))
        eventually(lambda: len(held) == 2)
        connection = held[0][0]
        assert held[1][0] is connection, "a new connection for a late reply"
        connection.send(b"$4\r\nlate\r\n")
        connection.send(b"$2\r\nok\r\n")
        assert other.reply().value == b"ok"
        assert scene.proxy.counter("late_replies") == 1
        assert scene.proxy.counter("requests_timed_out") == 1
        assert fake.accepted == 1


def test_silent_node_is_given_up(start, fake):
    """No byte for several deadlines: the upstream is closed, and a new one works."""
    fake.answer = lambda connection, args: None
    scene = Scene(start, fake, start.node(), {"timeouts": {"request": "50ms", "backoff_min": "1ms", "backoff_max": "20ms"},
                                              "health": {"eject_after": "10m"}})
    with scene.proxy.connect() as client:
        eventually(lambda: client.ask("GET", scene.fake_key) is None and scene.proxy.counter("upstreams_silent") >= 1,
                   within=3 * SLOWNESS)
        scene.works_again()


@pytest.mark.parametrize("greeting", [b"", b"-LOADING Redis is loading\r\n", b"-NOAUTH Authentication required.\r\n", b"+NO\r\n",
                                      b":1\r\n", b"junk\r\n", b"+PONG\r\n+PONG\r\n", b">1\r\n+x\r\n", None])
def test_bad_greeting(start, fake, greeting):
    """A node that does not greet properly gets no request, and costs nobody more than a deadline."""
    def greet(connection, args):
        connection.close() if greeting is None else connection.send(greeting)

    fake.greet = greet
    settings = {"timeouts": {"connect": "100ms", "request": "100ms", "backoff_min": "1ms", "backoff_max": "20ms"},
                "on_failure": {"reads": "error"}, "health": EAGER}
    scene = Scene(start, fake, start.node(), settings)
    with scene.proxy.connect() as client:
        for _ in range(10):
            began = time.monotonic()
            answer = client.ask("GET", scene.fake_key)
            assert answer is None or fails(answer, scene) or "is moving" in str(answer) # None: ejected, the other one is asked
            assert time.monotonic() - began < 0.1 + 0.2 * SLOWNESS
            assert client.ask("SET", scene.good_key, "1") == "OK"
        counters = ["upstreams_connect_failed", "upstreams_protocol_error", "checks_failed"] # whoever came first
        eventually(lambda: any(scene.proxy.counter(name) >= 1 for name in counters), what="the failed greetings are counted")
        assert fake.requests == []
        scene.works_again()


def test_node_without_hello(start, fake):
    """RESP2 clients use it all the same; RESP3 clients are told."""
    fake.greet = lambda connection, args: connection.send(
        b"-ERR unknown command 'HELLO'\r\n" if args[0] == b"HELLO" else b"+PONG\r\n")
    scene = Scene(start, fake, start.node(), QUICK)
    with scene.proxy.connect() as client, scene.proxy.connect(protocol=3) as third:
        for _ in range(5):
            assert fails(third.ask("GET", scene.fake_key), scene)
            assert client.ask("GET", scene.fake_key) == scene.fake_echo
        third.ask("SET", scene.good_key, "1")
        assert third.ask("GET", scene.good_key) == b"1"


def test_resp3_clients_use_their_own_upstreams(scene):
    """Replies of one protocol never reach a client of the other."""
    scene.fake.answer = lambda connection, args: connection.send(
        b"%0\r\n" if getattr(connection, "third", False) else b"*0\r\n")

    def greet(connection, args):
        if args[0].upper() != b"CLIENT":
            connection.third = args[0].upper() == b"HELLO"
        FakeNode.proper_greeting(connection, args)

    scene.fake.greet = greet
    for connection in list(scene.fake.connections):
        connection.close()
    clients = [scene.proxy.connect(protocol=2 + i % 2) for i in range(20)]
    eventually(lambda: clients[0].ask_raw("HGETALL", scene.fake_key) == b"*0\r\n")
    eventually(lambda: clients[1].ask_raw("HGETALL", scene.fake_key) == b"%0\r\n")
    for _ in range(5):
        for client in clients:
            client.send(encode("HGETALL", scene.fake_key))
        for i, client in enumerate(clients):
            assert client.reply().raw == (b"%0\r\n" if i % 2 else b"*0\r\n")
    for client in clients:
        client.close()

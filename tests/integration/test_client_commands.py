# SPDX-License-Identifier: Apache-2.0
"""CLIENT and its subcommands: about all clients of the proxy, whichever worker has them."""
import re
import time

import pytest

import resp
from processes import SLOWNESS
from resp import eventually

ERRORS = [
    ("LIST", "TYPE", "normal", "x"), ("LIST", "TYPE", "foo"), ("LIST", "TYPE", "pubsub"), ("LIST", "TYPE", "slave"),
    ("LIST", "ID"), ("LIST", "ID", "1", "x"), ("LIST", "ID", "99999999"), ("LIST", "ID", "0"), ("LIST", "FOO"),
    ("LIST", "FOO", "bar"), ("KILL", "1.2.3.4:5"), ("KILL", "ID", "0"), ("KILL", "ID", "x"), ("KILL", "ID", "99999999"),
    ("KILL", "TYPE", "foo"), ("KILL", "USER", "joe"), ("KILL", "USER", "default", "ID", "99999999"),
    ("KILL", "SKIPME", "maybe"), ("KILL", "FOO", "x"), ("KILL", "ADDR", "1:1", "LADDR", "2:2"), ("KILL", "ADDR"),
    ("KILL", "ID", "1", "ADDR"), ("KILL",), ("KILL", "x" * 300), ("KILL", "ADDR", "x" * 300),
    ("PAUSE",), ("PAUSE", "x"), ("PAUSE", "-1"), ("PAUSE", "1", "FOO"), ("PAUSE", "1", "WRITE", "x"),
    ("PAUSE", "99999999999999999999"), ("PAUSE", "0"), ("UNPAUSE",), ("REPLY", "FOO"), ("REPLY", "ON"), ("GETREDIR",),
    ("TRACKINGINFO",), ("CACHING", "YES"), ("TRACKING", "OFF"), ("TRACKING", "foo"), ("NO-EVICT", "ON"),
    ("NO-EVICT", "foo"),
]


@pytest.fixture(scope="module")
def crowd(shared, nodes):
    """A proxy with two workers."""
    return shared.proxy(nodes, {"timeouts": {"request": "10s", "stall": "10s"}}, workers=2)


def text_of(value):
    """Of a bulk string, or of RESP3's verbatim one."""
    return value.decode().removeprefix("txt:")


def listed(client, *options):
    text = text_of(client.ask("CLIENT", "LIST", *options))
    assert text == "" or text.endswith("\n")
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in text.splitlines()]


def is_closed(client):
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def own_id(client):
    return str(client.ask("CLIENT", "ID"))


@pytest.mark.parametrize("command", ERRORS, ids=" ".join)
@pytest.mark.parametrize("protocol", [2, 3])
def test_as_a_server_would(crowd, redis, command, protocol):
    command = [word[:40] for word in command] if len(command[-1]) > 200 else command
    with crowd.connect(protocol=protocol) as ours, redis.connect(protocol=protocol) as theirs:
        assert ours.ask_raw("CLIENT", *command) == theirs.ask_raw("CLIENT", *command)
        assert ours.ask("PING") == theirs.ask("PING")


def test_the_line_has_what_a_servers_has(crowd, redis):
    with crowd.connect(protocol=3) as ours, redis.connect(protocol=3) as theirs:
        ours.ask("CLIENT", "SETNAME", "jo")
        ours.ask("CLIENT", "SETINFO", "lib-name", "redis-x")
        ours.ask("CLIENT", "SETINFO", "lib-ver", "1.2")
        mine, other = (text_of(client.ask("CLIENT", "INFO")) for client in (ours, theirs))
        names = [re.findall(r"(?:^| )(\S+?)=", text) for text in (mine, other)]
        assert names[0][:len(names[1])] == names[1], "a newer server has more, at the end"
        line = dict(field.split("=", 1) for field in mine.strip().split(" "))
        assert line["name"] == "jo" and line["resp"] == "3" and line["cmd"] == "client|info"
        assert line["laddr"] == f"127.0.0.1:{crowd.port}"
        assert line["addr"] == "127.0.0.1:%d" % ours.socket.getsockname()[1]
        assert (line["lib-name"], line["lib-ver"]) == ("redis-x", "1.2")
        assert listed(ours, "ID", line["id"])[0]["addr"] == line["addr"]


@pytest.mark.proxy_only
def test_all_workers_clients_are_listed(crowd):
    clients = [crowd.connect() for _ in range(20)]
    ids = {own_id(client) for client in clients}
    assert len({int(one) % 2 for one in ids}) == 2, "both workers have some"
    with crowd.connect() as asker:
        assert ids <= {line["id"] for line in listed(asker)}
        assert len({line["id"] for line in listed(asker)}) == len(listed(asker))
        assert {line["id"] for line in listed(asker, "ID", *ids)} == ids
        assert ids <= {line["id"] for line in listed(asker, "TYPE", "normal")}
        assert listed(asker, "TYPE", "master") == []
    for client in clients:
        client.close()
    with crowd.connect() as asker:
        eventually(lambda: not ids & {line["id"] for line in listed(asker)}, within=5 * SLOWNESS, what="they have gone")


@pytest.mark.proxy_only
def test_a_thousand_clients_are_listed_in_slices(start, nodes):
    proxy = start.proxy(nodes, {"timeouts": {"request": "10s"}}, workers=2)
    clients = [proxy.connect() for _ in range(1000)]
    assert all(client.ask("PING") == "PONG" for client in clients)  # accepted, and with the worker where they stay
    with proxy.connect() as asker:
        assert len(listed(asker)) == 1001
        assert asker.ask("CLIENT", "KILL", "TYPE", "normal") == 1000
        assert all(is_closed(client) for client in clients)
        assert asker.ask("PING") == "PONG"
    assert proxy.counter("clients_killed") == 1000


@pytest.mark.proxy_only
@pytest.mark.parametrize("how", ["ID", "ADDR", "old"])
def test_a_client_of_any_worker_is_killed(crowd, how):
    with crowd.connect() as asker:
        victims = [crowd.connect() for _ in range(6)]
        for victim in victims:
            addr = "127.0.0.1:%d" % victim.socket.getsockname()[1]
            ident = own_id(victim)
            if how == "old":
                assert asker.ask("CLIENT", "KILL", addr) == "OK"
            else:
                assert asker.ask("CLIENT", "KILL", how, ident if how == "ID" else addr) == 1
            assert is_closed(victim)
            assert listed(asker, "ID", ident) == []


def test_filters_must_all_fit(redis, crowd):
    for server in (redis, crowd):
        with server.connect() as asker, server.connect() as other:
            ident, addr = own_id(other), "127.0.0.1:%d" % other.socket.getsockname()[1]
            assert asker.ask("CLIENT", "KILL", "ID", ident, "ADDR", "127.0.0.1:1") == 0
            assert asker.ask("CLIENT", "KILL", "ID", ident, "LADDR", "127.0.0.1:1") == 0
            assert asker.ask("CLIENT", "KILL", "ID", own_id(asker)) == 0  # SKIPME is on
            laddr = f"127.0.0.1:{server.port}"
            assert asker.ask("CLIENT", "KILL", "ID", ident, "ADDR", addr, "LADDR", laddr, "USER", "default",
                             "TYPE", "normal", "SKIPME", "yes") == 1
            assert is_closed(other)


@pytest.mark.proxy_only
def test_only_old_clients_are_killed_by_age(crowd):
    with crowd.connect() as asker, crowd.connect() as other:
        assert asker.ask("CLIENT", "KILL", "MAXAGE", "100000", "ID", own_id(other)) == 0
        assert str(asker.ask("CLIENT", "KILL", "MAXAGE", "0")).startswith("ERR maxage")
        assert other.ask("PING") == "PONG"


def test_who_kills_itself_is_told_first(redis, crowd):
    for server in (redis, crowd):
        with server.connect() as client:
            ident = own_id(client)
            client.send(resp.encode("CLIENT", "KILL", "ID", ident, "SKIPME", "no") + resp.encode("SET", "killed", "1"))
            assert client.rest() == b":1\r\n"
        assert server.ask("GET", "killed") is None


@pytest.mark.proxy_only
def test_too_many_at_a_time_are_refused(start, nodes):
    proxy = start.proxy(nodes, {"limits": {"roll_calls": 1}})
    with proxy.connect() as client:
        client.send(resp.encode("CLIENT", "LIST") * 3 + resp.encode("PING"))
        first, second, third, pong = (reply.value for reply in client.replies(4))
        assert first.startswith(b"id=") and "limits.roll_calls" in str(second) and "limits.roll_calls" in str(third)
        assert pong == "PONG" and client.ask("CLIENT", "LIST").startswith(b"id=")
    assert proxy.counter("roll_calls_refused") == 2


# ---- REPLY ----

REPLY_CASES = [
    [("CLIENT", "REPLY", "SKIP"), ("PING",), ("ECHO", "x")],
    [("CLIENT", "REPLY", "SKIP"), ("GET", "a"), ("GET", "reply:a")],
    [("CLIENT", "REPLY", "OFF"), ("PING",), ("FOO", "x"), ("SET", "reply:a", "1"), ("CLIENT", "REPLY", "SKIP"),
     ("ECHO", "x1"), ("MGET", "a", "b", "c"), ("CLIENT", "REPLY", "ON"), ("GET", "reply:a")],
    [("CLIENT", "REPLY", "SKIP"), ("CLIENT", "REPLY", "SKIP"), ("ECHO", "x"), ("ECHO", "y")],
    [("CLIENT", "REPLY", "OFF"), ("RESET",), ("ECHO", "after")],
    [("GET", "a"), ("CLIENT", "REPLY", "OFF"), ("GET", "b"), ("CLIENT", "REPLY", "ON"), ("GET", "c"), ("PING",)],
    [("CLIENT", "REPLY", "SKIP"), ("CLIENT", "LIST"), ("ECHO", "x")],
]


@pytest.mark.parametrize("case", range(len(REPLY_CASES)))
@pytest.mark.parametrize("at_once", [True, False])
def test_replies_are_left_out_as_a_server_does(redis, crowd, case, at_once):
    end = ("ECHO", "the end")
    said = []
    for server in (redis, crowd):
        with server.connect() as client:
            for command in [*REPLY_CASES[case], end]:
                client.send(resp.encode(*command))
                if not at_once:
                    time.sleep(0.01)
            replies = []
            while not replies or replies[-1] != b"$7\r\nthe end\r\n":
                replies.append(client.reply().raw)
            said.append(replies)
    assert said[0] == said[1]


def test_large_replies_are_left_out_too(crowd):
    value = "v" * 3_000_000
    with crowd.connect() as client:
        client.ask("SET", "reply:large", value)
        for _ in range(3):  # the proxy learns that it is large
            client.send(resp.encode("CLIENT", "REPLY", "OFF") + resp.encode("GET", "reply:large") * 2 +
                        resp.encode("SET", "reply:large:2", value) +
                        resp.encode("CLIENT", "REPLY", "ON") + resp.encode("STRLEN", "reply:large"))
            assert client.reply().raw == b"+OK\r\n"
            assert client.reply().raw == b":3000000\r\n"
        assert client.ask("STRLEN", "reply:large:2") == 3000000
        client.ask("DEL", "reply:large", "reply:large:2")


# ---- PAUSE ----

@pytest.fixture
def unpaused(redis, crowd):
    yield
    for server in (redis, crowd):
        server.ask("CLIENT", "UNPAUSE")


def took(client, *command):
    began = time.monotonic()
    client.ask(*command)
    return time.monotonic() - began


def test_a_pause_of_writes_lets_reads_go_on(redis, crowd, unpaused):
    for server in (redis, crowd):
        clients = [server.connect() for _ in range(6)]
        assert clients[0].ask("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
        for client in clients:
            assert client.ask("GET", "pause:a") is None
            assert client.ask("EVAL_RO", "return 1", "0") == 1
            client.send(resp.encode("SET", "pause:a", "1") + resp.encode("GET", "pause:a") + resp.encode("PING"))
        time.sleep(0.1)
        assert all(client.is_quiet() for client in clients)
        with server.connect() as other:
            assert other.ask("GET", "pause:a") is None
            assert other.ask("CLIENT", "UNPAUSE") == "OK"
        for client in clients:
            assert [reply.value for reply in client.replies(3)] == ["OK", b"1", "PONG"]
        clients[0].ask("DEL", "pause:a")
        for client in clients:
            client.close()


def test_a_pause_of_all_ends_by_itself(redis, crowd, unpaused):
    for server in (redis, crowd):
        with server.connect() as asker, server.connect() as other:
            assert asker.ask("CLIENT", "PAUSE", "400") == "OK"
            assert took(other, "PING") > 0.2
            assert took(asker, "PING") < 0.2 * SLOWNESS


def test_a_large_write_waits_too(redis, crowd, unpaused):
    value = "w" * 2_000_000
    for server in (redis, crowd):
        with server.connect() as asker, server.connect(timeout=60) as writer:
            assert asker.ask("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
            whole = resp.encode("SET", "pause:large", value)
            writer.send(whole[:300_000])
            time.sleep(0.1)
            assert asker.ask("EXISTS", "pause:large") == 0
            assert asker.ask("CLIENT", "UNPAUSE") == "OK"
            writer.send(whole[300_000:] + resp.encode("STRLEN", "pause:large"))
            assert [reply.value for reply in writer.replies(2)] == ["OK", 2_000_000]
            writer.ask("DEL", "pause:large")


def test_a_longer_pause_wins(redis, crowd, unpaused):
    for server in (redis, crowd):
        with server.connect() as asker, server.connect() as other:
            assert asker.ask("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
            assert asker.ask("CLIENT", "PAUSE", "1", "WRITE") == "OK"
            time.sleep(0.05)
            other.send(resp.encode("SET", "pause:b", "1"))
            time.sleep(0.05)
            assert other.is_quiet()
            asker.ask("CLIENT", "UNPAUSE")
            assert other.reply().value == "OK"

# SPDX-License-Identifier: Apache-2.0
"""The setting `databases`: each has upstreams of its own, and in each of them nothing is ever stale."""
import pytest

from cluster import (PATIENCE, by_dns, eject_by_requests, keys_of, owner, put_all, remove, settings, wait_for_members,
                     wait_for_rest, wait_until_up)
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
MANY = {"databases": 16}


@pytest.fixture
def three(start):
    return start.nodes(3)


class Inside:
    """A proxy or a node as clients see it that work in one database."""

    def __init__(self, server, database):
        self.server = server
        self.database = database

    def connect(self, **options):
        client = self.server.connect(**options)
        assert client.ask("SELECT", str(self.database)) == "OK"
        return client


def values(server, database, keys):
    with Inside(server, database).connect() as client:
        client.send(b"".join(encode("GET", key) for key in keys))
        return {key: value for key in keys if (value := client.reply().value) is not None}


def put(proxy, database, keys, value):
    put_all(Inside(proxy, database), dict.fromkeys(keys, value))


def read_until(proxy, database, keys, value, missing=()):
    """A miss is allowed while slots move; another value never."""
    def read():
        found = values(proxy, database, keys)
        assert set(found.values()) <= {value.encode()}, f"database {database}: {found}"
        return len(found) == len(keys) - len(missing)
    eventually(read, within=PATIENCE, what=f"{value} in database {database}")


def field(proxy, name):
    return next((line.split(":", 1)[1].strip() for line in proxy.ask("INFO").decode().splitlines()
                if line.startswith(name + ":")), "")


def test_without_the_setting_there_is_one(start, three):
    proxy = start.proxy(three)
    with proxy.connect() as client:
        assert str(client.ask("SELECT", "1")) == "ERR DB index is out of range"
        assert str(client.ask("MOVE", "k", "1")) == "ERR DB index is out of range"
        assert str(client.ask("COPY", "k", "k", "DB", "1")) == "ERR DB index is out of range"
        assert client.ask("CONFIG", "GET", "databases") == [b"databases", b"1"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_each_database_has_keys_of_its_own(start, three, protocol):
    proxy = start.proxy(three, MANY, workers=2)
    keys = [f"k{i}" for i in range(60)]
    clients = [proxy.connect(protocol=protocol) for _ in range(16)]
    for number, client in enumerate(clients):
        assert client.ask("SELECT", str(number)) == "OK"
        client.send(b"".join(encode("SET", key, f"{number}-{key}") for key in keys))
        assert [reply.value for reply in client.replies(60)] == ["OK"] * 60
    for number, client in enumerate(clients):
        client.send(b"".join(encode("GET", key) for key in keys))
        assert [reply.value for reply in client.replies(60)] == [f"{number}-{key}".encode() for key in keys]
        assert client.ask("MGET", *keys) == [f"{number}-{key}".encode() for key in keys]
        assert client.ask("DBSIZE") == 60
    for node in three:
        mine = [key for key in keys if owner(three, key) is node]
        assert values(node, 7, keys) == {key: f"7-{key}".encode() for key in mine}
    assert proxy.counter("upstreams_databases") >= 15


def test_a_pipeline_goes_through_databases_in_order(start, three):
    proxy = start.proxy(three, MANY)
    with proxy.connect() as client:
        requests, expected = b"", []
        for i in range(300):
            database = str(i % 3)
            requests += encode("SELECT", database) + encode("SET", "k", f"{database}-{i}") + encode("GET", "k")
            expected += ["OK", "OK", f"{database}-{i}".encode()]
        client.send(requests)
        assert [reply.value for reply in client.replies(900)] == expected
        assert str(client.ask("SELECT", "16")) == "ERR DB index is out of range"
        assert client.ask("GET", "k") == b"2-299"  # it is where it was


def test_what_concerns_a_database(start, three):
    proxy = start.proxy(three, settings(**MANY))
    with proxy.connect() as client, Inside(proxy, 3).connect() as third:
        client.ask("MSET", *[word for i in range(30) for word in (f"a{i}", "0")])
        third.ask("MSET", *[word for i in range(50) for word in (f"b{i}", "3")])
        assert (client.ask("DBSIZE"), third.ask("DBSIZE")) == (30, 50)
        assert sorted(third.ask("KEYS", "*")) == sorted(f"b{i}".encode() for i in range(50))
        assert third.ask("RANDOMKEY")[:1] == b"b" and client.ask("RANDOMKEY")[:1] == b"a"
        cursor, found = b"0", []
        while True:
            cursor, keys = third.ask("SCAN", cursor)
            found += keys
            if cursor == b"0":
                break
        assert sorted(found) == sorted(f"b{i}".encode() for i in range(50))
        eventually(lambda: field(proxy, "db3").startswith("keys=50,"), within=PATIENCE, what="INFO keyspace")
        assert field(proxy, "db0").startswith("keys=30,")
        assert b" db=3 " in third.ask("CLIENT", "INFO")
        assert third.ask("HELLO", "3")[b"proto"] == 3 and third.ask("DBSIZE") == 50
        assert third.ask("FLUSHDB") == "OK"
        assert (client.ask("DBSIZE"), third.ask("DBSIZE")) == (30, 0)
        third.ask("SET", "x", "3")
        assert third.ask("RESET") == "RESET" and third.ask("GET", "a1") == b"0"
        assert third.ask("FLUSHALL") == "OK" and client.ask("DBSIZE") == 0
        assert str(client.ask("SWAPDB", "0", "1")).startswith("ERR sumcache: 'swapdb' ")
    assert values(proxy, 3, ["x"]) == {}


def test_move_and_copy_between_databases(start, three):
    proxy = start.proxy(three, MANY)
    with proxy.connect() as client:
        client.send(b"".join(encode("SET", f"k{i}", "1") for i in range(40)))
        client.replies(40)
        for i in range(20):
            assert client.ask("MOVE", f"k{i}", "5") == 1
            assert client.ask("COPY", f"k{i + 20}", f"k{i + 20}", "DB", "5") == 1
        for words in (("MOVE", "k", "16"), ("COPY", "k", "k", "DB", "99"), ("COPY", "k", "k", "DB", "99", "DB", "1")):
            assert str(client.ask(*words)) == "ERR DB index is out of range"
        assert client.ask("DBSIZE") == 20
    assert len(values(proxy, 5, [f"k{i}" for i in range(40)])) == 40


def test_jobs_and_tags_work_in_the_clients_database(start, three):
    proxy = start.proxy(three, MANY)
    keys = [f"k{i}" for i in range(40)]
    put(proxy, 0, keys, "0")
    put(proxy, 4, keys, "4")
    with Inside(proxy, 4).connect() as client:
        job = client.ask("SUMCACHE.UNLINK", "MATCH", "k*")
        eventually(lambda: dict(zip(*[iter(client.ask("SUMCACHE.JOBS", str(job))[0])] * 2))[b"state"] == b"done",
                   within=PATIENCE, what="the job is done")
        assert dict(zip(*[iter(client.ask("SUMCACHE.JOBS", str(job))[0])] * 2))[b"db"] == 4
        assert client.ask("DBSIZE") == 0
        assert client.ask("SUMCACHE.SET", "page", "v", "TAGS", "1", "t") == "OK"
        assert client.ask("SUMCACHE.GET", "page") == b"v"
    with proxy.connect() as client:
        assert client.ask("DBSIZE") == 40 and client.ask("SUMCACHE.GET", "page") is None


def test_upstreams_that_nobody_uses_are_closed(start, three):
    proxy = start.proxy(three, {**MANY, "timeouts": {"database_idle": "200ms"}})
    with Inside(proxy, 9).connect() as client:
        for i in range(30):
            client.ask("SET", f"k{i}", "9")
        assert proxy.counter("upstreams_databases") == 3
        eventually(lambda: proxy.counter("upstreams_databases") == 0, within=PATIENCE, what="all are closed")
        assert proxy.counter("upstreams_idle_closed") >= 3
        assert [client.ask("GET", f"k{i}") for i in range(30)] == [b"9"] * 30


def test_a_node_with_fewer_databases_serves_those_that_it_has(start):
    nodes = [start.node(extra=["--databases", "2"]), *start.nodes(2)]
    proxy = start.proxy(nodes, MANY)
    keys = keys_of(nodes, nodes[0], 20)
    put(proxy, 1, keys, "1")
    with Inside(proxy, 2).connect() as client:
        client.ask("SUMCACHE.FAILURES", "error")
        assert isinstance(client.ask("GET", keys[0]), Error)
        assert client.ask("SET", keys_of(nodes, nodes[1], 1)[0], "x") == "OK"
    assert values(proxy, 1, keys) == dict.fromkeys(keys, b"1") and proxy.state_of(nodes[0]) in ("new", "up")


def test_what_was_written_while_the_node_was_out_is_not_stale(start, three):
    lame, rest = three[0], three[1:]
    proxy = start.proxy(three, settings(**MANY), workers=2)
    keys = keys_of(three, lame, 120)
    same, written, removed, moved = keys[:30], keys[30:60], keys[60:90], keys[90:]
    for database in (0, 3):
        put(proxy, database, keys, "1")
    lame.freeze()
    eject_by_requests(proxy, lame, keys[0])
    put(proxy, 3, written, "2")
    with Inside(proxy, 3).connect() as client:
        remove(client, *removed)
    put(proxy, 3, moved, "2")
    with Inside(proxy, 3).connect() as client:
        assert [client.ask("MOVE", key, "7") for key in moved] == [1] * 30
    lame.thaw()
    wait_until_up(proxy, lame)
    assert values(lame, 0, keys) == dict.fromkeys(keys, b"1")  # what the absence did not touch
    assert values(lame, 3, keys) == dict.fromkeys(same, b"1")
    assert values(lame, 7, keys) == {}
    read_until(proxy, 0, keys, "1")
    read_until(proxy, 3, same, "1")
    for node in rest:
        eventually(lambda node=node: values(node, 3, keys) == {} and values(node, 7, keys) == {}, within=PATIENCE,
                   what="stand-ins are tidied")
    eventually(lambda: proxy.counter("journal_keys") == 0, within=PATIENCE, what="an empty journal")
    assert proxy.counter("replayed_keys") == 120 and proxy.counter("flushes") == 0
    put(proxy, 3, keys, "3")
    assert values(lame, 3, keys) == dict.fromkeys(keys, b"3")


def test_two_proxies_and_flushdb_while_a_node_is_out(start, three):
    lame = three[0]
    first, second = (start.proxy(three, settings(**MANY), workers=2) for _ in range(2))
    keys = keys_of(three, lame, 40)
    put(first, 2, keys, "1")
    put(first, 0, keys, "1")
    assert values(second, 2, keys) == dict.fromkeys(keys, b"1")
    lame.freeze()
    for proxy in (first, second):
        eject_by_requests(proxy, lame, keys[0])
    put(first, 2, keys[:20], "2")
    assert values(second, 2, keys[:20]) == dict.fromkeys(keys[:20], b"2")
    with Inside(first, 2).connect() as client:
        assert client.ask("FLUSHDB") == "OK"
    lame.thaw()
    for proxy in (first, second):
        wait_until_up(proxy, lame)
    assert values(first, 2, keys) == {} and values(second, 2, keys) == {}
    put(second, 2, keys, "3")
    read_until(first, 2, keys, "3")


def test_a_sweep_goes_through_all_databases(start, dns):
    nodes = start.nodes_of_a_name(3)
    two, third = nodes[:2], nodes[2]
    dns.set(redis=[node.host for node in two])
    proxy = start.proxy([], {**by_dns(dns.port, dns=[f"redis.test:{third.port}"]), **MANY}, workers=2)
    wait_for_members(proxy, *two)
    keys = [f"k{i}" for i in range(300)]
    for database in (0, 1, 15):
        put(proxy, database, keys, "1")
    dns.set(redis=[node.host for node in nodes])
    wait_for_members(proxy, *nodes)
    wait_for_rest(proxy)
    mine = [key for key in keys if owner(nodes, key) is third]
    for database in (0, 1, 15):
        for node in two:
            eventually(lambda node=node, database=database: not set(values(node, database, keys)) & set(mine),
                       within=PATIENCE, what=f"database {database} of {node.name} is swept")
    left = [key for key in keys if key not in mine]
    for database in (0, 1, 15):
        assert set(values(proxy, database, left).values()) <= {b"1"}


def test_a_transaction_stays_in_its_database(start, three):
    """All of it goes to one upstream, and that never changes its database."""
    proxy = start.proxy(three, MANY)
    with proxy.connect() as client:
        client.ask("SELECT", "3")
        for select, words in (("4", "not offered inside MULTI"), ("3", None), ("16", None), ("x", None)):
            assert client.ask("MULTI") == "OK"
            answer = client.ask("SELECT", select)
            assert words in str(answer) if words else answer == "QUEUED", answer
            assert client.ask("SET", "{t}:a", select) == "QUEUED"
            result = client.ask("EXEC")
            if words:
                assert str(result).startswith("EXECABORT")
            else:
                assert isinstance(result[0], Error) == (select != "3") and result[1] == "OK"
        assert values(proxy, 3, ["{t}:a"]) == {"{t}:a": b"x"} and values(proxy, 0, ["{t}:a"]) == {}


def test_what_is_watched_is_lost_with_its_database(start, three):
    """Its upstream is in the one of the WATCH: nil is always true enough. What comes later is not touched by it."""
    proxy = start.proxy(three, MANY)
    with proxy.connect() as client:
        assert client.ask("WATCH", "{w}:a") == "OK" and client.ask("SELECT", "2") == "OK"
        assert client.ask("MULTI") == "OK" and client.ask("SET", "{w}:a", "1") == "QUEUED"
        assert client.ask("EXEC") is None
        assert client.ask("WATCH", "{w}:a") == "OK" and client.ask("MULTI") == "OK"
        assert client.ask("SET", "{w}:a", "2") == "QUEUED" and client.ask("EXEC") == ["OK"]
    assert values(proxy, 2, ["{w}:a"]) == {"{w}:a": b"2"} and values(proxy, 0, ["{w}:a"]) == {}


def test_who_waits_waits_in_its_database(start, three):
    """One upstream is used after the other by clients of several databases."""
    proxy = start.proxy(three, {**MANY, "workers": 1})
    for database in (5, 0, 6, 5):
        with Inside(proxy, database).connect() as waits, Inside(proxy, database).connect() as gives:
            with Inside(proxy, 9).connect() as other:
                waits.send(encode("BLPOP", "{b}:l", "5"))
                assert other.ask("RPUSH", "{b}:l", "wrong") == 1
                eventually(lambda: "flags=b" in proxy.ask("CLIENT", "LIST").decode(), within=PATIENCE)
                assert gives.ask("RPUSH", "{b}:l", "right") == 1
                assert waits.reply().value == [b"{b}:l", b"right"]
                assert other.ask("DEL", "{b}:l") == 1

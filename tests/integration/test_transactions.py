# SPDX-License-Identifier: Apache-2.0
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: as on one Redis while all keys are on one node, and clear
errors where they are not."""
import random
import threading

import pytest

import cluster
from cluster import eject_by_requests, keys_of, owner, settings, wait_for_rest, wait_until_up, without
from processes import SLOWNESS
from resp import Error, encode, eventually

ABORTED = "EXECABORT Transaction discarded because of previous errors."
CROSSES = "CROSSSLOT Keys in request don't hash to the same node"
# A busy machine must not make a test of something else fail.
CALM = {"timeouts": {"request": "10s", "stall": "10s", **cluster.BACKOFF}, "health": cluster.HEALTH}


@pytest.fixture
def twins(redis, proxy):
    for node in [redis, *proxy.nodes]:
        node.ask("FLUSHALL")
    with redis.connect() as one, proxy.connect() as other:
        yield one, other


def texts(connection, lines):
    connection.send(b"".join(encode(*line.split(" ")) for line in lines))
    return [connection.reply().raw for _ in lines]


STORIES = [
    ["MULTI", "EXEC"],
    ["MULTI", "SET {t}a 1", "INCR {t}a", "GET {t}a", "EXEC", "GET {t}a"],
    ["MULTI", "SET {t}a 1", "DISCARD", "GET {t}a", "EXEC"],
    ["EXEC", "DISCARD", "UNWATCH", "MULTI x", "EXEC x", "DISCARD x", "WATCH", "UNWATCH x"],
    ["MULTI", "MULTI", "WATCH {t}a", "SET {t}a 1", "EXEC"],
    ["MULTI", "NOSUCH a b", "SET {t}a 1", "EXEC", "GET {t}a"],
    ["MULTI", "SET {t}a", "EXEC", "PING"],
    ["MULTI", "SET {t}a 1", "EXEC x", "PING", "EXEC", "GET {t}a"],
    ["MULTI", "CONFIG NOSUCH", "EXEC"],
    ["MULTI", "SET {t}a x", "INCR {t}a", "LPUSH {t}a 1", "GET {t}a", "EXEC"],
    ["MULTI", "PING", "ECHO hello", "PING there", "EXEC"],
    ["MULTI", "PING", "SET {t}a 1", "ECHO between", "GET {t}a", "SELECT 0", "SELECT x", "EXEC"],
    ["MULTI", "CLIENT SETNAME me", "SET {t}a 1", "CLIENT GETNAME", "EXEC", "CLIENT GETNAME"],
    ["MULTI", "UNWATCH", "SET {t}a 1", "EXEC"],
    ["MULTI", "SET {t}a 1", "RESET", "EXEC", "GET {t}a"],
    ["MULTI", "MSET {t}a 1 {t}b 2", "MGET {t}a {t}b {t}c", "DEL {t}a {t}b", "EXISTS {t}a {t}b", "EXEC"],
    ["MULTI", "SET {t}a 1", "EVAL x", "EXEC"],
    ["MULTI", "MSET {t}a", "EXEC"],
    ["MULTI", "MSET {t}a 1 {t}b", "EXEC"],
    ["MULTI", "BLPOP {t}nothing 0", "BLMOVE {t}nothing {t}b LEFT RIGHT 0", "XREAD BLOCK 0 STREAMS {t}s $", "BZPOPMIN {t}z 0",
     "BLMPOP 0 1 {t}nothing LEFT", "EXEC"],
    ["RPUSH {t}l a b", "MULTI", "BLPOP {t}l 0", "BRPOP {t}l 0", "EXEC", "EXISTS {t}l"],
    ["MULTI", "HSET {t}h a 1 b 2", "HGETALL {t}h", "SADD {t}s x", "SMEMBERS {t}s", "ZADD {t}z 1.5 m", "ZSCORE {t}z m",
     "ZRANGE {t}z 0 -1 WITHSCORES", "EXEC"],
    ["WATCH {t}a", "MULTI", "SET {t}a 1", "EXEC", "GET {t}a"],
    ["WATCH {t}a", "SET {t}a 2", "MULTI", "SET {t}a 1", "EXEC", "GET {t}a", "MULTI", "SET {t}a 3", "EXEC"],
    ["WATCH {t}a {t}b", "SET {t}b 2", "UNWATCH", "MULTI", "SET {t}a 1", "EXEC"],
    ["WATCH {t}a", "SET {t}a 2", "MULTI", "DISCARD", "MULTI", "SET {t}a 1", "EXEC"],
    ["WATCH {t}a", "SET {t}a 2", "MULTI", "NOSUCH", "EXEC", "MULTI", "EXEC"],
    ["WATCH {t}a", "MULTI", "EXEC", "WATCH {t}a", "SET {t}a 1", "MULTI", "EXEC"],
    ["WATCH {t}a", "WATCH {t}b", "SET {t}b 2", "MULTI", "PING", "EXEC"],
    ["WATCH {t}a", "SET {t}a 1", "RESET", "MULTI", "SET {t}a 3", "EXEC"],
    ["WATCH {t}a", "MULTI", "PING", "GET {t}a", "ECHO x", "EXEC"],
    ["multi", "set {t}a 1", "exec", "watch {t}a", "unwatch", "discard"],
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("pipelined", [False, True])
def test_as_on_one_redis(twins, protocol, pipelined):
    differences = []
    for lines in STORIES:
        lines = [line.replace("{t}", "{tag}") for line in lines]
        answers = []
        for connection in twins:
            if protocol == 3:
                connection.ask("HELLO", 3)
            if pipelined:
                answers.append(texts(connection, lines))
            else:
                answers.append([connection.ask_raw(*line.split(" ")) for line in lines])
            connection.ask("RESET")
            connection.ask("FLUSHALL") if connection is twins[0] else connection.ask("DEL", *("{tag}" + k for k in "abhlsz"))
            if connection is twins[1]:
                assert connection.ask("DEL", "{tag}s", "{tag}b") == 0
        differences += [f"{lines}: {line}\n  Redis {wanted}\n  proxy {got}"
                        for line, wanted, got in zip(lines, *answers) if wanted != got]
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("protocol", [2, 3])
def test_random_transactions(twins, key, protocol):
    """Drawn, with two clients that watch each other's keys, and now and then pipelined."""
    draw = random.Random(protocol)
    one, other = twins
    one_more, other_more = one.__class__(one.socket.getpeername()[1]), other.__class__(other.socket.getpeername()[1])
    pairs = [(one, other), (one_more, other_more)]
    if protocol == 3:
        for connection in (one, other, one_more, other_more):
            connection.ask("HELLO", 3)
    tag = key("{t}")
    words = [("MULTI",), ("EXEC",), ("EXEC",), ("DISCARD",), ("WATCH", tag + "a"), ("WATCH", tag + "b", tag + "c"), ("UNWATCH",),
             ("SET", tag + "a", "1"), ("INCR", tag + "b"), ("GET", tag + "a"), ("MGET", tag + "a", tag + "b"), ("PING",),
             ("ECHO", "x"), ("GET",), ("NOSUCH", "x"), ("LPUSH", tag + "a", "1"), ("APPEND", tag + "c", "x" * 3000),
             ("DEL", tag + "a", tag + "c"), ("SELECT", "0"), ("STRLEN", tag + "c")]
    with one_more, other_more:
        for _ in range(600):
            near, far = draw.choice(pairs)
            batch = [draw.choice(words) for _ in range(draw.choice([1, 1, 1, 5]))]
            data = b"".join(encode(*command) for command in batch)
            near.send(data)
            far.send(data)
            for command in batch:
                assert near.reply().raw == far.reply().raw, command


def keys_of_two(proxy):
    nodes = proxy.nodes
    return keys_of(nodes, nodes[0], 2, "tx")[0], keys_of(nodes, nodes[1], 1, "tx")[0]


@pytest.mark.proxy_only
def test_keys_of_other_nodes_are_refused_and_abort(client, proxy):
    near, far = keys_of_two(proxy)
    for line in (("SET", far, "1"), ("MGET", near, far), ("DEL", far)):
        assert client.ask("MULTI") == "OK"
        assert client.ask("SET", near, "no") == "QUEUED"
        assert str(client.ask(*line)) == CROSSES
        assert str(client.ask("EXEC")) == ABORTED
    assert client.ask("GET", near) is None
    # What is watched binds as well.
    assert client.ask("WATCH", near) == "OK"
    assert str(client.ask("WATCH", far)) == CROSSES
    assert str(client.ask("WATCH", near, far)) == CROSSES
    assert client.ask("MULTI") == "OK"
    assert str(client.ask("SET", far, "1")) == CROSSES
    assert str(client.ask("EXEC")) == ABORTED
    assert client.ask("MULTI") == "OK" and client.ask("SET", far, "1") == "QUEUED" and client.ask("EXEC") == ["OK"]
    client.ask("DEL", far)


@pytest.mark.proxy_only
@pytest.mark.parametrize("line", [["HELLO", "3"], ["CLIENT", "UNBLOCK", "1"], ["MONITOR"], ["KEYS", "*"], ["DBSIZE"], ["SUBSCRIBE", "c"],
                                  ["FLUSHALL"], ["SCAN", "0"], ["SORT", "k", "BY", "w_*"]])
def test_what_is_refused_inside(client, line):
    assert client.ask("MULTI") == "OK"
    assert isinstance(client.ask(*line), Error)
    assert str(client.ask("EXEC")) == ABORTED
    assert client.ask("PING") == "PONG"


@pytest.mark.proxy_only
def test_limits(start):
    proxy = start.proxy(start.nodes(1), {"limits": {"transaction_commands": 3, "transaction_bytes": "1kb"}, **CALM})
    with proxy.connect() as client:
        for words, times in ((("SET", "a", "1"), 4), (("SET", "a", "x" * 600), 2)):
            assert client.ask("MULTI") == "OK"
            for _ in range(times - 1):
                assert client.ask(*words) == "QUEUED"
            assert str(client.ask(*words)) == "ERR sumcache: limits.transaction_commands or transaction_bytes is reached"
            assert str(client.ask("EXEC")) == ABORTED
        assert str(client.ask("WATCH", "a", "b", "c", "d")).startswith("ERR sumcache: limits.transaction_commands")
        assert client.ask("MULTI") == "OK" and client.ask("EXEC") == []
    assert proxy.counter("transactions_limit") == 3


@pytest.mark.proxy_only
def test_long_ones(start):
    """Commands beyond limits.bulk_above, thousands of them, and an answer that is streamed."""
    proxy = start.proxy(start.nodes(1), CALM)
    with proxy.connect() as client, proxy.connect() as other:
        for watches in (False, True):
            value = b"v" * 300_000
            commands = [("SET", f"k{i}", value) for i in range(5)] + [("SET", f"s{i}", i) for i in range(3000)] + \
                [("GET", f"k{i}") for i in range(5)] + [("PING",)] * watches
            if watches:
                assert client.ask("WATCH", "k1", "k2") == "OK"
            client.send(encode("MULTI") + b"".join(encode(*command) for command in commands) + encode("EXEC"))
            assert other.ask("PING") == "PONG"
            replies = client.replies(len(commands) + 2)
            assert [reply.value for reply in replies[:-1]] == ["OK"] + ["QUEUED"] * len(commands)
            assert replies[-1].value == ["OK"] * 3005 + [value] * 5 + ["PONG"] * watches
        assert client.ask("MULTI") == "OK"
        # A long command in pieces.
        data = encode("SET", "k9", b"w" * 200_000)
        client.send(data[:90_000])
        assert other.ask("GET", "k9") is None
        client.send(data[90_000:])
        assert client.reply().value == "QUEUED" and client.ask("GET", "k9") == "QUEUED"
        assert client.ask("EXEC") == ["OK", b"w" * 200_000]


@pytest.mark.proxy_only
def test_transactions_are_whole(start):
    """Two clients move money between two keys; nobody ever sees a sum that is not right. Others share
    the upstream."""
    proxy = start.proxy(start.nodes(2), CALM, workers=2)
    a, b = "{acc}a", "{acc}b"
    proxy.ask("MSET", a, "1000", b, "0")
    wrong, over = [], threading.Event()

    def move(seed):
        draw = random.Random(seed)
        with proxy.connect() as client:
            while not over.is_set():
                n = draw.randrange(100)
                client.send(encode("MULTI") + encode("DECRBY", a, n) + encode("INCRBY", b, n) + encode("EXEC"))
                client.replies(4)

    def look():
        with proxy.connect() as client:
            for _ in range(400):
                near, far = client.ask("MGET", a, b)
                if int(near) + int(far) != 1000:
                    wrong.append((near, far))
        over.set()

    threads = [threading.Thread(target=move, args=(i,), daemon=True) for i in range(2)] + [threading.Thread(target=look, daemon=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert over.is_set() and not wrong


@pytest.mark.proxy_only
def test_optimistic_counters_lose_nothing(start):
    proxy = start.proxy(start.nodes(1), CALM, workers=2)
    done = [0] * 4

    def count(i):
        with proxy.connect() as client:
            while done[i] < 30:
                client.ask("WATCH", "n")
                value = int(client.ask("GET", "n") or 0)
                client.ask("MULTI")
                client.ask("SET", "n", value + 1)
                done[i] += client.ask("EXEC") == ["OK"]

    threads = [threading.Thread(target=count, args=(i,), daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [30] * 4 and proxy.ask("GET", "n") == b"120"
    assert proxy.counter("upstreams_private") <= 4 + 1


@pytest.mark.proxy_only
def test_private_upstreams_are_bounded_and_used_again(start):
    node = start.node()
    proxy = start.proxy([node], {"limits": {"private": 3}, **CALM})
    clients = [proxy.connect() for _ in range(4)]
    for client in clients[:3]:
        assert client.ask("WATCH", "k") == "OK"
    answer = clients[3].ask("WATCH", "k")
    assert str(answer) == "ERR sumcache: too many clients watch or wait (limits.private)"
    assert proxy.counter("private_refused") == 1
    # It was told of an error; if it goes on all the same, nothing is done.
    assert clients[3].ask("MULTI") == "OK" and clients[3].ask("SET", "k", "1") == "QUEUED" and clients[3].ask("EXEC") is None
    # Unwatched, discarded, executed, gone: each frees one, and nothing is watched on it any more.
    for i, free in enumerate([lambda c: c.ask("UNWATCH"), lambda c: c.ask("MULTI") and c.ask("DISCARD"),
                              lambda c: c.ask("MULTI") and c.ask("EXEC"), lambda c: c.close()]):
        if i == 3:
            clients[2].close()
            clients[2] = proxy.connect()
        else:
            free(clients[2])
        proxy.ask("SET", "k", "1")
        eventually(lambda: clients[3].ask("WATCH", "other") == "OK", what="a private upstream is free")
        assert clients[3].ask("MULTI") == "OK" and clients[3].ask("PING") == "QUEUED" and clients[3].ask("EXEC") == ["PONG"]
        assert clients[2].ask("WATCH", "k") == "OK"
    assert proxy.counter("upstreams_private") == 3
    opened = proxy.counter("upstreams_opened")
    for _ in range(20):
        assert clients[2].ask("UNWATCH") == "OK" and clients[2].ask("WATCH", "k") == "OK"
    assert proxy.counter("upstreams_opened") == opened


@pytest.mark.proxy_only
def test_versions_change_under_a_watch(start):
    proxy = start.proxy(start.nodes(1), CALM)
    with proxy.connect() as client:
        assert client.ask("WATCH", "k") == "OK"
        client.ask("HELLO", "3")
        assert client.ask("MULTI") == "OK" and client.ask("SET", "k", "1") == "QUEUED"
        assert client.ask_raw("EXEC") == b"_\r\n"
        assert client.ask("WATCH", "k") == "OK" and client.ask("MULTI") == "OK"
        assert client.ask("HGETALL", "h") == "QUEUED" and client.ask_raw("EXEC") == b"*1\r\n%0\r\n"


# ---- nodes that go and come ----

@pytest.fixture
def three(start):
    nodes = start.nodes(3)
    return nodes, start.proxy(nodes, settings(), workers=2)


@pytest.mark.proxy_only
def test_a_lost_upstream_makes_exec_nil(three):
    nodes, proxy = three
    key = keys_of(nodes, nodes[0], 1)[0]
    with proxy.connect() as client:
        assert client.ask("WATCH", key) == "OK"
        nodes[0].ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: client.ask("SET", key, "1") == "OK", within=cluster.PATIENCE)
        assert client.ask("MULTI") == "OK" and client.ask("SET", key, "2") == "QUEUED"
        assert client.ask("EXEC") is None
        assert client.ask("GET", key) == b"1"
        assert client.ask("WATCH", key) == "OK" and client.ask("MULTI") == "OK"
        assert client.ask("SET", key, "3") == "QUEUED" and client.ask("EXEC") == ["OK"]


@pytest.mark.proxy_only
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_an_owner_that_changes(three, how):
    """Between WATCH and EXEC: nil. Between the first command behind MULTI and EXEC: EXECABORT."""
    nodes, proxy = three
    victim = nodes[1]
    key, more = keys_of(nodes, victim, 2)
    with proxy.connect() as watcher, proxy.connect() as bound, proxy.connect() as both:
        assert watcher.ask("WATCH", key) == "OK"
        assert bound.ask("MULTI") == "OK" and bound.ask("SET", key, "1") == "QUEUED"
        assert both.ask("WATCH", key) == both.ask("MULTI") == "OK"
        getattr(victim, how)()
        if how == "kill":
            eventually(lambda: proxy.ask("SET", more, "1") == "OK", within=cluster.PATIENCE)
        else:
            eject_by_requests(proxy, victim, more)
        eventually(lambda: proxy.state_of(victim) == "out" and cluster.slots_rest(proxy), within=cluster.PATIENCE)
        answer = both.ask("SET", key, "1")
        assert answer == "QUEUED" or str(answer) == CROSSES
        assert both.ask("EXEC") is None if answer == "QUEUED" else True
        assert watcher.ask("MULTI") == "OK" and watcher.ask("PING") == "QUEUED" and watcher.ask("EXEC") is None
        assert str(bound.ask("EXEC")) == ABORTED
        assert proxy.ask("GET", key) is None
        # … and all of them go on with the stand-in.
        for client in (watcher, bound):
            assert client.ask("WATCH", key) == "OK" and client.ask("MULTI") == "OK"
            assert client.ask("SET", key, "2") == "QUEUED" and client.ask("EXEC") == ["OK"]
    if how == "freeze":
        victim.thaw()
        wait_until_up(proxy, victim)
        # It was written while its owner was away, in a transaction: nothing older comes back.
        assert proxy.ask("GET", key) in (None, b"2")


@pytest.mark.proxy_only
def test_transactions_are_never_stale(three):
    """What a transaction wrote at a stand-in is forgotten by the node that comes back."""
    nodes, proxy = three
    victim = nodes[2]
    keys = keys_of(nodes, victim, 20)
    for key in keys:
        assert proxy.ask("SET", key, "old") == "OK"
    victim.freeze()
    eject_by_requests(proxy, victim, keys[0])
    rest = without(nodes, victim)
    with proxy.connect() as client:
        for key in keys:
            for watches in (False, True):
                if watches:
                    assert client.ask("WATCH", key) == "OK"
                assert client.ask("MULTI") == "OK" and client.ask("SET", key, "new") == "QUEUED"
                assert client.ask("EXEC") == ["OK"], owner(rest, key).name
        victim.thaw()
        wait_until_up(proxy, victim)
        wait_for_rest(proxy)
        assert {client.ask("GET", key) for key in keys} <= {None, b"new"}


@pytest.mark.proxy_only
def test_a_node_that_hangs_costs_a_deadline(start):
    node = start.node()
    proxy = start.proxy([node], {"timeouts": {"request": "200ms"}, "health": {"eject_after": "60s"}})
    with proxy.connect() as client, proxy.connect() as other:
        assert client.ask("WATCH", "k") == "OK"
        assert client.ask("MULTI") == "OK" and client.ask("SET", "k", "1") == "QUEUED"
        assert other.ask("MULTI") == "OK" and other.ask("SET", "j", "1") == "QUEUED"
        node.freeze()
        for one in (client, other):
            assert str(one.ask("EXEC")).endswith("timed out")
        assert client.ask("MULTI") == "OK" and client.ask("PING") == "QUEUED" and client.ask("EXEC") == ["PONG"]
        node.thaw()
        eventually(lambda: other.ask("SET", "j", "2") == "OK", within=5 * SLOWNESS)
        eventually(lambda: client.ask("WATCH", "k") == "OK", within=5 * SLOWNESS)
        assert client.ask("MULTI") == "OK" and client.ask("SET", "k", "2") == "QUEUED"
        assert client.ask("EXEC") == ["OK"] and client.ask("GET", "k") == b"2"


@pytest.mark.proxy_only
def test_no_node_is_up(start):
    nodes = start.nodes(1)
    proxy = start.proxy(nodes, settings())
    nodes[0].kill()
    with proxy.connect() as client:
        eventually(lambda: isinstance(client.ask("SET", "k", "1"), Error) and proxy.state_of(nodes[0]) == "out",
                   within=cluster.PATIENCE)
        assert client.ask("MULTI") == "OK" and client.ask("SET", "k", "1") == "QUEUED"
        assert str(client.ask("EXEC")).startswith("ERR sumcache: node")
        assert client.ask("MULTI") == "OK" and client.ask("PING") == "QUEUED" and client.ask("EXEC") == ["PONG"]
        assert str(client.ask("WATCH", "k")).startswith("ERR sumcache: ")

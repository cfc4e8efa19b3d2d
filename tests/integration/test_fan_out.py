# SPDX-License-Identifier: Apache-2.0
"""SCAN, KEYS, DBSIZE, RANDOMKEY and WAIT over several nodes, as if they were one Redis."""
import collections
import random
import socket
import time

import pytest

import cluster
import processes
from cluster import by_dns, keys_of, keys_where, owner, put_all, settings, wait_for_members, wait_for_rest, without
from resp import Error, encode, eventually
from ring import murmur2_64

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE
PATIENT = {"timeouts": {"request": "10s", "fan_out": "10s", "stall": "10s"}}


@pytest.fixture
def three(start):
    return start.nodes(3)


def names(count, prefix="k"):
    return [f"{prefix}:{i}".encode() for i in range(count)]


def fill(proxy, keys):
    with proxy.connect() as client:
        client.send(b"".join(encode("SET", key, "v") for key in keys))
        assert all(reply.value == "OK" for reply in client.replies(len(keys)))


def scan(client, *options, between=lambda cursor: None, others=None):
    """All keys that a SCAN gives, in its order. `others`: clients that take turns with `client`."""
    clients = [client, *(others or [])]
    found, cursor, steps = [], b"0", 0
    while True:
        answer = clients[steps % len(clients)].ask("SCAN", cursor, *options)
        assert not isinstance(answer, Error), answer
        cursor, keys = answer
        found += keys
        assert int(cursor) < 1 << 53
        steps += 1
        assert steps < 100_000, "it does not end"
        if cursor == b"0":
            return found
        between(cursor)


def place(name):
    return murmur2_64(name.encode(), 0x5CA4C0DE) >> 46


# ---- SCAN ----

@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("count", [1, 10, 777, 100000])
def test_scan_gives_each_key_once(start, three, protocol, count):
    proxy = start.proxy(three, PATIENT)
    keys = names(300 if count == 1 else 10_000)
    fill(proxy, keys)
    with proxy.connect(protocol=protocol) as client:
        assert sorted(scan(client, "COUNT", count)) == sorted(keys)


def test_scan_with_a_pattern_and_a_type(start, three):
    proxy = start.proxy(three, PATIENT)
    fill(proxy, names(2000) + names(500, "other"))
    with proxy.connect() as client:
        for i in range(200):
            client.ask("RPUSH", f"list:{i}", "x")
        assert sorted(scan(client, "MATCH", "other:*")) == sorted(names(500, "other"))
        assert sorted(scan(client, "TYPE", "list", "COUNT", 100)) == sorted(names(200, "list"))
        assert scan(client, "MATCH", "nothing") == []
        assert sorted(scan(client, "MATCH", "k:1?", "COUNT", 1000, "TYPE", "string")) == sorted(
            f"k:1{i}".encode() for i in range(10))


@pytest.mark.parametrize("request_", [
    ["SCAN"], ["SCAN", "x"], ["SCAN", "1x"], ["SCAN", "-"], ["SCAN", " 1"], ["SCAN", "0", "COUNT"],
    ["SCAN", "0", "COUNT", "0"], ["SCAN", "0", "COUNT", "-1"], ["SCAN", "0", "COUNT", "x"], ["SCAN", "0", "MATCH"],
    ["SCAN", "0", "FOO"], ["SCAN", "0", "FOO", "bar"], ["SCAN", "0", "TYPE"], ["KEYS"], ["KEYS", "a", "b"],
    ["DBSIZE", "x"], ["RANDOMKEY", "x"], ["WAIT"], ["WAIT", "x", "1"], ["WAIT", "0", "x"], ["WAIT", "0", "-1"],
    ["WAIT", "0", "0"], ["WAIT", "0", "10"], ["KEYS", "nothing*"],
    ["DBSIZE"], ["RANDOMKEY"]])
def test_what_is_wrong_is_said_as_redis_does(start, three, redis, request_):
    proxy = start.proxy(three, PATIENT)
    with proxy.connect() as client, redis.connect() as real:
        real.ask("FLUSHALL")
        assert client.ask_raw(*request_) == real.ask_raw(*request_)


def test_a_cursor_beyond_53_bits_is_none(start, three):
    with start.proxy(three, PATIENT).connect() as client:
        for cursor in (1 << 53, (1 << 64) - 1, 10 ** 30, -1):
            assert str(client.ask("SCAN", cursor)) == "ERR invalid cursor"
        assert client.ask("SCAN", (1 << 53) - 1) == [b"0", []]
        assert client.ask("SCAN", "") == client.ask("SCAN", "+0") == client.ask("SCAN", 0)


def test_a_cursor_is_good_at_another_proxy(start, three):
    one = start.proxy(three, PATIENT)
    two = start.proxy(list(reversed(three)), PATIENT)
    keys = names(3000)
    fill(one, keys)
    with one.connect() as client, two.connect() as other:
        assert sorted(scan(client, others=[other])) == sorted(keys)


def test_keys_that_a_node_does_not_own_are_left_out(start, three):
    proxy = start.proxy(three, PATIENT)
    keys = names(500)
    fill(proxy, keys)
    for node in three:
        foreign = keys_where(lambda key, node=node: owner(three, key) is not node, 50, "foreign")
        with node.connect() as direct:
            for key in foreign:
                direct.ask("SET", key, "old")
            direct.ask("SET", "sumcache:flushed", "1")
    with proxy.connect() as client:
        assert sorted(scan(client)) == sorted(keys)
        assert sorted(client.ask("KEYS", "*")) == sorted(keys)
        assert all(client.ask("RANDOMKEY").startswith(b"k:") for _ in range(100))


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind((processes.HOST, port))
        except OSError:
            return False
    return True


def test_two_nodes_at_one_place_are_both_gone_through(start):
    places = collections.defaultdict(list)
    for port in range(10000, 32000):
        places[place(f"127.0.0.1:{port}")].append(port)
    pairs = [ports[:2] for ports in places.values() if len(ports) > 1]
    random.shuffle(pairs)
    pair = next(ports for ports in pairs if all(map(is_free, ports)))
    twins = [start.node(port=port) for port in pair]
    nodes = twins + start.nodes(1)
    proxy = start.proxy(nodes, PATIENT)
    keys = names(4000)
    fill(proxy, keys)
    # One of them has a larger table than the other.
    more = [key.encode() for key in keys_of(nodes, twins[0], 5000, "more")]
    fill(proxy, more)
    with proxy.connect() as client:
        assert set(scan(client)) == set(keys + more)
        assert set(scan(client, "COUNT", 333)) == set(keys + more)


def test_a_node_that_dies_during_a_scan_takes_only_its_own(start, three):
    proxy = start.proxy(three, settings(limits={"journal": "64mb"}))
    keys = [key.decode() for key in names(6000)]
    fill(proxy, keys)
    order = sorted(three, key=lambda node: place(node.name))
    for victim in order:
        rest = {key.encode() for key in keys if owner(three, key) is not victim}
        # Maglev moves a few slots between those who stay, too.
        still = {key for key in rest if owner(without(three, victim), key.decode()) is owner(three, key.decode())}
        killed = []

        def kill(cursor, victim=victim, killed=killed):
            if int(cursor) >> 35 == place(order[1].name) and not killed:
                killed.append(victim)
                victim.kill()
                wait_for_rest(proxy, out=1)

        with proxy.connect() as client:
            found = scan(client, between=kill)
        assert killed and still <= set(found) and len(still) > 3000
        assert len(found) == len(set(found))
        victim.start_again()
        wait_for_rest(proxy)
        fill(proxy, keys)


def test_nodes_that_come_and_go_during_a_scan(start, dns):
    nodes = start.nodes_of_a_name(4)
    first, late = nodes[:3], nodes[3]
    dns.set(redis=[node.host for node in first])
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{first[0].port}"]))
    wait_for_members(proxy, *first)
    keys = [key.decode() for key in names(6000)]
    put_all(proxy, dict.fromkeys(keys, "v"))
    stays = {key.encode() for key in keys if owner(first, key) is owner(nodes, key)}
    changes = [lambda: dns.set(redis=[node.host for node in nodes]), lambda: dns.set(redis=[n.host for n in first])]
    sets = [nodes, first]

    def change(cursor):
        if changes and int(cursor) >> 35 == place(sorted(first, key=lambda n: place(n.name))[2 - len(changes)].name):
            changes.pop(0)()
            wait_for_members(proxy, *sets.pop(0))

    with proxy.connect() as client:
        found = scan(client, between=change)
    assert not changes and stays <= set(found) and len(stays) > 3000
    assert late.ask("PING") == "PONG"


def test_a_dead_node_is_an_error_and_no_hole(start, three):
    proxy = start.proxy(three, settings({"eject_after": "1m", "unhealthy": "1000"}, limits={"journal": "64mb"}))
    fill(proxy, names(600))
    lame = sorted(three, key=lambda node: place(node.name))[1]
    lame.freeze()
    with proxy.connect() as client:
        cursor, found = b"0", []
        for _ in range(1000):
            answer = client.ask("SCAN", cursor, "COUNT", 50)
            if isinstance(answer, Error):
                assert f"node {lame.name} " in str(answer)
                if lame.stopped:
                    lame.thaw()  # and the same cursor goes on
                time.sleep(0.01)
                continue
            cursor = answer[0]
            found += answer[1]
            if cursor == b"0":
                break
        assert sorted(found) == sorted(names(600)) and not lame.stopped
        lame.freeze()
        for request in (["DBSIZE"], ["KEYS", "*"]):
            for mode in ("error", "miss"):
                client.ask("SUMCACHE.FAILURES", mode)
                assert f"node {lame.name} " in str(client.ask(*request))
        lame.thaw()


def test_without_nodes(start):
    port = processes.free_port()
    proxy = start.proxy([f"127.0.0.1:{port}"], settings())
    eventually(lambda: proxy.state_of(f"127.0.0.1:{port}") == "out", within=PATIENCE)
    with proxy.connect() as client:
        for request in (["SCAN", "0"], ["KEYS", "*"], ["DBSIZE"], ["RANDOMKEY"]):
            assert f"ERR sumcache: node 127.0.0.1:{port} is down" == str(client.ask(*request))
        assert client.ask("WAIT", 1, 0) == 0


# ---- KEYS, DBSIZE, RANDOMKEY ----

@pytest.mark.parametrize("protocol", [2, 3])
def test_keys_and_dbsize(start, three, protocol):
    proxy = start.proxy(three, PATIENT)
    fill(proxy, names(10_000))
    with proxy.connect(protocol=protocol) as client:
        assert sorted(client.ask("KEYS", "*")) == sorted(names(10_000))
        assert sorted(client.ask("KEYS", "k:999?")) == sorted(f"k:999{i}".encode() for i in range(10))
        assert client.ask("KEYS", "nothing") == []
        assert client.ask("DBSIZE") == 10_000


def test_keys_beyond_the_limit(start, three):
    proxy = start.proxy(three, {**PATIENT, "limits": {"fan_out_reply": "32kb"}})
    fill(proxy, names(10_000))
    with proxy.connect() as client, proxy.connect() as other:
        other.ask("SET", "a", "1")
        for _ in range(3):
            assert str(client.ask("KEYS", "*")) == "ERR sumcache: the reply is longer than limits.fan_out_reply"
            assert other.ask("GET", "a") == b"1"
        assert client.ask("KEYS", "k:77") == [b"k:77"]
        assert sorted(scan(client, "COUNT", 100)) == sorted(names(10_000) + [b"a"])
        assert proxy.counter("requests_reply_limit") >= 3


def test_a_pipeline_behind_a_fan_out_keeps_its_order(start, three):
    proxy = start.proxy(three, PATIENT)
    with proxy.connect() as client:
        requests = []
        for i in range(50):
            requests += [("SET", f"k:{i}", i), ("DBSIZE",), ("GET", f"k:{i}"), ("PING",), ("KEYS", f"k:{i}"),
                         ("DEL", f"k:{i}"), ("RANDOMKEY",), ("SCAN", 0)]
        client.send(b"".join(encode(*request) for request in requests))
        for i in range(50):
            assert client.reply().value == "OK"
            assert client.reply().value == 1
            assert client.reply().value == str(i).encode()
            assert client.reply().value == "PONG"
            assert client.reply().value == [f"k:{i}".encode()]
            assert client.reply().value == 1
            assert client.reply().value is None
            assert client.reply().value[1] == []


def test_randomkey_draws_from_all_nodes(start, three):
    proxy = start.proxy(three, PATIENT)
    keys = [key.decode() for key in names(300)]
    fill(proxy, keys)
    with proxy.connect() as client:
        client.send(encode("RANDOMKEY") * 600)
        drawn = collections.Counter(owner(three, client.reply().value.decode()).name for _ in range(600))
        assert len(drawn) == 3 and min(drawn.values()) > 100, drawn
        only = keys_of(three, three[1], 1)[0]
        for node in three:
            node.ask("FLUSHALL")
        assert client.ask("RANDOMKEY") is None
        client.ask("SET", only, "v")
        assert {client.ask("RANDOMKEY") for _ in range(50)} == {only.encode()}

# SPDX-License-Identifier: Apache-2.0
"""FLUSHALL and FLUSHDB over several nodes: after OK nothing that was there before is ever read again,
whatever becomes of nodes that were out when it was asked."""
import threading
import time

import pytest

import cluster
from cluster import (by_dns, eject_by_requests, expect, keys_of, put_all, settings, values, wait_for_members,
                     wait_for_rest, wait_until_up, without)
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE
# Nothing but a FLUSHALL makes it flush a node again so soon.
QUICK = {"flush_interval": "1h"}


@pytest.fixture
def three(start):
    return start.nodes(3)


def of(keys, value):
    return dict.fromkeys(keys, value)


def flush(client, *words):
    eventually(lambda: client.ask(*(words or ("FLUSHALL",))) == "OK", within=PATIENCE, what="FLUSHALL")


@pytest.mark.parametrize("words", [("FLUSHALL",), ("flushall", "ASYNC"), ("FLUSHALL", "sync"), ("FLUSHDB",),
                                   ("FLUSHDB", "async"), ("FLUSHDB", "SYNC")])
@pytest.mark.parametrize("protocol", [2, 3])
def test_all_nodes_are_flushed(start, three, words, protocol):
    proxy = start.proxy(three, settings(), workers=2)
    keys = [f"k:{i}" for i in range(300)]
    put_all(proxy, of(keys, "1"))
    with proxy.connect(protocol=protocol) as client:
        assert client.ask(*words) == "OK"
        assert client.ask("DBSIZE") == 0
    assert all(node.ask("DBSIZE") == 0 for node in three) and values(proxy, keys) == {}
    assert proxy.counter("flushes_asked") >= 1


@pytest.mark.parametrize("words", [("FLUSHALL", "now"), ("FLUSHALL", "sync", "async"), ("FLUSHDB", "0")])
def test_what_is_wrong_is_said_as_redis_does(start, three, redis, words):
    proxy = start.proxy(three, settings())
    with proxy.connect() as client, redis.connect() as real:
        client.ask("SET", "a", "1")
        assert client.ask_raw(*words) == real.ask_raw(*words)
        assert client.ask("GET", "a") == b"1"


def test_a_pipeline_around_it_keeps_its_order(start, three):
    proxy = start.proxy(three, settings(), workers=2)
    with proxy.connect() as client:
        big = b"x" * 300_000  # on its way on another connection when the flush comes
        for _ in range(20):
            client.send(encode("SET", "big", big) + encode("SET", "a", "1") + encode("FLUSHALL") + encode("GET", "a")
                        + encode("GET", "big") + encode("SET", "a", "2") + encode("GET", "a"))
            answers = [reply.value for reply in client.replies(7)]
            assert answers == ["OK", "OK", "OK", None, None, "OK", b"2"]


def test_a_node_that_was_out_comes_back_empty(start, three):
    lame, rest = three[0], three[1:]
    proxy = start.proxy(three, settings(QUICK), workers=2)
    keys = keys_of(three, lame, 300)
    put_all(proxy, of(keys, "1"))
    lame.freeze()
    eject_by_requests(proxy, lame, keys[0])
    with proxy.connect() as client:
        flush(client)
        put_all(proxy, of(keys[:50], "2"))
        assert values(proxy, keys) == of(keys[:50], b"2")
        lame.thaw()
        wait_until_up(proxy, lame)
        expect(proxy, keys, {})
    assert values(lame, keys) == {}
    assert proxy.counter("flushes") == 1
    assert "reason=\"FLUSHALL while it was out\"" in proxy.events("node-flushed")[0]
    # And it is a node like the others again: the next absence costs it nothing.
    eventually(lambda: proxy.counter("journal_keys") == 0, within=PATIENCE, what="an empty journal")
    put_all(proxy, of(keys, "3"))
    lame.freeze()
    eject_by_requests(proxy, lame, keys[0])
    lame.thaw()
    wait_until_up(proxy, lame)
    expect(proxy, keys, of(keys, b"3"))
    assert proxy.counter("flushes") == 1 and rest[0].ask("PING") == "PONG"


@pytest.mark.parametrize("on_return", ["replay", "flush", "keep"])
def test_flushed_while_it_was_out_whatever_on_return_says(start, three, on_return):
    lame = three[0]
    proxy = start.proxy(three, settings({"on_return": on_return, "flush_interval": "0"}), workers=2)
    keys = keys_of(three, lame, 200)
    put_all(proxy, of(keys, "1"))
    for _ in range(2):
        lame.freeze()
        eject_by_requests(proxy, lame, keys[0])
        with proxy.connect() as client:
            flush(client)
        lame.thaw()
        wait_until_up(proxy, lame)
        assert values(lame, keys) == {} and values(proxy, keys) == {}
        put_all(proxy, of(keys, "2"))


def test_a_node_that_fails_is_named(start, three):
    lame = three[1]
    proxy = start.proxy(three, settings({"eject_after": "1m", "unhealthy": "1000"}), workers=2)
    lame.freeze()
    with proxy.connect() as client:
        answer = client.ask("FLUSHALL")
        assert isinstance(answer, Error) and f"node {lame.name} " in str(answer)
        lame.thaw()
        flush(client)


def test_a_removed_node_that_comes_back(start, dns):
    nodes = start.nodes_of_a_name(3)
    late = nodes[2]
    dns.set(redis=[node.host for node in nodes])
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"], health={"flush_interval": "0"}),
                        workers=2)
    wait_for_members(proxy, *nodes)
    keys = keys_of(nodes, late, 200)
    put_all(proxy, of(keys, "1"))
    dns.set(redis=[node.host for node in nodes[:2]])
    wait_for_members(proxy, *nodes[:2])
    with proxy.connect() as client:
        flush(client)
    dns.set(redis=[node.host for node in nodes])
    wait_for_members(proxy, *nodes)
    assert values(proxy, keys) == {} and values(late, keys) == {}


def test_flushes_among_nodes_that_flap(start, three):
    """Values carry the number of the flush before which they were written. A read that began after a
    flush was acknowledged must not find one from before it."""
    proxy = start.proxy(three, settings({"hold_max": "100ms", "flush_interval": "0"}), workers=2)
    keys = [f"k:{i}" for i in range(60)]  # written all the time
    before = [f"b:{i}" for i in range(60)]  # and these only while all nodes are there
    everything = keys + before
    floor, stale, broken, over = [0], [], [], threading.Event()

    def read():
        try:
            with proxy.connect() as client:
                while not over.is_set():
                    least = floor[0]
                    client.send(b"".join(encode("GET", key) for key in everything))
                    for key in everything:
                        value = client.reply().value
                        if value is not None and int(value) < least:
                            stale.append((key, value, least))
        except Exception as error:  # pylint: disable=broad-except
            broken.append(repr(error))

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 6
    flushed = 0
    with proxy.connect() as client, proxy.connect() as other:
        now = 0
        turn = 0
        while time.monotonic() < end:
            lame = three[turn // 2 % 3]
            turn += 1
            client.send(b"".join(encode("SET", key, now) for key in before))
            client.replies(len(before))
            (lame.kill if turn % 2 else lame.freeze)()
            for _ in range(12):
                client.send(b"".join(encode("SET", key, now) for key in keys))
                client.replies(len(keys))
                # What is written from now on is as good as written after it.
                now += 1
                answer = other.ask("FLUSHALL")
                if answer == "OK":
                    floor[0] = now
                    flushed += 1
                time.sleep(0.01)
            if lame.stopped:
                lame.thaw()
            else:
                lame.start_again()
            eventually(lambda: "out" not in {line["state"] for line in proxy.node_lines().values()}, within=PATIENCE)
    over.set()
    for reader in readers:
        reader.join(20)
    assert not stale, stale[:5]
    assert not broken, broken
    assert flushed > 20, flushed
    assert proxy.ask("PING") == "PONG" and without(three, three[0])
    wait_for_rest(proxy)

# SPDX-License-Identifier: Apache-2.0
"""A read that began after a newer write or delete of its key was acknowledged through the same proxy
never returns an older value, whatever nodes did meanwhile (docs/decisions/0007). A miss is never
stale, so most stories end with: what was overwritten is missing, what was not is still there."""
import random
import re
import threading
import time

import pytest

import cluster
from cluster import (Relay, Witness, by_dns, eject_by_requests, expect, keys_of, keys_where, owner, put_all, remove,
                     settings, values, wait_for_members, wait_for_rest, wait_until_up, without)
from processes import SLOWNESS
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE


def of(keys, value):
    return dict.fromkeys(keys, value)


@pytest.fixture
def three(start):
    return start.nodes(3)


def test_set_and_del_while_the_owner_was_out(start, three):
    lame, rest = three[0], three[1:]
    proxy = start.proxy(three, settings(), workers=2)
    keys = keys_of(three, lame, 400)
    kept, written, deleted = keys[:200], keys[200:300], keys[300:]
    put_all(proxy, of(keys, "1"))
    assert values(lame, keys) == of(keys, b"1")
    lame.freeze()
    eject_by_requests(proxy, lame, keys[0])
    put_all(proxy, of(written, "2"))
    with proxy.connect() as client:
        remove(client, *deleted)
    for node in rest:  # the stand-ins have them now
        mine = [key for key in written if owner(rest, key) is node]
        assert values(node, mine) == of(mine, b"2") and len(mine) > 20
    expect(proxy, keys, of(written, b"2"))
    lame.thaw()
    wait_until_up(proxy, lame)
    # What the absence touched is not there any more, what it did not is.
    assert values(lame, keys) == of(kept, b"1")
    expect(proxy, keys, of(kept, b"1"))
    counters = proxy.counters()
    assert counters["replays"] >= 1 and counters["replayed_keys"] >= 200 and counters["flushes"] == 0
    assert f"node={lame.name} keys=200" in proxy.events("node-replay")[0]
    # The stand-ins forget what is not theirs, and then the journal does.
    for node in rest:
        eventually(lambda node=node: values(node, keys) == {}, within=PATIENCE, what="stand-ins are tidied")
    eventually(lambda: proxy.counter("journal_keys") == 0, within=PATIENCE, what="an empty journal")
    put_all(proxy, of(keys, "3"))
    assert values(lame, keys) == of(keys, b"3")


def upstream_ids(node):
    """CLIENT IDs of the proxy's connections for requests."""
    lines = node.ask("CLIENT", "LIST").decode().splitlines()
    fields = [dict(item.split("=", 1) for item in line.split()) for line in lines]
    return {one["id"] for one in fields if one["name"] != "sumcache-control" and one["cmd"] != "client|list"}


def test_writes_that_lie_in_a_frozen_nodes_sockets(start, three):
    """They are executed when it thaws, however late; but nobody may see them then."""
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    keys = keys_of(three, lame, 200)
    with Witness(proxy, keys) as witness, proxy.connect() as client:
        witness.write(client, keys)
        old_ids = upstream_ids(lame)
        assert len(old_ids) >= 2
        lame.freeze()
        answers = witness.try_to_write(client, keys)
        assert all(isinstance(answer, Error) for answer in answers)
        assert any(str(answer) == f"ERR sumcache: node {lame.name} timed out" for answer in answers)
        eject_by_requests(proxy, lame, keys[0])
        witness.write(client, keys[:100])
        witness.write(client, keys[100:150], delete=True)
        lame.thaw()
        wait_until_up(proxy, lame)
        assert proxy.counter("ghosts") >= 1
        # Nothing is left that could bring more of them.
        eventually(lambda: not old_ids & upstream_ids(lame), within=PATIENCE, what="old connections are gone")
        found = values(lame, keys)
        assert [key for key in keys[:150] if key in found] == []
        witness.read_some()
        witness.write(client, keys)
        witness.read_some()
        assert values(lame, keys) == {key: f"{witness.version}={key}".encode() for key in keys}


def test_writes_that_a_thawed_node_is_still_busy_with(start, three):
    """More than a node reads in one go: it answers checks, and is made to forget keys, while it still
    executes what lies in the socket. So that connection has to be killed first."""
    lame = three[0]
    proxy = start.proxy(three, settings({"healthy": 1, "hold_min": "1ms", "interval_out": "10ms"}), workers=2)
    keys = keys_of(three, lame, 300)
    with Witness(proxy, keys) as witness, proxy.connect() as client:
        for _ in range(3):
            witness.write(client, keys)
            ghosts = proxy.counter("ghosts")
            lame.freeze()
            answers = witness.try_to_write(client, keys, "x" * 30000)
            assert all(isinstance(answer, Error) for answer in answers)
            eject_by_requests(proxy, lame, keys[0])
            witness.write(client, keys[:200])
            lame.thaw()
            wait_until_up(proxy, lame)
            assert proxy.counter("ghosts") > ghosts
            witness.read_some()
            assert values(lame, keys[:200]) == {}
    assert "cmdstat_client|kill:" in lame.ask("INFO", "commandstats").decode()


def client_of_each(proxy, workers):
    """A client of each worker, which is told by its CLIENT ID; and those that were too many."""
    found, spare = {}, []
    while len(found) < workers:
        client = proxy.connect()
        if found.setdefault(client.ask("CLIENT", "ID") % workers, client) is not client:
            spare.append(client)
        assert len(spare) < 100
    return found, spare


def test_a_timed_out_write_is_not_done_after_a_later_one(start, three):
    """Too short a halt to be ejected for: the write of one client times out, that of another comes by
    another connection, which the node turns to first, as it was ready first."""
    lame = three[0]
    proxy = start.proxy(three, settings({"eject_misses": 100000}), workers=2)
    keys = keys_of(three, lame, 50)
    clients, spare = client_of_each(proxy, 2)
    try:
        with Witness(proxy, keys) as witness:
            for me, other in ((0, 1), (1, 0)):
                witness.write(clients[me], keys)
                lame.freeze()
                clients[other].send(encode("GET", keys[0]))
                assert clients[other].reply().value is None
                answers = witness.try_to_write(clients[me], keys)
                assert all(isinstance(answer, Error) for answer in answers)
                over = threading.Timer(0.05, lame.thaw)
                over.start()
                witness.write(clients[other], keys)
                over.join()
                witness.read_some()
                newest = {key: f"{witness.version}={key}".encode() for key in keys}
                assert values(lame, keys) == newest
                expect(proxy, keys, newest)
        assert proxy.counter("node_ejections") == 0 and proxy.counter("requests_unsettled") >= 1
    finally:
        for client in [*clients.values(), *spare]:
            client.close()


def test_slots_that_move_between_healthy_nodes(start):
    """Maglev gives a few slots of A to B when X goes, and back when X returns: A and B were well all
    the time, and each holds what was current when it last had the slot."""
    nodes = start.nodes(5)
    lame, rest = nodes[0], nodes[1:]
    # Such slots are one in a thousand: tags put several keys into each.
    tags = keys_where(lambda tag: owner(nodes, f"{{{tag}}}") not in (lame, owner(rest, f"{{{tag}}}")), 12)
    moved = [f"{{{tag}}}:{i}" for i in range(5) for tag in tags]
    proxy = start.proxy(nodes, settings(), workers=2)
    some = keys_of(nodes, lame, 1)[0]
    with Witness(proxy, moved) as witness, proxy.connect() as client:
        for _ in range(3):
            witness.write(client, moved)
            now = {key: f"{witness.version}={key}".encode() for key in moved}
            for node in rest:
                mine = [key for key in moved if owner(nodes, key) is node]
                assert values(node, mine) == {key: now[key] for key in mine}
            lame.freeze()
            eject_by_requests(proxy, lame, some)
            witness.write(client, moved[:40])
            then = {key: f"{witness.version}={key}".encode() for key in moved[:40]}
            for node in rest:  # now with the other one, while the first still has the older value
                mine = [key for key in moved[:40] if owner(rest, key) is node]
                assert values(node, mine) == {key: then[key] for key in mine}
                first = [key for key in moved[:40] if owner(nodes, key) is node]
                assert values(node, first) == {key: now[key] for key in first}
            witness.read_some()
            lame.thaw()
            wait_until_up(proxy, lame)
            witness.read_some()
            expect(proxy, moved, {key: now[key] for key in moved[40:]})


@pytest.mark.parametrize("order", ["as they went", "the other way"])
def test_two_nodes_out_and_back(start, order):
    """X goes, its stand-in Y goes too, Z has the keys: each holds its own version of them."""
    nodes = start.nodes(4)
    x, y = nodes[:2]
    proxy = start.proxy(nodes, settings(), workers=2)
    chain = keys_where(lambda key: owner(nodes, key) is x and owner(without(nodes, x), key) is y, 60)
    others = keys_of(nodes, y, 20) + keys_of(nodes, nodes[2], 20)
    with Witness(proxy, chain + others) as witness, proxy.connect() as client:
        witness.write(client, chain + others)
        x.freeze()
        eject_by_requests(proxy, x, chain[0])
        witness.write(client, chain[:40] + others[::2])
        assert len(values(y, chain)) == 40
        y.freeze()
        eject_by_requests(proxy, y, others[0])
        witness.write(client, chain[:20])
        for node in without(nodes, x, y):
            mine = [key for key in chain[:20] if owner(without(nodes, x, y), key) is node]
            assert len(values(node, mine)) == len(mine)
        first, second = (x, y) if order == "as they went" else (y, x)
        first.thaw()
        wait_until_up(proxy, first)
        witness.read_some()
        witness.write(client, chain[10:15] + chain[30:35])
        second.thaw()
        wait_until_up(proxy, second)
        witness.read_some()
        written_at_home = chain[10:15] + chain[30:35] if first is x else []
        assert sorted(values(x, chain)) == sorted(chain[40:] + written_at_home)
        # Y is X's stand-in again: nothing of last time may be there.
        witness.write(client, chain[::2])
        x.freeze()
        eject_by_requests(proxy, x, chain[0])
        witness.read_some()
        expect(proxy, chain, {})
        x.thaw()
        wait_until_up(proxy, x)
        witness.read_some()


def test_a_node_that_restarts_is_empty_and_its_stand_ins_are_not(start, three):
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    keys = keys_of(three, lame, 100)
    with Witness(proxy, keys) as witness, proxy.connect() as client:
        for _ in range(2):
            witness.write(client, keys)
            lame.kill()
            wait_for_rest(proxy, out=1)
            witness.write(client, keys[:60])
            assert sum(len(values(node, keys)) for node in three[1:]) == 60
            lame.start_again()
            wait_until_up(proxy, lame)
            expect(proxy, keys, {})
            witness.read_some()
        # It dies again at once: the stand-ins must not bring up what they held the last time.
        witness.write(client, keys[::2])
        lame.kill()
        wait_for_rest(proxy, out=1)
        witness.read_some()
        expect(proxy, keys, {})
    assert proxy.counter("flushes") == 0


def test_the_journal_overflows(start, three):
    """Who may hold more old values than can be named is emptied before it comes back, and the others
    are gone through for what is not theirs."""
    lame, rest = three[0], three[1:]
    proxy = start.proxy(three, settings(limits={"journal": "64kb"}), workers=2)
    keys = keys_of(three, lame, 1500)
    safe = {node.name: keys_of(three, node, 50, "safe") for node in rest}
    safe = {key: b"1" for mine in safe.values() for key in mine if owner(three, key) is owner(rest, key)}
    with Witness(proxy, keys) as witness, proxy.connect() as client:
        put_all(proxy, of(safe, "1"))
        witness.write(client, keys)
        lame.freeze()
        eject_by_requests(proxy, lame, keys[0])
        witness.write(client, keys[:1400])
        eventually(lambda: proxy.counter("journal_overflows") >= 1, within=PATIENCE)
        assert proxy.counter("journal_bytes") <= 64 * 1024
        lame.thaw()
        wait_until_up(proxy, lame)
        assert proxy.counter("flushes") == 1
        assert f"node={lame.name} " in proxy.events("node-flushed")[0]
        assert values(lame, keys) == {} and lame.ask("DBSIZE") == 1
        assert 0 < lame.ask("PTTL", "sumcache:flushed") <= 3600 * 1000
        witness.read_some()
        for node in rest:
            eventually(lambda node=node: values(node, keys) == {}, within=PATIENCE, what="swept")
        expect(proxy, safe, safe)  # only what is not theirs is swept
        eventually(lambda: len(proxy.events("node-swept")) >= 2, within=PATIENCE)
        assert proxy.counter("swept_keys") >= 1000 and proxy.counter("journal_overflows") >= 1


def test_scaling_out_and_in_and_out_again(start, dns):
    """A third node comes by DNS, goes, and comes back with what it held; and those that lost slots to
    it do not keep what they held of them."""
    nodes = start.nodes_of_a_name(3)
    two, third = nodes[:2], nodes[2]
    dns.set(redis=[node.host for node in two])
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{third.port}"], health={"flush_interval": "0"}),
                        workers=2)
    wait_for_members(proxy, *two)
    moved = keys_of(nodes, third, 120)
    stay = keys_where(lambda key: owner(nodes, key) is owner(two, key), 80)
    stay = dict.fromkeys(stay, b"0=stay")
    put_all(proxy, stay)
    with Witness(proxy, moved) as witness, proxy.connect() as client:
        witness.write(client, moved)
        for node in two:
            assert len(values(node, moved)) > 30
        # Out: the new node has none of them, and those who had them are swept.
        dns.set(redis=[node.host for node in nodes])
        wait_for_members(proxy, *nodes)
        witness.write(client, moved[:80])
        assert len(values(third, moved)) == 80
        for node in two:
            eventually(lambda node=node: values(node, moved) == {}, within=PATIENCE, what="the others are swept")
        assert {key for node in two for key in values(node, stay)} == set(stay)
        expect(proxy, stay, stay)
        eventually(lambda: proxy.events("home-moved"), within=PATIENCE)
        witness.write(client, moved[:80])
        # In: the others have none of them.
        dns.set(redis=[node.host for node in two])
        wait_for_members(proxy, *two)
        witness.read_some()
        witness.write(client, moved[20:100])
        assert len(values(third, moved)) == 80, "it has kept what it held"
        # Out again.
        dns.set(redis=[node.host for node in nodes])
        wait_for_members(proxy, *nodes)
        witness.read_some()
        assert values(third, moved) == {} and proxy.counter("flushes") == 1
        witness.write(client, moved)
        # And in at once, before anybody can have been swept.
        dns.set(redis=[node.host for node in two])
        wait_for_members(proxy, *two)
        witness.read_some()
        expect(proxy, stay, stay)
    # Who lost slots is swept when all has come to rest, whether a sweep had come in between or not.
    eventually(lambda: proxy.counter("sweeps") >= 5 and proxy.counter("swept_keys") >= 120, within=PATIENCE)


def flushes_of(node):
    """Those that it has done; each new probe asks once in a form that fails."""
    line = re.search(r"cmdstat_flushall:(\S+)", node.ask("INFO", "commandstats").decode()).group(1)
    counts = dict(field.split("=") for field in line.split(","))
    return int(counts["calls"]) - int(counts["failed_calls"])


def test_two_proxies_flush_once_for_one_absence(start, three):
    lame = three[0]
    proxies = [start.proxy(three, settings({"on_return": "flush"})) for _ in range(2)]
    keys = keys_of(three, lame, 50)
    for proxy in proxies:
        wait_for_rest(proxy)
    put_all(proxies[0], of(keys, "1"))
    lame.freeze()
    for proxy in proxies:
        eject_by_requests(proxy, lame, keys[0])
    put_all(proxies[0], of(keys[:10], "2"))
    lame.thaw()
    for proxy in proxies:
        wait_until_up(proxy, lame)
    assert flushes_of(lame) == 1
    assert sorted(proxy.counter("flushes") for proxy in proxies) == [0, 1]
    assert sorted(proxy.counter("flushes_spared") for proxy in proxies) == [0, 1]
    for proxy in proxies:
        expect(proxy, keys, {})


def test_on_return_flush_and_keep(start, three):
    lame = three[0]
    keys = keys_of(three, lame, 50)
    flushing = start.proxy(three, settings({"on_return": "flush"}))
    put_all(flushing, of(keys, "1"))
    lame.freeze()
    eject_by_requests(flushing, lame, keys[0])
    lame.thaw()
    wait_until_up(flushing, lame)
    assert values(lame, keys) == {} and flushing.counter("flushes") == 1
    flushing.end()
    # keep: as Envoy does it. Old values come up; that is what the word says.
    keeping = start.proxy(three, settings({"on_return": "keep"}))
    put_all(keeping, of(keys, "2"))
    lame.freeze()
    eject_by_requests(keeping, lame, keys[0])
    put_all(keeping, of(keys[:25], "3"))
    lame.thaw()
    wait_until_up(keeping, lame)
    expect(keeping, keys, of(keys, b"2"))
    counters = keeping.counters()
    assert (counters["flushes"], counters["replays"], counters["journal_keys"]) == (0, 0, 0)


def test_a_proxy_that_restarts_while_a_node_is_out(start, three):
    """The property is one of a process: the new one knows what it wrote itself, and not what the old
    one did (docs/operations.md)."""
    lame = three[0]
    keys = keys_of(three, lame, 40)
    old = start.proxy(three, settings())
    put_all(old, of(keys, "1"))
    lame.freeze()
    eject_by_requests(old, lame, keys[0])
    put_all(old, of(keys[:20], "2"))
    old.end()
    new = start.proxy(three, settings(), workers=2)
    eject_by_requests(new, lame, keys[0])
    expect(new, keys, of(keys[:20], b"2"))
    put_all(new, of(keys[10:30], "3"))
    lame.thaw()
    wait_until_up(new, lame)
    expect(new, keys[10:30], {})  # its own writes it knows
    expect(new, keys[:10], of(keys[:10], b"1"))  # those of the process before it does not
    expect(new, keys[30:], of(keys[30:], b"1"))


@pytest.mark.parametrize("fault", ["cut", "swallowed"])
def test_a_replay_that_fails_halfway_keeps_the_node_out(start, three, fault):
    lame, rest = Relay(three[0]), three[1:]
    members = [lame, *rest]
    try:
        proxy = start.proxy(members, settings({"timeout": f"{int(200 * SLOWNESS)}ms"}), workers=2)
        keys = keys_of(members, lame, 1000)
        broken = threading.Event()
        broken.set()

        def on_request(data):
            """Half of the UNLINKs, and then nothing."""
            if b"UNLINK" not in data or not broken.is_set():
                return data
            if fault == "swallowed":
                eventually(lambda: not broken.is_set(), within=PATIENCE)
            return data[:len(data) // 2]

        with Witness(proxy, keys) as witness, proxy.connect() as client:
            witness.write(client, keys)
            three[0].freeze()
            eject_by_requests(proxy, lame, keys[0])
            witness.write(client, keys[:800])
            lame.on_request = on_request
            admitted = proxy.counter("node_admissions")
            three[0].thaw()
            eventually(lambda: len(proxy.events("node-join-failed")) >= 1, within=PATIENCE, what="a replay that fails")
            assert f"node={lame.name} reason=" in proxy.events("node-join-failed")[0]
            witness.read_some()
            assert proxy.counter("node_admissions") == admitted
            assert set(values(three[0], keys)) > set(keys[800:]), "not all of it was done"
            assert len(values(proxy, keys[:800])) == 800, "its stand-ins serve meanwhile"
            witness.write(client, keys[700:900])
            broken.clear()
            wait_until_up(proxy, lame)
            witness.read_some()
            assert sorted(values(three[0], keys)) == sorted(keys[900:])
            witness.write(client, keys)
            witness.read_some()
    finally:
        lame.end()


def test_a_node_that_dies_again_while_it_joins(start, three):
    """Frozen at some moment between its first good check and its admission."""
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    keys = keys_of(three, lame, 300)
    rng = random.Random(4)
    with Witness(proxy, keys) as witness, proxy.connect() as client:
        for _ in range(3):
            witness.write(client, keys)
            lame.freeze()
            eject_by_requests(proxy, lame, keys[0])
            witness.write(client, keys[:200])
            lame.thaw()
            time.sleep(rng.uniform(0.04, 0.1))
            lame.freeze()
            witness.write(client, keys[:100])
            lame.thaw()
            witness.read_some(200)
            wait_until_up(proxy, lame)
            witness.read_some(200)


# Each writes 2 into its keys, where 1 is.
WRITES = {
    "mset": lambda client, keys: client.ask("MSET", *[word for key in keys for word in (key, "2")]),
    "hash tags": lambda client, keys: client.ask("MSET", *[word for key in keys for word in (key, "2")]),
    "eval": lambda client, keys: [client.ask("EVAL", "return redis.call('set', KEYS[1], ARGV[1])", 1, key, "2")
                                  for key in keys][-1],
    "setex": lambda client, keys: [client.ask("SETEX", key, 1000, "2") for key in keys][-1],
    "getset": lambda client, keys: [client.ask("GETSET", key, "2") for key in keys][-1],
    "incr": lambda client, keys: [client.ask("INCRBY", key, 2) for key in keys][-1],
    "append": lambda client, keys: [client.ask("APPEND", key, "2") for key in keys][-1],
    "unlink": lambda client, keys: [client.ask("UNLINK", *keys), client.ask("EXISTS", *keys)][0],
    "large": lambda client, keys: [client.ask("SET", key, b"2" * 300000) for key in keys][-1],
}


def test_all_ways_to_write_are_known(start, three):
    lame, well = three[:2]
    proxy = start.proxy(three, settings(), workers=2)
    away = {name: keys_of(three, lame, 5, name) for name in WRITES}
    tags = keys_where(lambda tag: owner(three, f"{{{tag}}}") is lame, 3, "tag")
    away["hash tags"] = [f"{{{tag}}}:{i}" for tag in tags for i in range(4)]
    at_home = {name: keys_where(lambda key: owner(three, key) is well is owner(three[1:], key), 3, name)
               for name in WRITES}
    lost = [key for mine in away.values() for key in mine]
    kept = [key for mine in at_home.values() for key in mine]
    put_all(proxy, of(lost + kept, "1"))
    assert values(lame, lost) == of(lost, b"1")
    lame.freeze()
    eject_by_requests(proxy, lame, lost[0])
    with proxy.connect() as client:
        for name, write in WRITES.items():
            answer = write(client, away[name] + at_home[name])
            assert not isinstance(answer, Error), (name, answer)
    written = values(proxy, kept)
    assert [key for key, value in written.items() if value == b"1"] == [] and len(written) == len(kept) - 3
    lame.thaw()
    wait_until_up(proxy, lame)
    assert values(lame, lost) == {}
    expect(proxy, lost + kept, written)


def test_what_holds_between_two_proxies_and_what_does_not(start, three):
    """Each proxy knows its own writes only.

    * What A wrote while the node was out, A never reads older. B may: from when B admits the node
      until A has replayed there, B reads what the node held before.
    * Once both have admitted it, B too reads nothing older, for A has UNLINKed it there.
    * What B reads never comes from A's being slow in another way: a key that nobody wrote meanwhile
      is what it was, for both.
    """
    lame = three[0]
    a = start.proxy(three, settings({"hold_min": "1500ms"}))
    b = start.proxy(three, settings())
    keys = keys_of(three, lame, 60)
    put_all(a, of(keys, "1"))
    expect(b, keys, of(keys, b"1"))
    lame.freeze()
    eject_by_requests(a, lame, keys[0])
    eject_by_requests(b, lame, keys[0])
    put_all(a, of(keys[:20], "2"))
    put_all(b, of(keys[20:40], "3"))
    expect(b, keys[:20], of(keys[:20], b"2"))  # the same ring, so the same stand-in
    lame.thaw()
    wait_until_up(b, lame)
    assert a.state_of(lame) == "out"
    # Shown, not promised: B reads A's keys as they were before, and a key of its own never so.
    expect(b, keys[:20], of(keys[:20], b"1"))
    expect(b, keys[20:40], {})
    expect(a, keys[:20], of(keys[:20], b"2"))
    wait_until_up(a, lame)
    for proxy in (a, b):
        expect(proxy, keys, of(keys[40:], b"1"))


@pytest.mark.slow
def test_nodes_that_freeze_and_die_at_random(start):
    """All of it at once: some keys are written and some deleted while nodes go and come as they like."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    nodes = start.nodes(4)
    proxy = start.proxy(nodes, settings(), workers=2)
    keys = [f"r:{i}" for i in range(400)]
    frozen = set()
    with Witness(proxy, keys) as witness, proxy.connect() as client, proxy.connect() as other:
        witness.write(client, keys)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            node = rng.choice(nodes)
            if node in frozen:
                node.thaw()
                frozen.remove(node)
            elif len(frozen) < 2:
                if rng.random() < 0.2:
                    node.kill()
                    node.start_again()
                else:
                    node.freeze()
                    frozen.add(node)
            for _ in range(rng.randint(1, 4)):
                some = rng.sample(keys, 30)
                witness.write(rng.choice([client, other]), some, delete=rng.random() < 0.3)
                time.sleep(rng.choice([0, 0.02, 0.1]))
            witness.check()
        for node in frozen:
            node.thaw()
        wait_for_rest(proxy)
        witness.write(client, keys)
        witness.read_some()
        expect(proxy, keys, {key: f"{witness.version}={key}".encode() for key in keys})
    assert witness.hits > 1000 and proxy.counter("node_ejections") >= 3

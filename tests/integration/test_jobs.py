# SPDX-License-Identifier: Apache-2.0
"""SUMCACHE.UNLINK MATCH: what the pattern matched when the job was asked for is gone when the job is
done, on all nodes, also those that were away meanwhile."""
import os
import pty
import re
import subprocess
import threading
import time

import pytest

import cluster
from cluster import (by_dns, eject_by_requests, keys_of, owner, put_all, settings, values, wait_for_members,
                     wait_until_up, without)
from processes import BINARY, SLOWNESS, run
from resp import Error, encode, eventually

pytestmark = pytest.mark.proxy_only
PATIENCE = cluster.PATIENCE


def maps(answer):
    """The list of SUMCACHE.JOBS of a RESP2 client as dicts."""
    return [dict(zip([name.decode() for name in job[::2]], job[1::2])) for job in answer]


def job(proxy, number):
    return maps(proxy.ask("SUMCACHE.JOBS", number))[0]


def wait_for_end(proxy, number, state=b"done", within=None):
    def ended():
        found = job(proxy, number)
        return found if found["state"] not in (b"queued", b"running") else None

    found = eventually(ended, within=within or 2 * PATIENCE, what=f"job {number} ends")
    assert found["state"] == state, found
    return found


def fill(nodes, pairs):
    """Puts the pairs where the ring has them, past the proxy."""
    for node in nodes:
        mine = [(key, value) for key, value in pairs.items() if owner(nodes, key) is node]
        with node.connect() as client:
            for at in range(0, len(mine), 5000):
                batch = mine[at:at + 5000]
                client.send(encode("MSET", *[word for pair in batch for word in pair]))
                assert client.reply().value == "OK"


@pytest.fixture
def three(start):
    return start.nodes(3)


def test_a_hundred_thousand_keys(start, three):
    proxy = start.proxy(three, settings(), workers=2)
    shows = {f"shows:{i}": "x" for i in range(100_000)}
    others = {f"others:{i}": "x" for i in range(20_000)}
    fill(three, {**shows, **others})
    with proxy.connect() as client:
        number = client.ask("SUMCACHE.UNLINK", "MATCH", "shows:*")
        assert isinstance(number, int) and number >= 1
        first = maps(client.ask("SUMCACHE.JOBS", number))[0]  # it is there at once
        assert first["pattern"] == b"shows:*" and first["id"] == number
        assert abs(first["since"] - time.time()) < 60
    found = wait_for_end(proxy, number, within=60 * SLOWNESS)
    assert found["unlinked"] == 100_000
    assert (found["nodes"], found["nodes_done"], found["nodes_out"]) == (3, 3, 0)
    assert found["scanned"] == found["keys"] == 120_000
    assert found["eta_ms"] == 0 and found["took_ms"] > 0
    assert sum(node.ask("DBSIZE") for node in three) == 20_000
    counters = proxy.counters()
    assert counters["jobs_done"] == 1 and counters["jobs_active"] == 0
    assert counters["job_keys_unlinked"] == 100_000 and counters["job_keys_scanned"] == 120_000
    assert len(proxy.events("job-started")) == 1
    assert "unlinked=100000" in proxy.events("job-done")[0]


def test_keys_of_all_kinds_and_names(start, three):
    """Globs are the nodes' own; the value's type does not matter, nor whose slot a key is of."""
    proxy = start.proxy(three, settings())
    with proxy.connect() as client:
        assert client.ask("SET", "a:1", "x") == "OK"
        assert client.ask("HSET", "a:2", "f", "x") == 1
        assert client.ask("RPUSH", b"a:\r\n\x00\xff", "x") == 1
        assert client.ask("SADD", "a:{tag}", "x") == 1
        assert client.ask("SET", "A:1", "x") == "OK"
        assert client.ask("SET", "b:[1]", "x") == "OK"
        stray = "a:stray"
        not_its_own = next(node for node in three if node is not owner(three, stray))
        not_its_own.ask("SET", stray, "x")
        assert wait_for_end(proxy, client.ask("sumcache.unlink", "match", "a:*"))["unlinked"] == 5
        assert not_its_own.ask("EXISTS", stray) == 0
        assert client.ask("EXISTS", "A:1", "b:[1]") == 2
        assert wait_for_end(proxy, client.ask("SUMCACHE.UNLINK", "COUNT", 1, "MATCH", r"b:\[?\]"))["unlinked"] == 1
        assert wait_for_end(proxy, client.ask("SUMCACHE.UNLINK", "MATCH", ""))["unlinked"] == 0
        assert wait_for_end(proxy, client.ask("SUMCACHE.UNLINK", "MATCH", "*"))["unlinked"] == 1
        assert [node.ask("DBSIZE") for node in three] == [0, 0, 0]


def test_what_it_does_not_take(start, three):
    proxy = start.proxy(three, settings(limits={"jobs": 1}))
    fill(three, {f"k:{i}": "x" for i in range(3000)})
    with proxy.connect() as client:
        for args, error in (
            (["MATCH"], "ERR wrong number of arguments for 'sumcache.unlink' command"),
            (["COUNT", "10"], "ERR syntax error"),
            (["MATCH", "a", "COUNT"], "ERR syntax error"),
            (["MATCH", "a", "FAST", "1"], "ERR syntax error"),
            (["MATCH", "a", "COUNT", "x"], "ERR value is not an integer or out of range"),
            (["MATCH", "a", "COUNT", "0"], "ERR value is out of range, must be between 1 and 10000"),
            (["MATCH", "a", "RATE", "-1"], "ERR value is out of range, must be between 1 and 1000000000"),
            (["MATCH", "a" * 513], "ERR sumcache: a pattern has at most 512 bytes"),
        ):
            assert str(client.ask("SUMCACHE.UNLINK", *args)) == error
        assert client.ask("SUMCACHE.JOBS") == []
        assert str(client.ask("SUMCACHE.JOBS", "7")) == "ERR sumcache: no such job"
        assert str(client.ask("SUMCACHE.JOBS", "x")) == "ERR value is not an integer or out of range"
        assert str(client.ask("SUMCACHE.JOBS", "CANCEL")) == "ERR value is not an integer or out of range"
        assert str(client.ask("SUMCACHE.JOBS", "STOP", "1")) == "ERR syntax error"
        slow = client.ask("SUMCACHE.UNLINK", "MATCH", "k:*", "RATE", "1")
        answer = client.ask("SUMCACHE.UNLINK", "MATCH", "k:*")
        assert str(answer) == "ERR sumcache: too many jobs run (limits.jobs)"
        assert proxy.counter("jobs_refused") == 1
        assert client.ask("SUMCACHE.JOBS", "CANCEL", slow) == "OK"
        wait_for_end(proxy, slow, b"cancelled")
        assert str(client.ask("SUMCACHE.JOBS", "CANCEL", slow)) == "ERR sumcache: the job has ended"
        assert len(proxy.events("job-cancelled")) == 1
        done = client.ask("SUMCACHE.UNLINK", "MATCH", "k:*")
        wait_for_end(proxy, done)
        assert [one["id"] for one in maps(client.ask("SUMCACHE.JOBS"))] == [slow, done]
    with proxy.connect(protocol=3) as client:
        found = client.ask("SUMCACHE.JOBS", done)[0]
        assert isinstance(found, dict) and found[b"state"] == b"done"


def test_the_rate_is_held(start, three):
    proxy = start.proxy(three, settings())
    fill(three, {f"k:{i}": "x" for i in range(6000)})
    most = max(node.ask("DBSIZE") for node in three)
    began = time.monotonic()
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "nothing", "RATE", "2000")
    middle = eventually(lambda: (found := job(proxy, number))["scanned"] > 1000 and found, within=PATIENCE)
    assert middle["state"] == b"running" and middle["eta_ms"] > 0
    wait_for_end(proxy, number, within=30 * SLOWNESS)
    took = time.monotonic() - began
    assert took > most / 2000 * 0.8  # at each node 2000 a second
    for node in three:  # in small steps
        calls = int(node.ask("INFO", "commandstats").decode().split("cmdstat_scan:calls=")[1].split(",")[0])
        assert calls >= 9


def test_reads_go_on_meanwhile(start, three):
    """Its load is bounded: while it runs, requests are answered as before."""
    proxy = start.proxy(three, settings(timeouts={**cluster.BACKOFF, "request": f"{int(500 * SLOWNESS)}ms"}))
    fill(three, {f"k:{i}": "x" for i in range(100_000)})
    fill(three, {f"read:{i}": "x" for i in range(100)})
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "k:*")
    with proxy.connect() as client:
        client.ask("SUMCACHE.FAILURES", "error")
        while job(proxy, number)["state"] == b"running":
            client.send(b"".join(encode("GET", f"read:{i}") for i in range(100)))
            assert {client.reply().value for _ in range(100)} == {b"x"}
    wait_for_end(proxy, number)


# ---- sumcache unlink ----

def test_the_command_unlink(start, three):
    proxy = start.proxy(three, settings())
    fill(three, {f"shows:{i}": "x" for i in range(3000)})
    result = run("unlink", "shows:1*", "--connect", proxy.port)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"job 1 done: 1111 keys removed of 3000 at 3 nodes, in [0-9.]+ s\n", result.stdout)
    result = run("unlink", "shows:*", f"--connect={proxy.port}", "--rate=100", "--detach")
    assert (result.returncode, result.stdout) == (0, "2\n")
    assert proxy.ask("SUMCACHE.JOBS", "CANCEL", 2) == "OK"
    wait_for_end(proxy, 2, b"cancelled")
    result = run("unlink", "shows:*", "--connect", proxy.port, "--count", "0")
    assert result.returncode == 2
    assert "answers: ERR value is out of range, must be between 1 and 10000" in result.stderr


def test_on_a_terminal_it_shows_a_bar(start, three):
    proxy = start.proxy(three, settings())
    fill(three, {f"shows:{i}": "x" for i in range(3000)})
    near, far = pty.openpty()
    command = [BINARY, "unlink", "shows:*", "--connect", str(proxy.port), "--rate", "1000"]
    with subprocess.Popen(command, stdout=far, stdin=subprocess.DEVNULL) as process:
        os.close(far)
        shown = b""
        while True:
            try:
                piece = os.read(near, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
    os.close(near)
    assert process.returncode == 0
    assert re.search(rb"\r\[#+\.+\] \d+%  \d+ of 3000 keys, \d+ removed, \d+\.\d s left", shown), shown
    assert b"job 1 done: 3000 keys removed of 3000 at 3 nodes" in shown.splitlines()[-1]


# ---- nodes that go and come ----

def test_a_node_that_was_out_is_gone_through_before_it_serves(start, three):
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    mine, kept = keys_of(three, lame, 300, "shows"), keys_of(three, lame, 50, "kept")
    put_all(proxy, dict.fromkeys(mine + kept, "old"))
    lame.freeze()
    eject_by_requests(proxy, lame, mine[0])
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "shows:*")
    found = wait_for_end(proxy, number)
    assert (found["nodes"], found["nodes_done"], found["nodes_out"]) == (3, 2, 1)
    stale, over = [], threading.Event()

    def read():
        with proxy.connect() as client:
            while not over.is_set():
                client.send(b"".join(encode("GET", key) for key in mine[:50]))
                stale.extend(value for _ in range(50) if (value := client.reply().value) is not None)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        lame.thaw()
        wait_until_up(proxy, lame)
        time.sleep(0.1)
    finally:
        over.set()
        reader.join()
    assert stale == []
    assert values(lame, mine) == {}
    assert values(lame, kept) == dict.fromkeys(kept, b"old")  # it was not flushed
    assert proxy.counter("flushes") == 0
    assert any(f"node={lame.name}" in line for line in proxy.events("job-node-done"))


def test_a_node_that_goes_out_in_the_middle(start, three):
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    keys = {f"shows:{i}": "old" for i in range(9000)}
    fill(three, keys)
    mine = [key for key in keys if owner(three, key) is lame]
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "shows:*", "RATE", "4000")
    eventually(lambda: job(proxy, number)["unlinked"] > 500, within=PATIENCE)
    lame.freeze()
    eject_by_requests(proxy, lame, mine[0])
    assert job(proxy, number)["state"] == b"running"
    lame.thaw()
    wait_until_up(proxy, lame)
    assert values(lame, mine) == {}  # joining does not wait for the job's rate
    found = wait_for_end(proxy, number, within=30 * SLOWNESS)
    assert (found["nodes"], found["nodes_done"], found["nodes_out"]) == (3, 3, 0)
    assert [node.ask("DBSIZE") for node in three] == [0, 0, 0]


def test_a_node_that_is_killed_and_back(start, three):
    """Another process is empty: there is nothing to be gone through."""
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    put_all(proxy, dict.fromkeys(keys_of(three, lame, 100), "old"))
    # It has to be known that workers greeted the process that dies: a check of it comes after them.
    checks = proxy.counter("checks")
    eventually(lambda: proxy.counter("checks") > checks + 2 * len(three), within=PATIENCE)
    lame.kill()
    eventually(lambda: proxy.state_of(lame) == "out", within=PATIENCE)
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "*")
    assert wait_for_end(proxy, number)["nodes_out"] == 1
    lame.start_again()
    wait_until_up(proxy, lame)
    stats = lame.ask("INFO", "commandstats").decode()
    assert "cmdstat_scan:" not in stats


def test_many_jobs_that_a_node_has_missed(start, three):
    """Jobs of one pattern are one debt; too many different ones, and it is flushed."""
    lame = three[0]
    proxy = start.proxy(three, settings())
    mine = keys_of(three, lame, 50)
    put_all(proxy, dict.fromkeys(mine, "old"))
    lame.freeze()
    eject_by_requests(proxy, lame, mine[0])
    for _ in range(20):
        wait_for_end(proxy, proxy.ask("SUMCACHE.UNLINK", "MATCH", "a:*"))
    assert proxy.counter("job_debts_dropped") == 0
    for i in range(16):
        wait_for_end(proxy, proxy.ask("SUMCACHE.UNLINK", "MATCH", f"b:{i}:*"))
    assert proxy.counter("job_debts_dropped") == 17
    lame.thaw()
    wait_until_up(proxy, lame)
    assert proxy.counter("flushes") == 1 and values(lame, mine) == {}


def test_members_that_come_and_go_while_it_runs(start, dns):
    """One that comes may bring what it held before; one that goes is gone through, or has left."""
    nodes = start.nodes_of_a_name(4)
    first, second, third, comes = nodes
    dns.set(redis=[node.host for node in (first, second, third)])
    proxy = start.proxy([], by_dns(dns.port, dns=[f"redis.test:{first.port}"], grace="100ms"), workers=2)
    wait_for_members(proxy, first, second, third)
    keys = [f"shows:{i}" for i in range(6000)]
    put_all(proxy, dict.fromkeys(keys, "old"))
    with comes.connect() as client:
        client.send(b"".join(encode("SET", key, "older") for key in keys[:1000]))
        client.replies(1000)
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "shows:*", "RATE", "1500")
    eventually(lambda: job(proxy, number)["unlinked"] > 100, within=PATIENCE)
    dns.set(redis=[node.host for node in (first, second, comes)])
    wait_for_members(proxy, first, second, comes)
    found = wait_for_end(proxy, number, within=30 * SLOWNESS)
    assert (found["nodes"], found["nodes_done"], found["nodes_out"]) == (3, 3, 0)
    assert values(proxy, keys) == {}
    assert [node.ask("DBSIZE") for node in (first, second, comes)] == [0, 0, 0]


def test_all_nodes_out(start, three):
    """It is done at once, and each owes it."""
    proxy = start.proxy(three, settings({"max_ejected": "100"}))
    keys = [key for node in three for key in keys_of(three, node, 30)]
    put_all(proxy, dict.fromkeys(keys, "old"))
    for node in three:
        node.freeze()
    with proxy.connect() as client:
        def all_out():
            client.send(b"".join(encode("GET", key) for key in keys))
            client.replies(len(keys))
            return {proxy.state_of(node) for node in three} == {"out"}

        eventually(all_out, within=PATIENCE)
    assert wait_for_end(proxy, proxy.ask("SUMCACHE.UNLINK", "MATCH", "*"))["nodes_out"] == 3
    for node in three:
        node.thaw()
    for node in three:
        wait_until_up(proxy, node)
        assert values(node, keys) == {}


def test_a_node_that_refuses(start, three):
    proxy = start.proxy(three, settings())
    put_all(proxy, dict.fromkeys(keys_of(three, three[0], 50), "old"))
    three[0].ask("ACL", "SETUSER", "default", "-scan")
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "*")
    found = wait_for_end(proxy, number, b"failed")
    assert found["reason"].startswith(f"{three[0].name}: SCAN: NOPERM".encode())
    assert proxy.counter("jobs_failed") == 1 and len(proxy.events("job-failed")) == 1
    three[0].ask("ACL", "SETUSER", "default", "+scan", "-unlink")
    number = proxy.ask("SUMCACHE.UNLINK", "MATCH", "*")
    found = wait_for_end(proxy, number, b"failed")
    assert found["reason"].startswith(f"{three[0].name}: UNLINK: NOPERM".encode())
    three[0].ask("ACL", "SETUSER", "default", "+unlink")
    assert wait_for_end(proxy, proxy.ask("SUMCACHE.UNLINK", "MATCH", "*"))["nodes_done"] == 3


def test_a_node_that_cannot_be_gone_through_is_flushed_before_it_is_back(start, three):
    lame = three[0]
    proxy = start.proxy(three, settings())
    mine = keys_of(three, lame, 50)
    put_all(proxy, dict.fromkeys(mine, "old"))
    lame.ask("ACL", "SETUSER", "default", "-scan")
    lame.freeze()
    eject_by_requests(proxy, lame, mine[0])
    wait_for_end(proxy, proxy.ask("SUMCACHE.UNLINK", "MATCH", "nothing"))
    lame.thaw()
    wait_until_up(proxy, lame)
    assert proxy.counter("flushes") == 1 and values(lame, mine) == {}
    assert len(proxy.events("job-node-refused")) == 1


# ---- where keys are ----

def test_where(start, three):
    proxy = start.proxy(three, settings())
    keys = [f"k:{i}" for i in range(50)] + ["{k:1}:x", ""]
    with proxy.connect() as client:
        eventually(lambda: {proxy.state_of(node) for node in three} == {"up"}, within=PATIENCE)
        assert client.ask("SUMCACHE.WHERE", *keys) == [owner(three, key).name.encode() for key in keys]
        three[0].freeze()
        mine = keys_of(three, three[0], 5)
        eject_by_requests(proxy, three[0], mine[0])
        rest = without(three, three[0])
        assert client.ask("SUMCACHE.WHERE", *mine) == [owner(rest, key).name.encode() for key in mine]
    three[0].thaw()


def test_where_without_nodes(start):
    names = ["127.0.0.1:1", "127.0.0.1:2"]
    proxy = start.proxy(names, settings())
    eventually(lambda: {proxy.state_of(name) for name in names} == {"out"}, within=PATIENCE)
    assert eventually(lambda: proxy.ask("SUMCACHE.WHERE", "a", "b") == [None, None], within=PATIENCE)
    assert isinstance(proxy.ask("SUMCACHE.WHERE"), Error)

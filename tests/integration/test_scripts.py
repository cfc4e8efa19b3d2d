# SPDX-License-Identifier: Apache-2.0
"""Scripts and functions: loaded once, at all nodes, those to come included."""
import hashlib

import pytest

import cluster
import resp
from cluster import BACKOFF, PATIENCE
from processes import SLOWNESS
from resp import Error, eventually

pytestmark = pytest.mark.proxy_only

PATIENT = {**BACKOFF, "request": f"{int(500 * SLOWNESS)}ms"}  # a busy machine is no fault of the node's

SCRIPT = "return {KEYS[1], ARGV[1]}"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()
LIBRARY = "#!lua name=mylib\nredis.register_function{function_name='f', callback=function(keys, args) return args[1] end," \
          " flags={'no-writes'}}"


def library(name, answer):
    return f"#!lua name={name}\nredis.register_function('{name}_f', function() return '{answer}' end)"


@pytest.fixture
def some(start):
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, cluster.settings(timeouts=PATIENT))
    eventually(lambda: all(proxy.state_of(node) == "up" for node in nodes), within=PATIENCE, what="all are up")
    return nodes, proxy


def keys_of_each(nodes):
    return [cluster.keys_of(nodes, node, 1)[0] for node in nodes]


def is_home(proxy, node):
    """It is up, and its keys are with it."""
    return proxy.state_of(node) == "up" and cluster.slots_rest(proxy)


def has_script(node, sha=SHA):
    return node.ask("SCRIPT", "EXISTS", sha) == [1]


def libraries_of(server):
    return sorted(one[one.index(b"library_name") + 1].decode() for one in server.ask("FUNCTION", "LIST"))


def test_a_script_is_loaded_at_all_nodes(some):
    nodes, proxy = some
    with proxy.connect() as client:
        # One pipeline: what needs it may come right behind.
        client.send(resp.encode("SCRIPT", "LOAD", SCRIPT) +
                    b"".join(resp.encode("EVALSHA", SHA, "1", key, "x") for key in keys_of_each(nodes)))
        assert client.reply().value == SHA.encode()
        assert [reply.value for reply in client.replies(3)] == [[key.encode(), b"x"] for key in keys_of_each(nodes)]
        assert client.ask("SCRIPT", "EXISTS", SHA, "f" * 40) == [1, 0]
        assert all(has_script(node) for node in nodes)
        nodes[1].ask("SCRIPT", "FLUSH")
        assert client.ask("SCRIPT", "EXISTS", SHA) == [0], "it is not everywhere"
        assert client.ask("SCRIPT", "LOAD", SCRIPT) == SHA.encode()
        assert client.ask("SCRIPT", "FLUSH", "SYNC") == "OK"
        assert not any(has_script(node) for node in nodes)
        assert str(client.ask("EVALSHA", SHA, "1", "k", "x")).startswith("NOSCRIPT")


def test_errors_are_a_servers(some, redis):
    nodes, proxy = some
    cases = [("SCRIPT", "LOAD", "return ("), ("SCRIPT", "FLUSH", "perhaps"), ("SCRIPT", "KILL"), ("SCRIPT", "EXISTS"),
             ("FUNCTION", "LOAD", "return 1"), ("FUNCTION", "LOAD", "REPLAZE", LIBRARY), ("FUNCTION", "DELETE", "nolib"),
             ("FUNCTION", "RESTORE", "junk"), ("FUNCTION", "KILL"), ("FUNCTION", "FLUSH", "perhaps"),
             ("FUNCTION", "STATS"), ("FUNCTION", "LIST"), ("FUNCTION", "LIST", "LIBRARYNAME"), ("SCRIPT", "EXISTS", "x")]
    for protocol in (2, 3):
        with proxy.connect(protocol=protocol) as ours, redis.connect(protocol=protocol) as theirs:
            for case in cases:
                assert ours.ask_raw(*case) == theirs.ask_raw(*case), case
    assert proxy.counter("scripts_kept") == 0


def test_a_node_that_differs_is_named(some):
    nodes, proxy = some
    nodes[1].ask("FUNCTION", "LOAD", LIBRARY)
    answer = str(proxy.ask("FUNCTION", "LOAD", LIBRARY))
    assert answer == f"ERR sumcache: node {nodes[1].name}: Library 'mylib' already exists"
    nodes[2].freeze()
    try:
        answer = proxy.ask("SCRIPT", "LOAD", SCRIPT)
        assert isinstance(answer, Error) and nodes[2].name in str(answer) and "timed out" in str(answer)
    finally:
        nodes[2].thaw()
    assert proxy.counter("scripts_kept") == 0


def test_a_node_that_comes_back_empty_has_it_before_it_serves(some):
    nodes, proxy = some
    key = keys_of_each(nodes)[0]
    assert proxy.ask("SCRIPT", "LOAD", SCRIPT) == SHA.encode()
    assert proxy.ask("FUNCTION", "LOAD", LIBRARY) == b"mylib"
    nodes[0].kill()
    eventually(lambda: proxy.state_of(nodes[0]) == "out", within=PATIENCE, what="it is out")
    # What is loaded while it is out gets there as well.
    second = "return 'second'"
    proxy.ask("SCRIPT", "LOAD", second)
    with proxy.connect() as client:
        eventually(lambda: client.ask("EVALSHA", SHA, "1", key, "x") == [key.encode(), b"x"], within=PATIENCE,
                   what="another serves")
        nodes[0].start_again()

        def is_back():
            answer = client.ask("EVALSHA", SHA, "1", key, "x")
            assert not str(answer).startswith("NOSCRIPT"), "never, at whatever moment"
            assert not str(client.ask("FCALL", "f", "1", key, "y")).startswith("ERR Function not found")
            return is_home(proxy, nodes[0])

        eventually(is_back, within=2 * PATIENCE, what="it is up again")
        assert client.ask("EVALSHA", SHA, "1", key, "x") == [key.encode(), b"x"]
        assert client.ask("FCALL", "f", "1", key, "y") == b"y"
    assert has_script(nodes[0]) and has_script(nodes[0], hashlib.sha1(second.encode()).hexdigest())
    assert libraries_of(nodes[0]) == ["mylib"]
    assert proxy.counter("scripts_loaded") == 3 and proxy.counter("scripts_failed") == 0


def test_a_node_that_is_restarted_at_once_gets_it_again(some):
    nodes, proxy = some
    assert proxy.ask("SCRIPT", "LOAD", SCRIPT) == SHA.encode()
    for node in nodes:
        node.kill()
        node.start_again()
        eventually(lambda node=node: has_script(node), within=2 * PATIENCE, what="it has it again")
    eventually(lambda: all(is_home(proxy, node) for node in nodes), within=2 * PATIENCE, what="all are up")
    with proxy.connect() as client:
        for key in keys_of_each(nodes):
            assert client.ask("EVALSHA", SHA, "1", key, "x") == [key.encode(), b"x"]


def test_what_was_dropped_does_not_come_back(some):
    nodes, proxy = some
    proxy.ask("SCRIPT", "LOAD", SCRIPT)
    for name in ("one", "two", "three"):
        assert proxy.ask("FUNCTION", "LOAD", library(name, "old")) == name.encode()
    dump = proxy.ask("FUNCTION", "DUMP")
    nodes[2].freeze()
    eventually(lambda: proxy.ask("GET", keys_of_each(nodes)[2]) is None and proxy.state_of(nodes[2]) == "out" and
               cluster.slots_rest(proxy), within=2 * PATIENCE, what="the frozen node is out")
    assert proxy.ask("SCRIPT", "FLUSH") == "OK"
    assert proxy.ask("FUNCTION", "DELETE", "one") == "OK"
    assert proxy.ask("FUNCTION", "LOAD", "REPLACE", library("two", "new")) == b"two"
    nodes[2].thaw()
    eventually(lambda: is_home(proxy, nodes[2]), within=2 * PATIENCE, what="it is back")
    assert not has_script(nodes[2])
    assert libraries_of(nodes[2]) == ["three", "two"]
    with proxy.connect() as client:
        for key in keys_of_each(nodes):
            assert client.ask("FCALL", "two_f", "1", key) == b"new"
        assert client.ask("FUNCTION", "RESTORE", dump, "FLUSH") == "OK"
        assert all(libraries_of(node) == ["one", "three", "two"] for node in nodes)
        assert client.ask("FUNCTION", "FLUSH") == "OK"
    nodes[0].kill()
    nodes[0].start_again()
    eventually(lambda: proxy.state_of(nodes[0]) == "up" and proxy.counter("scripts_kept") == 2, within=2 * PATIENCE,
               what="back again")
    assert libraries_of(nodes[0]) == [] and not has_script(nodes[0])


def test_a_restored_library_is_given_to_nodes_that_come_back(some):
    nodes, proxy = some
    nodes[0].ask("FUNCTION", "LOAD", LIBRARY)
    dump = nodes[0].ask("FUNCTION", "DUMP")
    nodes[0].ask("FUNCTION", "FLUSH")
    assert proxy.ask("FUNCTION", "RESTORE", dump) == "OK"
    nodes[1].kill()
    nodes[1].start_again()
    eventually(lambda: libraries_of(nodes[1]) == ["mylib"], within=2 * PATIENCE, what="it has it again")


def test_a_new_node_has_it_before_it_serves(start, dns):
    nodes = start.nodes_of_a_name(3)
    dns.set(redis=[node.host for node in nodes[:2]])
    proxy = start.proxy([], cluster.by_dns(dns.port, dns=[f"redis.test:{nodes[0].port}"]))
    cluster.wait_for_members(proxy, *nodes[:2])
    assert proxy.ask("SCRIPT", "LOAD", SCRIPT) == SHA.encode()
    key = cluster.keys_of(nodes, nodes[2], 1)[0]
    dns.set(redis=[node.host for node in nodes])
    with proxy.connect() as client:
        def is_there():
            answer = client.ask("EVALSHA", SHA, "1", key, "x")
            assert answer == [key.encode(), b"x"] or "moving" in str(answer), answer
            return is_home(proxy, nodes[2])

        eventually(is_there, within=2 * PATIENCE, what="the third is there")
        assert client.ask("EVALSHA", SHA, "1", key, "x") == [key.encode(), b"x"]
    assert has_script(nodes[2])


def test_what_is_kept_is_bounded(start):
    nodes = start.nodes(2)
    proxy = start.proxy(nodes, cluster.settings(limits={"scripts": "4kb"}))
    with proxy.connect() as client:
        for i in range(100):
            assert client.ask("SCRIPT", "LOAD", f"return {i} -- {'x' * 100}")
    eventually(lambda: proxy.counter("scripts_forgotten") > 50, within=PATIENCE, what="the oldest are forgotten")
    assert 0 < proxy.counter("scripts_bytes") <= 4096 and proxy.counter("scripts_kept") < 50
    nodes[0].kill()
    nodes[0].start_again()
    newest = hashlib.sha1(f"return 99 -- {'x' * 100}".encode()).hexdigest()
    eventually(lambda: has_script(nodes[0], newest), within=2 * PATIENCE, what="the newest are loaded again")


def test_a_running_script_is_killed_where_it_runs(some):
    nodes, proxy = some
    for node in nodes:
        node.ask("CONFIG", "SET", "busy-reply-threshold", "1")
    key = keys_of_each(nodes)[1]
    with proxy.connect() as client, nodes[1].connect() as direct:
        direct.send(resp.encode("EVAL", "while true do end", "1", key))
        eventually(lambda: str(nodes[1].ask("PING")).startswith("BUSY"), within=PATIENCE, what="it runs")
        assert client.ask("SCRIPT", "KILL") == "OK"
        assert str(direct.reply().value).startswith("ERR Script killed by user")
        assert str(client.ask("SCRIPT", "KILL")).startswith("NOTBUSY")

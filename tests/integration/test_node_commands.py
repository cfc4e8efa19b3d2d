# SPDX-License-Identifier: Apache-2.0
"""CONFIG, SLOWLOG, LATENCY and MEMORY, of all nodes as if they were one."""
import time

import pytest

import cluster
from cluster import BACKOFF, PATIENCE
from processes import SLOWNESS
from resp import Error, eventually

pytestmark = pytest.mark.proxy_only

PATIENT = {**BACKOFF, "request": f"{int(500 * SLOWNESS)}ms"}  # a busy machine is no fault of the node's


def keep_busy(node, seconds):
    """So that its latency monitor sees something."""
    loop = "local t = redis.call('TIME') local from = t[1] * 1000000 + t[2] repeat t = redis.call('TIME') " \
           "until t[1] * 1000000 + t[2] - from > ARGV[1] * 1000000"
    node.ask("EVAL", loop, "0", str(seconds))


@pytest.fixture
def some(start):
    nodes = start.nodes(3)
    proxy = start.proxy(nodes, cluster.settings(timeouts=PATIENT))
    eventually(lambda: all(proxy.state_of(node) == "up" for node in nodes), within=PATIENCE, what="all are up")
    return nodes, proxy


def test_settings_go_to_all_nodes(some):
    nodes, proxy = some
    assert proxy.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "SLOWLOG-MAX-LEN", "77") == "OK"
    for node in nodes:
        assert node.ask("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lfu"
        assert node.ask("CONFIG", "GET", "slowlog-max-len")[1] == b"77"
    eventually(lambda: proxy.ask("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lfu", within=PATIENCE, what="seen")
    for name in ("maxmemory", "dir", "save", "port", "requirepass", "x" * 1000):
        answer = proxy.ask("CONFIG", "SET", "hz", "11", name, "1")
        assert isinstance(answer, Error) and "not for all nodes alike" in str(answer)
    assert all(node.ask("CONFIG", "GET", "hz")[1] != b"11" for node in nodes), "all or nothing"


def test_errors_of_settings_are_a_servers(some, redis):
    nodes, proxy = some
    for case in (("maxmemory-policy", "nonsense"), ("hz", "x"), ("hz", "10", "hz", "11"), ("hz", "10", "loglevel")):
        assert str(proxy.ask("CONFIG", "SET", *case)) == str(redis.ask("CONFIG", "SET", *case))
    nodes[1].kill()
    nodes[2].kill()
    eventually(lambda: proxy.counter("nodes_out") == 2, within=PATIENCE, what="they are out")
    assert proxy.ask("CONFIG", "SET", "hz", "12") == "OK"
    nodes[0].kill()
    eventually(lambda: proxy.counter("nodes_out") == 3, within=PATIENCE, what="it is out")
    assert str(proxy.ask("CONFIG", "SET", "hz", "12")) == "ERR sumcache: no node is up"


def test_statistics_are_reset_everywhere(some):
    nodes, proxy = some
    for i in range(50):
        proxy.ask("GET", f"k:{i}")
    assert sum(int(node.ask("INFO", "stats").decode().split("keyspace_misses:")[1].split()[0]) for node in nodes) == 50
    assert proxy.ask("CONFIG", "RESETSTAT") == "OK"
    for node in nodes:
        assert "keyspace_misses:0\r" in node.ask("INFO", "stats").decode()


def test_slow_commands_are_in_one_order_of_time(some):
    nodes, proxy = some
    assert proxy.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1") == "OK"
    assert proxy.ask("SLOWLOG", "RESET") == "OK" and proxy.ask("SLOWLOG", "LEN") == 0
    assert proxy.ask("SLOWLOG", "GET") == []
    for i, node in enumerate([nodes[2], nodes[0], nodes[1]]):
        node.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
        node.ask("ECHO", f"this is {i}")
        node.ask("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        time.sleep(1.1)  # the log has whole seconds
    entries = proxy.ask("SLOWLOG", "GET", "-1")
    echoes = [entry for entry in entries if entry[3][0] == b"ECHO"]
    assert [entry[3][1] for entry in echoes] == [b"this is 2", b"this is 1", b"this is 0"]
    assert [entry[5].decode() for entry in echoes] == [nodes[1].name, nodes[0].name, nodes[2].name]
    assert all(len(entry) == 6 and isinstance(entry[2], int) for entry in entries)
    assert [entry[1] for entry in entries] == sorted((entry[1] for entry in entries), reverse=True)
    assert proxy.ask("SLOWLOG", "LEN") == len(entries) == sum(node.ask("SLOWLOG", "LEN") for node in nodes)
    assert proxy.ask("SLOWLOG", "GET", "2") == entries[:2] and proxy.ask("SLOWLOG", "GET") == entries[:10]
    assert proxy.ask("SLOWLOG", "GET", "2", protocol=3) == entries[:2]
    assert proxy.ask("SLOWLOG", "RESET") == "OK" and proxy.ask("SLOWLOG", "LEN") == 0


def test_a_command_that_was_slow_indeed_is_listed(some):
    """Its microseconds are a larger number than the bytes of the reply."""
    nodes, proxy = some
    keep_busy(nodes[1], 0.1)
    entry = next(entry for entry in proxy.ask("SLOWLOG", "GET", "-1") if entry[3][0] == b"EVAL")
    assert entry[2] >= 100000 and entry[5].decode() == nodes[1].name


def test_errors_of_logs_are_a_servers(some, redis):
    nodes, proxy = some
    for case in (("SLOWLOG", "GET", "x"), ("SLOWLOG", "GET", "-2"), ("SLOWLOG", "GET", "1", "2"), ("SLOWLOG", "RESET", "1"),
                 ("LATENCY", "HISTORY", "command"), ("LATENCY", "GRAPH", "command"), ("LATENCY", "LATEST"),
                 ("LATENCY", "RESET"), ("LATENCY", "HISTORY"), ("MEMORY", "PURGE", "x"), ("MEMORY", "PURGE")):
        with proxy.connect() as ours, redis.connect() as theirs:
            assert ours.ask_raw(*case) == theirs.ask_raw(*case), case


def test_latencies_of_all_nodes(some):
    nodes, proxy = some
    assert proxy.ask("CONFIG", "SET", "latency-monitor-threshold", "15") == "OK"
    for node, wait in ((nodes[0], 0.02), (nodes[1], 0.05)):
        keep_busy(node, wait)

    def command_of(server, **options):
        """The machine may be slow at other things as well."""
        return next((entry for entry in server.ask("LATENCY", "LATEST", **options) if entry[0] == b"command"), None)

    latest = [command_of(node) for node in nodes[:2]]
    assert all(latest), "the nodes have noted it"
    for protocol in (2, 3):
        assert command_of(proxy, protocol=protocol)[3] == max(one[3] for one in latest)
        events = [entry[0] for entry in proxy.ask("LATENCY", "LATEST", protocol=protocol)]
        assert len(events) == len(set(events))
    history = proxy.ask("LATENCY", "HISTORY", "command")
    assert sorted(history) == sorted(entry for node in nodes for entry in node.ask("LATENCY", "HISTORY", "command"))
    assert [entry[0] for entry in history] == sorted(entry[0] for entry in history)
    for command in (("DOCTOR",), ("GRAPH", "command")):
        if command[0] == "GRAPH":
            keep_busy(nodes[2], 0.02)
        text = proxy.ask("LATENCY", *command).decode()
        assert all(f"{node.name}:\n" in text for node in nodes)
    assert proxy.ask("LATENCY", "RESET") >= 3
    assert command_of(proxy) is None


def test_memory_of_all_nodes(some):
    nodes, proxy = some
    assert proxy.ask("SET", "k", "x" * 1000) == "OK"
    assert proxy.ask("MEMORY", "USAGE", "k") > 1000
    for protocol in (2, 3):
        for command in ("DOCTOR", "MALLOC-STATS"):
            text = proxy.ask("MEMORY", command, protocol=protocol).decode()
            assert all(f"{node.name}:\n" in text for node in nodes), text[:300]
    assert proxy.ask("MEMORY", "PURGE") == "OK"


def as_map(value):
    """RESP2's flat arrays as maps."""
    if isinstance(value, list) and len(value) % 2 == 0:
        return {value[i]: as_map(value[i + 1]) for i in range(0, len(value), 2)}
    return {key: as_map(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("protocol", [2, 3])
def test_memory_statistics_are_added_up(some, protocol):
    nodes, proxy = some
    for i in range(60):
        proxy.ask("SET", f"k:{i}", "x")
    of_nodes = [as_map(node.ask("MEMORY", "STATS")) for node in nodes]
    seen = as_map(proxy.ask("MEMORY", "STATS", protocol=protocol))
    assert seen.keys() == of_nodes[0].keys()
    assert seen[b"keys.count"] == 60
    assert seen[b"startup.allocated"] == sum(one[b"startup.allocated"] for one in of_nodes)
    assert seen[b"db.0"].keys() == of_nodes[0][b"db.0"].keys()
    main = b"overhead.hashtable.main"
    assert seen[b"db.0"][main] == sum(one[b"db.0"][main] for one in of_nodes)
    per_key = [one[b"keys.bytes-per-key"] for one in of_nodes]
    assert min(per_key) / 2 < seen[b"keys.bytes-per-key"] < 2 * max(per_key)
    share = seen[b"dataset.percentage"]
    assert isinstance(share, bytes if protocol == 2 else float) and 0 < float(share) < 100


@pytest.mark.parametrize("protocol", [2, 3])
def test_histograms_are_added_up(some, protocol):
    nodes, proxy = some
    for i in range(200):
        proxy.ask("SET", f"k:{i}", "x")
        proxy.ask("GET", f"k:{i}")
    proxy.ask("LPUSH", "list", "x")  # at one node alone
    of_nodes = [as_map(node.ask("LATENCY", "HISTOGRAM", "get", "set", "lpush")) for node in nodes]
    seen = as_map(proxy.ask("LATENCY", "HISTOGRAM", "get", "set", "lpush", "nonsense", protocol=protocol))
    assert set(seen) == {b"get", b"set", b"lpush"}
    for name, calls in ((b"get", 200), (b"set", 200), (b"lpush", 1)):
        assert seen[name][b"calls"] == calls == sum(one[name][b"calls"] for one in of_nodes if name in one)
        mine = seen[name][b"histogram_usec"]
        theirs = [one[name][b"histogram_usec"] for one in of_nodes if name in one]
        assert list(mine) == sorted({bucket for one in theirs for bucket in one})
        for bucket, count in mine.items():
            assert count == sum(max([one[at] for at in one if at <= bucket], default=0) for one in theirs)
        assert max(mine.values()) == calls
    assert set(as_map(proxy.ask("LATENCY", "HISTOGRAM", protocol=protocol))) >= {b"get", b"set", b"lpush"}
    assert proxy.ask("LATENCY", "HISTOGRAM", "nonsense") == []


def test_a_node_that_hangs_is_named(some):
    nodes, proxy = some
    nodes[1].freeze()
    try:
        for command in (("SLOWLOG", "LEN"), ("CONFIG", "RESETSTAT"), ("LATENCY", "LATEST")):
            answer = str(proxy.ask(*command))
            if proxy.state_of(nodes[1]) == "up":
                assert nodes[1].name in answer, answer
    finally:
        nodes[1].thaw()

# SPDX-License-Identifier: Apache-2.0
"""INFO, HELLO and CONFIG GET as if the nodes were one Redis: sums of what they say of themselves."""
import pytest

import cluster
from cluster import PATIENCE
from resp import eventually

pytestmark = pytest.mark.proxy_only

SUMMED = ("used_memory", "maxmemory", "keyspace_hits", "keyspace_misses", "evicted_keys", "expired_keys")


def info_of(server, *sections):
    """The lines of INFO by name, but those of nodes."""
    text = server.ask("INFO", *sections)
    lines = (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return dict(lines)


def number_of(server, name):
    return int(info_of(server)[name])


def keys_in(info):
    return dict(part.split("=") for part in info["db0"].split(",")) if "db0" in info else {"keys": "0", "expires": "0"}


@pytest.fixture
def some(start):
    """Three nodes of which each has seen something, and their proxy."""
    nodes = start.nodes(3)
    for i, node in enumerate(nodes):
        node.ask("CONFIG", "SET", "maxmemory", str((i + 1) * 100_000_000))
    proxy = start.proxy(nodes, cluster.settings())
    with proxy.connect() as client:
        for i in range(300):
            client.ask("SET", f"k:{i}", "x", *(("EX", "1000") if i % 3 == 0 else ()))
            client.ask("GET", f"k:{i}")
        for i in range(50):
            client.ask("GET", f"missing:{i}")
    return nodes, proxy


def test_figures_are_the_sums_of_the_nodes(some):
    nodes, proxy = some
    eventually(lambda: keys_in(info_of(proxy))["keys"] == "300", within=PATIENCE, what="all keys are counted")
    eventually(lambda: number_of(proxy, "keyspace_misses") >= 50, within=PATIENCE, what="all has been counted")
    seen = info_of(proxy)
    of_nodes = [info_of(node) for node in nodes]
    assert keys_in(seen)["expires"] == "100"
    assert int(seen["maxmemory"]) == 600_000_000
    assert int(seen["keyspace_hits"]) == 300 == sum(int(one["keyspace_hits"]) for one in of_nodes)
    # Memory moves a little from one look to the next.
    total = sum(int(one["used_memory"]) for one in of_nodes)
    assert abs(int(seen["used_memory"]) - total) < total / 5
    assert seen["used_memory_human"].endswith("M")
    assert int(seen["total_commands_processed"]) >= 650
    assert seen["redis_version"] == of_nodes[0]["redis_version"]
    assert seen["nodes_summed"] == "3" and int(seen["nodes_summed_age_ms"]) < 1000 * PATIENCE


def test_sections_stand_alone_and_a_node_has_its_line(some):
    nodes, proxy = some
    eventually(lambda: info_of(proxy)["nodes_summed"] == "3", within=PATIENCE, what="all have told")
    assert set(info_of(proxy, "keyspace")) <= {"db0"}
    assert "used_memory" in info_of(proxy, "memory") and "keyspace_hits" not in info_of(proxy, "memory")
    eventually(lambda: sum(int(line["keys"]) for line in proxy.node_lines().values()) == 300, within=PATIENCE,
               what="keys by node")
    lines = proxy.node_lines()
    for i, node in enumerate(nodes):
        line = lines[node.name]
        assert int(line["maxmemory"]) == (i + 1) * 100_000_000
        assert int(line["keys"]) == node.ask("DBSIZE")
        assert int(line["age_ms"]) < 1000 * PATIENCE


def test_a_dead_node_is_left_out(some):
    nodes, proxy = some
    eventually(lambda: keys_in(info_of(proxy))["keys"] == "300", within=PATIENCE, what="all keys are counted")
    gone = nodes[0].ask("DBSIZE")
    nodes[0].kill()
    eventually(lambda: info_of(proxy)["nodes_summed"] == "2", within=PATIENCE, what="it is left out")
    assert keys_in(info_of(proxy))["keys"] == str(300 - gone)
    assert number_of(proxy, "maxmemory") == 500_000_000
    for node in nodes[1:]:
        node.kill()
    eventually(lambda: info_of(proxy)["nodes_summed"] == "0", within=PATIENCE, what="none is left")
    seen = info_of(proxy)
    assert "db0" not in seen and seen["used_memory"] == "0"
    assert seen["redis_version"]  # what clients look for on connect is there all the same
    nodes[0].start_again()
    eventually(lambda: info_of(proxy)["nodes_summed"] == "1", within=2 * PATIENCE, what="it is counted again")
    eventually(lambda: keys_in(info_of(proxy))["keys"] == "0", within=PATIENCE, what="… and is empty")


def test_no_limit_at_one_node_is_none_in_the_sum(some):
    nodes, proxy = some
    nodes[1].ask("CONFIG", "SET", "maxmemory", "0")
    eventually(lambda: number_of(proxy, "maxmemory") == 0, within=PATIENCE, what="no limit")
    assert proxy.ask("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]


def test_the_policy_is_what_all_nodes_have(some):
    nodes, proxy = some
    for node in nodes:
        node.ask("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    eventually(lambda: info_of(proxy).get("maxmemory_policy") == "volatile-ttl", within=PATIENCE, what="it is told")
    assert proxy.ask("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"volatile-ttl"]
    nodes[2].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    eventually(lambda: "maxmemory_policy" not in info_of(proxy), within=PATIENCE, what="they differ")


def test_a_proxy_without_nodes_answers_at_once(start):
    node = start.node()
    node.kill()
    proxy = start.proxy([node], cluster.settings())
    seen = info_of(proxy)
    assert seen["used_memory"] == "0" and seen["nodes_summed"] == "0" and seen["role"] == "master"
    with proxy.connect(protocol=3) as client:
        assert client.ask("HELLO", "3")[b"version"]

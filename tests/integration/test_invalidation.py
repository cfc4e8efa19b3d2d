# SPDX-License-Identifier: Apache-2.0
"""The two ways in which applications invalidate groups with what Redis has anyway: a list of keys,
and then DEL of all of them; or a hash for each group. Both work over many nodes as over one."""
import pytest

import cluster
from cluster import eject_by_requests, keys_of, owner, put_all, remove, settings, values, wait_until_up
from resp import Error, encode, eventually

PATIENCE = cluster.PATIENCE


@pytest.mark.parametrize("command", ["DEL", "UNLINK"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_list_of_keys(proxy, key, command, protocol):
    keys = [key(f"page:{i}") for i in range(2000)]
    with proxy.connect(protocol=protocol) as client:
        client.send(b"".join(encode("SET", one, "x", "EX", 100) + encode("SADD", key("tag"), one) for one in keys))
        client.replies(2 * len(keys))
        assert client.ask("SCARD", key("tag")) == len(keys)
        listed = sorted(client.ask("SMEMBERS", key("tag")))
        assert listed == sorted(one.encode() for one in keys)
        assert client.ask("EXISTS", *keys) == len(keys)
        # In one go, or as many libraries do it, some hundreds at a time; twice does no harm.
        assert client.ask(command, *listed[:1000]) == 1000
        assert [client.ask(command, *listed[at:at + 500]) for at in range(0, 2000, 500)] == [0, 0, 500, 500]
        assert client.ask(command, key("tag")) == 1
        assert client.ask("EXISTS", *keys) == 0
        client.send(b"".join(encode(command, one) for one in keys))
        assert {reply.value for reply in client.replies(len(keys))} == {0}


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_hash_per_group(proxy, key, protocol):
    groups = [key(f"group:{i}") for i in range(60)]
    with proxy.connect(protocol=protocol) as client:
        for group in groups:
            assert client.ask("HSET", group, *[word for i in range(20) for word in (f"f{i}", f"{group}={i}")]) == 20
            assert client.ask("EXPIRE", group, 100) == 1
        assert client.ask("HGET", groups[7], "f3") == f"{groups[7]}=3".encode()
        assert client.ask("HMGET", groups[7], "f1", "none", "f2") == [
            f"{groups[7]}=1".encode(), None, f"{groups[7]}=2".encode()]
        assert client.ask("HDEL", groups[7], "f1", "none") == 1
        assert client.ask("HGET", groups[7], "f1") is None
        assert client.ask("DEL", groups[0]) == 1
        assert client.ask("UNLINK", *groups) == len(groups) - 1
        assert {client.ask("HGET", group, "f3") for group in groups} == {None}
        # A group that is gone is begun anew; nothing of before is in it.
        assert client.ask("HSET", groups[3], "f0", "new") == 1
        assert client.ask("HLEN", groups[3]) == 1


def has_field_ttls(node):
    return not isinstance(node.ask("HPTTL", "none", "FIELDS", 1, "f"), Error)


@pytest.mark.proxy_only
def test_ttls_of_fields(proxy, nodes, key):
    """Where the nodes have them they are passed on; where not, that is said in Redis's words."""
    with proxy.connect() as client:
        client.ask("HSET", key("group"), "short", "x", "long", "y")
        answer = client.ask("HPEXPIRE", key("group"), 20, "FIELDS", 1, "short")
        if not has_field_ttls(nodes[0]):
            assert str(answer).startswith("ERR unknown command 'HPEXPIRE'")
            return
        assert answer == [1]
        eventually(lambda: client.ask("HGET", key("group"), "short") is None, within=PATIENCE)
        assert client.ask("HGET", key("group"), "long") == b"y"


@pytest.mark.proxy_only
def test_a_node_that_was_out_has_forgotten_them(start):
    """Both ways, while a node with some of it is out: nothing of it comes back."""
    three = start.nodes(3)
    lame = three[0]
    proxy = start.proxy(three, settings(), workers=2)
    pages, groups = keys_of(three, lame, 100, "page"), keys_of(three, lame, 20, "group")
    kept = keys_of(three, lame, 20, "kept")
    put_all(proxy, dict.fromkeys(pages + kept, "old"))
    with proxy.connect() as client:
        for group in groups:
            assert client.ask("HSET", group, "f", "old") == 1
        lame.freeze()
        eject_by_requests(proxy, lame, pages[0])
        remove(client, *pages)
        remove(client, *groups)
        lame.thaw()
        wait_until_up(proxy, lame)
        assert owner(three, pages[0]) is lame
        assert client.ask("EXISTS", *pages, *groups) == 0
        assert {client.ask("HGET", group, "f") for group in groups} == {None}
    assert values(lame, kept) == dict.fromkeys(kept, b"old")


@pytest.mark.proxy_only
def test_a_part_that_fails_is_told(start):
    """Else the application would think that all is gone."""
    three = start.nodes(3)
    proxy = start.proxy(three, settings(health={"max_ejected": "1", "eject_misses": "1000000"}))
    keys = [key for node in three for key in keys_of(three, node, 20)]
    put_all(proxy, dict.fromkeys(keys, "x"))
    three[1].freeze()
    with proxy.connect() as client:
        answer = client.ask("UNLINK", *keys)
        assert str(answer) == f"ERR sumcache: node {three[1].name} timed out"
    three[1].thaw()
    with proxy.connect() as client:
        remove(client, *keys)
        eventually(lambda: client.ask("EXISTS", *keys) == 0, within=PATIENCE)

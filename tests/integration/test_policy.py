# SPDX-License-Identifier: Apache-2.0
"""policy.rules: lives that are cut, values that are too long, keys that are denied."""
import pytest

from resp import encode, eventually

KIB, MIB = 1 << 10, 1 << 20

RULES = [
    "shows:* default_ttl=1h max_ttl=24h",
    "shows:short:* max_ttl=10s",
    "small:* max_value=100kb",
    "tiny:* max_value=10 default_ttl=5m",
    "tmp:* deny",
]


@pytest.fixture
def proxy(start):
    """Three nodes, so that keys are split."""
    return start.proxy(start.nodes(3), {"policy": {"rules": RULES}, "timeouts": {"request": "10s", "stall": "10s"}})


@pytest.fixture
def client(proxy):
    with proxy.connect() as connection:
        yield connection


HOUR, DAY = 3600, 86400


@pytest.mark.parametrize("write", [
    ["SET", "shows:k", "v"],
    ["SET", "shows:k", "v", "NX"],
    ["SETNX", "shows:k", "v"],
    ["GETSET", "shows:k", "v"],
    ["MSET", "shows:k", "v"],
    ["APPEND", "shows:k", "v"],
    ["INCR", "shows:k"],
    ["HSET", "shows:k", "f", "v"],
    ["RPUSH", "shows:k", "a", "b"],
    ["SADD", "shows:k", "a"],
    ["ZADD", "shows:k", "1", "a"],
    ["XADD", "shows:k", "*", "f", "v"],
    ["SETBIT", "shows:k", "7", "1"],
    ["EVAL", "return redis.call('set', KEYS[1], 'v')", "1", "shows:k"],
], ids=lambda write: write[0])
def test_what_brings_no_life_gets_one(client, proxy, write):
    client.ask(*write)
    assert HOUR - 5 <= client.ask("TTL", "shows:k") <= HOUR
    assert proxy.counter("policy_lives_cut") == 1


def test_a_life_that_is_brought_stays(client):
    client.ask("SET", "shows:a", "v", "EX", "100")
    client.ask("SETEX", "shows:b", "100", "v")
    client.ask("SET", "shows:b", "w", "KEEPTTL")
    client.ask("HSET", "shows:c", "f", "v")
    client.ask("EXPIRE", "shows:c", "100")
    client.ask("HSET", "shows:c", "g", "v")
    for key in "abc":
        assert 95 <= client.ask("TTL", f"shows:{key}") <= 100


def test_a_life_that_is_too_long_is_cut(client):
    client.ask("SET", "shows:a", "v", "EX", "9999999")
    client.ask("SET", "shows:b", "v")
    client.ask("EXPIRE", "shows:b", "9999999")
    for key in "ab":
        assert DAY - 5 <= client.ask("TTL", f"shows:{key}") <= DAY
    client.ask("SET", "shows:short:c", "v")
    assert 5 <= client.ask("TTL", "shows:short:c") <= 10
    client.ask("PERSIST", "shows:a")
    assert HOUR - 5 <= client.ask("TTL", "shows:a") <= HOUR


def test_keys_of_a_split_write_each_get_their_own(client):
    keys = [f"shows:{i}" for i in range(50)] + [f"other:{i}" for i in range(50)] + [f"shows:short:{i}" for i in range(50)]
    client.ask("MSET", *[item for key in keys for item in (key, "v")])
    for key in keys:
        ttl = client.ask("TTL", key)
        if key.startswith("shows:short:"):
            assert 5 <= ttl <= 10
        elif key.startswith("shows:"):
            assert HOUR - 5 <= ttl <= HOUR
        else:
            assert ttl == -1
    assert client.ask("DEL", *keys) == 150


def test_large_values_too(client):
    for size in (70 * KIB, 5 * MIB):
        client.ask("SET", "shows:big", b"x" * size)
        assert HOUR - 5 <= client.ask("TTL", "shows:big") <= HOUR
        assert client.ask("GET", "shows:big") == b"x" * size


def test_replies_stay_in_step(client):
    """Pipelined: what is sent behind a write has replies of its own, and nobody may get those."""
    requests, wanted = [], []
    for i in range(500):
        requests += [encode("SET", f"shows:{i % 7}", f"v{i}"), encode("GET", f"shows:{i % 7}"), encode("ECHO", f"e{i}"),
                     encode("STRLEN", f"other:{i}")]
        wanted += ["OK", f"v{i}".encode(), f"e{i}".encode(), 0]
    client.send(b"".join(requests))
    assert [reply.value for reply in client.replies(len(wanted))] == wanted


def test_values_that_are_too_long_are_refused(client, proxy):
    too_long = "ERR sumcache: value is longer than max_value of 'small:*' (policy.rules)"
    limit = 100 * KIB
    assert client.ask("SET", "small:a", b"x" * limit) == "OK"
    assert client.ask("SET", "small:a", b"x" * (limit + 1)).args[0] == too_long
    assert client.ask("SETEX", "small:a", "100", b"x" * (5 * MIB)).args[0] == too_long
    assert client.ask("HSET", "small:h", "f", "v", "g", b"x" * (limit + 1)).args[0] == too_long
    assert client.ask("HSET", "small:h", "f", b"x" * limit) == 1
    assert client.ask("MSET", "other:1", b"x" * (limit + 1), "small:1", "v") == "OK"
    assert client.ask("MSET", "other:1", "v", "small:1", b"x" * (limit + 1)).args[0] == too_long
    assert client.ask("SET", "tiny:a", "01234567890").args[0] == too_long.replace("small", "tiny")
    assert client.ask("SET", "tiny:a", "0123456789") == "OK"
    assert client.ask("GET", "small:a") == b"x" * limit
    assert proxy.counter("policy_too_long") == 5


def test_a_refused_upload_keeps_the_pipeline(client):
    client.send(encode("SET", "small:a", b"x" * (2 * MIB)) + encode("ECHO", "next") + encode("SET", "small:b", "v"))
    assert client.reply().value.args[0].startswith("ERR sumcache: value is longer")
    assert client.reply().value == b"next"
    assert client.reply().value == "OK"


def test_denied_keys_are_refused(client, proxy):
    denied = "NOPERM sumcache: policy.rules denies keys of 'tmp:*'"
    assert client.ask("SET", "tmp:a", "v").args[0] == denied
    assert client.ask("GET", "tmp:a").args[0] == denied
    assert client.ask("MGET", "other:a", "tmp:a").args[0] == denied
    assert client.ask("SET", "tmp:a", b"x" * MIB).args[0] == denied
    assert client.ask("EVAL", "return 1", "1", "tmp:a").args[0] == denied
    assert client.ask("GET", "tmp") is None
    assert proxy.counter("policy_denied") == 5


def test_a_node_that_refuses_is_counted(start):
    """As a redis-server before 7.0 does, which knows no NX: the write is done, its life is not cut, and that can be seen."""
    node = start.node()
    assert node.ask("ACL", "SETUSER", "default", "-pexpire") == "OK"
    proxy = start.proxy([node], {"policy": {"rules": RULES}})
    assert proxy.ask("SET", "shows:a", "v") == "OK"
    assert proxy.ask("TTL", "shows:a") == -1
    assert proxy.counter("policy_lives_uncut") == 2


# ---- inside MULTI, and of commands that block ----

def transaction(client, *commands):
    """The answers to the commands, and that to EXEC."""
    assert client.ask("MULTI") == "OK"
    return [client.ask(*command) for command in commands], client.ask("EXEC")


def test_a_transaction_brings_lives(client, proxy):
    queued, done = transaction(client, ["SET", "shows:{t}a", "1"], ["HSET", "shows:{t}b", "f", "v"], ["PING"],
                               ["MSET", "shows:{t}c", "1", "shows:{t}d", "2"], ["GET", "shows:{t}a"])
    assert queued == ["QUEUED"] * 5 and done == ["OK", 1, "PONG", "OK", b"1"]
    for name in "abcd":
        assert HOUR - 5 <= client.ask("TTL", f"shows:{{t}}{name}") <= HOUR
    assert proxy.counter("policy_lives_cut") == 4
    # Behind a WATCH it goes another way to the node.
    for _ in range(3):
        assert client.ask("WATCH", "shows:{t}a") == "OK"
        assert transaction(client, ["SET", "shows:{t}a", "1", "EX", str(2 * DAY)]) == (["QUEUED"], ["OK"])
        assert DAY - 5 <= client.ask("TTL", "shows:{t}a") <= DAY
    assert proxy.counter("policy_lives_cut") == 7
    assert proxy.counter("upstreams_private") == 1


@pytest.mark.parametrize("command, error", [
    (["SET", "tmp:{t}k", "v"], "NOPERM sumcache: policy.rules denies keys of 'tmp:*'"),
    (["SET", "tiny:{t}k", "longer than ten"], "ERR sumcache: value is longer than max_value of 'tiny:*' (policy.rules)"),
    (["MSET", "other{t}", "1", "tiny:{t}k", "longer than ten"],
     "ERR sumcache: value is longer than max_value of 'tiny:*' (policy.rules)"),
], ids=["deny", "max_value", "of several"])
def test_what_a_rule_refuses_spoils_the_transaction(client, proxy, command, error):
    queued, done = transaction(client, ["SET", "other{t}", "v"], command)
    assert queued[0] == "QUEUED" and str(queued[1]) == error
    assert str(done) == "EXECABORT Transaction discarded because of previous errors."
    assert client.ask("EXISTS", "other{t}") == 0


def test_what_a_command_that_blocks_stores_gets_a_life(client, proxy):
    with proxy.connect() as other:
        client.send(encode("BLMOVE", "list{t}", "shows:{t}to", "LEFT", "RIGHT", "0"))
        eventually(lambda: proxy.counter("clients_blocked") == 1)
        other.ask("RPUSH", "list{t}", "v")
        assert client.reply().value == b"v"
        assert HOUR - 5 <= client.ask("TTL", "shows:{t}to") <= HOUR
        client.send(encode("BLPOP", "tmp:{t}k", "0"))
        assert str(client.reply().value) == "NOPERM sumcache: policy.rules denies keys of 'tmp:*'"
    # The connection on which it waited is free for others.
    assert client.ask("BLPOP", "list{t}", "0.01") is None
    assert proxy.counter("upstreams_private") == 1

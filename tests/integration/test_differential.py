# SPDX-License-Identifier: Apache-2.0
"""One Redis to the eye: the same commands to one redis-server and to the proxy over three nodes give
the same bytes."""
import random

import pytest

import commands
import processes
from resp import Error, encode
from ring import Ring


@pytest.fixture
def twins(redis, proxy):
    """Connections to Redis and to the proxy, both empty."""
    for node in [redis, *proxy.nodes]:
        node.ask("FLUSHALL")
    with redis.connect() as one, proxy.connect() as other:
        yield one, other


def multiset(value):
    """For replies without an order: the same elements, however deep."""
    if isinstance(value, dict):
        value = [list(item) for item in value.items()]
    if isinstance(value, list):
        return sorted((multiset(item) for item in value), key=repr)
    return repr(value)


def same(command, wanted, got):
    if wanted.raw == got.raw:
        return True
    name = str(command[0]).upper()
    if name == "TTL" and isinstance(got.value, int):
        return abs(wanted.value - got.value) == 1  # Between the two a second may have ended.
    return name in commands.UNORDERED and multiset(wanted.value) == multiset(got.value)


def shorten(command):
    return [str(arg)[:80] if not isinstance(arg, bytes) else arg[:80] for arg in command]


@pytest.mark.parametrize("batch", [1, 50])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_random_commands(twins, key, protocol, batch, seed):
    one, other = twins
    if protocol == 3:
        assert set(one.ask("HELLO", 3)) == set(other.ask("HELLO", 3))
    drawn = list(commands.stream(random.Random(seed * 10 + protocol + batch), key(), 3000))
    differences = []
    for at in range(0, len(drawn), batch):
        part = drawn[at:at + batch]
        data = b"".join(encode(*command) for command in part)
        one.send(data)
        other.send(data)
        for command in part:
            wanted, got = one.reply(), other.reply()
            if not same(command, wanted, got):
                differences.append(f"{shorten(command)}\n  Redis {wanted}\n  proxy {got}")
        assert len(differences) < 5, "\n".join(differences)
    assert not differences, "\n".join(differences)


def test_the_draw_is_worth_it(twins, key):
    """Most of the drawn commands do something: errors are the lesser part."""
    one, _ = twins
    errors = 0
    for command in commands.stream(random.Random(7), key(), 2000):
        errors += isinstance(one.ask(*command), Error)
    assert 100 < errors < 1000


def test_dump_and_restore(twins, key):
    value = bytes(range(256)) * 3
    dumps = set()
    for connection in twins:
        connection.ask("SET", key("a"), value)
        dumps.add(connection.ask("DUMP", key("a")))
        assert connection.ask("RESTORE", key("b"), "0", list(dumps)[0]) == "OK"
        assert connection.ask("GET", key("b")) == value
    assert len(dumps) == 1


def flatten(info):
    """(name, arity, first key, flags) of each command and subcommand of COMMAND."""
    for name, arity, flags, first, *rest in info:
        yield name.decode(), arity, first, set(flags)
        yield from flatten(rest[-1])


@pytest.fixture(scope="session")
def table(redis):
    with redis.connect() as connection:
        return list(flatten(connection.ask("COMMAND")))


# Commands with keys that the proxy may refuse all the same: they wait, watch, or are for operators.
MAY_REFUSE = {"blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin", "watch",
              "migrate", "restore-asking", "pfdebug", "memory|usage", "object|freq", "move", "spublish",
              "ssubscribe", "sunsubscribe"}
# Their replies depend on chance, on the clock or on memory.
NOT_COMPARED = {"spop", "srandmember", "hrandfield", "zrandmember", "object|idletime", "memory|usage",
                "pttl", "pexpiretime", "expiretime"}
# With an argument of 1 they let the key die a moment later, by the clock.
EXPIRES = {"psetex", "setex", "expire", "pexpire", "restore"}


def has_keys(name, first, flags):
    return (first > 0 or "movablekeys" in flags) and name not in ("xread", "xgroup")


def refuses(name, raw):
    return raw.lower().startswith(b"-err sumcache: '" + name.split("|")[0].encode())


def test_arity_of_every_command(twins, table):
    """Too few and too many arguments, for each command that Redis has."""
    one, other = twins
    differences = []
    for name, arity, first, flags in table:
        words = name.split("|")
        tries = [words + ["x"] * (count - len(words)) for count in range(len(words), abs(arity))]
        if arity > 0:
            tries.append(words + ["x"] * (arity + 1 - len(words)))
        for command in tries:
            wanted, got = one.ask_raw(*command), other.ask_raw(*command)
            assert b"wrong number of arguments" in wanted or b"syntax" in wanted, (command, wanted)
            if name == "exec":
                wanted, got = [text.replace(b"-EXECABORT Transaction discarded because of: ", b"-ERR ")
                               for text in (wanted, got)]
            may = name in MAY_REFUSE or not has_keys(name, first, flags)
            if got != wanted and not (may and refuses(name, got)):
                differences.append(f"{command}: Redis {wanted}, proxy {got}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("argument", ["x", "1", "0"])
def test_every_command_with_keys(twins, table, protocol, argument):
    """Each command with keys is answered as Redis answers it, however odd its arguments are."""
    one, other = twins
    if protocol == 3:
        one.ask("HELLO", 3)
        other.ask("HELLO", 3)
    differences = []
    tried = 0
    for name, arity, first, flags in sorted(table, key=lambda row: row[0]):
        if name in MAY_REFUSE or name in NOT_COMPARED or not has_keys(name, first, flags):
            continue
        words = name.split("|")
        for more in range(3):
            command = words + [argument] * (abs(arity) - len(words) + more)
            wanted, got = one.ask_raw(*command), other.ask_raw(*command)
            tried += 1
            if got != wanted:
                differences.append(f"{command}: Redis {wanted}, proxy {got}")
            if name in EXPIRES:
                one.ask("DEL", argument)
                other.ask("DEL", argument)
    assert tried > 400
    assert not differences, "\n".join(differences)


def test_unknown_commands_and_subcommands(twins, table):
    one, other = twins
    differences = []
    containers = sorted({name.split("|")[0] for name, *_ in table if "|" in name})
    tries = [[container, word, *more] for container in containers for word in ("nosuch", "", "get|x", "a\r\nb")
             for more in ([], ["k"], ["k", "v"])]
    tries += [["nosuch"], ["NoSuch", "a"], ["nosuch", ""], ["nosuch", "a b", "c'd", "e\r\nf", b"\xff\x00g", "h"],
              ["x" * 127], ["x" * 128, "y"], ["x" * 129, "y"], ["x" * 5000, "y" * 5000],
              ["nosuch", *["arg%d" % i for i in range(100)]], ["nosuch", "y" * 127, "z"], ["nosuch", "y" * 128, "z"],
              ["nosuch", "y" * 120, "z" * 9, "t"], ["config|get", "x"], ["object|encoding", "k"], ["client|id"],
              ["post"], ["get\x00", "k"], ["\x00"], ["a\nb", "c\rd"], ["'", "\"", "%s%n"]]
    tries = [words for words in tries if words != ["post"]]
    for command in tries:
        wanted, got = one.ask_raw(*command), other.ask_raw(*command)
        if got != wanted and not refuses(command[0], got):
            differences.append(f"{shorten(command)}: Redis {wanted}, proxy {got}")
    assert not differences, "\n".join(differences)
    assert other.ask("PING") == "PONG"


HANDSHAKES = [
    ["PING"], ["PING", "x"], ["PING", ""], ["PING", "x", "y"], ["ping", b"\x00\r\n"], ["ECHO", "x" * 20],
    ["ECHO", b"\xff" * 70000], ["SELECT", "0"], ["SELECT", "x"], ["SELECT", "-1"], ["SELECT", "16"], ["SELECT", "99999"],
    ["SELECT", "99999999999999999999"],
    ["AUTH", "x"], ["AUTH", "default", "x"], ["AUTH", "nobody", "x"], ["AUTH", "a", "b", "c"],
    ["HELLO", "x"], ["HELLO", "1"], ["HELLO", "4"], ["HELLO", "-3"], ["HELLO", "03"], ["HELLO", "2", "nonsense"],
    ["HELLO", "2", "AUTH", "x"], ["HELLO", "2", "SETNAME"], ["HELLO", "2", "SETNAME", "a b"], ["HELLO", "9", "SETNAME", "n"],
    ["HELLO", "3", "AUTH", "nobody", "x"],
    ["CLIENT", "GETNAME"], ["CLIENT", "SETNAME", "app"], ["CLIENT", "GETNAME"], ["CLIENT", "SETNAME", "a b"],
    ["CLIENT", "SETNAME", "a\nb"], ["CLIENT", "GETNAME"], ["CLIENT", "SETNAME", ""], ["CLIENT", "GETNAME"],
    ["CLIENT", "ID", "x"], ["CLIENT", "NO-EVICT", "on"], ["CLIENT", "NO-EVICT", "maybe"],
    ["CLIENT", "NO-EVICT", "off"], ["READONLY", "x"], ["TIME", "x"], ["COMMAND", "COUNT", "x"],
    ["COMMAND", "INFO", "nosuch"], ["COMMAND", "DOCS", "nosuch"], ["COMMAND", "GETKEYS", "get", "a"],
    ["RESET", "x"], ["RESET"], ["CONFIG", "GET", "nosuchparameter"], ["QUIT", "x"],
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_handshakes(twins, protocol):
    """What the proxy answers from memory reads as Redis's own answer."""
    one, other = twins
    if protocol == 3:
        one.ask("HELLO", 3)
        other.ask("HELLO", 3)
    differences = []
    for command in HANDSHAKES:
        wanted, got = one.ask_raw(*command), other.ask_raw(*command)
        if got != wanted and not refuses(command[0], got):
            differences.append(f"{shorten(command)}: Redis {wanted[:300]}, proxy {got[:300]}")
        if command[0] == "QUIT":
            break
    assert not differences, "\n".join(differences)


def test_hello_switches_protocol(twins):
    for connection in twins:
        answer = connection.ask("HELLO", "3", "SETNAME", "me")
        assert answer["proto" if "proto" in answer else b"proto"] == 3
        assert connection.ask("CLIENT", "GETNAME") == b"me"
        assert connection.ask_raw("GET", "nothing here") == b"_\r\n"
        assert connection.ask_raw("HGETALL", "nothing here") == b"%0\r\n"
        assert connection.ask_raw("HELLO", "2").startswith(b"*14\r\n")
        assert connection.ask_raw("GET", "nothing here") == b"$-1\r\n"
        assert connection.ask_raw("HGETALL", "nothing here") == b"*0\r\n"
        connection.ask("HELLO", "3")
        assert connection.ask_raw("RESET") == b"+RESET\r\n"
        assert connection.ask_raw("GET", "nothing here") == b"$-1\r\n"
        assert connection.ask("CLIENT", "GETNAME") is None


def test_protocol_switch_inside_a_pipeline(twins, key):
    """Replies that are on their way when HELLO comes keep the protocol they were asked in."""
    data = b"".join([encode("HSET", key("h"), "f", "v"), encode("HGETALL", key("h")), encode("GET", key("x"))])
    both = data + encode("HELLO", 3) + data + encode("HELLO", 2) + data
    for connection in twins:
        connection.send(both)
        kinds = [reply.raw[:1] for reply in connection.replies(11)]
        assert kinds == [b":", b"*", b"$", b"%", b":", b"%", b"_", b"*", b":", b"*", b"$"]


def test_other_commands_of_a_handshake(proxy):
    with proxy.connect() as client:
        first = client.ask("CLIENT", "ID")
        assert isinstance(first, int) and first > 0
        assert not isinstance(client.ask("CLIENT", "LIST"), list)
        assert client.ask("COMMAND", "COUNT") >= 150
        assert isinstance(client.ask("COMMAND"), list)
        assert isinstance(client.ask("COMMAND", "DOCS"), list)
        seconds, micros = client.ask("TIME")
        assert int(seconds) > 1_600_000_000 and 0 <= int(micros) < 1_000_000
        info = client.ask("INFO").decode()
        for line in ("redis_version:", "role:master", "loading:0", "redis_mode:standalone"):
            assert line in info
        assert client.ask("INFO", "server").decode().count("redis_version:") == 1
        assert client.ask("CONFIG", "GET", "save") is not None
        with proxy.connect() as another:
            assert another.ask("CLIENT", "ID") != first


@pytest.mark.proxy_only
def test_client_setinfo(client):
    """Redis 7.2 has it, and every newer client library sends it; 7.0 answers an error all ignore."""
    for name, value in (("LIB-NAME", "test"), ("LIB-VER", "1.0"), ("lib-name", "x")):
        assert client.ask("CLIENT", "SETINFO", name, value) == "OK"
    for refused in (["CLIENT", "TRACKING", "ON"], ["CLIENT", "MAINT_NOTIFICATIONS", "ON"], ["CLIENT", "CACHING", "YES"]):
        assert isinstance(client.ask(*refused), Error)
    assert client.ask("READONLY") == "OK" and client.ask("SELECT", "0") == "OK"


def keys_on(ring, count=3):
    """Keys on as many different nodes."""
    found = {}
    for i in range(1000):
        found.setdefault(ring.owner(f"cross:{i}"), f"cross:{i}")
        if len(found) == count:
            return list(found.values())
    raise AssertionError("no such keys")


@pytest.mark.proxy_only
def test_crossslot(client, nodes, proxy):
    a, b, c = keys_on(Ring([node.name for node in nodes]))
    before = proxy.counter("requests_crossslot")
    crossing = [
        ["RENAME", a, b], ["COPY", a, b], ["SMOVE", a, b, "m"], ["LMOVE", a, b, "LEFT", "LEFT"], ["SINTER", a, b],
        ["SUNIONSTORE", a, a, b], ["ZUNIONSTORE", a, "1", b], ["ZUNION", "2", a, b], ["BITOP", "AND", a, b], ["LCS", a, b],
        ["PFMERGE", a, b], ["MSETNX", a, "1", b, "2"], ["EVAL", "return 1", "2", a, b], ["XREAD", "STREAMS", a, b, "0", "0"],
        ["GEOSEARCHSTORE", a, b, "FROMLONLAT", "1", "1", "BYRADIUS", "1", "m"], ["LMPOP", "3", a, b, c, "LEFT"],
        ["SORT", a, "STORE", b], ["GEORADIUS", a, "1", "1", "1", "m", "STORE", b], ["RPOPLPUSH", a, b],
        ["SINTERCARD", "2", a, c], ["ZRANGESTORE", a, b, "0", "1"], ["RENAMENX", a, c], ["ZDIFF", "2", a, b],
        ["BLPOP", a, b, "0"], ["BLMOVE", a, b, "LEFT", "LEFT", "0"], ["BZPOPMIN", a, c, "0"], ["BLMPOP", "0", "2", a, b, "LEFT"],
        ["XREAD", "BLOCK", "0", "STREAMS", a, b, "0", "0"], ["WATCH", a, b],
    ]
    for command in crossing:
        assert client.ask_raw(*command) == b"-CROSSSLOT Keys in request don't hash to the same node\r\n", command
    assert proxy.counter("requests_crossslot") == before + len(crossing)
    assert client.ask("SET", a, "1") == "OK" and client.ask("GET", a) == b"1"


def test_sort_by_patterns_with_a_hash_tag(redis, proxy, nodes):
    """All keys that such a pattern names are on one node; it has to be that of the list."""
    a, b = [key.split(":")[1] for key in keys_on(Ring([node.name for node in nodes]), 2)]
    a, b = f"{{cross:{a}}}", f"{{cross:{b}}}"
    for side in (redis, proxy):
        side.ask("DEL", a, f"{a}d")
        side.ask("RPUSH", a, "3", "1", "2")
        for i, weight in enumerate((5, 9, 7)):
            side.ask("SET", f"{a}w{i + 1}", weight)
            side.ask("HSET", f"h{a}:{i + 1}", "name", f"n{i}")
    for options in (["BY", f"{a}w*"], ["BY", f"{a}w*", "GET", f"h{a}:*->name", "GET", "#"], ["GET", f"h{a}:*->nosuch"],
                    ["BY", f"{a}w*", "GET", "plain", "DESC", "LIMIT", "0", "2"],
                    ["BY", f"h{a}:*->name", "ALPHA", "DESC", "STORE", f"{a}d"]):
        assert proxy.ask("SORT", a, *options) == redis.ask("SORT", a, *options), options
    assert proxy.ask("LRANGE", f"{a}d", "0", "-1") == redis.ask("LRANGE", f"{a}d", "0", "-1")
    assert proxy.ask("SORT_RO", a, "BY", f"{a}w*") == [b"1", b"3", b"2"]
    if not processes.STAND_IN:
        assert str(proxy.ask("SORT", a, "BY", f"{b}w*")).startswith("CROSSSLOT ")


@pytest.mark.proxy_only
def test_sort_by_a_pattern_needs_hash_tags(start, nodes):
    proxy = start.proxy(nodes, {"ring": {"hash_tags": "off"}})
    for option in ("BY", "GET"):
        answer = proxy.ask("SORT", "{a}", option, "{a}w*")
        assert str(answer) == "ERR sumcache: 'sort' by a pattern needs ring.hash_tags"
    assert proxy.ask("SORT", "{a}", "BY", "nosort") == []


@pytest.mark.proxy_only
@pytest.mark.parametrize("command", [
    ["MONITOR"], ["SHUTDOWN"], ["DEBUG", "SLEEP", "10"], ["SYNC"], ["PSYNC", "?", "-1"], ["REPLICAOF", "NO", "ONE"],
    ["SAVE"], ["CONFIG", "REWRITE"], ["SWAPDB", "0", "1"],
    ["SORT", "k", "BY", "w_*"], ["SORT", "k", "GET", "w_*"],
])
def test_refused(client, proxy, nodes, command):
    """What one client may not ask for never reaches a node."""
    def calls():
        return [line for node in nodes for line in node.ask("INFO", "commandstats").decode().split("\r\n")
                if line.startswith("cmdstat_" + command[0].lower())]

    before = calls()
    answer = client.ask(*command)
    wanted = f"ERR sumcache: '{command[0].lower()}"
    if command[0] == "SORT":  # Redis Cluster has the same trouble, and words for it.
        wanted = f"ERR {command[2]} option of SORT denied in Cluster mode when keys formed by the pattern"
    elif command[0] in ("SHUTDOWN", "DEBUG"):
        wanted = f"NOPERM This user has no permissions to run the '{command[0].lower()}"
    assert isinstance(answer, Error) and str(answer).startswith(wanted), answer
    assert client.ask("PING") == "PONG"
    assert calls() == before

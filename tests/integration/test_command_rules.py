# SPDX-License-Identifier: Apache-2.0
"""Commands that are shut, denied, renamed or made known by the settings `commands.*`."""
import pytest

import resp
from fake_node import FakeNode
from resp import encode

pytestmark = pytest.mark.proxy_only

UNKNOWN = "ERR unknown command '{}', with args beginning with: {}"


def error_of(answer):
    assert isinstance(answer, resp.Error), answer
    return str(answer)


@pytest.fixture(scope="module")
def proxy(shared, nodes):
    """A proxy without any rule."""
    return shared.proxy(nodes, {"timeouts": {"request": "10s", "stall": "10s"}, "commands": {}})


@pytest.fixture(scope="module")
def ruled(shared, nodes):
    """A proxy with a rule of each kind."""
    return shared.proxy(nodes, {
        "timeouts": {"request": "10s", "stall": "10s"},
        "commands": {
            "allow": ["migrate", "config|resetstat"],
            "deny": ["strlen", "object", "client|list"],
            "rename": {"get": "fetch", "set": "my-put", "object": "thing", "client": "me", "mget": "fetch.many",
                       "ping": "are.you.there"},
        },
    })


@pytest.mark.parametrize("command", ["FLUSHALL", "flushdb async", "KEYS *", "CONFIG SET maxmemory 1", "SCRIPT FLUSH",
                                     "FUNCTION FLUSH", "FUNCTION DELETE l", "FUNCTION RESTORE x", "SLOWLOG RESET",
                                     "CLIENT KILL 1.2.3.4:5", "CLIENT PAUSE 5", "CONFIG RESETSTAT",
                                     "MIGRATE h 1 k 0 5", "LATENCY RESET", "MEMORY PURGE"])
def test_what_is_dangerous_is_shut_and_the_connection_stays(proxy, command):
    before = proxy.counter("requests_denied")
    with proxy.connect() as client:
        words = command.split()
        name = "|".join(words[:2]).lower() if words[0].lower() in (
            "config", "script", "function", "slowlog", "client", "latency", "memory") else words[0].lower()
        assert error_of(client.ask(*words)) == (
            f"NOPERM This user has no permissions to run the '{name}' command (sumcache: commands.allow)")
        assert client.ask("PING") == "PONG"
    assert proxy.counter("requests_denied") == before + 1


@pytest.mark.parametrize("command", ["DEBUG SLEEP 0", "SHUTDOWN", "SHUTDOWN NOSAVE"])
def test_what_is_for_one_node_alone_is_never_open(start, nodes, command):
    proxy = start.proxy(nodes, {"commands": {"allow": "all"}})
    assert error_of(proxy.ask(*command.split())).endswith("command (sumcache: it is for one node alone)")
    assert proxy.ask("PING") == "PONG"


def test_arity_is_judged_first_as_redis_does(proxy, redis):
    for command in (["FLUSHALL"] * 1, ["KEYS"], ["CONFIG", "SET", "x"], ["SLOWLOG", "RESET", "x"]):
        if len(command) > 1 or command[0] == "KEYS":
            assert error_of(proxy.ask(*command)) == error_of(redis.ask(*command))


def test_what_is_denied_stays_shut(ruled):
    for words, name in ((["STRLEN", "k"], "strlen"), (["THING", "ENCODING", "k"], "object|encoding"),
                        (["ME", "LIST"], "client|list")):
        assert error_of(ruled.ask(*words)) == (
            f"NOPERM This user has no permissions to run the '{name}' command (sumcache: commands.deny)")
    assert ruled.ask("ME", "GETNAME") is None


def test_a_renamed_command_works_by_its_new_name_alone(ruled, nodes, key):
    k, n = key("a"), key("b")
    assert ruled.ask("MY-PUT", k, "v", "EX", "100") == "OK"
    assert ruled.ask("Fetch", k) == b"v"
    assert sum(node.ask("EXISTS", k) for node in nodes) == 1
    assert ruled.ask("fetch.many", k, n, k) == [b"v", None, b"v"]
    assert ruled.ask("are.you.there") == "PONG"
    assert error_of(ruled.ask("GET", k)) == UNKNOWN.format("GET", f"'{k}' ")
    assert error_of(ruled.ask("mget", k, n)) == UNKNOWN.format("mget", f"'{k}' '{n}' ")
    assert error_of(ruled.ask("CLIENT", "ID")) == UNKNOWN.format("CLIENT", "'ID' ")
    assert error_of(ruled.ask("ME", "IDD")) == "ERR unknown subcommand 'IDD'. Try ME HELP."
    assert error_of(ruled.ask("fetch")) == "ERR wrong number of arguments for 'get' command"


@pytest.mark.parametrize("size", [0, 1000, 70_000, 3_000_000])
def test_a_renamed_command_takes_values_of_any_size(ruled, key, size):
    """In one piece, in many, and so long that its own name would have been streamed."""
    k, value = key(), b"x" * size
    with ruled.connect() as client:
        assert client.ask("my-put", k, value) == "OK"
        assert client.ask("fetch", k) == value
        data = encode("my-put", k, value + b"!") + encode("fetch", k)
        for i in range(0, min(len(data), 60)):
            client.send(data[i:i + 1])
        client.send(data[60:])
        assert client.reply().value == "OK"
        assert client.reply().value == value + b"!"
        client.send(b"my-put %s inline\r\n" % k.encode())
        assert client.reply().value == "OK"
        assert client.ask("fetch", k) == b"inline"


def test_commands_lists_what_clients_may_call(ruled, proxy):
    names = {name.decode() for name in ruled.ask("COMMAND", "LIST")}
    assert {"fetch", "my-put", "me", "append", "migrate"} <= names
    assert not {"get", "set", "client", "strlen", "thing", "object", "flushall"} & names
    assert ruled.ask("COMMAND", "COUNT") == len(names)
    assert [row[0].decode() for row in ruled.ask("COMMAND", "INFO", "fetch", "append")] == ["fetch", "append"]
    assert ruled.ask("COMMAND", "INFO", "get") == [None]
    assert ruled.ask("COMMAND", "GETKEYS", "fetch.many", "a", "b") == [b"a", b"b"]
    assert error_of(ruled.ask("COMMAND", "GETKEYS", "mget", "a", "b")) == "ERR Invalid command specified"
    assert b"flushall" not in proxy.ask("COMMAND", "LIST")


# No module is at hand: what counts is what a node is asked, and where.
def test_an_unknown_command_goes_where_its_key_is(start):
    fakes = [FakeNode(), FakeNode()]
    try:
        proxy = start.proxy([fake.name for fake in fakes], {
            "timeouts": {"request": "10s"}, "on_failure": {"reads": "error"},
            "commands": {"unknown": {"json.get": 1, "ts.mrange": "2 -1", "bf.pair": "1 2"}}})
        places = {}
        for i in range(40):
            key = f"k{i}"
            assert proxy.ask("GET", key) == key.encode()
            at = [[b"GET", key.encode()] in fake.requests for fake in fakes].index(True)
            places[at] = key
            assert proxy.ask("Json.GET", key, "$") == b"$"
            assert fakes[at].requests[-1] == [b"Json.GET", key.encode(), b"$"]
            assert proxy.ask("ts.MRANGE", "x", f"{{{key}}}1", f"{{{key}}}2") == f"{{{key}}}2".encode()
            assert fakes[at].requests[-1][0] == b"ts.MRANGE"
        assert len(places) == 2
        assert error_of(proxy.ask("JSON.SET", "k", "$", "1")) == UNKNOWN.format("JSON.SET", "'k' '$' '1' ")
        assert error_of(proxy.ask("json.get")) == "ERR wrong number of arguments for 'json.get' command"
        assert error_of(proxy.ask("bf.pair", "k")) == "ERR wrong number of arguments for 'bf.pair' command"
        assert error_of(proxy.ask("bf.pair", places[0], places[1])).startswith("CROSSSLOT ")
        assert proxy.ask("COMMAND", "GETKEYS", "bf.pair", "k", "l", "m") == [b"k", b"l"]
        assert b"bf.pair" in proxy.ask("COMMAND", "LIST")
        value = b"v" * 300_000  # streamed on as it comes
        assert proxy.ask("JSON.GET", "k", value) == value
    finally:
        for fake in fakes:
            fake.end()


def test_migrate_goes_to_the_node_of_its_keys(ruled, nodes, start, key):
    """The keys that lie on one node; the target is whatever the client says."""
    target = start.node()
    k, tag = key(), f"{{{key('tag')}}}"
    ruled.ask("my-put", k, "v")
    assert ruled.ask("MIGRATE", "127.0.0.1", target.port, k, "0", "1000", "COPY") == "OK"
    assert (target.ask("GET", k), ruled.ask("fetch", k)) == (b"v", b"v")
    for i in range(3):
        ruled.ask("my-put", f"{tag}{i}", i)
    assert ruled.ask("MIGRATE", "127.0.0.1", target.port, "", "0", "1000", "KEYS", *[f"{tag}{i}" for i in range(3)]) == "OK"
    assert [target.ask("GET", f"{tag}{i}") for i in range(3)] == [b"0", b"1", b"2"]
    assert ruled.ask("fetch.many", *[f"{tag}{i}" for i in range(3)]) == [None] * 3
    many = [key(str(i)) for i in range(30)]
    assert error_of(ruled.ask("MIGRATE", "127.0.0.1", target.port, "", "0", "1000", "KEYS", *many)).startswith("CROSSSLOT ")
    assert error_of(ruled.ask("MIGRATE", "127.0.0.1", target.port, k, "0", "1000", "KEYS", k)).startswith("ERR When using MIGRATE KEYS")


def test_what_is_denied_spoils_a_transaction(ruled, proxy):
    aborted = "EXECABORT Transaction discarded because of previous errors."
    for at, command in ((proxy, ["FLUSHALL"]), (ruled, ["STRLEN", "k"]), (ruled, ["ME", "LIST"]), (ruled, ["GET", "k"])):
        with at.connect() as client:
            assert client.ask("MULTI") == "OK"
            assert client.ask("DEL", "k") == "QUEUED"
            assert error_of(client.ask(*command)).startswith(("NOPERM ", "ERR unknown command"))
            assert error_of(client.ask("EXEC")) == aborted


def test_what_is_renamed_is_queued_by_its_new_name(ruled):
    with ruled.connect() as client:
        assert client.ask("MULTI") == "OK"
        assert client.ask("MY-PUT", "{m}k", "v") == "QUEUED"
        assert client.ask("ARE.YOU.THERE") == "QUEUED"
        assert client.ask("FETCH.MANY", "{m}k", "{m}none") == "QUEUED"
        assert client.ask("ME", "SETNAME", "x") == "QUEUED"
        assert client.ask("EXEC") == ["OK", "PONG", [b"v", None], "OK"]


def test_what_asks_all_nodes_is_not_offered_inside_multi(start, nodes):
    with start.proxy(nodes).connect() as client:
        for command in (["DBSIZE"], ["SCAN", "0"], ["KEYS", "*"], ["FLUSHALL"], ["RANDOMKEY"]):
            assert client.ask("MULTI") == "OK"
            assert error_of(client.ask(*command)) == f"ERR sumcache: '{command[0].lower()}' is not offered inside MULTI"
            assert error_of(client.ask("EXEC")).startswith("EXECABORT ")

# SPDX-License-Identifier: Apache-2.0
"""COMMAND and its subcommands, held against a real Redis."""
import sys

import pytest

import processes
import resp
from resp import Error

sys.path.insert(0, str(processes.ROOT / "tools"))

import check_command_table as table  # noqa: E402

pytestmark = pytest.mark.proxy_only

OUR_FLAGS = {"write", "readonly", "blocking", "no_mandatory_keys", "movablekeys"}


def texts(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, set, tuple)):
        return [texts(item) for item in value]
    return value


def spec_of(spec):
    """A key specification without Redis's notes, and without flags that say how sure it is."""
    spec = table.pairs(spec)
    flags = sorted(set(texts(spec["flags"])) - {"variable_flags", "incomplete"})
    parts = []
    for part in ("begin_search", "find_keys"):
        found = table.pairs(spec[part])
        where = table.pairs(found["spec"])
        parts.append((table.text(found["type"]), {name: table.text(value) for name, value in where.items()}))
    return flags, parts


def part_of(command):
    """What a COMMAND INFO of ours has of Redis's."""
    name, arity, flags, first, last, step, _, tips, specs, _ = command
    return {
        "name": table.text(name), "arity": arity, "keys": (first, last, step),
        "flags": sorted(set(texts(flags)) & OUR_FLAGS),
        "tips": sorted(tip for tip in texts(tips) if "_policy:" in tip),
        "specs": [spec_of(spec) for spec in specs],
    }


def test_info_is_that_of_redis(proxy, redis):
    server, rows = table.Server(redis.port), table.rows()
    names = [name for name in rows if server.knows(name)]
    assert len(names) > 350
    differences = []
    for name, wanted, got in zip(names, redis.ask("COMMAND", "INFO", *names), proxy.ask("COMMAND", "INFO", *names)):
        wanted, got = part_of(wanted), part_of(got)
        if name in table.NEWER_ARITY:
            wanted["arity"] = got["arity"]
        if name in table.CHANNELS:
            wanted["specs"] = []
        if wanted != got:
            differences.append(f"{name}:\n  Redis {wanted}\n  proxy {got}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_has_the_shape_of_redis(proxy, redis, protocol):
    with proxy.connect(protocol=protocol) as ours, redis.connect(protocol=protocol) as theirs:
        for names in (["nosuch"], ["nosuch", "config|nosuch"]):
            assert ours.ask_raw("COMMAND", "INFO", *names) == theirs.ask_raw("COMMAND", "INFO", *names)
        for name in ("get", "sort", "xread", "xreadgroup", "georadius", "migrate", "zunionstore", "copy", "eval", "dbsize"):
            wanted, got = theirs.ask("COMMAND", "INFO", name)[0], ours.ask("COMMAND", "INFO", name)[0]
            assert [type(part) for part in got[:9]] == [type(part) for part in wanted[:9]]


def test_subcommands_are_inside(proxy):
    (info,) = proxy.ask("COMMAND", "INFO", "object")
    assert {table.text(sub[0]) for sub in info[9]} >= {"object|encoding", "object|freq"}
    assert all(len(sub) == 10 for sub in info[9])


def test_list_and_count_are_of_the_same_commands(start, nodes):
    """What is shut, as dangerous commands are unless they are opened, is not among them."""
    proxy = start.proxy(nodes, {"commands": {"allow": ["keys"]}})
    names = texts(proxy.ask("COMMAND", "LIST"))
    assert len(names) == len(set(names)) == proxy.ask("COMMAND", "COUNT") == len(proxy.ask("COMMAND"))
    assert {"get", "client", "object", "hsetex", "keys"} <= set(names)
    assert not {"flushall", "debug", "shutdown", "acl"} & set(names)
    assert not any("|" in name for name in names)


def test_list_filters_as_redis_does(proxy, redis):
    offered = set(texts(proxy.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", "*")))
    for pattern in ("xinf*", "GET*", "object|*", "[gs]et", "?et", "nosuch", "x" * 200):
        wanted = set(texts(redis.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)))
        got = set(texts(proxy.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)))
        server = table.Server(redis.port)
        assert {name for name in got if server.knows(name)} == wanted & offered
    for arguments in (["FILTERBY", "ACLCAT", "nosuch"], ["FILTERBY", "MODULE", "x"], ["FILTERBY", "X", "y"],
                      ["FILTERBY", "PATTERN"], ["x"], ["FILTERBY", "PATTERN", "a", "b"]):
        assert repr(proxy.ask("COMMAND", "LIST", *arguments)) == repr(redis.ask("COMMAND", "LIST", *arguments))
    assert "get" in texts(proxy.ask("COMMAND", "LIST", "FILTERBY", "ACLCAT", "read"))


def test_docs_say_what_becomes_of_a_command(proxy, redis):
    for name in ("get", "config|get", "zadd"):
        _, wanted = redis.ask("COMMAND", "DOCS", name)
        found, got = proxy.ask("COMMAND", "DOCS", name)
        wanted, got = table.pairs(wanted), table.pairs(got)
        assert table.text(found) == name
        assert (got["group"], got["since"]) == (wanted["group"], wanted["since"])
        assert got["summary"].endswith(b".")
    assert proxy.ask("COMMAND", "DOCS", "nosuch") == []
    assert len(proxy.ask("COMMAND", "DOCS")) == 2 * proxy.ask("COMMAND", "COUNT")


def test_keys_and_their_flags_are_those_that_redis_finds(proxy, redis):
    server, rows, compared = table.Server(redis.port), table.rows(), 0
    extra = ["set a b get", "set a b ex 5", "set a get", "bitfield a get u8 0", "bitfield a get u8 0 set u8 0 1",
             "bitfield a", "smove a b m", "rename a b", "lmpop 2 a b left", "object freq a", "bitop and d a b",
             "pfcount a b", "ping", "nosuch a", "get", "get a b", "eval s 0", "config get x", "config nosuch x",
             "sort a store d", "georadius a 1 1 1 km store d", "memory usage a", "spublish c m", "mset a 1 b"]
    cases = [words for kind, words, _ in table.keys_cases() if kind != "OURS"] + [line.split() for line in extra]
    with proxy.connect() as ours, redis.connect() as theirs:
        for words in cases:
            row = table.row_for(rows, [word.lower() for word in words]) if words[0].lower() in rows else None
            if row and (not server.knows(row.name) or row.name in table.NEWER_ARITY):
                continue
            for subcommand in ("GETKEYS", "GETKEYSANDFLAGS"):
                wanted, got = (side.ask("COMMAND", subcommand, *words) for side in (theirs, ours))
                # Redis finds keys in some requests that make no sense; we say so instead.
                if isinstance(got, Error) and not isinstance(wanted, Error):
                    assert str(got) == "ERR Invalid arguments specified for command"
                    assert isinstance(redis.ask(*words), Error)
                    continue
                assert repr(got) == repr(wanted), (subcommand, words)
                compared += 1
    assert compared > 200

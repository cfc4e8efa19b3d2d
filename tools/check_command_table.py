#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares src/resp/command_table.h with what a redis-server says and does.

    check_command_table.py              starts a redis-server for it
    check_command_table.py --port N     asks the one on 127.0.0.1:N, and empties it

Four questions: does each row say what COMMAND says, and is none missing (facts); is a miss what the
server answers for a key that is not there, in RESP2 and RESP3 (misses); does COMMAND GETKEYS find the
keys that test_command.c expects (keys); does the server refuse what we call malformed, so that it may
be sent to any node (malformed). Prints each difference; exits with 1 if there is one.

The facts are those of redis-server 7.0. Rows that came later than the server that is asked (or are of
Valkey alone, or of Redis alone) are not compared; they are listed as untested, never as right. What a
newer server has and the table does not is a difference.
"""

import argparse
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/integration"))

import processes  # noqa: E402
import resp  # noqa: E402

TABLE = ROOT / "src/resp/command_table.h"
KEYS_CASES = ROOT / "tests/unit/command_keys_cases.h"

FACTS = ROOT / "src/resp/command_fact_table.h"

# Rows that no server at hand will ever have: ours, and what Redis Enterprise has.
NOT_IN_REDIS = {
    "sumcache.failures": 2,
    "sumcache.get": 2,
    "sumcache.invalidate": -2,
    "sumcache.jobs": -1,
    "sumcache.set": -5,
    "sumcache.slowlog": -2,
    "sumcache.tags": -2,
    "sumcache.unlink": -3,
    "sumcache.where": -2,
    "client|maint_notifications": -3,
}

# An arity that is that of a newer version: since when, and what it was before.
NEWER_ARITY = {"zrank": ("7.2.0", 3), "zrevrank": ("7.2.0", 3)}

# Redis's manual has corrected since when there is this.
SINCE_CORRECTED = {"client|pause"}

# Redis gives positions for these, but as channels: COMMAND GETKEYS finds no keys.
CHANNELS = {"spublish", "ssubscribe", "sunsubscribe"}

# Which key specifications of COMMAND INFO (begin_search, find_keys) stand for which `keys`.
# RANGE is told by first, last and step.
INDEX_RANGE = ("index", "range")
KEY_SPECS = {
    "NONE": [],
    "NUM": [("index", 1, "keynum")],
    "NUM_PAIRS": [("index", 1, "keynum")],
    "NUM_AT_2": [("index", 2, "keynum")],
    "NUM_STORE": [("index", 1, "range"), ("index", 2, "keynum")],
    "GEORADIUS": [("index", 1, "range"), ("keyword", "STORE", "range"),
                  ("keyword", "STOREDIST", "range")],
    "STREAMS": [("keyword", "STREAMS", "range")],
    "MIGRATE": [("index", 3, "range"), ("keyword", "KEYS", "range")],
    "MOVE": [("index", 1, "range")],
    "COPY": [("index", 1, "range"), ("index", 2, "range")],
}

# Each read with a miss, asked for keys that are not there. Where options could change the shape of
# the reply, more than one.
MISSES = """
bitcount k | bitcount k 0 -1 | bitcount k 0 7 bit | dump k | exists k | exists k k2 | expiretime k
geodist k a b | geodist k a b km | geohash k a b | geohash k | geopos k a b | geopos k
georadius_ro k 1 1 1 km | georadius_ro k 1 1 1 km withdist withcoord count 2
georadiusbymember_ro k m 1 km | georadiusbymember_ro k m 1 km asc
geosearch k fromlonlat 1 1 byradius 1 km | geosearch k frommember m bybox 1 1 km withdist
get k | getbit k 7 | getrange k 0 -1 | hexists k f | hget k f | hgetall k | hkeys k | hlen k
hmget k a | hmget k a b c | hscan k 0 | hscan k 5 count 100 match x* | hstrlen k f | hvals k
lindex k 0 | llen k | lrange k 0 -1 | memory usage k | memory usage k samples 0 | mget k k2 k3
object encoding k | object freq k | object idletime k | object refcount k | pexpiretime k
pfcount k | pfcount k k2 | pttl k | scard k | sdiff k | sdiff k k2 | sinter k | sinter k k2
sintercard 1 k | sintercard 2 k k2 limit 3 | sismember k m | smembers k | smismember k a b
sscan k 0 | sscan k 5 count 100 | strlen k | substr k 0 -1 | sunion k | sunion k k2 | touch k
ttl k | type k | xlen k | xrange k - + | xrange k - + count 2 | xread streams k 0
xread count 2 streams k k2 0 $ | xrevrange k + - | zcard k | zcount k 0 1
zdiff 1 k | zdiff 2 k k2 withscores | zinter 1 k | zinter 2 k k2 weights 1 2 withscores
zintercard 1 k | zintercard 2 k k2 limit 3 | zlexcount k - + | zmscore k a | zmscore k a b
zrange k 0 -1 | zrange k 0 -1 withscores | zrange k 0 1 byscore rev limit 0 1 | zrange k [a [b bylex
zrangebylex k - + | zrangebylex k - + limit 0 1 | zrangebyscore k 0 1
zrangebyscore k 0 1 withscores limit 0 1 | zrank k m | zrank k m withscore | zrevrank k m withscore | zrevrange k 0 -1 | zrevrange k 0 -1 withscores
zrevrangebylex k + - | zrevrangebyscore k 1 0 | zrevrangebyscore k 1 0 withscores | zrevrank k m
zscan k 0 | zscan k 5 count 100 | zscore k m | digest k | httl k fields 1 f |
hpttl k fields 2 f g | hexpiretime k fields 1 f | hpexpiretime k fields 3 f g h | zunion 1 k | zunion 2 k k2 withscores aggregate max
"""

# Reads that go to a node and have no miss, and why.
NO_MISS = {
    "bitpos": "0 or -1, by the bit that is looked for",
    "bitfield_ro": "the shape depends on the options",
    "hrandfield": "the shape depends on the options",
    "lcs": "the shape depends on the options",
    "lpos": "the shape depends on the options",
    "srandmember": "the shape depends on the options",
    "zrandmember": "the shape depends on the options",
    "sort_ro": "the shape depends on the options",
    "eval_ro": "whatever the script answers",
    "evalsha_ro": "whatever the script answers",
    "fcall_ro": "whatever the function answers",
    "xinfo|consumers": "an error",
    "xinfo|groups": "an error",
    "xinfo|stream": "an error",
    "xpending": "an error",
}


class Row:
    """One row of the table."""

    def __init__(self, cells):
        (self.ident, self.name, arity, self.way, self.keys, first, last, step, self.miss, self.flags,
         self.request, self.response, self.reason) = cells
        self.name = self.name.strip('"')
        self.arity = int(arity)
        self.range = [int(first), int(last), int(step)]


def rows():
    found = {}
    for line in TABLE.read_text().splitlines():
        if line.startswith("COMMAND_ROW("):
            row = Row([cell.strip() for cell in line[line.index("(") + 1:line.rindex(")")].split(",")])
            found[row.name] = row
    return found


def keys_cases():
    """(kind, request words, key indexes) of each row in the cases of test_command.c."""
    pattern = re.compile(r'^KEYS_(\w+)\("([^"]*)"(?:, "([^"]*)")?(?:, "[^"]*")?\)', re.M)
    return [(kind, request.split(" "), [int(i) for i in keys.split()])
            for kind, request, keys in pattern.findall(KEYS_CASES.read_text())]


def facts():
    """{name: (group, since, flags of the first key, flags of the others)}"""
    idents = {row.ident: name for name, row in rows().items()}
    pattern = re.compile(r'^COMMAND_FACT\((\w+), "([^"]*)", "([^"]*)", "([^"]*)", "([^"]*)"\)$', re.M)
    found = pattern.findall(FACTS.read_text())
    assert len(found) == FACTS.read_text().count("\nCOMMAND_FACT("), "a row of no known form"
    return {idents[ident]: rest for ident, *rest in found}


class Server:
    """Which one is asked: what it can know."""

    def __init__(self, port):
        info = resp.ask(port, "INFO", "server").decode()
        found = dict(re.findall(r"^(redis_version|valkey_version):([\d.]+)", info, re.M))
        self.versions = {name.removesuffix("_version"): self.version(text) for name, text in found.items()}

    @staticmethod
    def version(text):
        return tuple(int(part) for part in text.split("."))

    def is_as_new_as(self, since):
        """`since` as in command_fact_table.h. Valkey has what Redis had when they parted."""
        who, _, version = since.rpartition(" ")
        return self.version(version) <= self.versions.get(who or "redis", ())

    def knows(self, name):
        return name in facts() and self.is_as_new_as(facts()[name][1])


def untested(port):
    """The rows that this server cannot judge."""
    server = Server(port)
    return sorted(name for name in rows() if not server.knows(name))


# Facts.


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat):
    return {text(flat[i]): flat[i + 1] for i in range(0, len(flat), 2)}


def spec_of(spec):
    spec = pairs(spec)
    begin, find = pairs(spec["begin_search"]), pairs(spec["find_keys"])
    where = pairs(begin["spec"])
    place = where.get("index", where.get("keyword"))
    return text(begin["type"]), text(place), text(find["type"])


def flatten(commands):
    """All commands of a COMMAND reply and their subcommands, by name."""
    found = {}
    for command in commands:
        found[text(command[0])] = command
        found.update(flatten(command[9]))
    return found


def row_of_redis(command):
    """What a row should say of a command, as far as Redis knows."""
    flags = {text(flag) for flag in command[2]}
    tips = dict(text(tip).split(":", 1) for tip in command[7] if b":" in tip)
    return {
        "arity": command[1],
        "first, last, step": command[3:6],
        "write": "write" in flags,
        "read": "readonly" in flags,
        "blocks": "blocking" in flags,
        "optional keys": "no_mandatory_keys" in flags,
        "container": bool(command[9]),
        "subcommand": "|" in text(command[0]),
        "request policy": tips.get("request_policy", "default").upper(),
        "response policy": tips.get("response_policy", "default").upper(),
    }


def row_of_ours(row):
    flags = row.flags.split("_")
    return {
        "arity": row.arity,
        "first, last, step": row.range,
        "write": "WRITE" in flags,
        "read": "READ" in flags,
        "blocks": "BLOCKS" in flags,
        "optional keys": "OPTIONAL" in flags,
        "container": "CONTAINER" in flags,
        "subcommand": "SUB" in flags,
        "request policy": row.request,
        "response policy": row.response,
    }


def check_key_specs(row, command):
    specs = [spec_of(spec) for spec in command[8]]
    movable = b"movablekeys" in command[2] or "movablekeys" in command[2]
    if row.name in CHANNELS:
        return row.keys == "NONE"
    if row.keys == "RANGE":
        return not movable and row.range[0] > 0 and all(s[::2] == INDEX_RANGE for s in specs)
    if row.keys == "SORT":
        return movable and specs[0] == ("index", 1, "range") and specs[1][0] == "unknown"
    return specs == KEY_SPECS[row.keys]


def check_facts(port):
    table, problems = rows(), []
    redis = flatten(resp.ask(port, "COMMAND"))
    server, known = Server(port), facts()
    for name in sorted(redis.keys() - table.keys()):
        problems.append(f"{name}: not in the table")
    for name in sorted(table.keys() - redis.keys()):
        if table[name].arity != NOT_IN_REDIS.get(name) and (name not in known or server.knows(name)):
            problems.append(f"{name}: redis-server does not have it")
    for name in sorted(table.keys() & redis.keys()):
        theirs, ours = row_of_redis(redis[name]), row_of_ours(table[name])
        if name in NEWER_ARITY and not server.is_as_new_as(NEWER_ARITY[name][0]):
            ours["arity"] = NEWER_ARITY[name][1]
        problems += [f"{name}: {what} is {theirs[what]}, the table says {ours[what]}"
                     for what in theirs if theirs[what] != ours[what]]
        if not check_key_specs(table[name], redis[name]):
            problems.append(f"{name}: keys {table[name].keys} is not what its key specs say: "
                            f"{[spec_of(spec) for spec in redis[name][8]]}")
        if name not in known:
            problems.append(f"{name}: has no row in command_fact_table.h")
        elif key_flags_of(redis[name]) != known[name][2:]:
            problems.append(f"{name}: key flags are {key_flags_of(redis[name])}, the table says {known[name][2:]}")
    return problems + check_docs(port, table.keys() & redis.keys(), known)


def key_flags_of(command):
    """Flags of the first key and of the others."""
    flags = [" ".join(text(flag) for flag in pairs(spec)["flags"] if text(flag) not in ("variable_flags", "incomplete"))
             for spec in command[8]]
    return [flags[0], flags[-1]] if flags and "not_key" not in flags[0] else ["", ""]


def check_docs(port, names, known):
    problems = []
    for name in sorted(names & known.keys()):
        _, docs = resp.ask(port, "COMMAND", "DOCS", name)
        docs = pairs(docs)
        theirs = [text(docs["group"]), text(docs["since"])]
        if theirs != known[name][:2] and name not in SINCE_CORRECTED:
            problems.append(f"{name}: group and since are {theirs}, the table says {known[name][:2]}")
    return problems


# Misses.


def miss_bytes(miss, each, protocol):
    """The reply that stands for a miss; `each`: for how many things the request asks."""
    nil, nil_array = (b"_\r\n", b"_\r\n") if protocol == 3 else (b"$-1\r\n", b"*-1\r\n")
    array = b"*%d\r\n" % each
    return {
        "NIL": nil,
        "RANK": nil,
        "ZERO": b":0\r\n",
        "MINUS_TWO": b":-2\r\n",
        "EMPTY": b"$0\r\n\r\n",
        "ARRAY": b"*0\r\n",
        "SET": b"~0\r\n" if protocol == 3 else b"*0\r\n",
        "MAP": b"%0\r\n" if protocol == 3 else b"*0\r\n",
        "NIL_ARRAY": nil_array,
        "NIL_EACH": array + nil * each,
        "NILS_EACH": array + nil_array * each,
        "GONE_EACH": array + b":-2\r\n" * each,
        "ZERO_EACH": array + b":0\r\n" * each,
        "NONE_TYPE": b"+none\r\n",
        "SCAN": b"*2\r\n$1\r\n0\r\n*0\r\n",
    }[miss]


def row_for(table, words):
    return table.get("|".join(words[:2])) or table[words[0]]


def misses(protocol):
    """(row, request words, the bytes that stand for a miss) of each request in MISSES; None: no miss."""
    table = rows()
    for request in re.split(r"[|\n]", MISSES.strip()):
        words = request.split()
        if not words:
            continue
        row = row_for(table, words)
        if row.miss == "NEVER":
            yield row, words, None
        elif row.name == "mget":  # put together key by key
            yield row, words, miss_bytes("NIL_EACH", len(words) - 1, protocol)
        elif row.miss == "RANK" and len(words) > 3:
            yield row, words, miss_bytes("NIL_ARRAY", 0, protocol)
        else:
            before = 4 if row.miss == "GONE_EACH" else 2
            yield row, words, miss_bytes(row.miss, len(words) - before, protocol)


def is_of_a_newer_version(server, row, words):
    if row.name in NEWER_ARITY and not server.is_as_new_as(NEWER_ARITY[row.name][0]):
        return len(words) != NEWER_ARITY[row.name][1]
    return not server.knows(row.name)


def check_misses(port):
    table, problems, asked = rows(), [], set()
    server = Server(port)
    for protocol in (2, 3):
        with resp.Connection(port, protocol=protocol) as connection:
            for row, words, expected in misses(protocol):
                asked.add(row.name)
                if expected is None:
                    problems.append(f"{' '.join(words)}: has no miss")
                    continue
                if is_of_a_newer_version(server, row, words):
                    continue
                answer = connection.ask_raw(*words)
                if answer != expected:
                    problems.append(f"{' '.join(words)}: RESP{protocol} answers {answer!r}, "
                                    f"not {row.miss} {expected!r}")
    for name, row in table.items():
        if row.miss != "NEVER" and name not in asked and name not in NOT_IN_REDIS:
            problems.append(f"{name}: its miss {row.miss} is not tried")
        is_read = row.way in ("FORWARD", "SPLIT") and "READ" in row.flags.split("_")
        if is_read and row.miss == "NEVER" and name not in NO_MISS:
            problems.append(f"{name}: a read without a miss, and no reason why")
    return problems


# Keys.


def check_keys(port):
    table, server, problems = rows(), Server(port), []
    with resp.Connection(port) as connection:
        for kind, words, indexes in keys_cases():
            keys = [words[i].encode() for i in indexes]
            row = row_for(table, [word.lower() for word in words])
            if not server.knows(row.name) or row.name in NEWER_ARITY and "withscore" in words:
                continue
            if kind == "BAD" or (kind == "DENIED" and not keys):
                continue
            answer = connection.ask("COMMAND", "GETKEYS", *words)
            if (answer == keys) == (kind == "OURS"):
                problems.append(f"{' '.join(words)}: keys are {answer!r}, expected {kind} {keys}")
    return problems


# Malformed requests.

# What may lie in the keys: the form is refused whatever it is.
CONTENTS = {
    "zset": ("ZADD", "{}", "1", "m"),
    "list": ("RPUSH", "{}", "1"),
    "string": ("SET", "{}", "1"),
    "stream": ("XADD", "{}", "1-1", "f", "v"),
    "nothing": ("DEL", "{}"),
}


def contents(connection):
    return [connection.ask_raw(*words) for words in
            (("DBSIZE",), *(("DUMP", key) for key in ("a", "b", "c", "d", "1")))]


def check_malformed(port):
    table, server, problems = rows(), Server(port), []
    with resp.Connection(port) as connection:
        connection.ask("FUNCTION", "LOAD", "REPLACE",
                       "#!lua name=l\nredis.register_function('f', function() return 1 end)")
        for kind, words, _ in keys_cases():
            if not server.knows(row_for(table, [word.lower() for word in words]).name):
                continue
            for what, make in CONTENTS.items() if kind == "BAD" else ():
                connection.ask("FLUSHALL")
                for key in ("a", "b", "c"):
                    connection.ask(*(part.format(key) for part in make))
                before = contents(connection)
                answer = connection.ask(*words)
                if not isinstance(answer, resp.Error):
                    problems.append(f"{' '.join(words)} ({what}): answers {answer!r}")
                if contents(connection) != before:
                    problems.append(f"{' '.join(words)} ({what}): has changed something")
        connection.ask("FLUSHALL")
        connection.ask("FUNCTION", "FLUSH")
    return problems


CHECKS = {"facts": check_facts, "misses": check_misses, "keys": check_keys,
          "malformed": check_malformed}


def main():
    parser = argparse.ArgumentParser(description="Compares the command table with a redis-server.")
    parser.add_argument("--port", type=int,
                        help="of a redis-server on 127.0.0.1, which will be emptied")
    options = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory() as directory:
        node = None if options.port else processes.Node(directory)
        try:
            port = options.port or node.port
            for name, check in CHECKS.items():
                problems += [f"{name}: {line}" for line in check(port)]
            print("untested, for this server does not have them:", ", ".join(untested(port)))
        finally:
            if node:
                node.end()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(rows())} rows, {len(keys_cases())} key cases, {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

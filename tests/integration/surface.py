# SPDX-License-Identifier: Apache-2.0
"""The stories of surface/*.txt, and what it takes to tell one to two servers and to compare.

A story is a name at the margin and the requests below it, one a line. It belongs to the command that
its name begins with ("xread block waits": XREAD). Words are those of a shell; \\x00, \\r and \\n are
what they are in C, `~70000` is so many bytes, `%last` what the connection was answered last (`%last2`:
what connection 2 was). `$name` is a key: in each telling another one, and all of a telling share a hash
tag if they must. WORLD says what lies there.

    request            asked, and the answers are compared, by COMPARERS or else byte by byte
    ?HOW request       compared in another way, see HOWS
    =N request         N answers are read instead of one
    =proxy request     asked of the proxy only; the next line says how its answer begins
    nodes: request     asked of every node itself, behind the proxy
    2: …               on another connection
    !read N            N answers to what was asked before
    !blocked N         waits until N clients wait inside the nodes

A story is told where its keys are missing, where they hold what it expects, and where each holds
something of another type; but one with a `!` only where they hold what it expects.
"""
import pathlib
import re
import select
import shlex
import time

import processes
import resp

FOLDER = pathlib.Path(__file__).with_name("surface")
TABLE = processes.ROOT / "src/resp/command_table.h"

WORLD = """
set $s "hello world" | set $s2 "yellow word" | set $n 10 | set $f 1.5 | setex $ttl 100000 v
rpush $l a b c b | rpush $nums 3 1 2 10 | hset $h f v g 1 i 1.5 b "\\x00\\r\\n" | hset $h1 f v
sadd $st a b c | sadd $st2 b c d | sadd $ints 1 2 3 | sadd $one m
zadd $z 1 a 2 b 3 c | zadd $z2 5 b 1 d | zadd $lex 0 a 0 b 0 c 0 d 0 e
xadd $x 1-1 f v | xadd $x 2-1 g w | xgroup create $x g 0
geoadd $geo 13.361389 38.115556 palermo 15.087269 37.502669 catania
pfadd $hll a b c | pfadd $hll2 c d e | set $bin "\\xff\\x00\\r\\n"
"""
# What each key of WORLD holds where nothing is of the type that is expected.
WRONG = {"string": 'rpush {} a b', "other": 'set {} "no such thing"'}
STRINGS = {"s", "s2", "n", "f", "ttl", "hll", "hll2", "bin"}


class Line:
    """One line of a story."""

    def __init__(self, text):
        self.text = text
        self.connection, self.count, self.how, self.place, self.control = 1, 1, None, "both", None
        found = re.match(r"(\d): (.*)", text)
        if found:
            self.connection, text = int(found[1]), found[2]
        if text.startswith("!"):
            self.control, *rest = text[1:].split()
            self.count = int(rest[0])
        for pattern in (r"(=)(\d+|proxy) (.*)", r"(\?)([a-z]+) (.*)", r"(nodes): ()(.*)"):
            found = re.match(pattern, text)
            if not found:
                continue
            mark, what, text = found.groups()
            if mark == "nodes" or what == "proxy":
                self.place = what or mark
            elif mark == "=":
                self.count = int(what)
            else:
                self.how = what
        self.words = shlex.split(text) if not self.control else []
        self.begins = None  # how the proxy's answer begins, where only it is asked


class Story:
    def __init__(self, name):
        self.name = name
        self.command = name.split(" ")[0]
        self.lines = []

    @property
    def is_staged(self):
        return any(line.control for line in self.lines)


def stories():
    """All of them, by name."""
    found, story = {}, None
    for path in sorted(FOLDER.glob("*.txt")):
        for raw in path.read_text(encoding="utf-8").splitlines():
            text = raw.split("#")[0].rstrip() if not raw.startswith(" ") else raw.rstrip()
            if not text:
                continue
            if not text.startswith(" "):
                assert text not in found, f"{path.name}: {text} is told twice"
                story = found[text] = Story(text)
            elif text.strip()[0] in "-+:$*":
                story.lines[-1].begins = text.strip().encode()
            else:
                story.lines.append(Line(text.strip()))
    return found


class Row:
    """What the table says of a command, as far as it is wanted here."""

    def __init__(self, line):
        cells = [cell.strip() for cell in line[line.index("(") + 1:line.rindex(")")].split(",")]
        self.name, self.arity, self.way = cells[1].strip('"'), int(cells[2]), cells[3]
        self.is_container = "CONTAINER" in cells[9].split("_")


def rows():
    found = [Row(line) for line in TABLE.read_text().splitlines() if line.startswith("COMMAND_ROW(")]
    return {row.name: row for row in found}


# Comparing.


def multiset(value):
    """For what has no order: the same elements, however deep."""
    if isinstance(value, dict):
        value = [list(item) for item in value.items()]
    if isinstance(value, list):
        return sorted((multiset(item) for item in value), key=repr)
    return repr(value)


def shape(value):
    """What kinds of things it is made of. Errors and status replies count by their words."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return value if isinstance(value, str) or value is None else \
        str(value) if isinstance(value, Exception) else type(value).__name__


def near(value, other, margin):
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return all(near(a, b, margin) for a, b in zip(value, other))
    if isinstance(value, int) and isinstance(other, int) and value > 0:
        return abs(value - other) <= margin
    return repr(value) == repr(other)


HOWS = {
    "exact": lambda a, b: a.raw == b.raw,
    "unordered": lambda a, b: a.raw[:1] == b.raw[:1] and multiset(a.value) == multiset(b.value),
    "shape": lambda a, b: a.raw[:1] == b.raw[:1] and repr(shape(a.value)) == repr(shape(b.value)),
    "type": lambda a, b: a.raw[:1] == b.raw[:1],  # our own words, of the same kind
    "seconds": lambda a, b: near(a.value, b.value, 2),
    "millis": lambda a, b: near(a.value, b.value, 2000),
}

# What does not depend on the requests alone: chance, the clock, memory, the order inside hash tables,
# and what is the proxy's own.
COMPARERS = {name: how for how, names in {
    "unordered": "smembers sunion sinter sdiff sscan hscan hkeys hvals hgetall keys config|get command|getkeys "
                 "pubsub|channels",
    "shape": "spop srandmember hrandfield zrandmember memory|usage time client|id client|info client|list hello xclaim "
             "xautoclaim xpending xinfo|consumers xinfo|stream function|stats dbsize",
    "seconds": "ttl expiretime httl hexpiretime object|idletime",
    "millis": "pttl pexpiretime hpttl hpexpiretime",
    "type": "command|count",
}.items() for name in names.split()}


def how_of(line):
    name = line.words[0].lower()
    sub = f"{name}|{line.words[1].lower()}" if len(line.words) > 1 else name
    if line.how:
        return line.how
    if name == "xadd" and any(word == "*" or word.endswith("-*") for word in line.words):
        return "shape"
    return COMPARERS.get(sub) or COMPARERS.get(name) or "exact"


class Difference(Exception):
    """The proxy says something else than Redis."""


class Side:
    """One of the two that a story is told to: connections to a port, and the nodes behind it."""

    def __init__(self, port, nodes, protocol, key):
        self.port, self.nodes, self.protocol, self.key = port, nodes, protocol, key
        self.connections, self.last = {}, {}

    def on(self, number):
        if number not in self.connections:
            self.connections[number] = resp.Connection(self.port, protocol=self.protocol, timeout=5 * processes.SLOWNESS)
        return self.connections[number]

    def close(self):
        for connection in self.connections.values():
            connection.close()

    def word(self, word, number):
        if re.match(r"\$[a-z]", word):
            name = re.match(r"\$([a-z]+\d*)", word)[1]
            return (self.key(name) + word[len(name) + 1:]).encode()
        if re.fullmatch(r"~\d+", word):
            return b"x" * int(word[1:])
        if word.startswith("%last"):
            last = self.last.get(int(word[5:] or number))
            return last if isinstance(last, bytes) else str(last).encode()
        return re.sub(rb"\\(x[0-9a-f]{2}|r|n|0)", lambda m: {b"r": b"\r", b"n": b"\n"}.get(m[1]) or
                      bytes([int(m[1][1:], 16)]), word.encode())

    def words(self, line):
        return [self.word(word, line.connection) for word in line.words]

    def send(self, line):
        self.on(line.connection).send(resp.encode(*self.words(line)))

    def reply(self, number):
        reply = self.on(number).reply()
        self.last[number] = reply.value
        return reply

    def ask_nodes(self, line):
        for node in self.nodes:
            answer = node.ask(*self.words(line))
            assert not isinstance(answer, resp.Error), answer

    def wait_blocked(self, line):
        """False: what should wait has been answered."""
        end = time.monotonic() + 5 * processes.SLOWNESS
        while time.monotonic() < end:
            infos = [node.ask("INFO", "clients").decode() for node in self.nodes]
            if sum(int(re.search(r"blocked_clients:(\d+)", info)[1]) for info in infos) >= line.count:
                return True
            if select.select([self.on(line.connection).socket], [], [], 0.002)[0]:
                return False
        raise AssertionError(f"nobody waits in {self.nodes}")

    def walk(self, line):
        """All that a SCAN finds, from the first cursor to the last; nothing twice here, where
        nothing changes."""
        words, found, turns = self.words(line), [], 0
        connection = self.on(line.connection)
        while True:
            answer = connection.ask(*words)
            if not isinstance(answer, list):
                raise Difference(f"{words}: {answer!r}")
            found += answer[1]
            turns += 1
            self.last[line.connection] = answer
            if answer[0] == b"0":
                return sorted(found)
            assert turns < 10000 and int(answer[0]) < 1 << 53, answer[0]
            words[1] = answer[0]


def world(line, key):
    """WORLD, or one line like it, as requests."""
    maker = Side(0, [], 2, key)
    return [[maker.word(word, 1) for word in shlex.split(part)] for part in re.split(r"\||\n", line) if part.strip()]


def fill(connection, variant, key):
    """Lays what the story is told about."""
    if variant == "missing":
        return
    requests = world(WORLD, key)
    if variant == "wrong":
        names = sorted(set(re.findall(r"\$([a-z]+\d*)", WORLD)))
        requests = [world(WRONG["string" if name in STRINGS else "other"].format(f"${name}"), key)[0] for name in names]
    connection.send(b"".join(resp.encode(*request) for request in requests))
    for request in requests:
        reply = connection.reply()
        assert not isinstance(reply.value, resp.Error), (request, reply)


def tell_line(line, redis, proxy):
    if line.place == "nodes":
        redis.ask_nodes(line)
        proxy.ask_nodes(line)
        return
    if line.place == "proxy":
        if processes.STAND_IN:
            return
        proxy.send(line)
        got = proxy.reply(line.connection)
        if not got.raw.startswith(line.begins):
            raise Difference(f"{line.text}\n  proxy {got}, not {line.begins}")
        return
    if line.control == "blocked":
        for side in (redis, proxy):
            if not side.wait_blocked(line):
                raise Difference(f"{line.text}: {side.reply(line.connection)} at once")
        return
    if line.how == "walk":
        wanted, got = redis.walk(line), proxy.walk(line)
        if [w.rpartition(b":")[2] for w in wanted] != [g.rpartition(b":")[2] for g in got]:
            raise Difference(f"{line.text}\n  Redis {wanted}\n  proxy {got}")
        return
    if not line.control:
        redis.send(line)
        proxy.send(line)
    for _ in range(line.count):
        wanted, got = redis.reply(line.connection), proxy.reply(line.connection)
        if not HOWS[how_of(line) if line.words else "exact"](wanted, got):
            raise Difference(f"{line.text}\n  Redis {wanted}\n  proxy {got}")


def tell(story, redis, proxy):
    """Tells it to both. Raises Difference at the first one. → whether the command itself ever had an
    answer that is no error."""
    did_something = False
    try:
        for line in story.lines:
            try:
                tell_line(line, redis, proxy)
                if "|".join(line.words).lower().startswith(story.command) or line.control:
                    did_something |= not isinstance(redis.last.get(line.connection), resp.Error)
            except (resp.Closed, OSError) as error:
                raise Difference(f"{line.text}: {error!r}") from error
    finally:
        redis.close()
        proxy.close()
    return did_something

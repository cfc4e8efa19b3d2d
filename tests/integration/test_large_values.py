# SPDX-License-Identifier: Apache-2.0
"""Values that are streamed: whatever their size, in whatever order with small ones and however they
arrive, every byte and every reply is where it belongs. Faults are in test_streamed_*.py."""
import os
import random
import threading
import time

import pytest

import processes
from large import BULK, KIB, MIB, PATIENCE, Sender, Upload, Watch, blob, drained, exchange, query_buffers, \
    settings, wait_counter
from processes import SLOWNESS
from resp import Error, encode, eventually

SIZES = [BULK - 1, BULK, BULK + 1, 100 * KIB, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 1_000_000, 5_000_000]


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


@pytest.mark.parametrize("protocol", [2, 3])
def test_sizes(proxy, key, protocol):
    """One after the other under one key: what the proxy remembers of the key is wrong each time."""
    with proxy.connect(protocol=protocol, timeout=PATIENCE) as client:
        for size in SIZES + [10] + SIZES[::-1]:
            wanted = blob(size, size)
            assert client.ask("SET", key("v"), wanted) == "OK", size
            assert client.ask("STRLEN", key("v")) == size
            for _ in range(2):
                assert client.ask_raw("GET", key("v")) == bulk(wanted), size
            assert client.ask("GETRANGE", key("v"), -7, -1) == wanted[-7:]
        assert client.ask("DEL", key("v")) == 1
        assert client.ask("GET", key("v")) is None


def test_every_length_around_the_limit(proxy, key):
    """Of the value, of the request and of the reply, each to the byte."""
    sizes = range(BULK - 80, BULK + 4)
    for piece in (None, 65536):
        data = b"".join(encode("SET", key(size % 5), blob(size, size)) + encode("GET", key(size % 5)) for size in sizes)
        step = piece or len(data)
        with proxy.connect(timeout=PATIENCE) as client:
            replies = iter(exchange(client, [data[at:at + step] for at in range(0, len(data), step)], 2 * len(sizes)))
            for size in sizes:
                assert next(replies).value == "OK", size
                assert next(replies).value == blob(size, size), size


@pytest.mark.slow
@pytest.mark.proxy_only
@pytest.mark.parametrize("protocol", [2, 3])
def test_64_mb_pass_through_little_memory(start, nodes, key, protocol):
    """Both ways, under a limit of 8 MiB for all buffers."""
    proxy = start.proxy(nodes, settings(limits={"memory": "8mb"}))
    wanted = blob(64 * MIB, 3)
    with proxy.connect(protocol=protocol, timeout=PATIENCE) as client:
        assert client.ask("SET", key("v"), blob(300_000)) == "OK"
        assert client.ask("GET", key("v")) == blob(300_000)
        before = proxy.rss()
        with Watch(proxy.rss) as watch:
            assert client.ask("SET", key("v"), wanted) == "OK"
            assert client.ask("GET", key("v")) == wanted
        # A surprise: by a key of which this proxy knows nothing.
        assert client.ask("COPY", key("v"), "{%s}2" % key("v")) == 1
        assert client.ask("GET", "{%s}2" % key("v")) == wanted
        assert client.ask("DEL", key("v"), "{%s}2" % key("v")) == 2
    if SLOWNESS == 1:
        assert watch.most - before < 8 * MIB, f"{watch.most - before} bytes more"
    counters = proxy.counters()
    assert counters["memory_limit_hits"] == 0
    assert counters["requests_streamed"] >= 1 and counters["replies_streamed"] >= 2


@pytest.mark.proxy_only
def test_what_is_known_of_sizes_may_be_wrong(start, key):
    """Somebody else changes values at the node, so that each reply has another size than the last."""
    node = start.node()
    proxy = start.proxy([node], settings())
    rng = random.Random(4)
    with proxy.connect(timeout=PATIENCE) as client, node.connect(timeout=PATIENCE) as direct:
        for step in range(60):
            values = [blob(rng.choice([0, 5, 3000, 70_000, 400_000, 1_500_000]), step + i) for i in range(3)]
            for i, value in enumerate(values):
                assert direct.ask("SET", key(i), value) == "OK"
            client.send(encode("GET", key(0)) + encode("STRLEN", key(1)) + encode("GET", key(1)) + encode("GET", key(2)) +
                        encode("GET", key(0)))
            got = [reply.value for reply in client.replies(5)]
            assert got == [values[0], len(values[1]), values[1], values[2], values[0]], step
        assert client.ask("PING") == "PONG"
    counters = proxy.counters()
    assert counters["upstreams_promoted"] >= 1 and counters["requests_bulk"] >= 20
    assert counters["upstreams_protocol_error"] == 0 and counters["clients_reply_cut"] == 0


def commands(key):
    """Commands with large bodies and large replies, and what is wrong with some of them."""
    one, two, big, huge = blob(100_000, 1), blob(70_000, 2), blob(1_100_000, 3), blob(3_000_000, 4)
    s, t, h, l = key("{s}"), key("{s}t"), key("h"), key("l")
    yield from [
        ["SET", s, big], ["APPEND", s, one], ["APPEND", s, "x"], ["STRLEN", s], ["GETRANGE", s, 5, 200_000], ["GETRANGE", s, -3, -1],
        ["SETRANGE", s, 1000, one], ["SETRANGE", s, 1_500_000, two], ["GET", s], ["GETSET", s, huge], ["SETEX", s, 1000, one],
        ["GET", s], ["PSETEX", s, 1_000_000, two], ["SET", s, big, "EX", 1000, "GET"], ["SET", s, one, "NX"], ["SET", s, one, "XX", "GET"],
        ["SETNX", s, big], ["SETNX", key("s2"), big], ["GETDEL", key("s2")], ["GETDEL", key("s2")], ["GETEX", s], ["SUBSTR", s, 0, 99_990],
        ["HSET", h, "f", big, "g", two, "h", "small"], ["HGET", h, "f"], ["HGET", h, "h"], ["HMGET", h, "h", "f", "nothing", "g"],
        ["HSETNX", h, "f", one], ["HSETNX", h, "i", one], ["HSTRLEN", h, "f"], ["HDEL", h, "g", "h"], ["HVALS", h], ["HGETALL", h],
        ["HMSET", h, one, two], ["HGET", h, one], ["HEXISTS", h, one], ["HDEL", h, one],
        ["RPUSH", l, one, two, "small"], ["LPUSH", l, big], ["LINSERT", l, "BEFORE", "small", two], ["LINSERT", l, "AFTER", one, "after"],
        ["LSET", l, 1, huge], ["LRANGE", l, 0, -1], ["LPOS", l, two], ["LREM", l, 1, two], ["LINDEX", l, 0], ["LPOP", l, 2], ["RPOP", l],
        ["LLEN", l], ["SADD", key("m"), one, two], ["SISMEMBER", key("m"), one], ["SREM", key("m"), one], ["SMEMBERS", key("m")],
        ["ZADD", key("z"), 1, one, 2, two], ["ZSCORE", key("z"), one], ["ZRANGE", key("z"), 0, -1, "WITHSCORES"], ["ZREM", key("z"), one],
        ["XADD", key("x"), "1-1", "f", one, "g", "small"], ["XADD", key("x"), "1-2", "f", big], ["XRANGE", key("x"), "-", "+"],
        ["PFADD", key("p"), one, two], ["PFCOUNT", key("p")], ["SETBIT", key("b"), 8 * 200_000, 1], ["GET", key("b")],
        ["EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, s, big], ["EVAL", "return {KEYS[1], ARGV[1]}", 1, s, one],
        ["EVAL", "return ARGV[1]" + " " * 70_000, 1, s, two], ["SET", t, big], ["MGET", s, t, key("{s}nothing")], ["RENAME", t, s], ["GET", s],
        ["COPY", s, t], ["GET", t], ["DUMP", t], ["TYPE", t], ["OBJECT", "ENCODING", t], ["SORT", l, "ALPHA"],
        ["MSET", key("a"), one, key("b"), big, key("c"), "small"], ["MGET", key("a"), key("b"), key("c"), key("nothing")],
        ["MSET", s, one, t, two], ["MGET", s, t], ["MSETNX", s, one, t, two], ["EXISTS", key("a"), key("b"), key("nothing")],
        ["ECHO", big], ["PING", one], ["SET", one, "a long key"], ["GET", one], ["SET", two, big], ["STRLEN", two], ["DEL", one, two],
        ["NOSUCHCOMMAND", big], ["NOSUCHCOMMAND", "small", one, two], [one], [one, two], ["GET", s, big], ["SET", s], ["SET", s, big, "NONSENSE"],
        ["SET", s, big, one], ["SET", s, big, "EX", 0], ["SETEX", s, "nonsense", big], ["INCR", s], ["INCRBY", s, one], ["LPUSH", s, big],
        ["SETRANGE", s, -1, big], ["SETRANGE", s, 536_870_911, big], ["HINCRBY", h, "f", 1], ["HSET", h, "f", big, "g"], ["ZADD", key("z"), one, two],
        ["OBJECT", one, two], ["MSET", key("a"), big, key("b")], ["GET", s], ["GETDEL", s], ["UNLINK", t, h, l], ["PING"],
    ]


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_commands_as_redis_does_them(redis, proxy, key, protocol, pipelined):
    """The same bytes as from one Redis, also for what Redis refuses."""
    todo = list(commands(key))
    with redis.connect(protocol=protocol, timeout=PATIENCE) as one, proxy.connect(protocol=protocol, timeout=PATIENCE) as other:
        if pipelined:
            pairs = zip(*(exchange(each, [encode(*command) for command in todo], len(todo)) for each in (one, other)))
        else:
            pairs = ((one.ask_raw(*command), other.ask_raw(*command)) for command in todo)
        for command, (wanted, got) in zip(todo, pairs):
            wanted, got = (reply if isinstance(reply, bytes) else reply.raw for reply in (wanted, got))
            if command[0] in ("SMEMBERS", "HGETALL", "HVALS") and len(wanted) == len(got):
                continue  # An order is not promised; the members are looked at by HMGET and the like.
            assert wanted == got, ([arg[:20] if isinstance(arg, (str, bytes)) else arg for arg in command], wanted[:200], got[:200])


@pytest.mark.parametrize("piece", [1, 7, 1000, 4096, 65535, 65536, 65537])
def test_bodies_in_pieces(proxy, key, piece):
    size = 70_001 if piece < 4096 else 2_000_003
    data = encode("SET", key("v"), blob(size)) + encode("HSET", key("h"), "f", blob(size, 1)) + encode("GET", key("v"))
    with proxy.connect(timeout=PATIENCE) as client:
        replies = exchange(client, (data[at:at + piece] for at in range(0, len(data), piece)), 3)
        assert [reply.value for reply in replies] == ["OK", 1, blob(size)]
        assert client.ask("HGET", key("h"), "f") == blob(size, 1)


@pytest.mark.proxy_only
def test_a_body_with_pauses(start, nodes, key):
    """A client may take its time, longer than a node would get; and slower than limits.client_min_rate,
    while nobody waits for what it holds. Small requests of others are not held up."""
    proxy = start.proxy(nodes, {"timeouts": {"request": "400ms", "stall": "300ms"}})
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        upload = Upload(client, "SET", key("v"), blob(1_000_000))
        for portion in (20, 30_000, 100_000, 300_000, 1):
            upload.send(portion)
            time.sleep(0.45)
            assert other.ask("SET", key("v"), "between") == "OK" and other.ask("GET", key("v")) == b"between"
        client.send(upload.rest() + encode("GET", key("v")) + encode("PING"))
        assert [reply.value for reply in client.replies(3)] == ["OK", blob(1_000_000), "PONG"]
    counters = proxy.counters()
    assert counters["requests_timed_out"] == 0 and counters["requests_too_slow"] == 0 and counters["requests_streamed"] == 1


@pytest.mark.proxy_only
def test_it_is_sent_on_while_it_comes(start):
    """The node has most of a body before its end has left the client."""
    node = start.node()
    proxy = start.proxy([node], settings())
    for command in (["SET", "k"], ["SETEX", "k", 1000], ["APPEND", "k"], ["GETSET", "k"], ["SETRANGE", "k", 5], ["HSET", "h", "f"],
                    ["RPUSH", "l", "x"], ["SADD", "s"], ["XADD", "x", "*", "f"], ["ZADD", "z", 1]):
        with proxy.connect(timeout=PATIENCE) as client:
            before = proxy.counter("requests_streamed")
            upload = Upload(client, *command, blob(3_000_000)).send(2_900_000)
            eventually(lambda: query_buffers(node)[0] > 2_000_000, within=5 * SLOWNESS, what=f"the node has most of {command}")
            wait_counter(proxy, "requests_streamed", before + 1)
            client.send(upload.rest())
            assert not isinstance(client.reply().value, Error)


# Pipelines against a model.

class Model:
    """Draws commands for keys that only one client uses, and says what is answered."""

    def __init__(self, rng, prefix, keys=30):
        self.rng = rng
        self.keys = [f"{prefix}:{i}" for i in range(keys)]
        self.strings = {}
        self.salt = 0

    def value(self):
        self.salt += 1
        draw = self.rng.random()
        if draw < 0.5:
            size = self.rng.randrange(2000)
        elif draw < 0.75:
            size = self.rng.randrange(BULK - 200, BULK + 200)
        elif draw < 0.94:
            size = self.rng.randrange(100_000, 300_000)
        else:
            size = self.rng.randrange(700_000, 1_300_000) if draw < 0.992 else 5_000_000
        return blob(size, self.salt)

    def step(self):
        """A command and its reply."""
        rng, strings = self.rng, self.strings
        key = rng.choice(self.keys)
        old = strings.get(key)
        kind = rng.choice(["SET"] * 6 + ["GET"] * 8 + ["STRLEN"] * 2 + ["APPEND", "APPEND", "GETRANGE", "SETRANGE", "GETSET", "GETDEL", "SETNX"] +
                          ["DEL"] * 2 + ["MGET", "MGET", "MSET", "EXISTS", "PING", "ECHO", "HELLO"])
        if kind in ("APPEND", "SETRANGE") and len(old or b"") > 6_000_000:
            kind = "SET"
        if kind == "SET":
            strings[key] = self.value()
            return (kind, key, strings[key]), "OK"
        if kind == "GET":
            return (kind, key), old
        if kind == "STRLEN":
            return (kind, key), len(old or b"")
        if kind == "APPEND":
            piece = self.value()
            strings[key] = (old or b"") + piece
            return (kind, key, piece), len(strings[key])
        if kind == "GETRANGE":
            first = rng.randrange(100_000)
            return (kind, key, first, -1), (old or b"")[first:]
        if kind == "SETRANGE":
            piece, offset = self.value() + b"!", rng.randrange(100_000)
            before = (old or b"")[:offset]
            strings[key] = before + bytes(offset - len(before)) + piece + (old or b"")[offset + len(piece):]
            return (kind, key, offset, piece), len(strings[key])
        if kind == "GETSET":
            strings[key] = self.value()
            return (kind, key, strings[key]), old
        if kind == "GETDEL":
            strings.pop(key, None)
            return (kind, key), old
        if kind == "SETNX":
            piece = self.value()
            strings.setdefault(key, piece)
            return (kind, key, piece), int(old is None)
        if kind == "DEL":
            some = {key, rng.choice(self.keys)} if rng.random() < 0.5 else {key}
            return (kind, *some), sum(strings.pop(each, None) is not None for each in some)
        if kind == "MGET":
            some = [rng.choice(self.keys) for _ in range(3)]
            return (kind, *some), [strings.get(each) for each in some]
        if kind == "MSET":
            some = [rng.choice(self.keys) for _ in range(2)]
            pairs = [(each, self.value()) for each in some]
            strings.update(pairs)
            return (kind, *[x for pair in pairs for x in pair]), "OK"
        if kind == "EXISTS":
            return (kind, key), int(old is not None)
        if kind == "PING":
            return (kind,), "PONG"
        if kind == "ECHO":
            text = self.value()
            return (kind, text), text
        return ("HELLO", rng.choice([2, 3])), HELLO


HELLO = object()


def run_model(proxy, model, count, burst, mistakes):
    """Bursts of commands in one go, replies read meanwhile."""
    try:
        with proxy.connect(timeout=2 * PATIENCE) as client:
            while count > 0 and not mistakes:
                steps = [model.step() for _ in range(min(count, burst))]
                count -= len(steps)
                with Sender(client, [encode(*command) for command, _ in steps]):
                    for i, (command, wanted) in enumerate(steps):
                        got = client.reply().value
                        if isinstance(got, (list, dict)) if wanted is HELLO else got == wanted:
                            continue
                        shown = [arg[:30] if isinstance(arg, (str, bytes)) else arg for arg in command]
                        mistakes.append(f"{i} of {len(steps)}: {shown} gave {repr(got)[:200]}, not {repr(wanted)[:200]}")
                        client.close()
                        return
    except (processes.resp.Closed, OSError, AssertionError) as error:
        mistakes.append(repr(error))


# What a drawn pipeline meets: the settings, the workers, the clients at a time, and the requests in a burst.
WORLDS = {
    "defaults": ({}, 1, 1, 1000),
    "one bulk upstream": ({"bulk_max": 1}, 1, 3, 300),
    "everything is large": ({"bulk_above": "4kb", "bulk_max": 3}, 2, 3, 300),
    "few under way": ({"client_pending": 3}, 2, 2, 400),
    "one by one": ({}, 1, 4, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_random_pipelines(start, nodes, key, world):
    """SUMCACHE_TEST_SEED=… draws the same commands again; their timing is another each time."""
    seed = int(os.environ.get("SUMCACHE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"SUMCACHE_TEST_SEED={seed}")
    limits, workers, clients, burst = WORLDS[world]
    proxy = start.proxy(nodes, settings(limits=limits), workers=workers)
    mistakes = []
    models = [Model(random.Random(f"{seed} {world} {i}"), key(i)) for i in range(clients)]
    threads = [threading.Thread(target=run_model, args=(proxy, model, 1500 // clients, burst, mistakes), daemon=True)
               for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE)
    assert not mistakes, (f"SUMCACHE_TEST_SEED={seed}", mistakes, processes.STAND_IN or proxy.counters())
    assert not any(thread.is_alive() for thread in threads), f"SUMCACHE_TEST_SEED={seed}"
    if not processes.STAND_IN:
        counters = proxy.counters()
        # Pools are per worker, node and RESP version.
        assert counters["upstreams_bulk"] <= limits.get("bulk_max", 2) * workers * len(nodes) * 2
        assert counters["requests_bulk"] > 100 and counters["upstreams_protocol_error"] == 0
        drained(proxy)
    with proxy.connect(timeout=PATIENCE) as client:
        client.ask("DEL", *[name for model in models for name in model.keys])


def test_order_on_few_keys(proxy, key):
    """Each request depends on the one before; large and small take turns."""
    steps = []
    for i in range(40):
        name, big, more = key(i % 4), blob(90_000 + i * 5000, i), blob(66_000, i + 1)
        steps += [(("SET", name, big), "OK"), (("GET", name), big), (("STRLEN", name), len(big)), (("APPEND", name, "x"), len(big) + 1),
                  (("APPEND", name, more), len(big) + 1 + len(more)), (("GET", name), big + b"x" + more), (("DEL", name), 1),
                  (("GET", name), None), (("SETNX", name, more), 1), (("SET", name, "small"), "OK"), (("GET", name), b"small"),
                  (("GETSET", name, big), b"small"), (("STRLEN", name), len(big)), (("SET", name, "1"), "OK"), (("INCR", name), 2),
                  (("RPUSH", key("list"), big), i * 2 + 1), (("RPUSH", key("list"), i), i * 2 + 2), (("LINDEX", key("list"), -2), big)]
    with proxy.connect(timeout=PATIENCE) as client:
        replies = exchange(client, [b"".join(encode(*command) for command, _ in steps)], len(steps))
        for i, (reply, (command, wanted)) in enumerate(zip(replies, steps)):
            assert reply.value == wanted, (i, command[:2])


def test_protocol_switch_inside_a_pipeline(redis, proxy, key):
    """Large values on both sides of HELLO; each reply in the version that held when its request came."""
    big, more = blob(700_000, 1), blob(300_000, 2)
    part = b"".join([encode("SET", key("s"), big), encode("GET", key("s")), encode("HSET", key("h"), "f", more), encode("HGETALL", key("h")),
                     encode("GET", key("nothing")), encode("GETSET", key("s"), more), encode("GET", key("s")), encode("INCR", key("n"))])
    data = (part + encode("HELLO", 3) + part + encode("HELLO", 2)) * 4 + part
    with redis.connect(timeout=PATIENCE) as one, proxy.connect(timeout=PATIENCE) as other:
        wanted, got = (exchange(each, [data], 9 * 8 + 8) for each in (one, other))
    for i, (left, right) in enumerate(zip(wanted, got)):
        if i % 9 == 8:
            assert left.raw[:1] == right.raw[:1]
        else:
            assert left.raw == right.raw, i


def test_values_are_never_mixed(proxy, key):
    """Three clients write, five read the same large key: what is read is always one value and whole."""
    values = [blob(size, size) for size in (1_500_000, 66_000, 2_000_000, 1_499_999)]
    mistakes, reads = [], [0] * len(values)
    over = threading.Event()

    def write(me):
        with proxy.connect(timeout=PATIENCE) as client:
            for i in range(25):
                if client.ask("SET", key("v"), values[(me + i) % len(values)]) != "OK":
                    mistakes.append("SET")

    def read():
        with proxy.connect(timeout=PATIENCE) as client:
            while not over.is_set() and not mistakes:
                got = client.ask("GET", key("v"))
                if got in values:
                    reads[values.index(got)] += 1
                else:
                    mistakes.append(repr(got)[:100])

    with proxy.connect(timeout=PATIENCE) as client:
        assert client.ask("SET", key("v"), values[0]) == "OK"
    writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(3)]
    readers = [threading.Thread(target=read, daemon=True) for _ in range(5)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join(2 * PATIENCE)
    over.set()
    for thread in readers:
        thread.join(2 * PATIENCE)
    assert not mistakes and sum(reads) > 20, (mistakes, reads)


@pytest.mark.parametrize("protocol", [2, 3])
def test_quit_behind_a_large_value(proxy, key, protocol):
    """In one write: what is before QUIT is done and answered, what is behind it is not."""
    big = blob(5_000_000, 9)
    with proxy.connect(protocol=protocol, timeout=PATIENCE) as client:
        client.send(encode("SET", key("v"), big) + encode("QUIT") + encode("SET", key("after"), "1"))
        assert client.rest() == b"+OK\r\n+OK\r\n"
    with proxy.connect(protocol=protocol, timeout=PATIENCE) as client:
        client.send(encode("GET", key("v")) + encode("GET", key("after")) + encode("QUIT") + encode("PING"))
        assert client.rest() == bulk(big) + (b"$-1\r\n" if protocol == 2 else b"_\r\n") + b"+OK\r\n"


@pytest.mark.proxy_only
def test_half_closed_client_gets_large_replies(proxy, key):
    """The end of what a client says is not the end of what it is owed."""
    big = blob(3_000_000, 2)
    with proxy.connect(timeout=PATIENCE) as client:
        client.send(encode("SET", key("v"), big) + encode("GET", key("v")) * 3)
        client.half_close()
        assert client.rest() == b"+OK\r\n" + bulk(big) * 3


@pytest.mark.slow
@pytest.mark.proxy_only
def test_small_requests_beside_large_ones(start, nodes, key):
    """redis-benchmark reads and writes values of 5 MB as fast as it goes; small requests are answered in
    far less than a deadline, and none is late."""
    proxy = start.proxy(nodes, {"timeouts": {"request": "1s", "stall": "1s"}})
    load = start.process(["redis-benchmark", "-p", proxy.port, "-c", "2", "-n", "60", "-r", "10", "-l", "-q", "-t", "set,get", "-d", "5000000"])
    with proxy.connect(timeout=PATIENCE) as client:
        wait_counter(proxy, "requests_bulk", 10, within=10)
        names = [key(i) for i in range(50)]
        took = []
        began = time.monotonic()
        while len(took) < 1500 and time.monotonic() < began + 3:
            name = names[len(took) % 50]
            sent = time.monotonic()
            client.send(encode("SET", name, "x" * 1000) + encode("GET", name))
            assert [reply.value for reply in client.replies(2)] == ["OK", b"x" * 1000]
            took.append(time.monotonic() - sent)
        assert load.popen.poll() is None, load.log()
        counters = proxy.counters()
    load.end()
    took.sort()
    assert took[len(took) // 2] < 0.05 * SLOWNESS and took[len(took) * 99 // 100] < 0.25 * SLOWNESS, (len(took), took[len(took) // 2], took[-1])
    assert counters["requests_timed_out"] == 0 and counters["requests_streamed"] > 10
    with proxy.connect(timeout=PATIENCE) as client:
        client.ask("DEL", *[f"key:{i:012}" for i in range(10)])


def test_a_client_that_writes_all_before_it_reads(start, nodes, key):
    """Some libraries send a whole pipeline, however long, before they read the first reply."""
    proxy = start.proxy(nodes, settings())
    value = blob(30_000, 3)
    with proxy.connect(timeout=PATIENCE) as client, proxy.connect(timeout=PATIENCE) as other:
        client.send(b"".join(encode("SET", key(i), value) + encode("GET", key(i)) for i in range(700)))
        assert other.ask("PING") == "PONG"
        for _ in range(700):
            assert [reply.value for reply in client.replies(2)] == ["OK", value]
    assert proxy.counter("clients_stalled") == 0

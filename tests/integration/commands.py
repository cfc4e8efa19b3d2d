# SPDX-License-Identifier: Apache-2.0
"""Draws random commands whose replies depend on nothing but the commands before them.

Left out is what depends on the clock (PTTL, XADD with *) or on chance (SPOP, SRANDMEMBER). Replies
without an order (UNORDERED) are compared as multisets.
"""
UNORDERED = {"SMEMBERS", "SUNION", "SINTER", "SDIFF", "SSCAN", "HGETALL", "HKEYS", "HVALS", "HSCAN", "ZSCAN"}


class Draw:
    """Keys of every type live in two pools: `any` key may lie on any node; `tagged` keys share a hash
    tag and so a node, which is what commands of several keys need."""

    def __init__(self, rng, prefix):
        self.rng = rng
        self.any_keys = [f"{prefix}{i}" for i in range(24)]
        self.tagged_keys = [f"{prefix}{{tag}}{i}" for i in range(16)]
        self.stream_id = 0

    def any(self):
        return self.rng.choice(self.any_keys)

    def tagged(self):
        return self.rng.choice(self.tagged_keys)

    def key(self, kind):
        """Mostly a key of the right type, so that commands do more than say WRONGTYPE."""
        if self.rng.random() < 0.08:
            return self.rng.choice([self.any(), self.tagged()])
        pool = self.any_keys if self.rng.random() < 0.5 else self.tagged_keys
        return pool["shlzxgpb".index(kind) % len(pool):][::8][self.rng.randrange(len(pool) // 8)]

    def tkey(self, kind):
        pool = self.tagged_keys
        if self.rng.random() < 0.08:
            return self.tagged()
        return pool["shlzxgpb".index(kind):][::8][self.rng.randrange(len(pool) // 8)]

    def int(self, low=-10, high=100):
        return self.rng.randint(low, high)

    def value(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            return str(rng.randint(-1000, 1000))
        if kind < 0.5:
            return f"{rng.uniform(-100, 100):.3f}"
        if kind < 0.55:
            return ""
        if kind < 0.7:
            return rng.randbytes(rng.randint(1, 40))
        if kind < 0.73:
            return rng.randbytes(rng.choice([500, 4096, 16384, 70000]))
        return rng.choice(["a", "b", "c", "hello", "ohmytext", "mynewtext", "\r\n", "+OK\r\n", "$-1\r\n"])

    def member(self):
        return self.rng.choice("abcdefgh")

    def number(self):
        return str(self.rng.randint(0, 30))

    def score(self):
        return self.rng.choice(["1", "2", "2.5", "-3", "inf", "-inf", "0", "1e3", "x", "0.1"])

    def many(self, draw, low=1, high=4):
        return [draw() for _ in range(self.rng.randint(low, high))]

    def maybe(self, *options):
        """One of the options, or nothing."""
        chosen = self.rng.choice([*options, ()])
        return list(chosen) if isinstance(chosen, (tuple, list)) else [chosen]

    def id(self):
        return f"{self.int(0, self.stream_id + 2)}-{self.int(0, 1)}"

    def new_id(self):
        self.stream_id += self.rng.randint(0, 2)
        return f"{self.stream_id}-{self.rng.randint(0, 3)}"


def strings(d):
    k = lambda: d.key("s")
    return [
        lambda: ["SET", k(), d.value(), *d.maybe("NX", "XX", "GET", ("EX", "1000"), "KEEPTTL", ("PX", "0"),
                                                 ("EXAT", "9999999999"), ("NX", "GET"), "nonsense")],
        lambda: ["GET", k()],
        lambda: ["GETSET", k(), d.value()],
        lambda: ["GETDEL", k()],
        lambda: ["GETEX", k(), *d.maybe("PERSIST", ("EX", "1000"), ("EX", "-1"))],
        lambda: ["SETNX", k(), d.value()],
        lambda: ["SETEX", k(), d.rng.choice(["1000", "0", "x"]), d.value()],
        lambda: ["PSETEX", k(), "1000000", d.value()],
        lambda: ["APPEND", k(), d.value()],
        lambda: ["STRLEN", k()],
        lambda: ["SETRANGE", k(), d.int(-2, 50), d.value()],
        lambda: ["GETRANGE", k(), d.int(), d.int()],
        lambda: ["SUBSTR", k(), d.int(), d.int()],
        lambda: ["INCR", k()],
        lambda: ["DECR", k()],
        lambda: ["INCRBY", k(), d.value()],
        lambda: ["DECRBY", k(), d.int()],
        lambda: ["INCRBYFLOAT", k(), d.rng.choice(["1.5", "-2", "3.0e3", "x", "nan"])],
        lambda: ["LCS", d.tkey("s"), d.tkey("s"), *d.maybe("LEN", "IDX", ("IDX", "MINMATCHLEN", "2", "WITHMATCHLEN"))],
        lambda: ["MSETNX", *[x for _ in range(d.int(1, 3)) for x in (d.tagged(), d.value())]],
        lambda: ["SETBIT", d.key("b"), d.int(0, 100), d.int(0, 2)],
        lambda: ["GETBIT", d.key("b"), d.int(-1, 100)],
        lambda: ["BITCOUNT", d.key("b"), *d.maybe(("0", "3"), ("0", "30", "BIT"), "0")],
        lambda: ["BITPOS", d.key("b"), d.int(0, 2), *d.maybe("1", ("1", "5"), ("1", "5", "BIT"))],
        lambda: ["BITOP", d.rng.choice(["AND", "OR", "XOR", "NOT", "NO"]), d.tkey("b"),
                 *d.many(lambda: d.tkey("b"), 1, 3)],
        lambda: ["BITFIELD", d.key("b"), "SET", "u8", "#1", d.int(0, 255), "INCRBY", "i5", "3", "1",
                 *d.maybe(("OVERFLOW", "FAIL", "INCRBY", "u2", "1", "3"))],
        lambda: ["BITFIELD_RO", d.key("b"), "GET", "u8", d.int(0, 20)],
        lambda: ["PFADD", d.key("p"), *d.many(d.number, 0, 5)],
        lambda: ["PFCOUNT", *d.many(lambda: d.tkey("p"))],
        lambda: ["PFMERGE", *d.many(lambda: d.tkey("p"))],
    ]


def split(d):
    k = lambda: d.rng.choice([d.any(), d.key("s")])
    return [
        lambda: ["MGET", *d.many(k, 1, 20)],
        lambda: ["MSET", *[x for _ in range(d.int(1, 8)) for x in (d.key("s"), d.value())]],
        lambda: ["MSET", d.key("s"), d.value(), d.key("s")],
        lambda: ["DEL", *d.many(k, 1, 3)],
        lambda: ["UNLINK", *d.many(k, 1, 3)],
        lambda: ["EXISTS", *d.many(k, 1, 12)],
        lambda: ["TOUCH", *d.many(k, 1, 12)],
    ]


def generic(d):
    k = lambda: d.rng.choice([d.any(), d.tagged()])
    return [
        lambda: ["TYPE", k()],
        lambda: ["TTL", k()],
        lambda: ["EXPIRETIME", d.any()],
        lambda: ["EXPIRE", k(), d.rng.choice(["1000", "x"]), *d.maybe("NX", "XX", "??")],
        lambda: ["EXPIRE", k(), d.rng.randint(2000, 10**8), *d.maybe("GT", "LT")],
        lambda: ["EXPIREAT", k(), "9999999999"],
        lambda: ["PEXPIRE", k(), "5000000"],
        lambda: ["PERSIST", k()],
        lambda: ["RENAME", d.tagged(), d.tagged()],
        lambda: ["RENAMENX", d.tagged(), d.tagged()],
        lambda: ["COPY", d.tagged(), d.tagged(), *d.maybe("REPLACE")],
        lambda: ["OBJECT", d.rng.choice(["ENCODING", "REFCOUNT"]), d.key("l")],
        lambda: ["RESTORE", k(), "0", d.rng.choice([b"\x00\xc0\x05\n\x00", b"junk"])],
        lambda: ["SORT", d.key("l"), *d.maybe("ALPHA", ("ALPHA", "DESC"), ("LIMIT", "0", "2", "ALPHA"))],
        lambda: ["SORT", d.tkey("l"), "ALPHA", "STORE", d.tkey("l")],
        lambda: ["SORT_RO", d.key("l"), "ALPHA"],
    ]


def hashes(d):
    k = lambda: d.key("h")
    return [
        lambda: ["HSET", k(), *[x for _ in range(d.int(1, 4)) for x in (d.member(), d.value())]],
        lambda: ["HMSET", k(), d.member(), d.value()],
        lambda: ["HSET", k(), d.member()],
        lambda: ["HSETNX", k(), d.member(), d.value()],
        lambda: ["HGET", k(), d.member()],
        lambda: ["HMGET", k(), *d.many(d.member, 1, 5)],
        lambda: ["HGETALL", k()],
        lambda: ["HKEYS", k()],
        lambda: ["HVALS", k()],
        lambda: ["HLEN", k()],
        lambda: ["HSTRLEN", k(), d.member()],
        lambda: ["HEXISTS", k(), d.member()],
        lambda: ["HDEL", k(), *d.many(d.member)],
        lambda: ["HINCRBY", k(), d.member(), d.int()],
        lambda: ["HINCRBYFLOAT", k(), d.member(), "0.5"],
        lambda: ["HSCAN", k(), d.rng.choice(["0", "0", "x"]), *d.maybe(("MATCH", "*a*"), ("COUNT", "100"))],
    ]


def lists(d):
    k = lambda: d.key("l")
    t = lambda: d.tkey("l")
    side = lambda: d.rng.choice(["LEFT", "RIGHT"])
    return [
        lambda: ["LPUSH", k(), *d.many(d.value)],
        lambda: ["RPUSH", k(), *d.many(d.value)],
        lambda: ["LPUSHX", k(), d.value()],
        lambda: ["RPUSHX", k(), d.value()],
        lambda: ["LPOP", k(), *d.maybe("2", "0", "-1")],
        lambda: ["RPOP", k(), *d.maybe("2")],
        lambda: ["LLEN", k()],
        lambda: ["LRANGE", k(), d.int(-5, 5), d.int(-5, 20)],
        lambda: ["LINDEX", k(), d.int(-5, 10)],
        lambda: ["LSET", k(), d.int(-5, 10), d.value()],
        lambda: ["LINSERT", k(), d.rng.choice(["BEFORE", "AFTER", "x"]), "a", d.value()],
        lambda: ["LREM", k(), d.int(-2, 2), "a"],
        lambda: ["LPOS", k(), "a", *d.maybe(("RANK", "-1"), ("COUNT", "0"), ("RANK", "0"))],
        lambda: ["LTRIM", k(), d.int(-20, 3), d.int(-3, 20)],
        lambda: ["RPOPLPUSH", t(), t()],
        lambda: ["LMOVE", t(), t(), side(), side()],
        lambda: (lambda keys: ["LMPOP", len(keys), *keys, side(), *d.maybe(("COUNT", "3"))])(d.many(t)),
    ]


def sets(d):
    # Sets share the keys of kind "g": kind "s" is for strings.
    k = lambda: d.key("g")
    t = lambda: d.tkey("g")
    return [
        lambda: ["SADD", k(), *d.many(d.number, 1, 8)],
        lambda: ["SADD", k(), *d.many(d.member)],
        lambda: ["SREM", k(), *d.many(d.number)],
        lambda: ["SCARD", k()],
        lambda: ["SISMEMBER", k(), d.number()],
        lambda: ["SMISMEMBER", k(), *d.many(d.number)],
        lambda: ["SMEMBERS", k()],
        lambda: ["SMOVE", t(), t(), d.number()],
        lambda: ["SUNION", *d.many(t)],
        lambda: ["SINTER", *d.many(t)],
        lambda: ["SDIFF", *d.many(t)],
        lambda: ["SUNIONSTORE", *d.many(t, 2, 4)],
        lambda: ["SINTERSTORE", *d.many(t, 2, 4)],
        lambda: ["SDIFFSTORE", *d.many(t, 2, 4)],
        lambda: (lambda keys: ["SINTERCARD", len(keys), *keys, *d.maybe(("LIMIT", "2"))])(d.many(t)),
        lambda: ["SSCAN", k(), "0", "COUNT", "1000"],
    ]


def zsets(d):
    k = lambda: d.key("z")
    t = lambda: d.tkey("z")
    withscores = lambda: d.maybe("WITHSCORES")
    return [
        lambda: ["ZADD", k(), *d.maybe("NX", "XX", "CH", ("GT", "CH"), ("NX", "XX")),
                 *[x for _ in range(d.int(1, 4)) for x in (d.score(), d.member())]],
        lambda: ["ZADD", k(), "INCR", "1.5", d.member()],
        lambda: ["ZINCRBY", k(), d.score(), d.member()],
        lambda: ["ZSCORE", k(), d.member()],
        lambda: ["ZMSCORE", k(), *d.many(d.member)],
        lambda: ["ZCARD", k()],
        lambda: ["ZCOUNT", k(), "-inf", d.score()],
        lambda: ["ZLEXCOUNT", k(), "-", "[c"],
        lambda: ["ZRANK", k(), d.member()],
        lambda: ["ZREVRANK", k(), d.member()],
        lambda: ["ZRANGE", k(), d.int(-5, 3), d.int(-3, 9), *d.maybe("WITHSCORES", "REV", "BYLEX")],
        lambda: ["ZRANGE", k(), "-inf", "+inf", "BYSCORE", "LIMIT", "1", "2", *withscores()],
        lambda: ["ZREVRANGE", k(), "0", "-1", *withscores()],
        lambda: ["ZRANGEBYSCORE", k(), "(1", "+inf", *withscores()],
        lambda: ["ZREVRANGEBYSCORE", k(), "10", "-10", *withscores()],
        lambda: ["ZRANGEBYLEX", k(), "-", "+"],
        lambda: ["ZREVRANGEBYLEX", k(), "+", "(b"],
        lambda: ["ZREM", k(), *d.many(d.member)],
        lambda: ["ZREMRANGEBYRANK", k(), "0", "0"],
        lambda: ["ZREMRANGEBYSCORE", k(), "5", "6"],
        lambda: ["ZREMRANGEBYLEX", k(), "[h", "+"],
        lambda: ["ZPOPMIN", k(), *d.maybe("2")],
        lambda: ["ZPOPMAX", k(), *d.maybe("2")],
        lambda: (lambda keys: ["ZMPOP", len(keys), *keys, "MIN", *d.maybe(("COUNT", "2"))])(d.many(t)),
        lambda: (lambda keys: ["ZUNION", len(keys), *keys, *withscores()])(d.many(t)),
        lambda: (lambda keys: ["ZINTER", len(keys), *keys, "AGGREGATE", "MAX", *withscores()])(d.many(t)),
        lambda: (lambda keys: ["ZDIFF", len(keys), *keys, *withscores()])(d.many(t)),
        lambda: (lambda keys: ["ZINTERCARD", len(keys), *keys])(d.many(t)),
        lambda: (lambda keys: ["ZUNIONSTORE", t(), len(keys), *keys, "WEIGHTS", *d.many(d.int, len(keys), len(keys))])
        (d.many(t)),
        lambda: (lambda keys: ["ZINTERSTORE", t(), len(keys), *keys])(d.many(t)),
        lambda: (lambda keys: ["ZDIFFSTORE", t(), len(keys), *keys])(d.many(t)),
        lambda: ["ZDIFFSTORE", t(), "0", t()],
        lambda: ["ZUNIONSTORE", t(), "9", t()],
        lambda: ["ZRANGESTORE", t(), t(), "0", "3"],
        lambda: ["ZSCAN", k(), "0", "COUNT", "1000"],
    ]


def streams(d):
    k = lambda: d.key("x")
    t = lambda: d.tkey("x")
    group = lambda: d.rng.choice(["g1", "g2"])
    return [
        lambda: ["XADD", k(), *d.maybe("NOMKSTREAM", ("MAXLEN", "20")), d.new_id(), "f", d.value()],
        lambda: ["XADD", k(), d.new_id(), "f"],
        lambda: ["XLEN", k()],
        lambda: ["XRANGE", k(), "-", "+", *d.maybe(("COUNT", "3"))],
        lambda: ["XREVRANGE", k(), "+", d.id()],
        lambda: ["XDEL", k(), d.id(), d.id()],
        lambda: ["XTRIM", k(), "MAXLEN", "10"],
        lambda: ["XREAD", *d.maybe(("COUNT", "2")), "STREAMS", t(), t(), d.id(), "0"],
        lambda: ["XREAD", "STREAMS", t(), t(), "0"],
        lambda: ["XGROUP", "CREATE", k(), group(), d.rng.choice(["0", "$"]), *d.maybe("MKSTREAM")],
        lambda: ["XGROUP", "CREATECONSUMER", k(), group(), "c2"],
        lambda: ["XGROUP", "DELCONSUMER", k(), group(), "c2"],
        lambda: ["XGROUP", "DESTROY", k(), "g2"],
        lambda: ["XGROUP", "SETID", k(), group(), "0"],
        lambda: ["XREADGROUP", "GROUP", group(), "c1", *d.maybe(("COUNT", "2"), "NOACK"), "STREAMS", k(), ">"],
        lambda: ["XREADGROUP", "GROUP", group(), "c1", "STREAMS", k(), "0"],
        lambda: ["XACK", k(), group(), d.id()],
        lambda: ["XPENDING", k(), group()],
        lambda: ["XCLAIM", k(), group(), "c3", "0", d.id(), "JUSTID"],
        lambda: ["XAUTOCLAIM", k(), group(), "c3", "0", "0", "COUNT", "2", "JUSTID"],
        lambda: ["XINFO", "GROUPS", k()],
        lambda: ["XINFO", "STREAM", k()],
        lambda: ["XSETID", k(), d.id()],
    ]


def geo(d):
    # Geo sets are sorted sets.
    k = lambda: d.key("z")
    t = lambda: d.tkey("z")
    around = ("FROMLONLAT", "15", "37", "BYRADIUS", "2000", "km", "ASC")
    return [
        lambda: ["GEOADD", k(), f"{d.rng.uniform(10, 16):.4f}", f"{d.rng.uniform(36, 39):.4f}", d.member()],
        lambda: ["GEOADD", k(), "200", "100", d.member()],
        lambda: ["GEOPOS", k(), *d.many(d.member)],
        lambda: ["GEODIST", k(), "a", "b", *d.maybe("km", "parsec")],
        lambda: ["GEOHASH", k(), *d.many(d.member)],
        lambda: ["GEOSEARCH", k(), *around, *d.maybe("WITHDIST", "WITHCOORD", ("COUNT", "2"))],
        lambda: ["GEOSEARCHSTORE", t(), t(), *around],
        lambda: ["GEORADIUS", k(), "15", "37", "2000", "km", "ASC"],
        lambda: ["GEORADIUS", t(), "15", "37", "2000", "km", "STORE", t()],
        lambda: ["GEORADIUSBYMEMBER", t(), "a", "500", "km", "STOREDIST", t()],
        lambda: ["GEORADIUS_RO", k(), "15", "37", "2000", "km", "DESC"],
        lambda: ["GEORADIUSBYMEMBER_RO", k(), "a", "500", "km", "ASC"],
    ]


SCRIPTS = [
    "return redis.call('get', KEYS[1])",
    "return {1, 2, {3, KEYS[1], ARGV[1]}, 'x', false, true}",
    "redis.call('set', KEYS[1], ARGV[1]); return redis.status_reply('SET')",
    "return redis.error_reply('MINE no')",
    "return redis.call('incr', KEYS[1])",
    "redis.setresp(3); return {redis.call('hgetall', KEYS[1]), {double=1.5}, {map={a=1}}}",
    "return #KEYS + #ARGV",
    "syntax error here",
]


def scripts(d):
    def evaluate(name):
        keys = d.many(d.tagged, 0 if name.startswith("EVAL") else 1, 3) or [d.tagged()]
        return [name, d.rng.choice(SCRIPTS), len(keys), *keys, d.value()]
    return [
        lambda: evaluate("EVAL"),
        lambda: evaluate("EVAL_RO"),
        lambda: ["EVALSHA", "f" * 40, "1", d.tagged()],
        lambda: ["EVAL", "return 1", "5", d.tagged()],
        lambda: ["EVAL", "return 1", "-1", d.tagged()],
        lambda: ["EVAL", "return 1", "x", d.tagged()],
        lambda: ["FCALL", "nosuch", "1", d.tagged()],
    ]


def mistakes(d):
    rng = d.rng
    return [
        lambda: [rng.choice(["NOSUCH", "get ", "", "GE", "GETT", "\x00GET", "get\r\n", "x" * 200]),
                 *d.many(d.value, 0, 5)],
        lambda: [rng.choice(["GET", "SET", "HSET", "MGET", "DEL", "EVAL", "XADD", "ZADD", "LPOP", "MSET"])],
        lambda: [rng.choice(["OBJECT", "XGROUP", "XINFO"]), rng.choice(["NOSUCH", "enc", ""]), d.any()],
        lambda: ["GET", d.any(), d.any()],
        lambda: ["gEt", d.key("s")],
        lambda: ["PING", *d.maybe("x", ("x", "y"))],
        lambda: ["ECHO", d.value()],
    ]


KINDS = {f.__name__: f for f in (strings, split, generic, hashes, lists, sets, zsets, streams, geo, scripts,
                                 mistakes)}


def stream(rng, prefix, count):
    draw = Draw(rng, prefix)
    makers = [kind(draw) for kind in KINDS.values()]
    for _ in range(count):
        yield rng.choice(rng.choice(makers))()

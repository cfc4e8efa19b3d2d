# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-redis with default options. Usage: redispy.py PORT work|connect|large PREFIX"""
import sys

import redis

port, mode, prefix = sys.argv[1:]
client = redis.Redis(port=int(port))
assert client.ping() is True
if mode == "work":
    def key(name):
        return f"{prefix}:{name}"

    assert client.set(key("a"), "one") is True
    assert client.get(key("a")) == b"one"
    assert client.get(key("nothing")) is None
    binary = bytes((i * 7) & 255 for i in range(300000))
    client.set(key("binary"), binary)
    assert client.get(key("binary")) == binary
    client.mset({key("b"): 2, key("c"): 3})
    assert client.mget(key("a"), key("x"), key("b"), key("c")) == [b"one", None, b"2", b"3"]
    client.hset(key("h"), mapping={"f": "v", "g": "w"})
    assert client.hgetall(key("h")) == {b"f": b"v", b"g": b"w"}
    client.zadd(key("z"), {"m": 1.5})
    assert client.zscore(key("z"), "m") == 1.5
    assert client.incr(key("n")) == 1
    with client.pipeline(transaction=False) as pipeline:
        for i in range(500):
            pipeline.set(key(f"p{i}"), f"v{i}")
            pipeline.get(key(f"p{i}"))
        results = pipeline.execute()
    assert results == [item for i in range(500) for item in (True, b"v%d" % i)]
    assert client.delete(key("a"), key("b"), key("c"), key("x")) == 3
    try:
        client.execute_command("NOSUCHCOMMAND", "x")
    except redis.ResponseError as error:
        assert "unknown command" in str(error)
    else:
        raise AssertionError("an unknown command was accepted")
    assert client.info()["redis_version"]
    assert client.ping() is True
if mode == "large":
    values = [bytes((i * factor) & 255 for i in range(250)) * (size // 250) for factor, size in
              ((7, 66_000), (11, 100_000), (13, 1_000_000), (17, 5_000_000))]
    for turn in range(2):
        for i, value in enumerate(values):
            name = f"{prefix}:{(i + turn) % 3}"
            assert client.set(name, value) is True
            assert client.get(name) == value
            assert client.append(name, b"end") == len(value) + 3
            assert client.getrange(name, -4, -1) == value[-1:] + b"end"
            assert client.getset(name, b"small") == value + b"end"
            assert client.get(name) == b"small"
    client.hset(f"{prefix}:h", mapping={str(i): value for i, value in enumerate(values)})
    assert client.hgetall(f"{prefix}:h") == {b"%d" % i: value for i, value in enumerate(values)}
    assert client.rpush(f"{prefix}:l", *values) == 4
    assert client.lrange(f"{prefix}:l", 0, -1) == values
    names = [f"{prefix}:m{i}" for i in range(8)]
    assert client.mset({name: values[i % 4] for i, name in enumerate(names)}) is True
    assert client.mget(names) == [values[i % 4] for i in range(8)]
    # redis-py writes a whole pipeline before it reads: so much fits the kernel's buffers.
    with client.pipeline(transaction=False) as pipeline:
        for i in range(16):
            pipeline.set(f"{prefix}:p{i % 7}", values[i % 2])
            pipeline.get(f"{prefix}:p{i % 7}")
            pipeline.strlen(f"{prefix}:p{(i + 3) % 7}")
        results = pipeline.execute()
    assert results[0::3] == [True] * 16
    assert results[1::3] == [values[i % 2] for i in range(16)]
    assert results[2::3] == [len(values[(i - 4) % 2]) if i >= 4 else 0 for i in range(16)]
    assert client.delete(*names) == 8
    assert client.ping() is True
client.close()
print("ok")

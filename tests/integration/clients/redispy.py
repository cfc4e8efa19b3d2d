# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-redis with default options. Usage: redispy.py PORT work|connect PREFIX"""
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
client.close()
print("ok")

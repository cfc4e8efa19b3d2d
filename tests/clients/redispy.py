# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-redis with default options. Usage: redispy.py PORT MODE PREFIX

With a CA's file in the variable CA it speaks TLS. Prints "ok", or "refused: why" with exit status 3.
"""
import json
import os
import select
import sys
import threading
import time

import redis

port, mode, prefix = sys.argv[1:]
tls = {"ssl": True, "ssl_ca_certs": os.environ["CA"], "ssl_check_hostname": True} if "CA" in os.environ else {}
client = redis.Redis(host="127.0.0.1", port=int(port), **tls)


def key(name):
    return f"{prefix}:{name}"


def tagged(name):
    return f"{{{prefix}}}:{name}"


def work():
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
    assert client.set(key("e"), "v", ex=1000) is True
    assert client.ttl(key("e")) in (999, 1000)
    assert client.pexpire(key("e"), 30) is True
    time.sleep(0.1)
    assert client.exists(key("e")) == 0
    large_value = bytes((i * 11) & 255 for i in range(1 << 16)) * 16
    client.set(key("large"), large_value)
    assert client.get(key("large")) == large_value
    script = "return {redis.call('incrby', KEYS[1], ARGV[1]), KEYS[1]}"
    assert client.eval(script, 1, key("n"), 4) == [5, key("n").encode()]
    # By EVALSHA, and by SCRIPT LOAD when the node does not know it; here EVAL has taught it.
    assert client.register_script(script)(keys=[key("n")], args=[5]) == [10, key("n").encode()]
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


def large():
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


def scan():
    wanted = {key(i).encode() for i in range(300)}
    for name in wanted:
        client.set(name, "v")
    assert set(client.scan_iter(match=f"{prefix}:*", count=50)) == wanted


def load_script():
    """A script nobody knows: EVALSHA, SCRIPT LOAD, EVALSHA."""
    assert client.register_script(f"return '{prefix}'")(keys=[key("n")]) == prefix.encode()


def multi():
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set(tagged("a"), "1").incr(tagged("a")).get(tagged("a"))
        assert pipeline.execute() == [True, 2, b"2"]
        pipeline.watch(tagged("a"))
        client.set(tagged("a"), "changed")
        pipeline.multi()
        pipeline.set(tagged("a"), "mine")
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("WATCH saw nothing")
    assert client.get(tagged("a")) == b"changed"


def pubsub():
    with client.pubsub() as listener:
        listener.subscribe(key("news"))
        assert listener.get_message(timeout=10)["type"] == "subscribe"
        for i in range(20):
            client.publish(key("news"), i)
        heard = [listener.get_message(timeout=10) for _ in range(20)]
        assert [message["data"] for message in heard] == [b"%d" % i for i in range(20)]
        listener.psubscribe(f"{prefix}:al*")
        assert listener.get_message(timeout=10)["type"] == "psubscribe"
        client.publish(key("all"), "x")
        assert listener.get_message(timeout=10)["channel"] == key("all").encode()
        listener.unsubscribe()
        listener.punsubscribe()
        assert {listener.get_message(timeout=10)["type"] for _ in range(2)} == {"unsubscribe", "punsubscribe"}
        assert listener.get_message(timeout=0.05) is None


def blocking():
    assert client.blpop(key("list"), 0.05) is None
    threading.Timer(0.1, lambda: client.rpush(key("list"), "a")).start()
    assert client.blpop(key("list"), 10) == (key("list").encode(), b"a")


def killed():
    """Sets and gets while others kill what it talks to, until stdin ends. What is got is what was set
    for that key, or a miss, or an error; and when all is well again, everything works."""
    count = {"rounds": 0, "errors": 0, "misses": 0, "slowest": 0}

    def once(i):
        began = time.monotonic()
        value = None
        try:
            client.set(key(i), f"{i}:{count['rounds']}")
            value = client.get(key(i))
            count["misses"] += value is None
        except redis.RedisError:
            count["errors"] += 1
            time.sleep(0.01)
        count["slowest"] = max(count["slowest"], round(1000 * (time.monotonic() - began)))
        assert value is None or value.startswith(b"%d:" % i), (i, value)
        return value == b"%d:%d" % (i, count["rounds"])

    while True:
        for i in range(20):
            once(i)
        count["rounds"] += 1
        if count["rounds"] == 1:
            print("ready", flush=True)
        if select.select([sys.stdin], [], [], 0.005)[0]:
            break
    for _ in range(100):
        if all([once(i) for i in range(20)]):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("it does not work again")
    print(json.dumps(count))


def connect():
    pass


assert client.ping() is True
try:
    {"work": work, "connect": connect, "large": large, "scan": scan, "multi": multi, "pubsub": pubsub, "blocking": blocking,
     "killed": killed, "load": load_script}[mode]()
except redis.ResponseError as error:
    if "sumcache: '" not in str(error):
        raise
    print(f"refused: {error}")
    sys.exit(3)
client.close()
print("ok")

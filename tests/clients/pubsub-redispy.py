# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-redis as a subscriber. Usage: pubsub-redispy.py PORT PORT2 PREFIX"""
import sys
import time

import redis

port, port2, prefix = sys.argv[1:]
subscriber = redis.Redis(port=int(port)).pubsub()
publisher = redis.Redis(port=int(port2))
names = [f"{prefix}:{i}" for i in range(20)]
subscriber.subscribe(*names)
subscriber.psubscribe(f"{prefix}:1*")
heard = []
by_handler = []


def listen(count):
    end = time.monotonic() + 20
    while len(heard) < count:
        assert time.monotonic() < end, heard
        message = subscriber.get_message(timeout=1)
        if message:
            heard.append((message["type"], message["channel"], message["data"]))


listen(21)
assert [data for _, _, data in heard] == list(range(1, 22))
heard.clear()
for name in names:
    assert publisher.publish(name, f"text of {name}") >= 1
listen(31)
for name in names:
    assert heard.count(("message", name.encode(), f"text of {name}".encode())) == 1
assert sum(kind == "pmessage" for kind, _, _ in heard) == 11
assert sorted(publisher.pubsub_channels(f"{prefix}:*")) == sorted(name.encode() for name in names)
assert publisher.pubsub_numsub(names[0]) == [(names[0].encode(), 1)]
assert publisher.pubsub_numpat() >= 1
subscriber.ping()
heard.clear()
listen(1)
assert heard[0][0] == "pong", heard
subscriber.unsubscribe()
subscriber.punsubscribe()
subscriber.subscribe(**{prefix + ":again": lambda message: by_handler.append(message["data"])})
heard.clear()
listen(22)
publisher.publish(prefix + ":again", "x")
end = time.monotonic() + 20
while not by_handler and time.monotonic() < end:
    subscriber.get_message(timeout=1)
assert by_handler == [b"x"]
subscriber.close()
print("ok")

# SPDX-License-Identifier: Apache-2.0
"""What tests of nodes that go and come share: keys by their owners, a relay that cuts connections,
and a witness of stale reads."""
import functools
import random
import socket
import threading
import time

import processes
import resp
from processes import SLOWNESS
from ring import Ring

# Health as quick as a test wants it. A check's time-out is long: a busy machine must not eject a
# node that is well, and a frozen one is ejected by what its requests show, long before.
HEALTH = {"interval": "200ms", "interval_out": "20ms", "timeout": f"{int(1000 * SLOWNESS)}ms",
          "hold_min": "50ms"}
BACKOFF = {"backoff_min": "10ms", "backoff_max": "50ms"}
PATIENCE = 5 * SLOWNESS


def settings(health=None, **sections):
    return {"health": {**HEALTH, **(health or {})}, "timeouts": BACKOFF, **sections}


def by_dns(server_port, *, grace="200ms", health=None, **sources):
    """Settings of a proxy whose nodes come from `sources`: dns=, srv=, static=, family=."""
    return settings(health, nodes={**sources, "grace": grace},
                    dns={"servers": [f"{processes.HOST}:{server_port}"], "timeout": "300ms", "min_refresh": "50ms",
                         "max_refresh": "100ms", "refresh": "100ms", "retry_min": "50ms", "retry_max": "100ms"})


def wait_for_members(proxy, *nodes):
    """Nodes or names; all of them up, and nobody else."""
    names = sorted(node if isinstance(node, str) else node.name for node in nodes)

    def are_there():
        lines = proxy.node_lines()
        return sorted(lines) == names and all(line["state"] == "up" for line in lines.values()) and slots_rest(proxy)

    resp.eventually(are_there, within=PATIENCE, what=f"{names} are the members")


# ---- keys ----

@functools.lru_cache(maxsize=None)
def _ring(names):
    return Ring(names)


@functools.lru_cache(maxsize=None)
def _slot(key):
    return _ring(("any",)).slot(key)


def owner(nodes, key):
    """The one of `nodes` (Node objects) that has the key when exactly these are in the ring."""
    ring = _ring(tuple(sorted(node.name for node in nodes)))
    name = ring.names[ring.table[_slot(key)]]
    return next(node for node in nodes if node.name == name)


def keys_where(question, count, prefix="k"):
    """The first `count` keys of which `question(key)` is true."""
    found, i = [], 0
    while len(found) < count:
        if question(f"{prefix}:{i}"):
            found.append(f"{prefix}:{i}")
        i += 1
        assert i < 2_000_000, "there are no such keys"
    return found


def keys_of(nodes, node, count, prefix="k"):
    return keys_where(lambda key: owner(nodes, key) is node, count, prefix)


def without(nodes, *out):
    return [node for node in nodes if node not in out]


# ---- asking ----

def values(port_or_node, keys):
    """{key: value} of the keys that are there, of a proxy (one GET each) or of a node itself."""
    with port_or_node.connect() as client:
        client.send(b"".join(resp.encode("GET", key) for key in keys))
        return {key: value for key in keys if (value := client.reply().value) is not None}


def expect(proxy, keys, expected):
    """Reads the keys until what is there is `expected`. A miss is allowed at any time, as slots move;
    another value never."""
    found = {}

    def read():
        found.clear()
        found.update(values(proxy, keys))
        wrong = {key: value for key, value in found.items() if expected.get(key) != value}
        assert not wrong, f"{len(wrong)} wrong values: {list(wrong.items())[:5]}"
        return len(found) == len(expected)

    try:
        resp.eventually(read, within=PATIENCE)
    except AssertionError as error:
        missing = [key for key in expected if key not in found]
        raise AssertionError(f"{error}; missing: {missing[:5]}") from error


def put_all(proxy, pairs):
    """SETs all of {key: value}, each until it is acknowledged."""
    with proxy.connect() as client:
        left = dict(pairs)
        end = time.monotonic() + PATIENCE
        while left:
            batch = list(left.items())
            client.send(b"".join(resp.encode("SET", key, value) for key, value in batch))
            for key, _ in batch:
                if client.reply().value == "OK":
                    del left[key]
            assert time.monotonic() < end, f"{len(left)} writes are not acknowledged"


def remove(client, *keys):
    """DEL until it is acknowledged."""
    resp.eventually(lambda: isinstance(client.ask("DEL", *keys), int), within=PATIENCE, what="DEL")


def slots_rest(proxy):
    """All slots are where the last change of nodes has sent them."""
    log = proxy.log()
    changed = max(log.rfind(event) for event in (" node-ejected ", " node-admitted ", " node-leaves ", " node-added "))
    keeps = proxy.settings.get("health", {}).get("on_return") == "keep"  # then they move in one step
    return (keeps or changed < 0 or log.rfind(" view-settled ") > changed) and proxy.counter("slots_fenced") == 0


def wait_for_rest(proxy, out=0):
    """Until all nodes but `out` are in the ring, and have their slots."""
    def rests():
        states = [line["state"] for line in proxy.node_lines().values()]
        return states.count("out") == out and set(states) <= {"up", "out"} and slots_rest(proxy)

    resp.eventually(rests, within=PATIENCE, what=f"at rest, {out} nodes out")


def eject_by_requests(proxy, node, key):
    """Asks for a key of a frozen node until it is out and its slots have their stand-ins."""
    with proxy.connect() as client:
        def asked():
            client.send(resp.encode("GET", key) * 4)
            client.replies(4)
            return proxy.state_of(node) == "out" and slots_rest(proxy)

        resp.eventually(asked, within=PATIENCE, what=f"{node.name} is ejected")


def wait_until_up(proxy, node):
    resp.eventually(lambda: proxy.state_of(node) == "up" and slots_rest(proxy), within=PATIENCE,
                    what=f"{node.name} is up")


# ---- a relay ----

class Relay:
    """Passes bytes on between the proxy and a node, which the proxy knows by the relay's `name`.
    `on_request(data)` is given what the proxy sends and returns what is passed on of it; if that is
    less, the connection is reset behind it."""

    def __init__(self, node):
        self.node = node
        self.on_request = lambda data: data
        self.listener = socket.socket()
        self.listener.bind((processes.HOST, 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        self.name = f"{processes.HOST}:{self.port}"
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((self.node.host, self.node.port))
            except OSError:
                self._reset(near)
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [near, far]
            for source, sink, looks in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, looks), daemon=True).start()

    @staticmethod
    def _reset(one):
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            # close() alone would wait for the thread that reads it.
            one.shutdown(socket.SHUT_RD)
            one.close()
        except OSError:
            pass

    def _pass_on(self, source, sink, looks):
        try:
            while True:
                data = source.recv(1 << 18)
                passed = self.on_request(data) if looks else data
                sink.sendall(passed)
                if not data or len(passed) < len(data):
                    break
        except OSError:
            pass
        self._reset(source)
        self._reset(sink)

    def end(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for one in self.sockets:
            self._reset(one)


# ---- stale reads ----

class Background:
    """`_run` in a thread of its own, for as long as the `with` block is in; until self.over is set."""

    def __init__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def _run(self):
        raise NotImplementedError


class Witness:
    """Reads keys all the time and notes each value that is older than the newest one whose write was
    acknowledged before the read began. A value says its version: `7=…`; a key that was deleted counts
    as written."""

    def __init__(self, proxy, keys, readers=2):
        self.proxy = proxy
        self.keys = list(keys)
        self.floor = dict.fromkeys(self.keys, 0)  # of acknowledged writes
        self.version = 0
        self.stale = []
        self.hits = self.reads = 0
        self.broken = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=(i,), daemon=True) for i in range(readers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *exc):
        self.over.set()
        for thread in self.threads:
            thread.join(20)
        if kind is None:
            self.check()

    def check(self):
        assert not self.stale, f"{len(self.stale)} stale reads: (key, read, acknowledged) {self.stale[:5]}"
        assert not self.broken, self.broken

    def _read(self, me):
        rng = random.Random(me)
        try:
            with self.proxy.connect() as client:
                while not self.over.is_set():
                    batch = rng.sample(self.keys, min(40, len(self.keys)))
                    floors = [self.floor[key] for key in batch]
                    client.send(b"".join(resp.encode("GET", key) for key in batch))
                    for key, floor in zip(batch, floors):
                        self._judge(key, floor, client.reply().value)
        except Exception as error:  # pylint: disable=broad-except
            self.broken.append(repr(error))

    def _judge(self, key, floor, value):
        self.reads += 1
        if value is None:
            return
        self.hits += 1
        version = int(value.split(b"=")[0])
        if version < floor:
            self.stale.append((key, version, floor))

    def try_to_write(self, client, keys, padding=""):
        """Writes a new version of each key, once. Of what is not acknowledged nobody knows whether it
        was, or will be, done; but it is older than whatever is written later. → the answers"""
        self.version += 1
        client.send(b"".join(resp.encode("SET", key, f"{self.version}={key}{padding}") for key in keys))
        answers = [client.reply().value for _ in keys]
        for key, answer in zip(keys, answers):
            if answer == "OK":
                self.floor[key] = self.version
        return answers

    def write(self, client, keys, delete=False):
        """Writes a new version of each key, or deletes it; again until all are acknowledged."""
        self.version += 1
        version, left = self.version, list(keys)
        end = time.monotonic() + PATIENCE
        while left:
            client.send(b"".join(resp.encode("DEL", key) if delete else resp.encode("SET", key, f"{version}={key}")
                                 for key in left))
            answers = [client.reply().value for _ in left]
            done = [key for key, answer in zip(left, answers) if not isinstance(answer, resp.Error)]
            for key in done:
                self.floor[key] = version
            left = [key for key, answer in zip(left, answers) if isinstance(answer, resp.Error)]
            assert time.monotonic() < end, f"{len(left)} writes are not acknowledged: {answers[0]}"

    def read_some(self, count=400):
        """Waits until so many more reads have been judged."""
        before = self.reads
        resp.eventually(lambda: self.reads >= before + count or self.stale or self.broken, within=PATIENCE)
        self.check()

# SPDX-License-Identifier: Apache-2.0
"""What the tests of large values share: bytes to send, uploads in portions, and where keys live."""
import random
import select
import socket
import threading
import time

import processes
from resp import encode, eventually
from ring import Ring

KIB, MIB = 1 << 10, 1 << 20

# limits.bulk_above unless a test sets it: what is longer is large.
BULK = 64 * KIB

# For tests of something else than time: on a busy machine nothing may run into a deadline.
CALM = {"timeouts": {"request": "20s", "stall": "20s"}}
PATIENCE = 20 * processes.SLOWNESS

# Drawn once and cut for all. The odd length keeps repetitions from falling on chunk boundaries.
_POOL = random.Random(17).randbytes(6 * MIB + 12347)


def blob(size, salt=0):
    """Bytes that differ by `salt` at any size worth it."""
    start = salt * 7919 % 65536
    if size <= len(_POOL) - start:
        return _POOL[start:start + size]
    return (_POOL[start:] * (size // (len(_POOL) - start) + 1))[:size]


def settings(**sections):
    """CALM with more or other settings: settings(limits={…}, timeouts={…})."""
    merged = {"timeouts": dict(CALM["timeouts"])}
    for section, values in sections.items():
        merged.setdefault(section, {}).update(values)
    return merged


def keys_on(nodes, count=20, prefix="l"):
    """A list of keys for each node, in the order of `nodes`."""
    ring = Ring([node.name for node in nodes])
    found = {node.name: [] for node in nodes}
    i = 0
    while any(len(keys) < count for keys in found.values()):
        found[ring.owner(f"{prefix}:{i}")].append(f"{prefix}:{i}")
        i += 1
    return [found[node.name][:count] for node in nodes]


def wait_counter(proxy, name, least=1, within=5.0):
    """Waits until a counter has grown to `least`."""
    eventually(lambda: proxy.counter(name) >= least, within=within * processes.SLOWNESS,
               what=f"{name} gets to {least}; {proxy.counters()}")


class Sender(threading.Thread):
    """Sends in the background while the test reads. `with` waits for its end and raises what it met."""

    def __init__(self, client, pieces):
        super().__init__(daemon=True)
        self.client = client
        self.pieces = [pieces] if isinstance(pieces, (bytes, bytearray)) else pieces
        self.error = None

    def run(self):
        try:
            for piece in self.pieces:
                self.client.send(piece)
        except OSError as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.join(2 * PATIENCE)
        if kind is None:
            assert not self.is_alive(), "it cannot send"
            if self.error:
                raise self.error


def exchange(client, pieces, count):
    """Sends in the background and reads `count` replies."""
    with Sender(client, pieces):
        return client.replies(count)


class Upload:
    """A request whose bytes the test sends in portions. The body is its last argument."""

    def __init__(self, client, *args):
        self.client = client
        self.data = encode(*args)
        self.at = 0

    def send(self, count):
        """So many bytes more."""
        self.client.send(self.data[self.at:self.at + count])
        self.at = min(self.at + count, len(self.data))
        return self

    def send_to(self, at):
        return self.send(at - self.at)

    def rest(self):
        """What has not been sent yet."""
        rest = self.data[self.at:]
        self.at = len(self.data)
        return rest

    def send_what_goes(self, quiet=0.3):
        """Sends until the other side has taken nothing for a while. Returns how much has been sent in all."""
        self.client.socket.setblocking(False)
        last = time.monotonic()
        view = memoryview(self.data)
        try:
            while self.at < len(self.data) and time.monotonic() - last < quiet:
                try:
                    self.at += self.client.socket.send(view[self.at:self.at + 65536])
                    last = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.002)
        finally:
            self.client.socket.settimeout(self.client.timeout)
        return self.at


def read_what_comes(client, most, quiet=0.1):
    """Reads until nothing has come for a while, or `most` bytes are there."""
    while len(client.buffer) < most and select.select([client.socket], [], [], quiet)[0]:
        client._more()


class Watch(threading.Thread):
    """Remembers the largest answer of a question that it asks all the time."""

    def __init__(self, question, every=0.002):
        super().__init__(daemon=True)
        self.question = question
        self.every = every
        self.most = question()
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(self.every):
            self.most = max(self.most, self.question())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join()
        self.most = max(self.most, self.question())


def slow_connection(proxy, **options):
    """A client that the kernel takes little for: what it does not read stays with the proxy."""
    return proxy.connect(rcvbuf=4096, timeout=PATIENCE, **options)


def drained(proxy, within=5.0):
    """Waits until the proxy holds next to nothing."""
    eventually(lambda: proxy.counter("buffer_bytes") < MIB, within=within * processes.SLOWNESS,
               what=f"buffers are given back; {proxy.counters()}")


def query_buffers(node):
    """Bytes of incomplete requests that a real node holds, by connection; large ones first."""
    sizes = []
    for line in node.ask("CLIENT", "LIST").decode().splitlines():
        fields = dict(field.split("=", 1) for field in line.split(" ") if "=" in field)
        sizes.append(int(fields["qbuf"]))
    return sorted(sizes, reverse=True)


def is_closed(connection):
    """Has the other side ended this connection? Nothing may be waiting to be read on it."""
    connection.socket.setblocking(False)
    try:
        return connection.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        connection.socket.settimeout(connection.timeout)

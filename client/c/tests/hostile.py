# SPDX-License-Identifier: Apache-2.0
"""A server that misbehaves in one way, chosen by name. Each connection has a thread."""
import socket
import struct
import threading
import time

ERRORS = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "oom": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "readonly": b"-READONLY You can't write against a read only replica.\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "wrong-type": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    "unknown-command": b"-ERR unknown command\r\n",
}
# What is said to everything, whole.
SAYINGS = dict(ERRORS, **{
    "integer": b":1\r\n",
    "status": b"+OK\r\n",
    "foreign-bytes": b"$5\r\nhello\r\n",
    "bulk-1gb": b"$1073741824\r\n" + b"x" * 5000,
    "bulk-negative": b"$-7\r\n",
    "bulk-overflow": b"$99999999999999999999999\r\n",
    "nested-arrays": b"*1\r\n" * 20000,
    "array-of-many": b"*1000000000\r\n",
    "array-of-nothing": b"*0\r\n",
    "garbage": bytes(range(256)) * 20,
    "no-line-end": b"+" + b"a" * 100000,
    "wrong-end": b"$3\r\nabcde\r\n",
    "two-answers": b"$-1\r\n$-1\r\n",
    "nul": b"\x00" * 100,
})
BEHAVIOURS = ["mute", "trickle", "trickle-bulk", "no-read", "reset", "close-at-once", "close-after", "half", "half-line",
              "backlog", *SAYINGS]


class Hostile:
    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.is_ending = threading.Event()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if behaviour == "no-read":  # small windows, so that a large request does not fit
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0 if behaviour == "backlog" else 128)
        self.port = self.listener.getsockname()[1]
        self.filler = []
        self.asked = 0
        if behaviour == "backlog":
            for _ in range(4):  # nobody accepts: the queue is full
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", self.port))
                self.filler.append(s)
            time.sleep(0.05)
        else:
            threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.is_ending.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.behaviour == "close-at-once":
                client.close()
            else:
                self.filler.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            self._answer(client)
        except OSError:
            pass
        finally:
            client.close()

    def _answer(self, client):
        what = self.behaviour
        if what == "no-read":
            self.is_ending.wait()
            return
        while data := client.recv(65536):
            self.asked += 1
            if what == "mute":
                continue
            if what == "trickle":
                for byte in b"$100\r\n" + b"y" * 100 + b"\r\n":
                    client.sendall(bytes([byte]))
                    if self.is_ending.wait(0.005):
                        return
            elif what == "trickle-bulk":
                client.sendall(b"$1000000\r\n")
                for _ in range(10000):
                    client.sendall(b"y" * 10)
                    if self.is_ending.wait(0.005):
                        return
            elif what == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            elif what == "close-after":
                return
            elif what == "half":
                client.sendall(b"$100\r\nhalf of it")
            elif what == "half-line":
                client.sendall(b"$10")
            else:
                client.sendall(SAYINGS[what] * max(1, data.count(b"*")))

    def end(self):
        self.is_ending.set()
        self.listener.close()
        for s in self.filler:
            s.close()

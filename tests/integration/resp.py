# SPDX-License-Identifier: Apache-2.0
"""A small raw RESP client.

It keeps the bytes of every reply, because many tests ask for byte equality and not for equal values,
and it understands just enough of RESP2 and RESP3 to find where a reply ends.
"""
import socket
import time

# What a real client waits for is far below this; a test that gets here hangs.
PATIENCE = 10.0


class Closed(Exception):
    """The other side closed the connection before the reply was complete."""


class Error(Exception):
    """An error reply; its text without the leading minus."""


class Reply:
    """One reply: its value in Python's terms, and its exact bytes."""

    __slots__ = ("value", "raw")

    def __init__(self, value, raw):
        self.value = value
        self.raw = raw

    def __repr__(self):
        return f"Reply({self.raw[:200]!r})"


def encode(*args):
    """A request as client libraries write it."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, (bytes, bytearray, memoryview)):
            arg = str(arg).encode()
        out += (b"$%d\r\n" % len(arg), arg, b"\r\n")
    return b"".join(out)


class Connection:
    """One blocking connection with a time limit on everything."""

    def __init__(self, port, host="127.0.0.1", timeout=PATIENCE, protocol=2, rcvbuf=None, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(timeout)
        self.socket.connect(path or (host, port))
        if not path:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.at = 0
        if protocol == 3:
            self.ask("HELLO", "3")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def half_close(self):
        """Says that nothing more comes from us; the other side may still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Vanishes: the kernel sends a reset instead of a polite end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    # Reading.

    def _more(self, want=65536):
        try:
            data = self.socket.recv(max(65536, min(want, 1 << 20)))
        except ConnectionResetError as error:
            raise Closed("reset") from error
        if not data:
            raise Closed("end of stream")
        self.buffer += data

    def _line(self):
        searched = self.at
        while True:
            end = self.buffer.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self.buffer[self.at:end])
                self.at = end + 2
                return line
            searched = max(self.at, len(self.buffer) - 1)
            self._more()

    def _exactly(self, count):
        while len(self.buffer) - self.at < count:
            self._more(count - (len(self.buffer) - self.at))
        data = bytes(memoryview(self.buffer)[self.at:self.at + count])
        self.at += count
        return data

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode(errors="backslashreplace")
        if kind == b"-":
            return Error(rest.decode(errors="backslashreplace"))
        if kind == b":":
            return int(rest)
        if kind in b"$=!":
            if rest == b"-1":
                return None
            body = self._exactly(int(rest) + 2)[:-2]
            return Error(body.decode(errors="backslashreplace")) if kind == b"!" else body
        if kind in b"*~>":
            if rest == b"-1":
                return None
            return [self._value() for _ in range(int(rest))]
        if kind == b"%":
            return {self._key(self._value()): self._value() for _ in range(int(rest))}
        if kind == b"|":
            for _ in range(2 * int(rest)):
                self._value()
            return self._value()
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        raise AssertionError(f"not a reply: {line!r}")

    @staticmethod
    def _key(value):
        return tuple(value) if isinstance(value, list) else value

    def reply(self):
        """Reads one reply."""
        if self.at > 1 << 20 or self.at == len(self.buffer):
            del self.buffer[:self.at]
            self.at = 0
        start = self.at
        value = self._value()
        return Reply(value, bytes(memoryview(self.buffer)[start:self.at]))

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def ask(self, *args):
        """Sends one request and returns the value of its reply, errors as values too."""
        self.send(encode(*args))
        return self.reply().value

    def ask_raw(self, *args):
        """Sends one request and returns the bytes of its reply."""
        self.send(encode(*args))
        return self.reply().raw

    def rest(self, timeout=None):
        """Everything up to the end of the stream; fails when it does not end in time."""
        data = bytearray(self.buffer[self.at:])
        self.buffer.clear()
        self.at = 0
        end = time.monotonic() + (timeout or self.timeout)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"the connection stays open; so far {bytes(data[:300])!r}")
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(1 << 18)
            except ConnectionResetError:
                piece = b""
            except socket.timeout:
                continue
            if not piece:
                return bytes(data)
            data += piece

    def is_quiet(self):
        """Nothing to read and not closed, at this moment."""
        if self.at < len(self.buffer):
            return False
        self.socket.setblocking(False)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.socket.settimeout(self.timeout)


def ask(port, *args, **options):
    """One request on a connection of its own."""
    with Connection(port, **options) as connection:
        return connection.ask(*args)


def exchange(port, data, timeout=PATIENCE):
    """Sends bytes, says that this was all, and returns whatever comes back up to the end."""
    with Connection(port, timeout=timeout) as connection:
        try:
            connection.send(data)
            connection.half_close()
        except OSError:
            pass  # The other side has closed already; what it said before is still to be read.
        return connection.rest()


def eventually(question, within=5.0, every=0.005, what=None):
    """Polls until the answer is true and returns it; fails when the time is over."""
    end = time.monotonic() + within
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what or question}")
        time.sleep(every)

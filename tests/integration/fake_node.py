# SPDX-License-Identifier: Apache-2.0
"""A node that does what a test tells it, down to the bytes.

It answers the proxy's greeting properly (PING, or HELLO 3 for clients that speak RESP3) unless told
otherwise, and so the checks of the control plane, whose connection does not count among the others. It hands
every other request to `answer(connection, args)`, which sends what it likes with `connection.send()` and may
close the connection. To misbehave inside a request, a test sets
`before_body(connection, args, size)`: it is called when the length of a long argument has come, and may
wait_for() some of its bytes, send, close, or read nothing for a while.
"""
import socket
import threading

HELLO = (b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n"
         b"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n")

# Bytes of an argument; for longer ones `before_body` is called.
LONG = 16 * 1024


class Connection:
    def __init__(self, node, accepted):
        self.node = node
        self.socket = accepted
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.open = True
        self.is_control = False

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.open = False

    def send_bytewise(self, data):
        for i in range(len(data)):
            self.send(data[i:i + 1])

    def close(self):
        self.open = False
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def reset(self):
        self.open = False
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            self.socket.shutdown(socket.SHUT_RD)  # wakes the thread that reads: while it does, close() closes nothing
        except OSError:
            pass
        self.socket.close()

    def _until(self, enough):
        while True:
            end = enough()
            if end is not None:
                taken, self.buffer = self.buffer[:end], self.buffer[end:]
                return taken
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data

    def wait_for(self, count):
        """Reads until so many bytes of the present argument are there. They stay to be read."""
        self._until(lambda: 0 if len(self.buffer) >= count else None)

    def _line(self):
        def enough():
            at = self.buffer.find(b"\r\n")
            return at + 2 if at >= 0 else None
        return self._until(enough)[:-2]

    def request(self):
        """The proxy speaks to nodes in arrays of bulk strings only; anything else fails the test."""
        head = self._line()
        assert head[:1] == b"*", head
        args = []
        for _ in range(int(head[1:])):
            head = self._line()
            assert head[:1] == b"$", head
            size = int(head[1:])
            if size >= LONG:
                self.node.before_body(self, args, size)
            body = self._until(lambda size=size: size + 2 if len(self.buffer) >= size + 2 else None)
            assert body[-2:] == b"\r\n", body[-20:]
            args.append(body[:-2])
        return args

    def run(self):
        try:
            while self.open:
                args = self.request()
                if args[:3] == [b"CLIENT", b"SETNAME", b"sumcache-control"]:
                    self.become_control()
                if self.is_control and args[0] not in (b"PING", b"CLIENT"):
                    self.send(b"$0\r\n\r\n" if args[0] == b"INFO" else b":0\r\n")
                elif self.node.greets and args[0].upper() in (b"PING", b"HELLO", b"CLIENT"):
                    self.node.greet(self, args)
                else:
                    self.node.requests.append(args)
                    self.node.answer(self, args)
        except AssertionError as error:
            self.node.complaints.append(repr(error))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self.open = False
            if not self.is_control:
                self.node.connections.remove(self)
            self.socket.close()

    def become_control(self):
        self.is_control = True
        self.node.accepted -= 1
        self.node.connections.remove(self)
        self.node.controls.append(self)


class FakeNode:
    """Works from its making to end()."""

    def __init__(self, answer=None, listen=128):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.name = f"127.0.0.1:{self.port}"
        self.listener.listen(listen)
        self.answer = answer or self.echo
        self.greet = self.proper_greeting
        self.greets = True
        self.before_body = lambda connection, args, size: None
        self.accepted = 0
        self.connections = []
        self.controls = []
        self.requests = []
        self.complaints = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection = Connection(self, accepted)
            self.connections.append(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    @staticmethod
    def proper_greeting(connection, args):
        name = args[0].upper()
        connection.send(b"+PONG\r\n" if name == b"PING" else HELLO if name == b"HELLO" else b":1\r\n")

    @staticmethod
    def echo(connection, args):
        """As if every key held its own name."""
        last = args[-1]
        connection.send(b"$%d\r\n%s\r\n" % (len(last), last))

    def end(self):
        # shutdown() wakes the accepting thread, close() alone does not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections + self.controls:
            connection.close()
        assert not self.complaints, self.complaints

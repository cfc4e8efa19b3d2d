# SPDX-License-Identifier: Apache-2.0
"""A server for tests of the loads, Redis enough for them: a thread per connection."""

import socket
import threading

HELLO = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*0\r\n"


class FakeServer:
    """`_answer(args)` gives the bytes of a reply, or None: the connection is closed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            with sock, sock.makefile("rb", 1 << 16) as stream:
                while True:
                    head = stream.readline()
                    if not head.startswith(b"*"):
                        return
                    args = [stream.read(int(stream.readline()[1:]) + 2) for _ in range(int(head[1:]))]
                    if not args[-1].endswith(b"\r\n"):
                        return  # the client left inside it
                    answer = self._answer([arg[:-2] for arg in args])
                    if answer is None:
                        return
                    sock.sendall(answer)
                    if args[0] == b"QUIT\r\n":
                        return
        except (OSError, ValueError):
            pass  # the client left in the middle

    def _answer(self, args):
        raise NotImplementedError

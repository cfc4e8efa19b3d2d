# SPDX-License-Identifier: Apache-2.0
"""DNS servers for tests: a real one (dnsmasq) whose answers can be changed while it runs, and one
that does what a test tells it, down to the bytes."""
import pathlib
import shutil
import signal
import socket
import struct
import threading
import time

import processes
import resp

HOST = processes.HOST
A, AAAA, SRV = 1, 28, 33
DNSMASQ = shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin:/usr/bin:/sbin:/bin")


def query_bytes(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x07\x07\1\0\0\1\0\0\0\0\0\0" + labels + struct.pack(">BHH", 0, kind, 1)


def is_answering(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)
        try:
            asker.sendto(query_bytes("up.test", A), (HOST, port))
            return bool(asker.recv(512))
        except OSError:
            return False


class Dnsmasq(processes.Process):
    """Answers for everything below `test`; of other names it says REFUSED."""

    def __init__(self, directory, port=None):
        self.directory = pathlib.Path(directory)
        self.port = port or processes.free_port()
        self.hosts = self.directory / f"dns-{self.port}.hosts"
        self.services = []
        self.write_hosts({})
        self.start()

    def start(self):
        services = [f"--srv-host={','.join(map(str, service))}" for service in self.services]
        argv = [DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", f"--port={self.port}",
                f"--listen-address={HOST}", "--bind-interfaces", "--except-interface=nonexistent",
                "--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}", "--local=/test/",
                "--local-ttl=1", "--cache-size=0", "--pid-file", "--user=", "--group=",
                "--log-facility=-", "--log-queries", *services]
        super().__init__(argv, self.directory / f"dns-{self.port}.log")
        resp.eventually(lambda: self.popen.poll() is not None or is_answering(self.port),
                        within=10 * processes.SLOWNESS, what="dnsmasq answers")
        if self.popen.poll() is not None:
            raise RuntimeError("dnsmasq ended:\n" + self.log())

    def write_hosts(self, names):
        lines = [f"{address} {name}\n" for name, addresses in names.items() for address in addresses]
        new = self.hosts.with_suffix(".new")
        new.write_text("".join(lines))
        new.chmod(0o644)
        new.rename(self.hosts)

    def set(self, **names):
        """`redis=["10.0.0.1"]`: the addresses of redis.test; a name that is not given is gone."""
        self.write_hosts({f"{name}.test": addresses for name, addresses in names.items()})
        if self.popen.poll() is None:
            self.signal(signal.SIGHUP)

    def set_services(self, *services):
        """(name, target, port, priority, weight); it has to start again for these."""
        self.services = services
        self.end()
        self.start()


def question_of(query):
    """(end of the question, its type)"""
    at = 12
    while query[at]:
        at += 1 + query[at]
    return at + 5, struct.unpack(">H", query[at + 1:at + 3])[0]


def reply(query, records=(), code=0, truncated=False):
    """`records` are (type, ttl, data), all of the name that was asked for."""
    end, _ = question_of(query)
    flags = 0x8180 | code | (0x0200 if truncated else 0)
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end]
    return head + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data
                           for kind, ttl, data in records)


def address(text, ttl=1):
    return (A, ttl, socket.inet_aton(text))


class FakeServer:
    """Answers each query with what `answer(query, is_tcp)` returns: bytes, a list of pieces of them
    (TCP: with pauses between), or None for silence."""

    def __init__(self, answer):
        self.answer = answer
        self.port = processes.free_port()
        self.queries = 0
        self.peers = set()  # of datagrams
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.udp.bind((HOST, self.port))
        self.tcp.bind((HOST, self.port))
        self.tcp.listen()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._udp, self._tcp)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for one in (self.udp, self.tcp):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self.threads:
            thread.join(5)

    def _udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return  # shut down
            self.queries += 1
            self.peers.add(peer)
            answer = self.answer(query, False)
            if answer is not None:
                self.udp.sendto(answer, peer)

    def _tcp(self):
        while True:
            try:
                accepted, _ = self.tcp.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(5)
                try:
                    length = struct.unpack(">H", accepted.recv(2, socket.MSG_WAITALL))[0]
                    query = accepted.recv(length, socket.MSG_WAITALL)
                    for piece in self.answer(query, True) or []:
                        accepted.sendall(piece)
                        time.sleep(0.03)
                    accepted.recv(1)
                except (OSError, struct.error):
                    pass

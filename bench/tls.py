#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What TLS costs the proxy: CPU per request and per handshake, memory per connection.

The load is redis-benchmark's, which speaks TLS; keys, certificates and processes are made for it and go
with it. Peers run side by side and are measured in turns, as in run.py.
"""

import argparse
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import harness
from harness import BenchError

LOADS = {  # name: (bytes of a value, connections, pipeline, requests)
    "GET 1 KiB, 50 connections": (1024, 50, 1, 60000),
    "GET 64 B, 50 connections, pipelines of 16": (64, 50, 16, 400000),
    "GET 1 MB, 4 connections": (1 << 20, 4, 1, 1500),
}
PEERS = ("plain", "clients", "clients and nodes")
HANDSHAKES = 1000
IDLE = 1000


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"openssl: {done.stderr}")


def make_certificate(directory, name, *key):
    """One that signed itself. → (certificate file, key file)"""
    files = os.path.join(directory, f"{name}.crt"), os.path.join(directory, f"{name}.key")
    openssl("req", "-x509", "-newkey", *key, "-nodes", "-days", "2", "-subj", "/CN=bench",
            "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1])
    return files


class Bench:
    def __init__(self, options, directory):
        self.cpus = harness.placement("A")
        self.directory = directory
        self.binary = options.sumcache
        self.processes = []
        self.ec = make_certificate(directory, "ec", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        self.rsa = make_certificate(directory, "rsa", "rsa:2048")
        self.node, self.node_tls = harness.free_port(), harness.free_port()
        argv = [
            harness.find_program("redis-server"), "--port", str(self.node), "--tls-port", str(self.node_tls),
            "--tls-cert-file", self.ec[0], "--tls-key-file", self.ec[1], "--tls-ca-cert-file", self.ec[0],
            "--tls-auth-clients", "no", "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        self.start("node", argv, "nodes")
        self.until(lambda: harness.ask(self.node, b"SET", harness.READY_KEY, b"ready") == b"+OK\r\n")
        self.peers = {"plain": self.proxy("plain", tls=False),
                      "clients": self.proxy("clients"),
                      "clients and nodes": self.proxy("both", nodes=True),
                      "rsa": self.proxy("rsa", certificate=self.rsa)}

    def start(self, name, argv, where):
        process = harness.Process(name, argv, self.cpus[where], self.directory)
        self.processes.append(process)
        return process

    @staticmethod
    def until(question, seconds=10):
        end = time.monotonic() + seconds
        while True:
            try:
                if question():
                    return
            except OSError:
                pass
            if time.monotonic() > end:
                raise BenchError("the node does not get ready")
            time.sleep(0.05)

    def proxy(self, name, tls=True, nodes=False, certificate=None):
        """→ (process, port to be loaded)"""
        port, secure = harness.free_port(), harness.free_port()
        certificate = certificate or self.ec
        places = [f"127.0.0.1:{port}"] + [f"127.0.0.1:{secure} tls"] * tls
        lines = [f"listen: [{', '.join(places)}]", "workers: 1",
                 f"nodes: {{static: [127.0.0.1:{self.node_tls if nodes else self.node}]}}",
                 "timeouts: {request: 5s, connect: 5s}", "health: {timeout: 5s}"]
        if tls:
            lines.append(f"tls: {{certificate_file: {certificate[0]}, key_file: {certificate[1]}}}")
        if nodes:
            lines.append(f"nodes_tls: {{enabled: on, ca_file: {self.ec[0]}}}")
        path = os.path.join(self.directory, f"{name}.yaml")
        harness.write_file(path, "\n".join(lines) + "\n")
        process = self.start(name, [self.binary, "--config", path], "proxy")
        harness.wait_ready(process, port)
        return process, secure if tls else port

    def end(self):
        for process in self.processes:
            process.stop()

    def load(self, peer, load):
        """CPU of the proxy in µs per request."""
        size, connections, pipeline, count = LOADS[load]
        process, port = self.peers[peer]
        harness.ask(self.node, b"SET", b"key", b"x" * size)
        words = ["redis-benchmark", "-p", str(port), "-c", str(connections), "-P", str(pipeline), "-n", str(count), "-q"]
        if peer != "plain":
            words += ["--tls", "--cacert", self.ec[0]]
        before = harness.cpu_seconds(process.pid)
        done = subprocess.run([*words, "GET", "key"], capture_output=True, text=True, check=False)
        if done.returncode != 0 or "rror" in done.stderr:
            raise BenchError(f"redis-benchmark: {done.stderr or done.stdout}")
        return (harness.cpu_seconds(process.pid) - before) / count * 1e6

    def handshakes(self, peer, certificate, resumed):
        """CPU of the proxy in µs per connection that is made, asks once and goes."""
        process, port = self.peers[peer]
        context = ssl.create_default_context(cafile=certificate[0])
        session = None
        before = harness.cpu_seconds(process.pid)
        for _ in range(HANDSHAKES):
            with socket.create_connection(("127.0.0.1", port)) as plain, \
                    context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as client:
                client.sendall(b"PING\r\n")
                if client.recv(100) != b"+PONG\r\n" or client.session_reused != bool(session):
                    raise BenchError("no answer, or not resumed")
                session = client.session if resumed else None
        return (harness.cpu_seconds(process.pid) - before) / HANDSHAKES * 1e6

    def memory(self, peer):
        """Resident bytes per connection that has asked once and is idle."""
        process, port = self.peers[peer]
        context = ssl.create_default_context(cafile=self.ec[0])
        kept = []

        def more(count):
            for _ in range(count):
                client = socket.create_connection(("127.0.0.1", port))
                if peer != "plain":
                    client = context.wrap_socket(client, server_hostname="127.0.0.1")
                client.sendall(harness.encode(b"GET", b"key"))
                client.recv(100)
                kept.append(client)
            time.sleep(1)
            return harness.rss_now_kib(process.pid)

        try:
            first = more(50)
            return (more(IDLE) - first) * 1024 / IDLE
        finally:
            for client in kept:
                client.close()


def table(bench, rounds):
    lines = ["| CPU of the proxy per request | " + " | ".join(f"TLS: {p}" if p != "plain" else "no TLS" for p in PEERS) + " |",
             "|---|" + "--:|" * len(PEERS)]
    for load in LOADS:
        taken = {peer: [] for peer in PEERS}
        for turn in range(rounds):
            for i in range(len(PEERS)):
                peer = PEERS[(turn + i) % len(PEERS)]
                taken[peer].append(bench.load(peer, load))
        medians = [statistics.median(taken[peer]) for peer in PEERS]
        cells = [f"{m:,.2f} µs ({m / medians[0]:.2f}×)" for m in medians]
        lines.append(f"| {load} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    lines += ["", "| CPU of the proxy per connection: made, one PING, closed | |", "|---|--:|"]
    for name, peer, certificate, resumed in (("P-256, whole handshake", "clients", bench.ec, False),
                                             ("RSA 2048, whole handshake", "rsa", bench.rsa, False),
                                             ("resumed by a ticket", "clients", bench.ec, True)):
        cost = statistics.median(bench.handshakes(peer, certificate, resumed) for _ in range(3))
        lines.append(f"| {name} | {cost:,.0f} µs |")
    harness.ask(bench.node, b"SET", b"key", b"x" * 50)
    lines += ["", "| resident memory per idle connection | |", "|---|--:|"]
    lines += [f"| {'no TLS' if peer == 'plain' else 'TLS'} | {bench.memory(peer):,.0f} B |" for peer in PEERS[:2]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sumcache", default=os.path.join(harness.ROOT, "build", "sumcache"))
    options = parser.parse_args()
    harness.raise_file_limit(2 * IDLE + 1000)
    harness.enter_own_network()
    harness.end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="sumcache-tls-") as directory:
        bench = None
        try:
            bench = Bench(options, directory)
            print(table(bench, options.rounds))
        except (BenchError, OSError) as error:
            print(f"tls: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            if bench:
                bench.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What TLS costs the proxy: CPU per request and per handshake, memory per connection.

    bench/tls.py                    what it costs beside none, per load, handshake and idle connection
    bench/tls.py --against OLD      has a change made it cheaper or dearer? New and old binary in turns
    bench/tls.py --calls            system calls of the proxy per request (strace), of both if there are two
    bench/tls.py --instructions     its instructions (callgrind), which no neighbour disturbs; of loads of short values:
                                    callgrind counts each byte of a long copy

The load is redis-benchmark's, which speaks TLS; keys, certificates and processes are made for it and go
with it. Peers run side by side and are measured in turns, as in run.py: CPU is that of the process, from
/proc, and what a round says beside another counts more than what it says.
"""

import argparse
import os
import re
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import harness
from harness import BenchError
from stats import Estimate

LOADS = {  # name: (command, bytes of a value, connections, pipeline, requests)
    "GET 64 B, 50 connections, pipelines of 16": ("get", 64, 50, 16, 200000),
    "GET 1 KiB, 50 connections": ("get", 1024, 50, 1, 30000),
    "SET 1 KiB, 50 connections": ("set", 1024, 50, 1, 30000),
    "GET 10 KB, 20 connections": ("get", 10000, 20, 1, 12000),
    "GET 20 KB, 20 connections": ("get", 20000, 20, 1, 10000),
    "GET 100 KB, 10 connections": ("get", 100000, 10, 1, 4000),
    "SET 100 KB, 10 connections": ("set", 100000, 10, 1, 4000),
    "GET 1 MB, 4 connections": ("get", 1 << 20, 4, 1, 600),
    "SET 1 MB, 4 connections": ("set", 1 << 20, 4, 1, 600),
}
PEERS = ("plain", "clients", "clients and nodes")
NEW, OLD = "new", "old"
KEY = b"key:__rand_int__"  # redis-benchmark's own
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


def cpu_seconds(pid):
    """As harness.cpu_seconds(), but to the nanosecond: a round may be short then."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        return harness.cpu_seconds(pid)
    return total / 1e9


class Bench:
    def __init__(self, options, directory):
        self.cpus = harness.placement("A")
        self.directory = directory
        self.counts = options.instructions
        self.binaries = {NEW: options.sumcache}
        if options.against:
            self.binaries[OLD] = options.against
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
        self.peers = {}
        for age in self.binaries:
            self.peers[age, "plain"] = self.proxy(age, "plain", tls=False)
            self.peers[age, "clients"] = self.proxy(age, "clients")
            self.peers[age, "clients and nodes"] = self.proxy(age, "both", nodes=True)
        self.peers[NEW, "rsa"] = self.proxy(NEW, "rsa", certificate=self.rsa)

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

    def proxy(self, age, name, tls=True, nodes=False, certificate=None):
        """→ (process, port to be loaded)"""
        port, secure = harness.free_port(), harness.free_port()
        certificate = certificate or self.ec
        places = [f"127.0.0.1:{port}"] + [f"127.0.0.1:{secure} tls"] * tls
        lines = [f"listen: [{', '.join(places)}]", "workers: 1",
                 f"nodes: {{static: [127.0.0.1:{self.node_tls if nodes else self.node}]}}",
                 "timeouts: {request: 5s, connect: 5s, stall: 5s}", "health: {timeout: 5s}"]
        if tls:
            lines.append(f"tls: {{certificate_file: {certificate[0]}, key_file: {certificate[1]}}}")
        if nodes:
            lines.append(f"nodes_tls: {{enabled: on, ca_file: {self.ec[0]}}}")
        path = os.path.join(self.directory, f"{age}-{name}.yaml")
        harness.write_file(path, "\n".join(lines) + "\n")
        argv = [self.binaries[age], "--config", path]
        if self.counts:
            argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}.out", *argv]
        process = self.start(f"{age}-{name}", argv, "proxy")
        process.config = path
        harness.wait_ready(process, port)
        return process, secure if tls else port

    def end(self):
        for process in self.processes:
            process.stop()

    def run(self, peer, load, part=1.0):
        """One redis-benchmark. → how many requests it sent"""
        command, size, connections, pipeline, count = LOADS[load]
        process, port = self.peers[peer]
        connections = 1 if self.counts else connections
        count = max(int(count * part), connections * pipeline)
        words = ["redis-benchmark", "-p", str(port), "-c", str(connections), "-P", str(pipeline), "-n", str(count),
                 "-d", str(size), "-t", command, "-q"]
        if peer[1] != "plain":
            words += ["--tls", "--cacert", self.ec[0]]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0 or "rror" in done.stderr:
            raise BenchError(f"{' '.join(peer)}: redis-benchmark: {done.stderr or done.stdout} {process.log_tail()}")
        return count

    def place_value(self, load):
        with socket.create_connection(("127.0.0.1", self.node)) as client:
            client.sendall(harness.encode(b"SET", KEY, b"x" * LOADS[load][1]))
            client.recv(100)

    def load(self, peer, load, part=1.0):
        """CPU in µs per request: of the proxy, and of all processes."""
        pids = self.peers[peer][0].pid, self.processes[0].pid

        def read():
            others = resource.getrusage(resource.RUSAGE_CHILDREN)
            proxy, node = map(cpu_seconds, pids)
            return proxy, proxy + node + others.ru_utime + others.ru_stime

        before = read()
        count = self.run(peer, load, part)
        return tuple((b - a) / count * 1e6 for a, b in zip(before, read()))

    def calls(self, peer, load, part=0.2):
        """System calls of the proxy per request, {name: count}. What strace itself costs does not matter."""
        strace = harness.find_program("strace")
        if not strace:
            raise BenchError("strace is missing")
        path = os.path.join(self.directory, "calls")
        with subprocess.Popen([strace, "-c", "-f", "-o", path, "-p", str(self.peers[peer][0].pid)],
                              stderr=subprocess.PIPE, text=True) as process:
            process.stderr.readline()  # it is attached
            try:
                count = self.run(peer, load, part)
            finally:
                process.send_signal(signal.SIGINT)
        with open(path, encoding="ascii") as file:
            rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", file.read(), re.M)
        return {name: int(number) / count for number, name in rows if name != "total"}

    def counted(self, process):
        """Instructions since this was last asked."""
        directory, name = os.path.split(process.config)
        before = set(os.listdir(directory))
        subprocess.run(["callgrind_control", "-d", str(process.pid)], capture_output=True, check=False)
        found = []

        def is_written():
            paths = [os.path.join(directory, f) for f in set(os.listdir(directory)) - before if f.startswith(name)]
            for path in paths:
                with open(path, encoding="ascii", errors="replace") as file:
                    found[:] = re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)[-1:]
            return found

        self.until(is_written, 60)
        return int(found[0])

    def instructions(self, peer, load):
        """Of the proxy per request, one at a time: what many need more than few."""
        process, _ = self.peers[peer]
        self.run(peer, load, 0.01)
        self.counted(process)
        few, first = self.run(peer, load, 0.01), self.counted(process)
        many, second = self.run(peer, load, 0.04), self.counted(process)
        return (second - first) / (many - few)

    def handshakes(self, peer, certificate, resumed):
        """CPU of the proxy in µs per connection that is made, asks once and goes."""
        process, port = self.peers[NEW, peer]
        context = ssl.create_default_context(cafile=certificate[0])
        session = None
        before = cpu_seconds(process.pid)
        for _ in range(HANDSHAKES):
            with socket.create_connection(("127.0.0.1", port)) as plain, \
                    context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as client:
                client.sendall(b"PING\r\n")
                if client.recv(100) != b"+PONG\r\n" or client.session_reused != bool(session):
                    raise BenchError("no answer, or not resumed")
                session = client.session if resumed else None
        return (cpu_seconds(process.pid) - before) / HANDSHAKES * 1e6

    def memory(self, peer):
        """Resident bytes per connection that has asked once and is idle."""
        process, port = self.peers[NEW, peer]
        context = ssl.create_default_context(cafile=self.ec[0])
        kept = []

        def more(count):
            for _ in range(count):
                client = socket.create_connection(("127.0.0.1", port))
                if peer != "plain":
                    client = context.wrap_socket(client, server_hostname="127.0.0.1")
                client.sendall(harness.encode(b"GET", KEY))
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


def measure(bench, load, options):
    """→ {(age, peer): [(of the proxy, of all) per round]}"""
    taken = {peer: [] for peer in bench.peers if peer[1] in PEERS}
    bench.place_value(load)
    for turn in range(options.rounds):
        order = list(taken)
        shift = turn % len(order)
        for peer in order[shift:] + order[:shift]:
            taken[peer].append(bench.load(peer, load, options.part))
    return taken


def title(peer):
    return f"TLS: {peer}" if peer != "plain" else "no TLS"


def head(first, columns):
    return [f"| {first} | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]


def cost_table(bench, options):
    proxy = head("CPU of the proxy per request", [title(peer) for peer in PEERS])
    everyone = head("CPU of all processes per request", [title(peer) for peer in PEERS])
    for load in options.loads:
        taken = measure(bench, load, options)
        for lines, i in ((proxy, 0), (everyone, 1)):
            medians = [statistics.median(round_[i] for round_ in taken[NEW, peer]) for peer in PEERS]
            lines.append(f"| {load} | " + " | ".join(f"{m:,.2f} µs ({m / medians[0]:.2f}×)" for m in medians) + " |")
        print(proxy[-1], file=sys.stderr)
    return [*proxy, "", *everyone]


def ratio_table(bench, options):
    """New over old, paired by round; in brackets what holds the true median with 95 %."""
    proxy = head("CPU of the proxy per request, old → new", [title(peer) for peer in PEERS])
    everyone = head("CPU of all processes per request, new / old", [title(peer) for peer in PEERS])
    for load in options.loads:
        taken = measure(bench, load, options)
        for lines, i in ((proxy, 0), (everyone, 1)):
            cells = []
            for peer in PEERS:
                old, new = ([round_[i] for round_ in taken[age, peer]] for age in (OLD, NEW))
                ratio = Estimate([n / o for n, o in zip(new, old)])
                figures = f"{statistics.median(old):,.2f} → {statistics.median(new):,.2f} µs, " if i == 0 else ""
                cells.append(f"{figures}{ratio}")
            lines.append(f"| {load} | " + " | ".join(cells) + " |")
        print(proxy[-1], file=sys.stderr)
    return [*proxy, "", *everyone]


def calls_table(bench, options):
    ages = list(bench.binaries)
    lines = head("system calls of the proxy per request" + (", old → new" if len(ages) > 1 else ""),
                 [title(peer) for peer in PEERS])
    for load in options.loads:
        bench.place_value(load)
        cells = []
        for peer in PEERS:
            found = {age: bench.calls((age, peer), load) for age in ages}
            words = []
            for kind, names in (("sent", ("sendto", "sendmsg")), ("read", ("recvfrom",)), ("memory", ("mmap", "munmap", "brk"))):
                counts = [sum(found[age].get(name, 0) for name in names) for age in reversed(ages)]
                words.append(f"{kind} " + " → ".join(f"{c:.1f}" for c in counts))
            counts = [sum(found[age].values()) for age in reversed(ages)]
            cells.append(f"{' → '.join(f'{c:.1f}' for c in counts)}: {', '.join(words)}")
        lines.append(f"| {load} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    return lines


def instructions_table(bench, options):
    ages = list(reversed(bench.binaries))
    lines = head("instructions of the proxy per request" + (", old → new" if len(ages) > 1 else ""),
                 [title(peer) for peer in PEERS])
    for load in options.loads:
        bench.place_value(load)
        cells = [" → ".join(f"{bench.instructions((age, peer), load):,.0f}" for age in ages) for peer in PEERS]
        lines.append(f"| {load} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    return lines


def connections_table(bench):
    lines = ["| CPU of the proxy per connection: made, one PING, closed | |", "|---|--:|"]
    for name, peer, certificate, resumed in (("P-256, whole handshake", "clients", bench.ec, False),
                                             ("RSA 2048, whole handshake", "rsa", bench.rsa, False),
                                             ("resumed by a ticket", "clients", bench.ec, True)):
        cost = statistics.median(bench.handshakes(peer, certificate, resumed) for _ in range(3))
        lines.append(f"| {name} | {cost:,.0f} µs |")
    harness.ask(bench.node, b"SET", KEY, b"x" * 50)
    lines += ["", "| resident memory per idle connection | |", "|---|--:|"]
    return lines + [f"| {title(peer)} | {bench.memory(peer):,.0f} B |" for peer in PEERS[:2]]


def tables(bench, options):
    if options.calls:
        return calls_table(bench, options)
    if options.instructions:
        return instructions_table(bench, options)
    if options.against:
        return ratio_table(bench, options)
    return [*cost_table(bench, options), "", *connections_table(bench)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--part", type=float, default=1.0, help="of the requests of a round")
    parser.add_argument("--only", default="", help="loads that have one of these words in their names: 'GET 1 MB,SET'")
    parser.add_argument("--against", metavar="OLD", help="a binary to compare with")
    parser.add_argument("--calls", action="store_true", help="count system calls instead")
    parser.add_argument("--instructions", action="store_true", help="count instructions instead")
    parser.add_argument("--sumcache", default=os.path.join(harness.ROOT, "build", "sumcache"))
    options = parser.parse_args()
    options.loads = [load for load in LOADS if any(word in load for word in options.only.split(","))]
    harness.raise_file_limit(2 * IDLE + 1000)
    harness.enter_own_network()
    harness.end_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="sumcache-tls-") as directory:
        bench = None
        try:
            bench = Bench(options, directory)
            print("\n".join(tables(bench, options)))
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

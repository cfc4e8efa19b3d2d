#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs sumcache for a long time under everything that goes wrong, and looks whether it stays well.

Three redis-servers, sumcache with two workers, and 2,000 clients that come and go, read slowly, stop
and vanish in the middle of things (bench_soak), while nodes are killed, restarted and frozen. Every byte
of every value is checked. Memory and descriptors are read all the time. At the end: a verdict, line by
line; exits 1 if one of them is bad.
"""

import argparse
import collections
import datetime
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import harness
from harness import BenchError, all_cpus, cpu_seconds

NODES = 3
WORKERS = 2
BULK_MAX = 2  # limits.bulk_max's default
STEP_SECONDS = 0.1
RSS_GROWTH = 1.20  # the last quarter may be so much above the second …
RSS_SLACK_KIB = 16 * 1024  # … or so much
LEAVE_SECONDS = 40  # for the load to end in good order after its time
SETTLE_SECONDS = 15  # for the proxy to notice that the last client has gone
RETURN_SECONDS = 5  # for the proxy to give memory back that it no longer needs
KEPT_FROM_MINUTES = 10  # a shorter run is a try and does not replace the kept result
INFO_SHOWN = ["buffer_bytes", "clients", "upstreams_ready"]
INFO_AT_END = [
    "requests", "requests_streamed", "replies_streamed", "requests_bulk", "bulk_waits", "upstreams_promoted", "upstreams_paused",
    "replies_absorbed", "requests_held", "requests_too_slow", "requests_timed_out", "requests_node_down", "requests_node_closed",
    "requests_masked", "late_replies", "clients_stalled", "clients_too_slow", "clients_reply_cut", "clients_output_limit",
    "clients_protocol_error", "memory_limit_hits", "upstreams_opened", "upstreams_silent", "upstreams_stalled",
    "upstreams_protocol_error", "turns_slow"]


class Node:
    """A redis-server that can be killed, restarted on its port, and frozen."""

    def __init__(self, binary, directory, index, memory):
        self.name = f"node{index}"
        self.binary = binary
        self.directory = directory
        self.memory = memory
        self.port = harness.free_port()
        self.process = None
        self.cpu_before = 0.0  # seconds, of its dead predecessors

    def start(self):
        self.process = harness.Process(self.name, [
            self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--maxmemory", self.memory, "--maxmemory-policy", "allkeys-lru", "--maxclients", "1000"],
            all_cpus(), self.directory)

    def is_alive(self):
        return self.process is not None and self.process.is_alive()

    def kill(self):
        self.cpu_before += cpu_seconds(self.process.pid)
        self.process.popen.kill()
        self.process.popen.wait()

    def freeze(self):
        self.process.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.popen.send_signal(signal.SIGCONT)

    def stop(self):
        if self.is_alive():
            self.thaw()
            self.process.stop()

    def cpu(self):
        return self.cpu_before + cpu_seconds(self.process.pid)


class Faults:
    """Draws what happens to which node, one at a time or two at once, and undoes it after a while."""

    def __init__(self, nodes, seed):
        self.nodes = nodes
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.next_at = 5.0
        self.under_way = []  # (when it ends, what ends it, node)

    def step(self, now):
        for fault in [f for f in self.under_way if f[0] <= now]:
            self.under_way.remove(fault)
            fault[1]()
        if now >= self.next_at:
            self.next_at = now + self.random.uniform(2, 10)
            well = [n for n in self.nodes if all(n is not f[2] for f in self.under_way)]
            if len(well) > 1:
                self._begin(self.random.choice(well), now)

    def _begin(self, node, now):
        kind, seconds = self.random.choice([
            ("killed", self.random.uniform(0.1, 5)),
            ("killed", 0.0),
            ("frozen for long", self.random.uniform(0.5, 8)),
            ("frozen for a moment", self.random.uniform(0.02, 0.3))])
        self.counts[kind] += 1
        if kind == "killed":
            node.kill()
            self.under_way.append((now + seconds, node.start, node))
        else:
            node.freeze()
            self.under_way.append((now + seconds, node.thaw, node))

    def end_all(self):
        for _, undo, _ in self.under_way:
            undo()
        self.under_way = []

    def text(self):
        return ", ".join(f"{count} × {kind}" for kind, count in sorted(self.counts.items())) or "none"


# ---------------------------------------------------------------------- readings


def sockets_of_machine():
    """{inode: (local port, remote port)} of all TCP sockets of this network."""
    found = {}
    for path in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            with open(path, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local, remote = (int(fields[i].rsplit(":", 1)[1], 16) for i in (1, 2))
            found[fields[9]] = (local, remote)
    return found


Descriptors = collections.namedtuple("Descriptors", "all clients upstreams others")


def descriptors_of(links, sockets, listen_port, node_ports):
    """Tells a process's descriptors apart. A socket that the kernel's table no longer lists (closed by
    the peer and by the kernel, but still held) is one of the others: so it is seen if it stays."""
    clients = upstreams = 0
    for link in links:
        match = re.fullmatch(r"socket:\[(\d+)\]", link)
        local, remote = sockets.get(match.group(1), (0, 0)) if match else (0, 0)
        if local == listen_port and remote != 0:
            clients += 1
        elif remote in node_ports:
            upstreams += 1
    return Descriptors(len(links), clients, upstreams, len(links) - clients - upstreams)


def read_descriptors(pid, listen_port, node_ports):
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            pass  # closed meanwhile
    return descriptors_of(links, sockets_of_machine(), listen_port, node_ports)


def read_info(port):
    """The proxy's own counters."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(harness.encode(b"INFO", b"sumcache"))
        text = b""
        while True:
            head, found, body = text.partition(b"\r\n")
            if found and len(body) >= int(head[1:]) + 2:
                break
            chunk = sock.recv(65536)
            if not chunk:
                raise BenchError("the proxy closed the connection that asks for INFO")
            text += chunk
    pairs = (line.split(":", 1) for line in body.decode("ascii", "replace").splitlines() if ":" in line)
    return {name: int(value) for name, value in pairs if value.isdigit()}


Sample = collections.namedtuple("Sample", "seconds rss_kib descriptors info cpu load")


# ---------------------------------------------------------------------- verdict


def quarter_means(samples, reading):
    """Mean of a reading in the second and in the last quarter of the time; None: too few samples."""
    end = samples[-1].seconds if samples else 0
    second = [reading(s) for s in samples if end / 4 <= s.seconds < end / 2]
    last = [reading(s) for s in samples if s.seconds >= 3 * end / 4]
    if not second or not last:
        return None
    return statistics.mean(second), statistics.mean(last)


def verdict_rss(samples):
    """Judges resident memory alone. What was in buffers is told beside it, so that a reader sees
    whether a growth is what clients were owed at the time, or something else."""
    means = quarter_means(samples, lambda s: s.rss_kib)
    if not means:
        return False, "resident memory is flat", "too few readings"
    second, last = means
    buffers = quarter_means(samples, lambda s: s.info.get("buffer_bytes", 0) / 2**20)
    is_flat = last <= max(second * RSS_GROWTH, second + RSS_SLACK_KIB)
    return is_flat, "resident memory is flat", (
        f"second quarter {second / 1024:.1f} MiB, last {last / 1024:.1f} MiB on average "
        f"(of it in buffers: {buffers[0]:.1f} and {buffers[1]:.1f})")


def verdict_descriptors(before, after):
    # Shared and bulk ones of both RESP versions, and one of each kind on its way out.
    upstreams_max = WORKERS * NODES * 2 * (1 + BULK_MAX + 1)
    is_good = after.clients == 0 and after.others <= before.others and after.upstreams <= upstreams_max
    return is_good, "no descriptor is left behind", (
        f"clients {after.clients}, upstreams {after.upstreams} (at most {upstreams_max}), "
        f"others {before.others} before, {after.others} after")


def verdict_load(load, status):
    """What the load says: wrong bytes and the like."""
    if load is None or not load.get("ended"):
        return [(False, "the load ended in good order", f"exit status {status}")]
    lines = [
        (load["wrong"] == 0, "no wrong byte", f"{load['wrong']} wrong; {load['hits']} values, {load['checked_bytes'] / 1e9:.2f} GB checked"),
        (load["strange"] == 0, "no error that nobody should see", str(load["strange"])),
        (load["hung"] == 0, "nobody is forgotten", f"{load['hung']} waited 15 s without a byte"),
        (load["closed_other"] == 0, "nobody is closed without a reason", str(load["closed_other"])),
        (load["large"] > 0 and load["left_in_request"] > 0 and load["left_in_reply"] > 0, "the load was what it should be",
         f"{load['connects']} clients, {load['replies']} replies, {load['large']} large values")]
    if status != (1 if any(not line[0] for line in lines[:4]) else 0):
        lines.append((False, "the load ended in good order", f"exit status {status}"))
    return lines


def verdict_text(verdicts):
    return "\n".join(f"{'good' if is_good else 'BAD '}  {what}: {facts}" for is_good, what, facts in verdicts)


# ---------------------------------------------------------------------- the run


class Soak:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.nodes = []
        self.proxy = None
        self.load = None
        self.port = harness.free_port()
        self.samples = []
        self.rows = []
        self.started = 0.0
        self.before = None  # descriptors before the load
        self.rss_before = self.rss_after = 0  # KiB; without clients
        self.log_at = 0  # bytes of the load's log that were read
        self.last_load = None
        self.told = []

    def start(self):
        for i in range(NODES):
            node = Node(self.options.redis, self.directory, i, self.options.node_memory)
            self.nodes.append(node)
            node.start()
        addresses = ", ".join(f'"127.0.0.1:{node.port}"' for node in self.nodes)
        config = os.path.join(self.directory, "sumcache.yaml")
        # Smaller than the defaults, so that limits are met with this load.
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'listen: ["127.0.0.1:{self.port}"]\nnodes:\n  static: [{addresses}]\nworkers: {WORKERS}\nlog_level: error\n'
                       "timeouts:\n  client_stall: 2s\nlimits:\n  memory: 512mb\n  client_output: 64mb\n")
        self.proxy = harness.Process("sumcache", [self.options.sumcache, "--config", config], all_cpus(), self.directory)
        self._wait_for_answers()
        time.sleep(0.5)  # so that the connections that asked are gone
        self.before = self.quiet_descriptors(most_others=sys.maxsize)
        self.rss_before = harness.rss_now_kib(self.proxy.pid)

    def _wait_for_answers(self):
        """Until every node has answered through the proxy, over each worker's upstreams if luck has it."""
        end = time.monotonic() + 10
        answer = b""
        for i in range(64):
            while True:
                if not self.proxy.is_alive():
                    raise BenchError(f"sumcache ended at once: {self.proxy.log_tail()}")
                try:
                    answer = harness.ask(self.port, b"SET", b"warm:%d" % i, b"x")
                except OSError as error:
                    answer = str(error).encode()
                if answer == b"+OK\r\n":
                    break
                if time.monotonic() > end:
                    raise BenchError(f"sumcache does not answer: {answer[:80]!r}")
                time.sleep(0.05)

    def stop(self):
        for process in (self.load, self.proxy):
            if process:
                process.stop()
        for node in self.nodes:
            node.stop()

    def descriptors(self):
        return read_descriptors(self.proxy.pid, self.port, {node.port for node in self.nodes})

    def cpu(self):
        pids = [self.proxy.pid] + ([self.load.pid] if self.load else [])
        return sum(map(cpu_seconds, pids)) + sum(node.cpu() for node in self.nodes)

    def read_load(self):
        """Takes in what the load has written since the last time."""
        with open(self.load.log_path, "rb") as file:
            file.seek(self.log_at)
            text = file.read()
        end = text.rfind(b"\n") + 1
        self.log_at += end
        for line in text[:end].decode("utf-8", "replace").splitlines():
            if line.startswith("{"):
                self.last_load = json.loads(line)
            else:
                self.told.append(line)
                say(f"  load: {line}")

    def sample(self, now):
        self.read_load()
        self.samples.append(Sample(now, harness.rss_now_kib(self.proxy.pid), self.descriptors(), read_info(self.port),
                                   self.cpu(), self.last_load))

    def check_alive(self, faults):
        if not self.proxy.is_alive():
            raise BenchError(f"sumcache ended with {self.proxy.popen.returncode}: {self.proxy.log_tail()}")
        for node in self.nodes:
            if not node.is_alive() and all(node is not f[2] for f in faults.under_way):
                raise BenchError(f"{node.name} ended by itself: {node.process.log_tail()}")

    def run(self, faults):
        options = self.options
        seconds = options.minutes * 60
        sample_every = min(5.0, max(0.5, seconds / 240))
        row_every = 60.0 if seconds >= 300 else 10.0
        self.load = harness.Process("load", [
            options.load, "--port", str(self.port), "--seconds", str(seconds), "--clients", str(options.clients),
            "--rate", str(options.rate), "--bulk", str(options.bulk), "--seed", str(options.seed)], all_cpus(), self.directory)
        self.started = time.monotonic()
        next_sample, next_row = sample_every, row_every
        say(ROW_HEAD)
        while True:
            now = time.monotonic() - self.started
            if now >= seconds:
                break
            self.check_alive(faults)
            if not self.load.is_alive():
                raise BenchError(f"the load ended early: {self.load.log_tail()}")
            faults.step(now)
            if now >= next_sample:
                self.sample(now)
                next_sample += sample_every
            if now >= next_row and self.samples:
                self.row()
                next_row += row_every
            time.sleep(STEP_SECONDS)
        if not self.rows or self.samples[-1].seconds > self.rows[-1].seconds + row_every / 2:
            self.row()

    def row(self):
        before = self.rows[-1] if self.rows else Sample(0, 0, None, {}, 0.0, None)
        self.rows.append(self.samples[-1])
        say(row_text(before, self.rows[-1]))

    def settle(self):
        """Lets the load go and the proxy notice. Returns the load's exit status and the descriptors left."""
        try:
            status = self.load.popen.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        self.read_load()
        after = self.quiet_descriptors(most_others=self.before.others)
        time.sleep(RETURN_SECONDS)
        self.rss_after = harness.rss_now_kib(self.proxy.pid)
        return status, after

    def quiet_descriptors(self, most_others):
        """The descriptors without clients; waits for the last ones to go, but not for ever."""
        end = time.monotonic() + SETTLE_SECONDS
        found = self.descriptors()
        while (found.clients > 0 or found.others > most_others) and time.monotonic() < end:
            time.sleep(0.2)
            found = self.descriptors()
        return found


ROW_HEAD = ("| time | RSS MiB | buffers MiB | descriptors: clients, upstreams, others | slow clients | requests/s | values MB/s | CPU | misses "
            "| errors | p50, p99 of small ones so far ms |\n|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")


def row_text(before, now):
    """A row for the time between two samples."""
    seconds = max(now.seconds - before.seconds, 0.001)
    load = now.load or {}
    old = before.load or {}

    def grown(*names):
        return sum(load.get(name, 0) - old.get(name, 0) for name in names)

    d = now.descriptors
    return (f"| {now.seconds / 60:.1f} min | {now.rss_kib / 1024:.1f} | {now.info.get('buffer_bytes', 0) / 2**20:.1f} "
            f"| {d.clients}, {d.upstreams}, {d.others} | {load.get('odd', 0)} | {grown('replies') / seconds:.0f} "
            f"| {grown('checked_bytes', 'sent_bytes') / seconds / 1e6:.0f} "
            f"| {100 * (now.cpu - before.cpu) / seconds / len(all_cpus()):.0f} % | {grown('misses')} | {grown('errors')} "
            f"| {load.get('p50_us', 0) / 1000:.1f}, {load.get('p99_us', 0) / 1000:.1f} |")


def say(text):
    print(text, flush=True)


def facts_text(soak, faults, network, info):
    options = soak.options
    load = soak.last_load or {}
    kinds = sorted(load.get("kinds", {}).items(), key=lambda kind: -kind[1])
    leaves = ", ".join(f"{load.get(name, 0)} {what}" for name, what in [
        ("left_politely", "politely"), ("left_abruptly", "with a reset"), ("left_in_request", "in the middle of a request"),
        ("left_in_reply", "in the middle of a reply")])
    closed = (f"{load.get('closed_own', 0)} read slowly, stopped writing or kept quiet too long; "
              f"{load.get('closed_cut', 0)} in or before a large reply that broke off")
    lines = [
        f"- {options.minutes:g} minutes, {options.clients} clients, seed {options.seed}, about {options.rate:g} requests/s asked for, "
        f"{options.bulk:g} MB/s of values above 64 KiB; {len(all_cpus())} CPUs; network: {network}",
        f"- nodes: {NODES} × {options.node_memory}; faults: {faults.text()}",
        f"- clients left: {leaves}",
        f"- closed by the proxy: {closed}",
        f"- hits {load.get('hits', 0)}, of them {load.get('large', 0)} large; misses {load.get('misses', 0)}; "
        f"slowest first byte of a small request: {load.get('max_us', 0) / 1000:.0f} ms",
        f"- resident memory without clients: {soak.rss_before / 1024:.1f} MiB before, {soak.rss_after / 1024:.1f} MiB "
        f"{RETURN_SECONDS} s after they left",
        "- errors that clients were told: " + ("; ".join(f"{count} × `{text}`" for text, count in kinds) or "none"),
        "- counters of the proxy: " + ", ".join(f"{name} {info[name]}" for name in INFO_AT_END if info.get(name))]
    return "\n".join(lines)


def results_text(soak, facts, verdicts):
    rows = [row_text(before, now) for before, now in
            zip([Sample(0, 0, None, {}, 0.0, None), *soak.rows], soak.rows)]
    return (f"# Soak\n\nWritten by `bench/soak`; [soak_run.py](../soak_run.py) says what it does. {datetime.date.today().isoformat()}\n\n"
            f"{facts}\n\n{ROW_HEAD}\n" + "\n".join(rows) + f"\n\n```\n{verdict_text(verdicts)}\n```\n")


def options_read():
    parser = argparse.ArgumentParser(prog="bench/soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, metavar="MINUTES")
    parser.add_argument("--build", default=os.path.join(harness.ROOT, "build"), metavar="DIR", help="default: build")
    parser.add_argument("--sumcache", metavar="FILE", help="default: BUILD/sumcache")
    parser.add_argument("--redis", default="redis-server", metavar="FILE")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=5000, metavar="N", help="requests per second (default: 5000)")
    parser.add_argument("--bulk", type=float, default=200, metavar="MB/S", help="of values above 64 KiB (default: 200)")
    parser.add_argument("--node-memory", default="128mb", metavar="SIZE", help="maxmemory of each node (default: 128mb)")
    parser.add_argument("--seed", type=int, default=None, help="of load and faults (default: drawn, and printed)")
    parser.add_argument("--no-faults", action="store_true", help="leave the nodes alone")
    parser.add_argument("--results", metavar="FILE",
                        help=f"where to write (default: bench/results/soak.md from {KEPT_FROM_MINUTES} minutes on, else nowhere)")
    options = parser.parse_args()
    options.sumcache = options.sumcache or os.path.join(options.build, "sumcache")
    options.load = os.path.join(options.build, "bench", "bench_soak")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    if not options.results and options.minutes >= KEPT_FROM_MINUTES:
        options.results = os.path.join(harness.ROOT, "bench", "results", "soak.md")
    for path in (options.sumcache, options.load):
        if not os.access(path, os.X_OK):
            raise BenchError(f"{os.path.basename(path)} is not built: ninja -C {options.build}")
    return options


def run_soak(options, network, directory):
    soak = Soak(options, directory)
    try:
        soak.start()
        faults = Faults(soak.nodes, options.seed)
        if options.no_faults:
            faults.next_at = float("inf")
        soak.run(faults)
        faults.end_all()
        status, after = soak.settle()
        soak.check_alive(faults)
        info = read_info(soak.port)
    finally:
        soak.stop()
    verdicts = [*verdict_load(soak.last_load, status), verdict_rss(soak.samples), verdict_descriptors(soak.before, after)]
    facts = facts_text(soak, faults, network, info)
    say(f"\n{facts}\n\n{verdict_text(verdicts)}")
    if options.results:
        with open(options.results, "w", encoding="utf-8") as file:
            file.write(results_text(soak, facts, verdicts))
    return 0 if all(is_good for is_good, _, _ in verdicts) else 1


def main():
    options = options_read()
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    allowed = harness.raise_file_limit(options.clients + 2000)
    if allowed < options.clients + 1000:
        raise BenchError(f"{allowed} open files are too few for {options.clients} clients")
    say(f"soak: {options.minutes:g} minutes, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="sumcache-soak-") as directory:
        return run_soak(options, network, directory)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench/soak: {error}")

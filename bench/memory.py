#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What clients that do not read, and many that read large values, cost a proxy in memory."""

import argparse
import os
import socket
import statistics
import sys
import tempfile
import threading
import time

import harness
from harness import BenchError
from peers import SUBJECT, available_peers
from stats import MET
from workloads import MB, MIB, Load

SILENT_CLIENTS = 20
SILENT_GETS = 25
SILENT_SIZE = 5 * MB
SMALL = Load("get", 1024, 8, rate=2000)
STREAMING = Load("get", 5 * MIB, 100, keys=16)
MEMORY_LIMIT_MB = 256  # limits.memory of sumcache here: a tenth of what is asked for
STREAMING_MAX_MB = 64
BACK_WITHIN = 1.2
SETTLE_S = 6.0
PATIENCE_S = 10  # or requests would time out, and what is not answered needs no memory
SAMPLE_S = 0.05
FREE_MEMORY_MB = 4000  # nodes hold all that is asked for behind a proxy that holds nothing


class Sampler(threading.Thread):
    """Reads the resident memory of a process and of the nodes as time goes on."""

    def __init__(self, pid, node_pids):
        super().__init__(daemon=True)
        self.pid = pid
        self.node_pids = node_pids
        self.start_time = time.monotonic()
        self.samples = []  # (seconds, MB of the proxy, MB of the nodes)
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(SAMPLE_S):
            self.take()

    def take(self):
        nodes = sum(harness.rss_now_kib(pid) for pid in self.node_pids)
        self.samples.append((round(time.monotonic() - self.start_time, 3),
                             harness.rss_now_kib(self.pid) / 1024, nodes / 1024))
        return self.samples[-1]

    def stop(self):
        self.ended.set()
        self.join()


class SilentClients:
    """Ask for much and read nothing."""

    def __init__(self, port, keys):
        self.sockets = []
        for number in range(SILENT_CLIENTS):
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            self.sockets.append(sock)
            names = [b"b%d:%08d" % (SILENT_SIZE, (number + i) % keys) for i in range(SILENT_GETS)]
            sock.sendall(b"".join(harness.encode(b"GET", name) for name in names))

    def close(self):
        for sock in self.sockets:
            sock.close()


class MemoryBench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.cpus = harness.placement("A")
        self.load_binary = harness.tool_path("bench_load", options.tools)
        self.nodes = None

    def start_nodes(self):
        """New ones for each measurement: what they hold unsent for silent clients counts against
        maxmemory, so the last peer's clients may have driven out the next one's keys."""
        self.stop_nodes()
        self.nodes = harness.Nodes(harness.find_program("redis-server"), self.cpus["nodes"],
                                   self.directory, maxmemory="4gb")

    def stop_nodes(self):
        if self.nodes:
            self.nodes.stop()
            self.nodes = None

    def load(self, peer, load, arguments):
        return harness.LoadRun(self.load_binary, peer.address,
                               [*load.arguments(10000), *arguments], self.cpus["load"])

    def fill(self, *loads):
        for load in loads:
            harness.fill_nodes(self.load_binary, self.nodes, self.cpus["load"], load, 10000)

    def silent(self, peer):
        """Small requests by the clock; silent clients come after a second, and go at the end."""
        held = Load("get", SILENT_SIZE, 1, keys=16)
        self.fill(SMALL, held)
        peer.start(self.nodes, self.cpus["proxy"], self.directory, SMALL.value_size,
                   patience=PATIENCE_S, memory=f"{MEMORY_LIMIT_MB}mb")
        # The start that it is to come back to is that of a proxy which has seen a large value.
        self.load(peer, held, ["-t", 0.3]).report(30)
        hold = self.options.hold
        sampler = Sampler(peer.process.pid, self.nodes.pids)
        sampler.start()
        small = self.load(peer, SMALL, ["-w", 1, "-t", hold])
        clients = None
        try:
            time.sleep(1)
            come = len(sampler.samples)
            clients = SilentClients(peer.port, held.keys)
            told = small.report(hold + 20)
            gone = sampler.take()[0]
            clients.close()
            start = statistics.median(mb for _, mb, _ in sampler.samples[come // 2:come])
            after = self.wait_settled(sampler, start)
        finally:
            small.kill()
            sampler.stop()
            if clients:
                clients.close()
        if not peer.is_alive():
            raise BenchError(f"{peer.name} ended: {peer.process.log_tail()}")
        return {"start": start, "peak": peer.rss_peak_kib() / 1024, "after": after, "gone": gone,
                "nodes_start": sampler.samples[come - 1][2],
                "nodes_peak": max(mb for _, _, mb in sampler.samples),
                "p50": told["p50_us"], "p99": told["p99_us"], "max": told["max_us"],
                "requests": told["requests"], "bad": harness.bad_of(told),
                "bad_words": harness.bad_words(told),
                "samples": [sample[:2] for sample in sampler.samples]}

    @staticmethod
    def wait_settled(sampler, start):
        """Waits for the memory to come back, SETTLE_S at most, and returns what is left."""
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            time.sleep(0.25)
            if sampler.samples[-1][1] <= start * 1.05:
                break
        return sampler.samples[-1][1]

    def streaming(self, peer):
        self.fill(STREAMING)
        peer.start(self.nodes, self.cpus["proxy"], self.directory, STREAMING.value_size,
                   patience=PATIENCE_S)
        told = self.load(peer, STREAMING, ["-w", 0.5, "-t", self.options.hold / 2]).report(60)
        return {"peak": peer.rss_peak_kib() / 1024, "rps": told["rps"], "p99": told["p99_us"],
                "bad": harness.bad_of(told), "bad_words": harness.bad_words(told)}


def free_memory_mb():
    return harness.read_field_kib("/proc/meminfo", "MemAvailable") / 1024


def run(options, network):
    """Returns a part for the summary: figures, targets and tables."""
    notes = []
    results = {}
    with tempfile.TemporaryDirectory(prefix="sumcache-memory-") as directory:
        bench = MemoryBench(options, directory)
        try:
            peers, missing = available_peers(options)
            notes += missing
            peers = [peer for peer in peers if peer.is_proxy and peer.name != "nogather"]
            if free_memory_mb() < FREE_MEMORY_MB:
                raise BenchError(f"the memory bench needs {FREE_MEMORY_MB:,} MB of free memory")
            for peer in peers:
                results[peer.name] = run_peer(bench, peer, notes)
        finally:
            bench.stop_nodes()
    facts = harness.machine_facts(network)
    facts.append(", ".join(f"{p.name} {p.version}" for p in peers if p.version) + ".")
    part = {"part": "memory", "title": "Memory", "command": harness.shown_command(),
            "facts": facts, "notes": notes, "results": results}
    part["targets"] = targets(results.get(SUBJECT))
    part["tables"] = tables(results)
    return part


def run_peer(bench, peer, notes):
    result = {}
    for name, measure in (("silent", bench.silent), ("streaming", bench.streaming)):
        try:
            bench.start_nodes()
            result[name] = measure(peer)
        except (BenchError, OSError) as error:
            notes.append(f"{peer.name}, {name}: {error}")
            result[name] = None
        finally:
            peer.stop()
        told = {k: v for k, v in (result[name] or {}).items() if k != "samples"}
        if told.get("bad_words"):
            notes.append(f"{peer.name}, {name}: {told['bad_words']}")
        print(f"memory: {peer.name}, {name}: {told}", file=sys.stderr)
    return result


def judge(value, limit, unit):
    return MET if value <= limit else f"**missed** by {value - limit:,.1f} {unit}"


def targets(result):
    """Absolute ones: each was measured once."""
    if not result:
        return []
    judged = []

    def add(what, limit, measured, words):
        judged.append({"what": what, "limit": limit, "measured": measured, "verdict": words})

    silent = result["silent"]
    what = f"{SILENT_CLIENTS} clients GET {SILENT_GETS} × 5 MB and never read"
    if silent:
        add(f"{what}: RSS peak", f"≤ {MEMORY_LIMIT_MB} MB (limits.memory)",
            f"{silent['peak']:.1f} MB", judge(silent["peak"], MEMORY_LIMIT_MB, "MB"))
        add(f"{what}: others are served", "all",
            f"{silent['bad']:,} bad, p99 {silent['p99'] / 1000:.0f} ms",
            MET if silent["bad"] == 0 else "**missed**")
        limit = BACK_WITHIN * silent["start"]
        add(f"{what}: RSS after they left", f"≤ {BACK_WITHIN:g} × start ({limit:.1f} MB)",
            f"{silent['after']:.1f} MB", judge(silent["after"], limit, "MB"))
    streaming = result["streaming"]
    if streaming:
        bad = streaming["bad"]
        add(f"{STREAMING.clients} clients GET 5 MiB and read: RSS peak",
            f"≤ {STREAMING_MAX_MB} MB", f"{streaming['peak']:.1f} MB",
            judge(streaming["peak"], STREAMING_MAX_MB, "MB") if bad == 0
            else f"**void**: {bad:,} requests went wrong")
    return judged


def figures(result, fields):
    """One table cell per (field, digits, factor); dashes when nothing was measured."""
    if not result:
        return ["–"] * len(fields)
    return [f"{result[field] * factor:,.{digits}f}" for field, digits, factor in fields]


def tables(results):
    us = 1 / 1000
    lines = [f"{SILENT_CLIENTS} clients ask for {SILENT_GETS} values of 5 MB each and read nothing; "
             f"{SMALL.clients} others GET 1 KiB, {SMALL.rate:,} a second by the clock. sumcache "
             f"runs with `limits.memory: {MEMORY_LIMIT_MB}mb`, and all wait {PATIENCE_S} s for a node. RSS of the proxy in MB at the start, "
             "at most, and after they left; of the three nodes together; then what the others got.",
             "",
             "| | start | peak | after | nodes: start | peak | others: p50 ms | p99 ms | max ms "
             "| bad |", "|---|" + "--:|" * 9]
    for name, result in results.items():
        lines.append(f"| {name} | " + " | ".join(figures(result["silent"], [
            ("start", 1, 1), ("peak", 1, 1), ("after", 1, 1), ("nodes_start", 0, 1),
            ("nodes_peak", 0, 1), ("p50", 2, us), ("p99", 2, us), ("max", 1, us), ("bad", 0, 1)])) + " |")
    lines += ["", f"{STREAMING.clients} clients GET 5 MiB, one after the other, and read.", "",
              "| | RSS peak MB | values per s | p99 ms | bad |", "|---|" + "--:|" * 4]
    for name, result in results.items():
        lines.append(f"| {name} | " + " | ".join(figures(result["streaming"], [
            ("peak", 1, 1), ("rps", 0, 1), ("p99", 0, us), ("bad", 0, 1)])) + " |")
    return [*lines, ""]


def page(part):
    lines = ["# Memory", "", f"`{part['command']}`", "",
             *[f"* {fact}" for fact in part["facts"]],
             *[f"* Note: {note}." for note in part["notes"]], ""]
    if part["targets"]:
        lines += ["## Targets", "", "| | target | measured | |", "|---|--:|--:|---|",
                  *[f"| {t['what']} | {t['limit']} | {t['measured']} | {t['verdict']} |"
                    for t in part["targets"]], ""]
    return "\n".join([*lines, "## Figures", "", *part["tables"]]).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=float, default=8.0,
                        help="seconds for which the silent clients stay (8)")
    harness.add_common_options(parser)
    options = parser.parse_args()
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    harness.raise_file_limit(30000)
    try:
        text = page(run(options, network))
    except BenchError as error:
        print(f"memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    directory = options.out or os.path.join(harness.ROOT, "bench", "results", "raw", "part")
    os.makedirs(directory, exist_ok=True)
    harness.write_file(os.path.join(directory, "memory.md"), text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

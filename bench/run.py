#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares sumcache with its peers, interleaved in one run. README.md explains the figures."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import harness
from harness import BenchError

SUBJECT = "sumcache"
FOREIGN_LIMIT = 0.15  # more CPU than this share of the machine used by others spoils a figure


class Workload:
    def __init__(self, name, title, command, value_size, connections, pipeline=1):
        self.name = name
        self.title = title
        self.command = command
        self.value_size = value_size
        self.connections = connections
        self.pipeline = pipeline


WORKLOADS = [
    Workload("get1k-c50", "GET 1 KiB, 50 connections", "get", 1024, 50),
    Workload("set1k-c50", "SET 1 KiB, 50 connections", "set", 1024, 50),
    Workload("get1k-c1000", "GET 1 KiB, 1,000 connections", "get", 1024, 1000),
    Workload("set1k-c1000", "SET 1 KiB, 1,000 connections", "set", 1024, 1000),
    Workload("get64-p16", "GET 64 B, 50 connections, pipeline 16", "get", 64, 50, 16),
    Workload("mget20", "MGET of 20 keys, 100 B each, 50 connections", "mget:20", 100, 50),
]

# (workload, peer, limit): CPU of the proxy per request, sumcache over the peer, at most `limit`.
TARGETS = [
    ("get1k-c50", "floor", 1.3),
    ("get1k-c50", "twemproxy", 0.75),
    ("get1k-c1000", "twemproxy", 0.8),
    ("get64-p16", "haproxy", 0.9),
]
TARGET_LAYOUTS = ("B", "S")


class Bench:
    """One layout: its nodes, its peers, its results."""

    def __init__(self, options, layout, directory):
        self.options = options
        self.layout = layout
        self.directory = directory
        self.places = harness.placement(layout)
        self.load_binary = harness.tool_path("bench_load", options.tools)
        self.notes = []
        self.results = {}  # workload name → peer name → one dict per round, None if it failed
        self.nodes = harness.Nodes(harness.find_program("redis-server"), self.places["nodes"],
                                   directory)

    def stop(self):
        self.nodes.stop()

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print(f"bench: {text}", file=sys.stderr)

    def load(self, port, arguments, bound):
        """Runs bench_load on its CPUs and returns what it reports."""
        argv = [self.load_binary, "-a", f"127.0.0.1:{port}", *map(str, arguments)]
        done = subprocess.run(
            argv, capture_output=True, timeout=bound, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, self.places["load"]))
        if done.returncode != 0:
            raise BenchError(done.stderr.decode().strip().splitlines()[-1])
        return json.loads(done.stdout)

    def fill(self, workload):
        """Every node holds every key, so it does not matter how a peer spreads them."""
        for port in self.nodes.ports:
            report = self.load(port, ["-d", "set", "-o", "-s", workload.value_size, "-P", 16,
                                      "-k", self.options.keys, "-t", 60], 90)
            if report["requests"] != self.options.keys or report["errors"] > 0:
                raise BenchError(f"cannot fill the nodes: {report}")

    def measure(self, peer, workload):
        pids = peer.pids
        arguments = ["-d", workload.command, "-s", workload.value_size, "-k", self.options.keys,
                     "-c", workload.connections, "-P", workload.pipeline,
                     "-w", self.options.warmup, "-t", self.options.seconds]
        if self.options.verify and peer.name != "floor":
            arguments.append("-v")
        for pid in pids + self.nodes.pids:
            arguments += ["-p", pid]
        report = self.load(peer.port, arguments,
                           self.options.warmup + self.options.seconds + 20)
        count = report["requests"]
        if count == 0:
            raise BenchError("not one request was answered")
        cpu = report["cpu"]

        def total(which, field):
            return sum(cpu[str(pid)][field] for pid in which)

        proxy_ns = total(pids, "sched_ns")
        nodes_ns = total(self.nodes.pids, "sched_ns")
        all_ns = proxy_ns + nodes_ns + report["load_cpu_ns"]
        self.check_accounts(peer, proxy_ns, total(pids, "stat_ns"))
        capacity = report["seconds"] * 1e9
        cpus = len(os.sched_getaffinity(0))
        return {
            "rps": report["rps"], "p50": report["p50_us"], "p99": report["p99_us"],
            "p999": report["p999_us"],
            "cpu": proxy_ns / count / 1000 if pids else None,
            "nodes_cpu": nodes_ns / count / 1000,
            "load_cpu": report["load_cpu_ns"] / count / 1000,
            "all": all_ns / count / 1000,
            "busy": proxy_ns / capacity if pids else None,
            "rss": peer.rss_peak_kib(),
            "foreign": max(0.0, report["machine_cpu_ns"] - all_ns) / capacity / cpus,
            "bad": report["errors"] + report["misses"] + report["wrong"]
                   + report["lost_connections"],
            "first_error": report["first_error"],
        }

    def check_accounts(self, peer, sched_ns, stat_ns):
        """schedstat is exact and stat counts ticks; far apart, one of them cannot be trusted."""
        if abs(sched_ns - stat_ns) > max(0.1 * sched_ns, 40e6):
            self.note(f"{peer.name}: schedstat says {sched_ns / 1e6:.0f} ms of CPU, "
                      f"stat {stat_ns / 1e6:.0f} ms")

    def run_workload(self, workload, peers):
        rows = self.results[workload.name] = {peer.name: [] for peer in peers}
        running = []
        self.fill(workload)
        try:
            for peer in peers:
                running.append(peer)
                try:
                    peer.start(self.nodes, self.places["proxy"], self.directory,
                               workload.value_size)
                except BenchError as error:
                    self.note(str(error))
                    running.remove(peer)
                    peer.stop()
            for number in range(self.options.rounds):
                for peer in running:
                    rows[peer.name].append(self.run_cell(peer, workload, number))
        finally:
            for peer in running:
                peer.stop()

    def run_cell(self, peer, workload, number):
        try:
            if not peer.is_alive():
                raise BenchError(f"it ended: {peer.process.log_tail()}")
            cell = self.measure(peer, workload)
        except (BenchError, subprocess.TimeoutExpired) as error:
            self.note(f"{peer.name}, {workload.title}: {error}")
            return None
        print(f"{self.layout} {workload.name} round {number + 1}/{self.options.rounds} "
              f"{peer.name}: {cell['rps']:.0f}/s, p99 {cell['p99']:.0f} µs, "
              f"CPU {show(cell['cpu'], 2)}, all {cell['all']:.2f} µs, "
              f"foreign {100 * cell['foreign']:.0f} %", file=sys.stderr)
        if cell["bad"] > 0:
            self.note(f"{peer.name}, {workload.title}: {cell['bad']} errors, misses, wrong "
                      f"replies or lost connections {cell['first_error']}".rstrip())
        if cell["foreign"] > FOREIGN_LIMIT:
            self.note(f"other programs used more than {100 * FOREIGN_LIMIT:.0f} % of the machine "
                      "in some rounds: trust ratios only, and those little")
        return cell


# ---------------------------------------------------------------------- the tables


def show(value, digits, scale=1.0, unit=""):
    return "–" if value is None else f"{value * scale:,.{digits}f}{unit}"


def median(cells, field):
    values = [cell[field] for cell in cells if cell and cell[field] is not None]
    return statistics.median(values) if values else None


def paired(rows, field, over):
    """Ratios of sumcache to `over`, one per round in which both were measured."""
    pairs = zip(rows.get(SUBJECT, []), rows.get(over, []))
    return [ours[field] / theirs[field] for ours, theirs in pairs
            if ours and theirs and ours[field] and theirs[field]]


def show_ratios(ratios):
    if not ratios:
        return "–"
    return f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"


def workload_table(workload, rows):
    lines = [f"### {workload.title}", "",
             "| | rps | p50 µs | p99 µs | p99.9 µs | CPU µs | nodes µs | load µs | **all µs** "
             "| busy | RSS peak MB | foreign | bad |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for name, cells in rows.items():
        if not any(cells):
            lines.append(f"| {name} |" + " – |" * 12)
            continue
        figures = [show(median(cells, "rps"), 0), show(median(cells, "p50"), 0),
                   show(median(cells, "p99"), 0), show(median(cells, "p999"), 0),
                   show(median(cells, "cpu"), 2), show(median(cells, "nodes_cpu"), 2),
                   show(median(cells, "load_cpu"), 2), show(median(cells, "all"), 2),
                   show(median(cells, "busy"), 0, 100, " %"),
                   show(max((c["rss"] or 0 for c in cells if c), default=0) or None, 1, 1 / 1024),
                   show(median(cells, "foreign"), 0, 100, " %"),
                   str(sum(c["bad"] for c in cells if c))]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return lines + [""]


def ratio_table(bench, peers):
    """Only peers that ran; `all` has no column for the floor, which has no nodes behind it."""
    others = [p.name for p in peers if p.name not in (SUBJECT, "direct")]
    served = [name for name in others if name != "floor"]
    lines = ["## sumcache over its peers", "",
             "Below 1 is cheaper. Median of the rounds' paired ratios (smallest–largest).", "",
             "| | " + " | ".join([f"CPU / {name}" for name in others]
                                 + [f"all / {name}" for name in served]) + " |",
             "|---|" + "--:|" * (len(others) + len(served))]
    for workload in WORKLOADS:
        rows = bench.results.get(workload.name)
        if rows is None:
            continue
        figures = [show_ratios(paired(rows, "cpu", name)) for name in others]
        figures += [show_ratios(paired(rows, "all", name)) for name in served]
        lines.append(f"| {workload.title} | " + " | ".join(figures) + " |")
    return lines + [""]


def target_table(bench):
    if bench.layout not in TARGET_LAYOUTS:
        return []
    lines = ["## Targets", "", "| CPU per request | target | measured | |", "|---|--:|--:|---|"]
    for name, peer, limit in TARGETS:
        rows = bench.results.get(name)
        if rows is None:
            continue
        title = next(w.title for w in WORKLOADS if w.name == name)
        ratios = paired(rows, "cpu", peer)
        verdict = "not measured"
        if ratios:
            miss = statistics.median(ratios) / limit - 1
            verdict = "met" if miss <= 0 else f"missed by {100 * miss:.1f} %"
        lines.append(f"| {title} | ≤ {limit:g} × {peer} | {show_ratios(ratios)} | {verdict} |")
    return lines + [""]


def markdown(bench, peers, facts):
    options = bench.options
    versions = ", ".join(f"{p.name} {p.version}" for p in peers if p.version)
    lines = [f"# Bench, layout {bench.layout}", "",
             f"`{harness.shown_command()}`", "",
             *[f"* {fact}" for fact in facts],
             f"* {versions}.",
             f"* {options.rounds} interleaved rounds, {options.seconds:g} s each after "
             f"{options.warmup:g} s of warm-up, {options.keys:,} keys"
             f"{', every byte verified' if options.verify else ''}. Medians.",
             "* CPU, nodes, load, all: µs of CPU per request of the proxy, of the three nodes, of "
             "the load generator, of all together. busy: the proxy's share of one core. foreign: "
             "the share of the machine that other programs used. bad: errors, misses, wrong "
             "replies and lost connections. Explained in [bench/README.md](../README.md)."]
    lines += [f"* Note: {note}." for note in bench.notes]
    lines.append("")
    if any(p.name == SUBJECT for p in peers):
        lines += target_table(bench) + ratio_table(bench, peers)
    lines += ["## Figures", ""]
    for workload in WORKLOADS:
        if workload.name in bench.results:
            lines += workload_table(workload, bench.results[workload.name])
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------------- the run


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="3 short rounds: a look, not a measurement")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=float, help="measured window per cell (1.5)")
    parser.add_argument("--warmup", type=float, help="seconds before it (0.4)")
    parser.add_argument("--keys", type=int, default=10000, help="key space (10000)")
    parser.add_argument("--layout", default=None, metavar="B|S|A",
                        help="one or several with commas (B, and S too on a machine with fewer "
                             "than four CPUs)")
    parser.add_argument("--only", metavar="W,…",
                        help="only these workloads: " + ", ".join(w.name for w in WORKLOADS))
    parser.add_argument("--verify", action="store_true", help="compare every byte of every value")
    parser.add_argument("--json", metavar="FILE", help="every round's figures, for other tools")
    harness.add_common_options(parser)
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (0.5 if options.quick else 1.5)
    if options.warmup is None:
        options.warmup = 0.2 if options.quick else 0.4
    if options.layout is None:
        options.layout = "B,S" if len(os.sched_getaffinity(0)) < 4 else "B"
    options.layouts = options.layout.split(",")
    for layout in options.layouts:
        if layout not in harness.LAYOUTS:
            parser.error(f"there is no layout {layout!r}")
    known = {w.name for w in WORKLOADS}
    options.workloads = options.only.split(",") if options.only else sorted(known)
    for name in options.workloads:
        if name not in known:
            parser.error(f"there is no workload {name!r}")
    if not (1 <= options.rounds <= 1000 and 0.05 <= options.seconds <= 600
            and 0 <= options.warmup <= 60 and 1 <= options.keys <= 65536):
        parser.error("rounds, seconds, warm-up or keys out of bounds")
    return options


def run_layout(options, layout, network, raw):
    with tempfile.TemporaryDirectory(prefix="sumcache-bench-") as directory:
        bench = Bench(options, layout, directory)
        try:
            peers, missing = harness.available_peers(options)
            for text in missing:
                bench.note(text)
            for workload in WORKLOADS:
                if workload.name in options.workloads:
                    bench.run_workload(workload, peers)
        finally:
            bench.stop()
    text = markdown(bench, peers, harness.machine_facts(network, layout))
    # A quick look is no result: it goes where git does not see it.
    path = os.path.join(harness.ROOT, "bench", "results", "raw" if options.quick else "",
                        f"layout-{layout}.md")
    if options.out:
        stem, end = os.path.splitext(options.out)
        path = options.out if len(options.layouts) == 1 else f"{stem}-{layout}{end}"
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    harness.write_file(path, text)
    print(text)
    print(f"bench: written to {os.path.relpath(path)}", file=sys.stderr)
    raw[layout] = bench.results


def main():
    options = read_options()
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    harness.raise_file_limit(30000)
    raw = {}
    try:
        for layout in options.layouts:
            run_layout(options, layout, network, raw)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if options.json and raw:
            harness.write_file(options.json, json.dumps(raw, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

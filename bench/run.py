#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares sumcache with its peers, interleaved in one run. README.md explains the figures."""

import argparse
import concurrent.futures
import contextlib
import json
import os
import sys
import tempfile
import time

import guard
import harness
import idle
import memory
import plots
import report
import workloads
from harness import BenchError
from peers import available_peers
from stats import ROUNDS_MIN
from workloads import BESIDE, CLOSED, EXTRA_PARTS, MIXED, OPEN, WORKLOADS

FOREIGN_LIMIT = 0.15  # more CPU than this share of the machine used by others spoils a figure


class Bench:
    """One layout: its nodes, its peers, its results."""

    def __init__(self, options, layout, directory):
        self.options = options
        self.layout = layout
        self.directory = directory
        self.places = harness.placement(layout)
        self.load_binary = harness.tool_path("bench_load", options.tools)
        self.notes = []
        self.bad = {}  # (peer name, workload) → what went wrong, one line per round
        self.results = {}  # workload name → peer name → one dict per round, None if it failed
        self.abreast = {}  # the same, of a guard's rounds in which both run at once
        self.nodes = harness.Nodes(harness.find_program("redis-server"), self.places["nodes"],
                                   directory)

    def stop(self):
        self.nodes.stop()

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print(f"bench: {text}", file=sys.stderr)

    def start_load(self, peer, load, arguments):
        return harness.LoadRun(self.load_binary, peer.address,
                               [*load.arguments(self.options.keys), *arguments],
                               self.places["load"])

    def measure(self, peer, workload, background=()):
        """One window of the workload's own load; `background` are loads that go on meanwhile."""
        seconds = self.options.seconds * (2.5 if workload.long else 1)
        arguments = ["-w", self.options.warmup, "-t", seconds]
        if self.options.verify and peer.name != "floor":
            arguments.append("-v")
        pids = peer.pids
        load_pids = [load.pid for load in background]
        for pid in pids + self.nodes.pids + load_pids:
            arguments += ["-p", pid]
        told = self.start_load(peer, workload.load, arguments)
        told = told.report(self.options.warmup + seconds + 20)
        if told["requests"] == 0:
            raise BenchError("not one request was answered")
        return self.cell(peer, workload, told, pids, load_pids)

    def cell(self, peer, workload, told, pids, load_pids):
        """The figures of one window. What is per request is so only where one load ran."""
        cpu = told["cpu"]

        def total(which, field):
            return sum(cpu[str(pid)][field] for pid in which)

        proxy_ns = total(pids, "sched_ns")
        nodes_ns = total(self.nodes.pids, "sched_ns")
        load_ns = told["load_cpu_ns"] + total(load_pids, "sched_ns")
        all_ns = proxy_ns + nodes_ns + load_ns
        self.check_accounts(peer, proxy_ns, total(pids, "stat_ns"))
        capacity = told["seconds"] * 1e9
        cell = {
            "rps": told["rps"], "p50": told["p50_us"], "p99": told["p99_us"],
            "p999": told["p999_us"], "max": told["max_us"],
            "busy": proxy_ns / capacity if pids else None,
            "cores": all_ns / capacity,
            "rss": peer.rss_peak_kib(),
            "foreign": max(0.0, told["machine_cpu_ns"] - all_ns) / capacity
                       / len(os.sched_getaffinity(0)),
            "bad": harness.bad_of(told), "bad_words": harness.bad_words(told),
            "misses": told["misses"],
        }
        if workload.kind not in MIXED:
            each = told["requests"] * 1000
            cell.update(cpu=proxy_ns / each if pids else None, nodes_cpu=nodes_ns / each,
                        load_cpu=load_ns / each, all=all_ns / each)
        return cell

    def measure_mixed(self, peer, workload):
        """The small load beside the others; for BESIDE alone first."""
        alone = self.measure(peer, workload) if workload.kind == BESIDE else None
        background = {}
        try:
            for word, load in workload.beside.items():
                background[word] = self.start_load(peer, load, ["-t", 300])
            if workload.long:
                time.sleep(self.options.seconds)  # slow readers fill what there is to fill
            cell = self.measure(peer, workload, background.values())
            for word, run in background.items():
                told = run.end()
                cell[f"{word}_rate"] = told["rps"]
                cell[f"{word}_p50"] = told["p50_us"]
                cell[f"{word}_p99"] = told["p99_us"]
                bad = harness.bad_of(told, workload.beside[word].read_rate is not None)
                cell["bad"] += bad
                cell["misses"] += told["misses"]
                if bad > 0:
                    cell["bad_words"] += f" {word}: {harness.bad_words(told)}"
        finally:
            for run in background.values():
                run.kill()
        if alone:
            cell["alone_p50"] = alone["p50"]
            cell["alone_p99"] = alone["p99"]
            cell["bad"] += alone["bad"]
            cell["misses"] += alone["misses"]
            cell["bad_words"] += alone["bad_words"]
            cell["p99_ratio"] = cell["p99"] / alone["p99"]
        return cell

    def check_accounts(self, peer, sched_ns, stat_ns):
        """schedstat is exact and stat counts ticks; far apart, one of them cannot be trusted."""
        if abs(sched_ns - stat_ns) > max(0.1 * sched_ns, 60e6):
            self.note(f"{peer.name}: schedstat says {sched_ns / 1e6:.0f} ms of CPU, "
                      f"stat {stat_ns / 1e6:.0f} ms")

    def run_workload(self, workload, peers):
        peers = [peer for peer in peers if peer.name not in workload.without]
        rounds = self.options.rounds
        if workload.long:
            rounds = max(1, rounds // 3)
        for load in workload.loads:
            harness.fill_nodes(self.load_binary, self.nodes, self.places["load"], load,
                               self.options.keys)
        with self.started(peers, workload) as running:
            if not (self.options.against and workload.kind in MIXED):
                self.run_in_turns(workload, peers, running, rounds)
            if self.options.against and workload.kind != CLOSED:
                self.run_abreast(workload.half(), peers, running, rounds)

    @contextlib.contextmanager
    def started(self, peers, workload):
        """Those of the peers that could be started."""
        running = []
        try:
            for peer in peers:
                running.append(peer)
                try:
                    peer.start(self.nodes, self.places["proxy"], self.directory,
                               workload.load.value_size)
                except BenchError as error:
                    self.note(str(error))
                    running.remove(peer)
                    peer.stop()
            yield running
        finally:
            for peer in running:
                peer.stop()

    def run_in_turns(self, workload, peers, running, rounds):
        rows = self.results[workload.name] = {peer.name: [] for peer in peers}
        for number in range(rounds):
            # Who comes first changes, so that nobody always runs behind the same neighbour.
            shift = number % len(running) if running else 0
            for peer in running[shift:] + running[:shift]:
                rows[peer.name].append(self.run_cell(peer, workload, number, rounds))

    def run_abreast(self, workload, peers, running, rounds):
        """All at once, each with its part of the load: what delays one delays the other. Latency of
        windows in turns says more of the machine than of the program."""
        rows = self.abreast[workload.name] = {peer.name: [] for peer in peers}
        with concurrent.futures.ThreadPoolExecutor(max(1, len(running))) as pool:
            for number in range(rounds):
                cells = [pool.submit(self.run_cell, peer, workload, number, rounds, False)
                         for peer in running]
                for peer, cell in zip(running, cells):
                    rows[peer.name].append(cell.result())

    def run_cell(self, peer, workload, number, rounds, is_alone=True):
        try:
            if not peer.is_alive():
                raise BenchError(f"it ended: {peer.process.log_tail()}")
            measure = self.measure_mixed if workload.kind in MIXED else self.measure
            cell = measure(peer, workload)
        except BenchError as error:
            self.note(f"{peer.name}, {workload.short}: {error}")
            return None
        words = [f"{self.layout} {workload.name} round {number + 1}/{rounds} {peer.name}: "
                 f"{cell['rps']:.0f}/s", f"p99 {cell['p99']:.0f} µs"]
        if workload.kind in MIXED:
            words += [f"{name} {value:.2f}" for name, value in cell.items()
                      if name in ("alone_p99", "p99_ratio", "large_rate", "large_p99")]
        else:
            words.append(f"CPU {report.show(cell['cpu'], 2)}, all {cell['all']:.2f} µs")
        print(", ".join([*words, f"foreign {100 * cell['foreign']:.0f} %"]), file=sys.stderr)
        if cell["bad"] > 0:
            bad = self.bad.setdefault((peer.name, workload.short), [])
            bad.append(f"round {number + 1}: {cell['bad_words'].strip()}")
        if workload.kind == OPEN and cell["rps"] < 0.98 * workload.load.rate:
            self.note(f"{peer.name}, {workload.short}: not all of it was asked and answered")
        if cell["foreign"] > FOREIGN_LIMIT and is_alone:
            self.note(f"other programs used more than {100 * FOREIGN_LIMIT:.0f} % of the machine "
                      "in some rounds: trust ratios only, and those little")
        return cell


# ---------------------------------------------------------------------- the run


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="few short rounds of most things: a look, not a measurement")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (9)")
    parser.add_argument("--seconds", type=float, help="measured window per cell (1)")
    parser.add_argument("--warmup", type=float, help="seconds before it (0.3)")
    parser.add_argument("--keys", type=int, default=10000, help="key space (10000)")
    parser.add_argument("--layout", default=None, metavar="B|S|A",
                        help="one or several with commas (B and A, and S on a machine with fewer "
                             "than four CPUs)")
    parser.add_argument("--only", metavar="W,…", help="only these: " + ", ".join(
        [*(w.name for w in WORKLOADS), *EXTRA_PARTS]))
    parser.add_argument("--against", metavar="OLD_BINARY",
                        help="only sumcache and this other sumcache, (100 short rounds): exit "
                             "status 1 unless every figure is shown to be no worse")
    parser.add_argument("--verify", action="store_true", help="compare every byte of every value")
    parser.add_argument("--json", metavar="FILE", help="every round's figures, for other tools")
    harness.add_common_options(parser)
    options = parser.parse_args()
    choose_lengths(options)
    choose_parts(options, parser)
    if not (1 <= options.rounds <= 1000 and 0.05 <= options.seconds <= 600
            and 0 <= options.warmup <= 60 and 1 <= options.keys <= 65536):
        parser.error("rounds, seconds, warm-up or keys out of bounds")
    # What is not whole is no result: it goes where git does not see it.
    options.is_look = options.out is None and bool(
        options.quick or options.only or options.peers or options.against)
    if options.out is None:
        results = os.path.join(harness.ROOT, "bench", "results")
        options.out = os.path.join(results, "raw", "part") if options.is_look else results
    return options


def choose_lengths(options):
    if options.against:
        # Many and short: the machine's speed drifts, and what lies close together drifts alike.
        options.rounds = options.rounds or (ROUNDS_MIN if options.quick else 100)
        options.seconds = options.seconds or 0.15
        options.warmup = 0.1 if options.warmup is None else options.warmup
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.seconds = options.seconds or (0.2 if options.quick else 1.0)
    if options.warmup is None:
        options.warmup = 0.1 if options.quick else 0.3
    options.clients = 1000 if options.quick else 10000  # for idle.py
    options.hold = 2.0 if options.quick else 8.0  # for memory.py


def choose_parts(options, parser):
    """Sets options.plan, a list of (layout, workloads), and options.parts, those beside layouts."""
    few_cpus = len(os.sched_getaffinity(0)) < 4
    default = "B,S,A" if few_cpus and not options.quick else "B,A"
    layouts = (options.layout or default).split(",")
    for layout in layouts:
        if layout not in harness.LAYOUTS:
            parser.error(f"there is no layout {layout!r}")
    known = {w.name for w in WORKLOADS} | set(EXTRA_PARTS)
    wanted = options.only.split(",") if options.only else sorted(known)
    for name in wanted:
        if name not in known:
            parser.error(f"there is no workload {name!r}")
    options.plan = []
    for layout in layouts:
        chosen = [w for w in WORKLOADS if w.name in wanted and (
            options.only or (layout in w.layouts and (w.in_quick or not options.quick)))]
        if chosen:
            options.plan.append((layout, chosen))
    # A guard compares figures that are measured in turns; those of the other parts are taken once.
    options.parts = [part for part in EXTRA_PARTS if part in wanted and not options.against and (
        options.only or (not options.layout and not (options.quick and part == workloads.IDLE)))]


def run_layout(options, layout, chosen, network):
    """Returns what report.py and plots.py need to know about a layout."""
    with tempfile.TemporaryDirectory(prefix="sumcache-bench-") as directory:
        bench = Bench(options, layout, directory)
        try:
            peers, missing = available_peers(options)
            for text in missing:
                bench.note(text)
            for workload in chosen:
                bench.run_workload(workload, peers)
        finally:
            bench.stop()
    versions = ", ".join(f"{p.name} {p.version}" for p in peers if p.version)
    for (name, short), rounds in bench.bad.items():
        bench.note(f"{name}, {short}: {rounds[0]}"
                   + (f"; and in {len(rounds) - 1} other rounds" if len(rounds) > 1 else ""))
    facts = harness.machine_facts(network, layout)
    facts.append(f"{versions}.")
    facts.append(f"{options.rounds} interleaved rounds, {options.seconds:g} s each after "
                 f"{options.warmup:g} s of warm-up"
                 + (", every byte verified" if options.verify else "") + ". Medians.")
    return {"part": layout, "command": harness.shown_command(), "facts": facts,
            "notes": bench.notes, "proxies": [p.name for p in peers if p.is_proxy],
            "peers": [p.name for p in peers], "results": bench.results, "abreast": bench.abreast}


def keep(options, name, text, raw):
    """Writes a part's page, and its figures for the summary, which is made of all parts."""
    raw_directory = os.path.join(options.out, "raw")
    os.makedirs(raw_directory, exist_ok=True)
    path = os.path.join(options.out, f"{name}.md")
    harness.write_file(path, text)
    harness.write_file(os.path.join(raw_directory, f"{name}.json"),
                       json.dumps(raw, indent=1) + "\n")
    print(text)
    print(f"bench: written to {os.path.relpath(path)}", file=sys.stderr)


def run_all(options, network, raw):
    """Runs every part. One that cannot be run is told and does not stop the others. Returns
    whether all could."""
    jobs = [(f"layout-{layout}", lambda layout=layout, chosen=chosen:
             run_layout(options, layout, chosen, network),
             guard.page if options.against else report.layout_page)
            for layout, chosen in options.plan]
    if workloads.MEMORY in options.parts:
        jobs.append(("memory", lambda: memory.run(options, network), memory.page))
    if workloads.IDLE in options.parts:
        jobs.append(("idle", lambda: idle.run(options, network), idle.page))
    all_ran = True
    for name, job, page in jobs:
        try:
            raw[name] = job()
            keep(options, name, page(raw[name]), raw[name])
        except BenchError as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            all_ran = False
    return all_ran


def forget_part_runs(options):
    """The summary of a look is of that look alone; that of results is of all parts there are."""
    raw_directory = os.path.join(options.out, "raw")
    if options.is_look and os.path.isdir(raw_directory):
        for name in os.listdir(raw_directory):
            os.unlink(os.path.join(raw_directory, name))


def finish(options):
    """Makes plots and summary of all parts that lie there, also those of an earlier run."""
    parts = {}
    for name in ("layout-B", "layout-S", "layout-A", "memory", "idle"):
        with contextlib.suppress(FileNotFoundError):
            path = os.path.join(options.out, "raw", f"{name}.json")
            with open(path, encoding="utf-8") as file:
                parts[name] = json.load(file)
    drawn = plots.draw_all(parts, options.out)
    harness.write_file(os.path.join(options.out, "summary.md"), report.summary(parts, drawn))
    print(f"bench: summary in {os.path.relpath(options.out)}/summary.md", file=sys.stderr)


def main():
    options = read_options()
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    harness.raise_file_limit(30000)
    raw = {}
    try:
        forget_part_runs(options)
        all_ran = run_all(options, network, raw)
        if options.against:
            return 0 if all_ran and guard.all_no_worse(raw.values()) else 1
        finish(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if options.json and raw:
            harness.write_file(options.json, json.dumps(raw, indent=1) + "\n")
    return 0 if all_ran else 1


if __name__ == "__main__":
    sys.exit(main())

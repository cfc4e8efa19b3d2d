#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks nodes under a steady load and shows what the clients of each proxy feel.

Four redis-servers, a proxy, and 20,000 requests a second by the clock, of which 5 % are SETs. Each
value carries its key and a version, so a stale and a wrong answer is seen (bench_failover_load). Each
fault in turn, in three phases: control, fault, after. Prints a table per phase and the targets, and
writes bench/results/failover.md with a plot per fault.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time

import failover_faults
import failover_parts as parts
import failover_report as report
import harness
import peers
from harness import BenchError

WORKERS = 2  # of sumcache: with several, a change of the nodes is adopted at different moments
TWEMPROXY_EJECTION = "  auto_eject_hosts: true\n  server_failure_limit: 3\n  server_retry_timeout: 2000\n"
SETTLED_S = 0.3  # from here on the hung node should not be felt
WARM_S = 0.5  # at the begin of the control phase, not counted
LEAD_S = 0.05  # longer than the load takes to begin: then the seconds of the fault are whole ones of its clock
MARGIN_S = 0.15  # at its end: who asks shortly before the fault meets it

Lengths = report.Lengths


def sumcache_argv(binary, where, dns):
    if dns:
        nodes = f'nodes:\n  dns: ["{parts.DNS_NAME}:{where.nodes.list[0].port}"]\ndns:\n  servers: ["127.0.0.1:{dns.port}"]\n'
    else:
        nodes = "nodes:\n  static: [" + ", ".join(f'"{address}"' for address in where.nodes.addresses) + "]\n"
    config = harness.write_file(os.path.join(where.directory, "sumcache.yaml"), (
        f'listen: ["127.0.0.1:{where.port}"]\n{nodes}workers: {WORKERS}\n'))
    return [binary, "--config", config]


def twemproxy_argv(binary, where):
    argv = peers.twemproxy_argv(binary, where)
    path = argv[argv.index("-c") + 1]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    harness.write_file(path, text.replace("  servers:\n", TWEMPROXY_EJECTION + "  servers:\n"))
    return argv


def peer_makers(options):
    """[(name, make(dns) → Peer)], and lines about those that are missing."""
    makers = []
    missing = []
    sumcache = shutil.which(options.sumcache)
    twemproxy = harness.find_program("nutcracker")
    if sumcache:
        path = os.path.abspath(sumcache)
        makers.append((peers.SUBJECT, lambda dns: peers.Peer(
            peers.SUBJECT, harness.version_of(path, "--version"), lambda where: sumcache_argv(path, where, dns))))
    else:
        missing.append("sumcache is not built: left out")
    if twemproxy:
        makers.append(("twemproxy", lambda dns: peers.Peer(
            "twemproxy", harness.version_of(twemproxy, "-V"), lambda where: twemproxy_argv(twemproxy, where))))
    else:
        missing.append("twemproxy is missing: left out")
    for text in [*peers.split_peers(os.environ.get("PEERS", "")), *options.peer]:
        makers.append((peers.peer_from_text(text).name, lambda dns, text=text: peers.peer_from_text(text)))
    if options.peers:
        wanted = options.peers.split(",")
        missing += [f"{name} is asked for but not there" for name in wanted if name not in [maker[0] for maker in makers]]
        makers = [maker for maker in makers if maker[0] in wanted]
    return makers, missing


class Stage:
    """Everything of one run: nodes, what stands before one of them, proxies."""

    def __init__(self, options, fault, make_peer, directory):
        self.options = options
        self.fault = fault
        self.directory = directory
        self.outside = self.relay = self.dns = self.load = None
        self.nodes = parts.Nodes([])
        self.proxies = []
        try:
            self._start(make_peer)
        except BaseException:
            self.stop()
            raise

    @property
    def focus(self):
        return self.nodes.list[0]

    def _start(self, make_peer):
        port = harness.free_port()
        fault = self.fault
        if fault.is_outside:
            self.outside = parts.Outside(self.directory)
        for i in range(fault.nodes):
            host, prefix, address = f"127.0.1.{i + 1}", (), None
            if i == 0 and fault.is_outside:
                host, prefix = self.outside.host, self.outside.prefix
            if i == 0 and fault.is_relayed:
                address = f"127.0.2.1:{port}"
            node = parts.Node(i, host, port, self.directory, prefix, address)
            self.nodes.list.append(node)
            node.start()
        for node in self.nodes.list:
            node.wait()
        if fault.is_relayed:
            self.relay = parts.Relay(os.path.join(self.options.tools, "bench_failover_relay"), self.focus.address,
                                     f"{self.focus.host}:{port}")
        if fault.uses_dns:
            self.dns = parts.Dns(self.directory, [node.host for node in self.nodes.list[:parts.NODES]])
        for _ in range(fault.proxies):
            proxy = make_peer(self.dns)
            self.proxies.append(proxy)
            proxy.start(self.nodes, harness.all_cpus(), self.directory, 0)

    def write_map(self):
        """Which node has which key, as the nodes themselves say: whatever way the proxy spreads them."""
        lines = [f"{key}\t{node.address}\n" for node in self.nodes.list for key in node.keys()]
        return harness.write_file(os.path.join(self.directory, "map"), "".join(lines))

    def start_load(self):
        options = self.options
        arguments = ["--address", ",".join(proxy.address for proxy in self.proxies), "--connections", options.connections,
                     "--rate", options.rate, "--keys", options.keys, "--seconds", options.lengths.total(self.fault) + 30,
                     "--seed", options.seed, "--map", os.path.join(self.directory, "map"),
                     "--probe", "resp3" if self.proxies[0].name == peers.SUBJECT else "resp2"]
        if self.fault.has_focus:
            arguments += ["--focus", self.focus.address]
            arguments += [] if options.shared else ["--apart"]
        self.load = parts.Load(os.path.join(options.tools, "bench_failover_load"), arguments)

    def run(self):
        """Returns what the load says, with the words of who ended that should not have."""
        self.start_load()
        self.write_map()
        foreign = parts.Foreign(self.pids)
        lengths = self.options.lengths
        fault_s = lengths.fault_of(self.fault)
        begun = time.monotonic_ns()
        self.load.go()
        sleep_until(begun, lengths.control + LEAD_S)
        broken = time.monotonic_ns()
        for at, action in self.fault.timeline(self, fault_s):
            sleep_until(broken, at)
            action()
        sleep_until(broken, fault_s)
        healed = time.monotonic_ns()
        sleep_until(healed, lengths.after)
        ended = time.monotonic_ns()
        foreign_share = foreign.share()
        self._tell_windows(begun, broken, healed, ended, fault_s)
        result = self.load.report()
        result["foreign"] = foreign_share
        result["died"] = [proxy.name for proxy in self.proxies if not proxy.is_alive()]
        return result

    def pids(self):
        pids = [node.process.pid for node in self.nodes.list] + [self.load.popen.pid]
        pids += [self.relay.popen.pid] if self.relay else []
        return pids + [pid for proxy in self.proxies for pid in proxy.pids]

    def _tell_windows(self, begun, broken, healed, ended, fault_s):
        out_s = fault_s * self.fault.outage
        for name, origin, after_s, end in (
                ("control", begun, WARM_S, broken - int(MARGIN_S * 1e9)), ("fault", broken, 0, healed), ("after", healed, 0, ended),
                ("out", broken, 0, broken + int(out_s * 1e9)),
                ("settled", broken, SETTLED_S, broken + int(max(out_s, SETTLED_S) * 1e9))):
            self.load.window(name, origin + int(after_s * 1e9), end)

    def stop(self):
        if self.load:
            self.load.kill()
        for proxy in self.proxies:
            proxy.stop()
        if self.relay:
            self.relay.kill()
        for thing in (*self.nodes.list, self.dns, self.outside):
            if thing:
                thing.stop()


def sleep_until(origin_ns, seconds):
    left = origin_ns / 1e9 + seconds - time.monotonic()
    if left > 0:
        time.sleep(left)


def run_once(options, fault, make_peer):
    with tempfile.TemporaryDirectory(prefix="sumcache-failover-") as directory:
        stage = Stage(options, fault, make_peer, directory)
        try:
            return stage.run()
        finally:
            stage.stop()


def raw_path(options, fault, name, number):
    return os.path.join(options.out, "raw", f"failover-{fault.name}-{name}-{number}.json")


def keep(options, fault, name, number, result):
    path = raw_path(options, fault, name, number)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)


def run_fault(options, fault, makers):
    """{peer: [what the load said, per run]}. The order changes from run to run."""
    results = {name: [] for name, _ in makers if fault.suits(name)}
    for number in range(options.runs):
        order = [maker for maker in makers if fault.suits(maker[0])]
        for name, make_peer in order[::-1] if number % 2 else order:
            try:
                result = run_once(options, fault, make_peer)
            except BenchError as error:
                say(f"  {fault.name}, {name}, run {number + 1}: {error}")
                continue
            keep(options, fault, name, number + 1, result)
            results[name].append(result)
            say(f"  {fault.name}, {name}, run {number + 1}: {report.short_words(fault, result)}")
    return {name: loads for name, loads in results.items() if loads}


def kept(options, fault, makers):
    """The same of an earlier run: its raw figures."""
    results = {}
    for name, _ in makers:
        for number in range(options.runs if fault.suits(name) else 0):
            path = raw_path(options, fault, name, number + 1)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    results.setdefault(name, []).append(json.load(file))
    return results


def say(text):
    print(text, flush=True)


def options_read():
    parser = argparse.ArgumentParser(prog="bench/failover", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    harness.add_common_options(parser)
    parser.add_argument("--only", metavar="A,B,…", help="only these faults: " + ", ".join(f.name for f in failover_faults.FAULTS))
    parser.add_argument("--again", metavar="A,B,…",
                        help="only these faults; of the others the raw figures of the last run count")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each fault and peer (5)")
    parser.add_argument("--quick", action="store_true", help="a look: one run, short phases")
    parser.add_argument("--rate", type=float, default=20000, metavar="N", help="requests per second (20000)")
    parser.add_argument("--connections", type=int, default=50, metavar="N")
    parser.add_argument("--shared", action="store_true",
                        help="keys of the broken node and of others share connections, and so wait for each other")
    parser.add_argument("--keys", type=int, default=20000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what the load draws (1)")
    options = parser.parse_args()
    options.lengths = Lengths(2.0, 5.0, 3.0) if options.quick else Lengths(5.0, 15.0, 10.0)
    options.runs = 1 if options.quick else options.runs
    is_part = options.quick or options.only or options.peers or options.runs < 5
    options.out = options.out or os.path.join(harness.ROOT, "bench", "results", *(["raw", "part"] if is_part else []))
    for tool in ("bench_failover_load", "bench_failover_relay"):
        harness.tool_path(tool, options.tools)
    return options


def main():
    options = options_read()
    faults = failover_faults.faults_wanted(options.only)
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    harness.raise_file_limit(4096)
    os.makedirs(options.out, exist_ok=True)
    makers, notes = peer_makers(options)
    if not makers:
        raise BenchError("; ".join(notes) or "nobody to judge")
    seconds = sum(options.runs * (options.lengths.total(fault) + 5) for fault in faults for name, _ in makers if fault.suits(name))
    say(f"failover: {len(faults)} faults, {', '.join(name for name, _ in makers)}; {options.runs} runs; about {seconds / 60:.0f} minutes")
    parts_done = []
    for fault in faults:
        lack = fault.lacks(options)
        if lack or not any(fault.suits(name) for name, _ in makers):
            notes.append(f"{fault.name}: not run: {lack or 'for sumcache only'}")
            say(f"  {notes[-1]}")
            continue
        is_anew = not options.again or fault.name in options.again.split(",")
        results = run_fault(options, fault, makers) if is_anew else kept(options, fault, makers)
        if not results:
            notes.append(f"{fault.name}: not run: nobody came to the end")
            continue
        parts_done.append((fault, results))
        say("\n" + report.fault_text(fault, results) + "\n")
    if options.again:
        notes.append(f"{options.again}: measured at the commit above, the others before")
    notes += report.doubts(parts_done)
    facts = [*harness.machine_facts(network), report.load_words(options, WORKERS)]
    path = report.write_page(options, facts, parts_done, notes)
    say("\n".join([report.targets_text(parts_done), "", *notes]))
    say(f"\n{harness.without_directories(path)} is written; its plots and raw figures lie beside it")
    return 0 if parts_done else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench/failover: {error}")

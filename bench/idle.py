#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a client that only waits costs a proxy: resident memory per idle connection."""

import argparse
import os
import socket
import sys
import tempfile
import time

import harness
from harness import BenchError
from peers import SUBJECT, available_peers, haproxy_clients_max
from stats import MET

TARGET_BYTES = 1024
KEY = b"bench:idle"
VALUE = b"v" * 100
REQUEST = harness.encode(b"GET", KEY)
STATES = ("never used", "after one GET each", "after one GET of all at once", "after they left")


class Clients:
    """Many connections that one script holds open."""

    def __init__(self, port):
        self.port = port
        self.sockets = []

    def open(self, count):
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            self.sockets.append(sock)

    def get_by_last(self):
        self.sockets[-1].sendall(REQUEST)
        read_value(self.sockets[-1])

    def get_in_turn(self):
        """Returns how many were answered by an error."""
        errors = 0
        for sock in self.sockets:
            sock.sendall(REQUEST)
            errors += not read_value(sock)
        return errors

    def get_at_once(self):
        for sock in self.sockets:
            sock.sendall(REQUEST)
        return sum(not read_value(sock) for sock in self.sockets)

    def close(self):
        for sock in self.sockets:
            sock.close()
        self.sockets = []


def read_value(sock):
    """Reads one reply: true for a value (of any length: the floor has its own), false for an
    error."""
    answer = b""
    while True:
        chunk = sock.recv(65536)
        if not chunk:
            raise BenchError("a connection was closed")
        answer += chunk
        if answer.startswith(b"-") and answer.endswith(b"\r\n"):
            return False
        if answer.startswith(b"$") and answer.endswith(b"\r\n") and answer.count(b"\r\n") == 2:
            return True


def settled_kib(pid):
    """Resident memory once it has stood still: given back memory may take a moment."""
    last = harness.rss_now_kib(pid)
    for _ in range(20):
        time.sleep(0.25)
        now = harness.rss_now_kib(pid)
        if now == last:
            return now
        last = now
    return last


def measure(peer, nodes, count, notes):
    """Returns resident KiB before, then in each of STATES."""
    pid = peer.process.pid if peer.process else nodes.processes[0].pid
    clients = Clients(peer.port)
    readings = []
    try:
        # The first client brings in the code and the pools that any client needs.
        clients.open(1)
        clients.get_in_turn()
        readings.append(settled_kib(pid))
        clients.open(count - 1)
        # Served only after all before it were accepted. One of ours asks, for a further client
        # may be above the proxy's limit.
        clients.get_by_last()
        readings.append(settled_kib(pid))
        for get in (clients.get_in_turn, clients.get_at_once):
            errors = get()
            readings.append(settled_kib(pid))
            if errors > 0:
                notes.append(f"{peer.name} answered {errors:,} of {count:,} GETs by errors "
                             f"({'one after the other' if len(readings) == 3 else 'all at once'})")
    finally:
        clients.close()
    time.sleep(1)
    readings.append(settled_kib(pid))
    return readings


def per_client(result, state):
    """Bytes per connection in one of STATES, above what one client needs."""
    count, readings = result
    return (readings[1 + state] - readings[0]) * 1024 / (count - 1)


def table(results):
    lines = ["| | clients | " + " | ".join(STATES) + " | at most |", "|---|" + "--:|" * 6]
    for name, result in results.items():
        if result is None:
            lines.append(f"| {name} |" + " – |" * 6)
            continue
        count, readings = result
        each = [f"{per_client(result, i):,.0f} B" for i in range(len(STATES))]
        lines.append(f"| {name} | {count:,} | " + " | ".join(each)
                     + f" | {max(readings) / 1024:.1f} MB |")
    return lines


def targets(result):
    judged = []
    for i, state in enumerate(STATES[:2] if result else []):
        each = per_client(result, i)
        judged.append({
            "what": f"resident memory per idle client, {state}", "limit": f"≤ {TARGET_BYTES:,} B",
            "measured": f"{each:,.0f} B",
            "verdict": MET if each <= TARGET_BYTES
                       else f"**missed** by {each - TARGET_BYTES:,.0f} B"})
    return judged


EXPLAINED = ("Bytes of resident memory per connection above what the process had with one client, "
             "and in the last column the whole in MB; 1 worker or thread. The proxy's connections "
             "to nodes count as its own; the kernel's socket memory does not.")


def page(part):
    lines = [f"# {part['title']}", "", f"`{part['command']}`", "",
             *[f"* {fact}" for fact in part["facts"]],
             *[f"* Note: {note}." for note in part["notes"]], "", *part["tables"]]
    if part["targets"]:
        lines += [f"Target: at most {TARGET_BYTES:,} bytes each.", "",
                  *[f"* {t['what']}: {t['measured']}, {t['verdict']}." for t in part["targets"]]]
    return "\n".join(lines).rstrip() + "\n"


def run(options, network):
    """Returns a part for the summary: figures, targets and tables."""
    limit = harness.raise_file_limit(2 * options.clients + 1000)
    if limit < options.clients + 200:
        raise BenchError(f"only {limit} open files are allowed here; ask for fewer clients")
    notes = []
    results = {}
    with tempfile.TemporaryDirectory(prefix="sumcache-idle-") as directory:
        cpus = harness.placement("A")
        nodes = harness.Nodes(harness.find_program("redis-server"), cpus["nodes"], directory)
        try:
            for port in nodes.ports:
                harness.ask(port, b"SET", KEY, VALUE)
            peers, missing = available_peers(options)
            peers = [peer for peer in peers if peer.name not in ("direct3", "nogather")]
            notes += missing
            for peer in peers:
                results[peer.name] = None
                count = options.clients
                if peer.name == "haproxy":
                    count = min(count, haproxy_clients_max() - 50)
                try:
                    peer.start(nodes, cpus["proxy"], directory, len(VALUE))
                    results[peer.name] = (count, measure(peer, nodes, count, notes))
                except (BenchError, OSError) as error:
                    notes.append(f"{peer.name}: {error}")
                finally:
                    peer.stop()
                print(f"idle: {peer.name}: {results[peer.name]}", file=sys.stderr)
        finally:
            nodes.stop()
    facts = harness.machine_facts(network)
    facts.append(", ".join(f"{p.name} {p.version}" for p in peers if p.version) + ".")
    return {"part": "idle", "title": f"{options.clients:,} idle clients",
            "command": harness.shown_command(), "facts": facts, "notes": notes,
            "results": results, "targets": targets(results.get(SUBJECT)),
            "tables": [EXPLAINED, "", *table(results), ""]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10000, help="idle connections (10000)")
    harness.add_common_options(parser)
    options = parser.parse_args()
    if not 2 <= options.clients <= 25000:
        parser.error("between 2 and 25000 clients")
    network = harness.enter_own_network()
    harness.end_on_sigterm()
    try:
        text = page(run(options, network))
    except BenchError as error:
        print(f"idle: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    directory = options.out or os.path.join(harness.ROOT, "bench", "results", "raw", "part")
    os.makedirs(directory, exist_ok=True)
    harness.write_file(os.path.join(directory, "idle.md"), text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

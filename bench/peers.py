# SPDX-License-Identifier: Apache-2.0
"""Who is compared: how each peer is configured and started."""

import collections
import os
import re
import resource
import shlex
import shutil
import subprocess
import tempfile

from harness import (NODE_COUNT, BenchError, Process, family_of, find_program, free_port,
                     rss_peak_kib, tool_path, version_of, wait_ready, write_file)

SUBJECT = "sumcache"
AGAINST = "old"  # another sumcache, of --against


def haproxy_clients_max():
    """HAProxy opens a connection to a node for each client, and does not start when its limit of
    open files cannot hold both."""
    return min(14000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)


# What a peer has to know to start: its port, the nodes, an empty directory of its own, the size of
# the values to come (for the floor), how many seconds it may wait for a node, and how much it may
# buffer (for sumcache; None: its default).
Where = collections.namedtuple("Where", "port nodes directory value_size patience memory")

PATIENCE_S = 0.1  # sumcache's own default, and what the others get beside it


def haproxy_argv(binary, where):
    servers = "".join(f"  server n{i} {address}\n"
                      for i, address in enumerate(where.nodes.addresses))
    path = write_file(os.path.join(where.directory, "haproxy.cfg"), (
        f"global\n  nbthread 1\n  maxconn {haproxy_clients_max()}\n"
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend in\n  bind 127.0.0.1:{where.port} backlog 4096\n  default_backend nodes\n"
        f"backend nodes\n  balance roundrobin\n{servers}"))
    return [binary, "-db", "-f", path]


def twemproxy_argv(binary, where):
    servers = "".join(f"   - {address}:1\n" for address in where.nodes.addresses)
    path = write_file(os.path.join(where.directory, "twemproxy.yml"), (
        f"bench:\n  listen: 127.0.0.1:{where.port}\n  hash: murmur\n  distribution: ketama\n"
        f"  redis: true\n  timeout: {where.patience * 1000:.0f}\n  preconnect: true\n"
        f"  server_connections: 1\n  backlog: 4096\n  servers:\n{servers}"))
    return [binary, "-c", path, "-s", str(free_port()), "-a", "127.0.0.1", "-v", "4"]


def sumcache_argv(binary, where, gather=True):
    settings = f"timeouts:\n  request: {where.patience * 1000:.0f}ms\n"
    if not gather:
        settings += "  gather: 0\n  gather_replies: 0\n"
    if where.memory:
        settings += f"limits:\n  memory: {where.memory}\n"
    config = write_file(os.path.join(where.directory, "sumcache.yaml"), settings)
    return [binary, "--config", config, "--listen", f"127.0.0.1:{where.port}",
            "--nodes", ",".join(where.nodes.addresses), "--workers", "1", "--log-level", "warn"]


def can_gather(binary):
    """Whether this sumcache has the setting that the peer `nogather` turns off."""
    try:
        done = subprocess.run([binary, "--print-config"], capture_output=True, timeout=10,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(rb"^\s+gather:", done.stdout, re.M) is not None


class Peer:
    """One line of the comparison.

    `make_argv(where)` says how to start it. Without it the peer is no process of its own, but the
    first `direct_nodes` nodes, over which the load generator then spreads the keys.
    """

    def __init__(self, name, version, make_argv, direct_nodes=0):
        self.name = name
        self.version = version
        self.make_argv = make_argv
        self.direct_nodes = direct_nodes
        self.process = None
        self.port = None
        self.address = None  # for bench_load

    @property
    def is_proxy(self):
        """Stands between clients and nodes: neither direct nor the floor."""
        return self.make_argv is not None and self.name != "floor"

    def start(self, nodes, cpus, directory, value_size, patience=PATIENCE_S, memory=None):
        if self.make_argv is None:
            self.port = nodes.ports[0]
            self.address = ",".join(nodes.addresses[:self.direct_nodes])
            return
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        home = tempfile.mkdtemp(prefix=f"{self.name}-", dir=directory)
        argv = self.make_argv(Where(self.port, nodes, home, value_size, patience, memory))
        try:
            self.process = Process(self.name, argv, cpus, home)
        except OSError as error:
            raise BenchError(f"{self.name} cannot be started: {error.strerror}") from error
        wait_ready(self.process, self.port)

    @property
    def pids(self):
        return family_of(self.process.pid) if self.process else []

    def is_alive(self):
        return self.process is None or self.process.is_alive()

    def rss_peak_kib(self):
        return rss_peak_kib(self.process.pid) if self.process else None

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None


def peer_from_text(text):
    """`name=command with {listen} and {nodes}` → Peer. {port} and {dir} are filled in too."""
    name, _, command = text.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not command.strip():
        raise BenchError(f"--peer wants name=command, not {text!r}")

    def make_argv(where):
        names = {"listen": f"127.0.0.1:{where.port}", "port": str(where.port),
                 "nodes": ",".join(where.nodes.addresses), "dir": where.directory}
        return [re.sub(r"\{(listen|port|nodes|dir)\}", lambda m: names[m.group(1)], word)
                for word in shlex.split(command)]

    return Peer(name, "", make_argv)


def split_peers(text):
    """The value of PEERS: several name=command, divided by semicolons or line ends."""
    pieces = [""]
    quote = None
    for byte in text:
        if quote is None and byte in ";\n":
            pieces.append("")
            continue
        if quote is None and byte in "\"'":
            quote = byte
        elif byte == quote:
            quote = None
        pieces[-1] += byte
    return [piece.strip() for piece in pieces if piece.strip()]


def two_binaries(options):
    """The peers of --against: this sumcache and that one."""
    peers = []
    for name, wanted in ((SUBJECT, options.sumcache), (AGAINST, options.against)):
        path = shutil.which(wanted)
        if not path:
            raise BenchError(f"there is no program {wanted}")
        path = os.path.abspath(path)
        peers.append(Peer(name, version_of(path, "--version"),
                          lambda where, path=path: sumcache_argv(path, where)))
    return peers, []


def available_peers(options):
    """Returns the peers that can run here and a list of lines about those that cannot."""
    if options.against:
        return two_binaries(options)
    floor = tool_path("bench_floor", options.tools)
    redis = version_of("redis-server", "--version")
    peers = [
        Peer("direct", redis, None, direct_nodes=1),
        Peer("direct3", "", None, direct_nodes=NODE_COUNT),
        Peer("floor", "", lambda where: [floor, "-p", str(where.port), "-s",
                                         str(where.value_size)]),
    ]
    missing = []
    for name, path, version_flag, make in (
            ("haproxy", find_program("haproxy"), "-v", haproxy_argv),
            ("twemproxy", find_program("nutcracker"), "-V", twemproxy_argv),
            (SUBJECT, shutil.which(options.sumcache), "--version", sumcache_argv)):
        if not path:
            what = "sumcache is not built" if name == SUBJECT else f"{name} is missing"
            missing.append(f"{what}: left out")
            continue
        path = os.path.abspath(path)
        peers.append(Peer(name, version_of(path, version_flag),
                          lambda where, make=make, path=path: make(path, where)))
        if name == SUBJECT:
            if can_gather(path):
                peers.append(Peer("nogather", "", lambda where, path=path:
                                  sumcache_argv(path, where, gather=False)))
            else:
                missing.append("this sumcache has no timeouts.gather: no peer nogather")
    peers += [peer_from_text(text)
              for text in [*split_peers(os.environ.get("PEERS", "")), *options.peer]]
    names = [peer.name for peer in peers]
    if len(set(names)) < len(names):
        raise BenchError(f"two peers have the same name: {', '.join(sorted(names))}")
    if options.peers:
        wanted = options.peers.split(",")
        unknown = set(wanted) - set(names)
        missing += [f"{name} is asked for but not there" for name in sorted(unknown)]
        peers = [peer for peer in peers if peer.name in wanted]
    return peers, missing

# SPDX-License-Identifier: Apache-2.0
"""Starts and ends the processes that the tests talk to: real redis-servers and the daemon.

Each process is ended by its own id, whatever happened to the test. Ports are drawn below the range
that the kernel uses for outgoing connections, so that nobody takes one between the look and the use;
each worker of pytest-xdist draws from a range of its own.
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import resp

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SUMCACHE_BIN", ROOT / "build" / "sumcache")).resolve()

# Sanitizer builds are slower: SUMCACHE_TEST_SLOWNESS=5 widens every margin of time by 5.
SLOWNESS = float(os.environ.get("SUMCACHE_TEST_SLOWNESS", "1"))

# To test the tests: with SUMCACHE_STAND_IN=redis a plain redis-server stands where the daemon would.
# What the proxy promises is to look like one Redis, so most of the tests must pass against it.
STAND_IN = os.environ.get("SUMCACHE_STAND_IN") == "redis"

HOST = "127.0.0.1"
_random = random.Random(os.getpid() ^ time.time_ns())

# xdist names its workers gw0, gw1, …
PORTS = 2750
FIRST_PORT = 10000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8 * PORTS


def free_port():
    for _ in range(1000):
        port = _random.randrange(FIRST_PORT, FIRST_PORT + PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def is_open(port, host=HOST):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


class Process:
    """A process with its output in a file."""

    def __init__(self, argv, log, env=None, nofile=None):
        self.argv = [str(arg) for arg in argv]
        self.log_path = pathlib.Path(log)
        if nofile:
            self.argv = ["prlimit", f"--nofile={nofile}"] + self.argv
        with open(self.log_path, "ab") as out:
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
            )
        self.pid = self.popen.pid
        self.stopped = False

    def log(self):
        return self.log_path.read_text(errors="backslashreplace")

    def signal(self, number):
        if self.popen.poll() is None:
            os.kill(self.pid, number)

    def freeze(self):
        """SIGSTOP, and waits until the kernel says that it has stopped."""
        self.signal(signal.SIGSTOP)
        self.stopped = True
        resp.eventually(lambda: self._state() == "T", what="the process stops")

    def thaw(self):
        self.signal(signal.SIGCONT)
        self.stopped = False

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def wait(self, timeout):
        return self.popen.wait(timeout)

    def end(self):
        """Ends it politely, then not politely. Returns the exit code."""
        if self.stopped:
            self.thaw()
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(10 * SLOWNESS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def redis_argv(port, directory, memory="2gb", host=HOST, binary="redis-server"):
    return [binary, "--port", port, "--bind", host, "--save", "", "--appendonly", "no", "--maxmemory", memory,
            "--maxmemory-policy", "allkeys-lru", "--maxclients", "5000", "--loglevel", "notice", "--dir", directory]


class Node(Process):
    """A real redis-server with the settings of a cache. `host`: an address of loopback, for nodes
    that share a port, as those of one DNS name do. `extra`: more arguments; `binary`: which
    redis-server."""

    def __init__(self, directory, port=None, memory="2gb", host=HOST, extra=(), binary="redis-server"):
        self.directory = pathlib.Path(directory)
        self.binary = binary
        self.memory = memory
        self.host = host
        self.extra = list(extra)
        self.port = port or free_port()
        self._start()

    def _start(self):
        super().__init__(redis_argv(self.port, self.directory, self.memory, self.host, self.binary) + self.extra,
                         self.directory / f"node-{self.host}-{self.port}.log")
        resp.eventually(lambda: self.popen.poll() is not None or is_open(self.port, self.host),
                        within=10 * SLOWNESS, what="redis-server accepts")
        if self.popen.poll() is not None:
            raise RuntimeError("redis-server ended:\n" + self.log())

    def start_again(self):
        self._start()

    @property
    def name(self):
        return f"{self.host}:{self.port}"

    def connect(self, **options):
        return resp.Connection(self.port, host=self.host, **options)

    def ask(self, *args):
        return resp.ask(self.port, *args, host=self.host)


def to_yaml(settings, indent=0):
    """Settings as block style YAML, the way people write it."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, dict):
            lines += [" " * indent + f"{key}:"] + to_yaml(value, indent + 2)
        elif isinstance(value, list):
            lines.append(" " * indent + f"{key}: [{', '.join(str(item) for item in value)}]")
        else:
            text = json.dumps(value) if isinstance(value, bool) else str(value)
            lines.append(" " * indent + f"{key}: {text}")
    return lines if indent else "\n".join(lines) + "\n"


class Proxy(Process):
    """The daemon. `settings` becomes its configuration file; nodes are Node objects or names. All
    commands are allowed, if `settings` say nothing of commands."""

    def __init__(self, directory, nodes, settings=None, workers=1, port=None, nofile=None,
                 options=(), wait=True, env=None):
        self.directory = pathlib.Path(directory)
        self.port = port or free_port()
        self.nodes = list(nodes)
        self.settings = settings or {}
        names = [node if isinstance(node, str) else node.name for node in self.nodes]
        log = self.directory / f"proxy-{self.port}.log"
        if STAND_IN:
            argv = redis_argv(self.port, self.directory)
            self.nodes = [self]
        else:
            config = self.directory / f"proxy-{self.port}.yaml"
            everything = {"listen": [f"{HOST}:{self.port}"], "nodes": {"static": names},
                          "workers": workers, "log_level": "debug", "commands": {"allow": ["all"]}}
            everything.update(self.settings)
            config.write_text(to_yaml(everything))
            argv = [BINARY, "--config", config, *options]
        super().__init__(argv, log, env=env, nofile=nofile)
        if wait:
            resp.eventually(lambda: self.popen.poll() is not None or is_open(self.port),
                            within=10 * SLOWNESS, what="the proxy accepts")
            if self.popen.poll() is not None:
                raise RuntimeError("the proxy ended:\n" + self.log())

    def connect(self, **options):
        return resp.Connection(self.port, **options)

    def ask(self, *args, **options):
        return resp.ask(self.port, *args, **options)

    def connect_alone(self, **options):
        """A client of which the proxy says that it is the only one: the connection that found out
        whether the proxy accepts has come and gone by then."""
        client = self.connect(**options)

        def is_alone():
            counters = counters_of(client.ask("INFO"))
            return counters["clients"] == 1 and counters["clients_accepted"] == 2

        resp.eventually(is_alone, what="alone")
        return client

    def counters(self):
        """The `# Sumcache` section of INFO."""
        return counters_of(self.ask("INFO"))

    def counter(self, name):
        return self.counters()[name]

    def node_lines(self):
        """{name: {"state": …, "reason": …, …}} of INFO's line per node."""
        lines = re.findall(r"^node\d+:name=(\S+?),(.*)\r$", self.ask("INFO").decode(), re.M)
        return {name: dict(item.split("=", 1) for item in rest.split(",")) for name, rest in lines}

    def state_of(self, node):
        """The state of a Node or of a name; None: it is no member."""
        return self.node_lines().get(node if isinstance(node, str) else node.name, {}).get("state")

    def events(self, name):
        """The log's lines of that event."""
        return [line for line in self.log().splitlines() if f" {name} " in line + " "]

    def end(self):
        code = super().end()
        log = self.log()
        for trouble in ("ERROR: AddressSanitizer", "runtime error:", "ThreadSanitizer", "LeakSanitizer"):
            assert trouble not in log, f"{trouble} in {self.log_path}:\n{log[-5000:]}"
        return code


def counters_of(info):
    section = info.decode().partition("# Sumcache")[2].partition("\r\n#")[0]
    found = {}
    for line in section.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and value.lstrip("-").isdigit():
            found[name] = int(value)
    assert found, f"INFO has no Sumcache section: {info[:400]!r}"
    return found


def run(*argv, timeout=30, **options):
    """Runs the binary to its end."""
    return subprocess.run([str(BINARY), *map(str, argv)], capture_output=True, text=True,
                          timeout=timeout * SLOWNESS, check=False, **options)


def has(program):
    return shutil.which(program) is not None

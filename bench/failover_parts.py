# SPDX-License-Identifier: Apache-2.0
"""What bench/failover puts together: nodes, a network to one of them that can be cut, a relay that
is slow, a DNS server, the load.
"""

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

import harness
from harness import BenchError, all_cpus, cpu_seconds

NODES = 4
DNS_NAME = "redis.failover.test"
DNS_TTL_S = 1
NFT_TABLE = "sumcache_failover"
OUTSIDE = "10.77.1"  # the network to the node that can be cut off
START_S = 10.0  # for anything to start
END_S = 30.0  # for the load to report, after its last request


def run_tool(*argv, text=None):
    """Runs a short command to its end; raises with what it said if it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv[:4])}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def send_command(host, port, *args, timeout=2.0):
    """One command on a connection of its own; returns its reply: bytes, None or a list of them."""
    with socket.create_connection((host, port), timeout=timeout) as sock:
        sock.sendall(harness.encode(*args))
        with sock.makefile("rb") as stream:
            return read_reply(stream)


def read_reply(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("the connection was closed inside a reply")
    if line[:1] == b"*":
        return [read_reply(stream) for _ in range(int(line[1:]))]
    if line[:1] == b"$":
        size = int(line[1:])
        return stream.read(size + 2)[:-2] if size >= 0 else None
    return line[:-2]


class Node:
    """A redis-server with a cache's settings. `address` is what a proxy is told; it may be a relay's."""

    def __init__(self, index, host, port, directory, prefix=(), address=None):
        self.name = f"node{index}"
        self.host = host
        self.port = port
        self.address = address or f"{host}:{port}"
        self.directory = directory
        self.prefix = list(prefix)
        self.process = None

    def start(self):
        self.process = harness.Process(self.name, [
            *self.prefix, harness.find_program("redis-server") or "redis-server", "--port", str(self.port),
            "--bind", self.host, "--protected-mode", "no", "--save", "", "--appendonly", "no",
            "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru", "--tcp-backlog", "4096"],
            all_cpus(), self.directory)

    def wait(self):
        """Until it answers. The key is what harness.wait_ready() asks a proxy for."""
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.is_alive():
            try:
                if send_command(self.host, self.port, b"SET", harness.READY_KEY, b"yes") == b"+OK":
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise BenchError(f"redis-server does not start: {self.process.log_tail()}")

    def keys(self):
        return [key.decode() for key in send_command(self.host, self.port, b"KEYS", b"fo:*", timeout=5.0)]

    def freeze(self):
        self.process.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.popen.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.popen.kill()
        self.process.popen.wait()

    def stop(self):
        if self.process and self.process.is_alive():
            self.thaw()
            self.process.stop()


class Nodes:
    """What peers.Where wants of nodes."""

    def __init__(self, nodes):
        self.list = nodes

    @property
    def addresses(self):
        return [node.address for node in self.list]


class Outside:
    """A network namespace of its own for one node, behind a pair of veth. Nothing of it is left when
    the process that holds it has ended."""

    def __init__(self, directory):
        self.host = f"{OUTSIDE}.2"
        self.has_rules = False
        self.holder = harness.Process("namespace", ["unshare", "--net", "sleep", "infinity"], all_cpus(), directory)
        try:
            self._wait()
            self._connect()
        except BaseException:
            self.stop()
            raise

    @property
    def prefix(self):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def _wait(self):
        own = os.readlink("/proc/self/ns/net")
        end = time.monotonic() + START_S
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            if time.monotonic() > end or not self.holder.is_alive():
                raise BenchError(f"no network namespace: {self.holder.log_tail()}")
            time.sleep(0.01)

    def _connect(self):
        ip = harness.find_program("ip", "/sbin")
        run_tool(ip, "link", "add", "fo-here", "type", "veth", "peer", "name", "fo-there", "netns", str(self.holder.pid))
        for prefix, end, name in (([], "1", "fo-here"), (self.prefix, "2", "fo-there")):
            run_tool(*prefix, ip, "addr", "add", f"{OUTSIDE}.{end}/24", "dev", name)
            run_tool(*prefix, ip, "link", "set", name, "up")

    def drop(self, percent):
        """Loses packets on both ends as they come in: who sent them learns nothing."""
        what = "" if percent == 100 else f"numgen random mod 100 < {percent} "
        nft = harness.find_program("nft", "/sbin")
        for prefix, name in (([], "fo-here"), (self.prefix, "fo-there")):
            run_tool(*prefix, nft, "-f", "-", text=(
                f"table inet {NFT_TABLE} {{\n chain incoming {{\n  type filter hook input priority 0;\n"
                f'  iifname "{name}" {what}drop\n }}\n}}\n'))
        self.has_rules = True

    def heal(self):
        nft = harness.find_program("nft", "/sbin")
        for prefix in ([], self.prefix):
            run_tool(*prefix, nft, "delete", "table", "inet", NFT_TABLE)
        self.has_rules = False

    def stop(self):
        """The veth would go with the namespace, but some time later, when the next one is to have its name."""
        if self.has_rules:
            self.heal()
        run_tool(harness.find_program("ip", "/sbin"), "link", "delete", "fo-here")
        self.holder.stop()


class Piped:
    """A child that is spoken to over its standard input, and that says a first word when it is ready."""

    def __init__(self, argv, first_word, wait_s):
        self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      preexec_fn=harness.end_with_parent(os.getpid()))
        ready, _, _ = select.select([self.popen.stdout], [], [], wait_s)
        line = os.read(self.popen.stdout.fileno(), 64) if ready else b""
        if line.strip() != first_word:
            self.kill()
            raise BenchError(f"{os.path.basename(argv[0])}: {self.errors() or 'does not get ready'}")

    def say(self, line):
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def errors(self):
        return self.popen.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


class Relay(Piped):
    """Stands in front of a node and makes it seem far away."""

    def __init__(self, binary, listen, target):
        super().__init__([binary, listen, target], b"ready", START_S)

    def delay(self, ms):
        self.say(f"delay {ms}")


class Load(Piped):
    """bench_failover_load, which has filled the keys when this is there."""

    def __init__(self, binary, arguments):
        super().__init__([binary, "--wait", *map(str, arguments)], b"filled", 90)

    def go(self):
        self.say("go")

    def window(self, name, from_ns, to_ns):
        self.say(f"window {name} {from_ns} {to_ns}")

    def report(self):
        self.say("end")
        try:
            out, errors = self.popen.communicate(timeout=END_S)
        except subprocess.TimeoutExpired as error:
            raise BenchError("the load does not report") from error
        if self.popen.returncode != 0:
            raise BenchError(f"the load ended with {self.popen.returncode}: {errors.decode('utf-8', 'replace').strip()}")
        return json.loads(out)


class Dns:
    """dnsmasq on loopback, as a headless service: a name with an address per node."""

    def __init__(self, directory, hosts):
        self.port = harness.free_port()
        self.hosts = os.path.join(directory, "hosts")
        self.write(hosts)
        self.process = harness.Process("dnsmasq", [
            dnsmasq_path(), "--keep-in-foreground", "--conf-file=/dev/null", f"--port={self.port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}",
            "--local=/failover.test/", f"--local-ttl={DNS_TTL_S}", "--cache-size=0", "--user=root", "--group=root",
            f"--pid-file={os.path.join(directory, 'dnsmasq.pid')}"], all_cpus(), directory)
        self.wait()

    def wait(self):
        """Until it answers: before that, the SIGHUP of answer() would end it."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in DNS_NAME.split("."))
        question = struct.pack(">6H", 1, 0, 1, 0, 0, 0) + labels + struct.pack(">B2H", 0, 1, 1)
        end = time.monotonic() + START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.1)
            asking.connect(("127.0.0.1", self.port))
            while time.monotonic() < end:
                try:
                    asking.send(question)
                    asking.recv(512)
                    return
                except OSError:
                    time.sleep(0.05)
        raise BenchError(f"dnsmasq answers nothing: {self.process.log_tail()}")

    def write(self, hosts):
        harness.write_file(self.hosts, "".join(f"{host} {DNS_NAME}\n" for host in hosts))

    def answer(self, hosts):
        self.write(hosts)
        self.process.popen.send_signal(signal.SIGHUP)
        if not self.process.is_alive():
            raise BenchError(f"dnsmasq ended: {self.process.log_tail()}")

    def freeze(self):
        self.process.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.popen.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.is_alive():
            self.thaw()
            self.process.stop()


def dnsmasq_path():
    return harness.find_program("dnsmasq", "/sbin")


# ---------------------------------------------------------------------- CPU time


def machine_busy_s():
    """Busy seconds of all CPUs together since boot, without those of programs that yield (nice)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[1] - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


class Foreign:
    """How much of the machine other programs use meanwhile."""

    def __init__(self, pids):
        self.pids = pids  # a function: nodes come and go
        self.begun = time.monotonic()
        self.busy = machine_busy_s()
        self.own = {pid: cpu_seconds(pid) for pid in pids()}

    def share(self):
        """Of all CPUs. A node that was killed meanwhile is taken for a foreign program: that is little."""
        own = sum(cpu_seconds(pid) - self.own.get(pid, 0.0) for pid in self.pids())
        seconds = (time.monotonic() - self.begun) * os.cpu_count()
        return max(0.0, (machine_busy_s() - self.busy - own) / seconds)


# ---------------------------------------------------------------------- what this machine lacks


def lacks_outside():
    """Why one node cannot have a network of its own; None: it can."""
    if os.environ.get(harness.NETNS_MARK) != "own":
        return "no rights for network namespaces"
    for tool in ("ip", "nft", "nsenter", "unshare"):
        if not harness.find_program(tool, "/sbin"):
            return f"{tool} is missing"
    return None


def lacks_dns(sumcache):
    """Why nodes cannot be found through DNS."""
    if not dnsmasq_path():
        return "dnsmasq is missing"
    if not shutil.which(sumcache):
        return "sumcache is not built"
    in_nodes = False
    for line in run_tool(os.path.abspath(sumcache), "--print-config").splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            in_nodes = line.startswith("nodes:")
        elif in_nodes and line.strip().lstrip("# ").startswith("dns:"):
            return None
    return "this sumcache has no nodes.dns"

# SPDX-License-Identifier: Apache-2.0
"""What run.py and idle.py share: a network of our own, CPU placement, nodes, peers, readings.

Every process started here is stopped by its own pid, and the kernel ends it too if this script
dies first. Only the standard library is used.
"""

import ctypes
import fcntl
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NETNS_MARK = "SUMCACHE_BENCH_NETNS"
CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
NODE_COUNT = 3
READY_KEY = b"bench:ready"
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x41

_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something the user has to know about; printed as one line."""


# ---------------------------------------------------------------------- network and limits


def enter_own_network():
    """Runs this script again inside a network namespace of its own where that is allowed.

    There loopback carries nothing but the benchmark, all ports are free, and the congestion
    control can be set to reno without touching the machine's. Returns what was reached, in words.
    """
    state = os.environ.get(NETNS_MARK)
    if state is None:
        unshare = shutil.which("unshare")
        tries = [["--net"]] if os.geteuid() == 0 else []
        tries.append(["--map-root-user", "--net"])
        for flags in tries:
            if unshare and subprocess.run([unshare, *flags, "true"], check=False,
                                          capture_output=True).returncode == 0:
                os.environ[NETNS_MARK] = "own"
                os.execv(unshare, [unshare, *flags, sys.executable, *sys.argv])
        state = "none"
    if state != "own":
        return f"the machine's own (no rights for another), {congestion_control()}"
    loopback_up()
    try:
        with open(CONGESTION_CONTROL, "w", encoding="ascii") as file:
            file.write("reno")
    except OSError:
        pass
    return f"a namespace of its own, {congestion_control()}"


def congestion_control():
    try:
        with open(CONGESTION_CONTROL, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown congestion control"


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))


def raise_file_limit(wanted):
    """Allows `wanted` open files here and in every child. Returns what was reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return wanted
        except (ValueError, OSError):
            wanted = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return max(soft, wanted)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# ---------------------------------------------------------------------- placement

# Which CPUs each role gets, from the sorted list of CPUs we may use. README.md says what each
# layout measures and how far it can be trusted.
LAYOUTS = {
    # The proxy has a core to itself; the load generator and the nodes have the others.
    "B": lambda cpus: {
        "proxy": cpus[-1:],
        "load": cpus[:1],
        "nodes": cpus[1:-1] or cpus[:1],
    },
    # The nodes share the proxy's core, the load generator has its own: there is always more
    # work waiting than the proxy can do, even on a machine with two CPUs.
    "S": lambda cpus: {"proxy": cpus[-1:], "load": cpus[:1], "nodes": cpus[-1:]},
    # Nothing is pinned.
    "A": lambda cpus: {"proxy": cpus, "load": cpus, "nodes": cpus},
}


def placement(layout):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2 and layout != "A":
        raise BenchError(f"layout {layout} needs two CPUs; use --layout A")
    return LAYOUTS[layout](cpus)


# ---------------------------------------------------------------------- processes


class Process:
    """A child with its own CPUs, its output in a file."""

    def __init__(self, name, argv, cpus, directory):
        self.name = name
        self.log_path = os.path.join(directory, f"{name}.log")
        parent = os.getpid()

        def prepare():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            os.sched_setaffinity(0, cpus)

        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, cwd=directory,
                                          preexec_fn=prepare)

    @property
    def pid(self):
        return self.popen.pid

    def is_alive(self):
        return self.popen.poll() is None

    def log_tail(self):
        with open(self.log_path, "rb") as file:
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return without_directories(lines[-1]) if lines else "it said nothing"

    def stop(self):
        if not self.is_alive():
            return
        self.popen.terminate()
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def family_of(pid):
    """The process and all its descendants: a proxy may work in a child of what was started."""
    pids = [pid]
    for parent in pids:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                    pids.extend(int(child) for child in file.read().split())
            except OSError:
                pass
    return pids


def read_field_kib(path, field):
    try:
        with open(path, encoding="ascii") as file:
            match = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)
            return int(match.group(1)) if match else 0
    except OSError:
        return 0


def rss_peak_kib(pid):
    return sum(read_field_kib(f"/proc/{p}/status", "VmHWM") for p in family_of(pid))


def rss_now_kib(pid):
    """Exact, unlike VmRSS, which recent kernels sum up lazily per CPU."""
    return sum(read_field_kib(f"/proc/{p}/smaps_rollup", "Rss") for p in family_of(pid))


# ---------------------------------------------------------------------- Redis protocol, tiny


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    parts += [b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


def ask(port, *args, timeout=1.0):
    """Sends one command and returns the first bytes of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        sock.settimeout(timeout)
        sock.sendall(encode(*args))
        return sock.recv(4096)


def wait_ready(process, port, seconds=10.0):
    """Waits until a GET through the port brings a value that only a node can have.

    The floor has no nodes and answers any GET with a value, which is as good.
    """
    end = time.monotonic() + seconds
    answer = b""
    while time.monotonic() < end:
        if not process.is_alive():
            raise BenchError(f"{process.name} ended at once: {process.log_tail()}")
        try:
            answer = ask(port, b"GET", READY_KEY)
            if answer.startswith(b"$") and not answer.startswith(b"$-1"):
                return
        except OSError as error:
            answer = str(error).encode()
        time.sleep(0.05)
    raise BenchError(f"{process.name} is not ready after {seconds:g} s: {answer[:80]!r}")


# ---------------------------------------------------------------------- nodes and peers


class Nodes:
    """Three redis-servers with the settings of a cache."""

    def __init__(self, binary, cpus, directory):
        self.processes = []
        self.ports = []
        if not binary:
            raise BenchError("redis-server is missing")
        try:
            for i in range(NODE_COUNT):
                self._start(binary, cpus, directory, i)
        except BaseException:
            self.stop()
            raise

    def _start(self, binary, cpus, directory, index):
        port = free_port()
        home = os.path.join(directory, f"node{index}")
        os.mkdir(home)
        process = Process(f"node{index}", [
            binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "30000",
            "--tcp-backlog", "4096", "--dir", home], cpus, directory)
        self.processes.append(process)
        self.ports.append(port)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if ask(port, b"SET", READY_KEY, b"yes") == b"+OK\r\n":
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise BenchError(f"redis-server does not start: {process.log_tail()}")

    @property
    def addresses(self):
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def stop(self):
        for process in self.processes:
            process.stop()


def write_file(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def haproxy_clients_max():
    """HAProxy opens a connection to a node for each client, and does not start when its limit of
    open files cannot hold both."""
    return min(14000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)


def haproxy_argv(binary, port, nodes, directory):
    servers = "".join(f"  server n{i} {address}\n" for i, address in enumerate(nodes.addresses))
    path = write_file(os.path.join(directory, "haproxy.cfg"), (
        f"global\n  nbthread 1\n  maxconn {haproxy_clients_max()}\n"
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend in\n  bind 127.0.0.1:{port} backlog 4096\n  default_backend nodes\n"
        f"backend nodes\n  balance roundrobin\n{servers}"))
    return [binary, "-db", "-f", path]


def twemproxy_argv(binary, port, nodes, directory):
    servers = "".join(f"   - {address}:1\n" for address in nodes.addresses)
    path = write_file(os.path.join(directory, "twemproxy.yml"), (
        f"bench:\n  listen: 127.0.0.1:{port}\n  hash: murmur\n  distribution: ketama\n"
        "  redis: true\n  timeout: 100\n  preconnect: true\n  server_connections: 1\n"
        f"  backlog: 4096\n  servers:\n{servers}"))
    return [binary, "-c", path, "-s", str(free_port()), "-a", "127.0.0.1", "-v", "4"]


def sumcache_argv(binary, port, nodes, _directory):
    return [binary, "--listen", f"127.0.0.1:{port}", "--nodes", ",".join(nodes.addresses),
            "--workers", "1", "--log-level", "warn"]


class Peer:
    """One line of the comparison.

    `make_argv(port, nodes, directory, value_size)` says how to start it; without it the peer is
    the first node itself.
    """

    def __init__(self, name, version, make_argv):
        self.name = name
        self.version = version
        self.make_argv = make_argv
        self.process = None
        self.port = None

    def start(self, nodes, cpus, directory, value_size):
        if self.make_argv is None:
            self.port = nodes.ports[0]
            return
        self.port = free_port()
        home = tempfile.mkdtemp(prefix=f"{self.name}-", dir=directory)
        argv = self.make_argv(self.port, nodes, home, value_size)
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


def find_program(name, *directories):
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin",
                            *directories])
    return shutil.which(name, path=path)


def version_of(*argv):
    """The first line a program says about itself, shortened to its version number."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    match = re.search(r"\d+\.\d+(?:\.\d+)?(?:[-+~.\w]*)?", (done.stdout + done.stderr).decode())
    return match.group(0) if match else "unknown"


def tool_path(name, directory):
    path = os.path.join(directory, name)
    if not os.access(path, os.X_OK):
        raise BenchError(f"{name} is not built yet; build first (ninja -C build) or say where "
                         "it is with --tools DIR")
    return path


def peer_from_text(text):
    """`name=command with {listen} and {nodes}` → Peer. {port} and {dir} are filled in too."""
    name, _, command = text.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not command.strip():
        raise BenchError(f"--peer wants name=command, not {text!r}")

    def make_argv(port, nodes, directory, _value_size):
        names = {"listen": f"127.0.0.1:{port}", "port": str(port),
                 "nodes": ",".join(nodes.addresses), "dir": directory}
        return [re.sub(r"\{(listen|port|nodes|dir)\}", lambda m: names[m.group(1)], word)
                for word in shlex.split(command)]

    return Peer(name, "", make_argv)


def available_peers(options):
    """Returns the peers that can run here and a list of lines about those that cannot."""
    floor = tool_path("bench_floor", options.tools)
    peers = [
        Peer("direct", version_of("redis-server", "--version"), None),
        Peer("floor", "", lambda port, nodes, directory, size:
             [floor, "-p", str(port), "-s", str(size)]),
    ]
    missing = []
    for name, path, version_flag, make in (
            ("haproxy", find_program("haproxy"), "-v", haproxy_argv),
            ("twemproxy", find_program("nutcracker"), "-V", twemproxy_argv),
            ("sumcache", shutil.which(options.sumcache), "--version", sumcache_argv)):
        if not path:
            what = "sumcache is not built" if name == "sumcache" else f"{name} is missing"
            missing.append(f"{what}: left out")
            continue
        peers.append(Peer(name, version_of(path, version_flag),
                          lambda port, nodes, directory, _size, make=make,
                          path=os.path.abspath(path): make(path, port, nodes, directory)))
    peers += [peer_from_text(text) for text in options.peer]
    if options.peers:
        wanted = options.peers.split(",")
        unknown = set(wanted) - {peer.name for peer in peers}
        missing += [f"{name} is asked for but not there" for name in sorted(unknown)]
        peers = [peer for peer in peers if peer.name in wanted]
    return peers, missing


# ---------------------------------------------------------------------- about this machine


def machine_facts(network, options_layout=None):
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        match = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.M)
        if match:
            model = match.group(1)
    cpus = sorted(os.sched_getaffinity(0))
    facts = [f"{len(cpus)} × {model}, Linux {os.uname().release.split('-')[0]}", f"Network: {network}."]
    if options_layout:
        places = ", ".join(f"{role} on CPU {','.join(map(str, where))}"
                           for role, where in placement(options_layout).items())
        facts.append(f"Layout {options_layout}: {places}.")
    return facts


def without_directories(text):
    """The text with every path cut to its last part: results are published, directories of the
    machine they were made on are not."""
    return re.sub(r"(?<![\w.])(?:\.{0,2}/)?(?:[\w.+@{}-]+/)+(?=[\w.+@-])", "", text)


def shown_command():
    words = [without_directories(word) for word in sys.argv[1:]]
    return shlex.join([f"bench/{os.path.basename(sys.argv[0])}", *words])


def add_common_options(parser):
    parser.add_argument("--sumcache", metavar="PATH",
                        default=os.path.join(ROOT, "build", "sumcache"),
                        help="the binary to judge (build/sumcache)")
    parser.add_argument("--tools", metavar="DIR", default=os.path.join(ROOT, "build", "bench"),
                        help="where bench_load and bench_floor are (build/bench)")
    parser.add_argument("--peers", metavar="A,B,…", help="only these peers")
    parser.add_argument("--peer", metavar="NAME=COMMAND", action="append", default=[],
                        help="a further peer; {listen}, {port}, {nodes} and {dir} are filled in")
    parser.add_argument("--out", metavar="FILE", help="where the table goes (bench/results/…)")


def end_on_sigterm():
    """Turns SIGTERM into an exit that passes through every `finally`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

# SPDX-License-Identifier: Apache-2.0
"""What run.py, memory.py and idle.py share: a network of our own, CPU placement, nodes, loads,
readings.

Every process started here is stopped by its own pid, and the kernel ends it too if this script
dies first. Only the standard library is used.
"""

import ctypes
import fcntl
import json
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


def all_cpus():
    return sorted(os.sched_getaffinity(0))


def placement(layout):
    cpus = all_cpus()
    if len(cpus) < 2 and layout != "A":
        raise BenchError(f"layout {layout} needs two CPUs; use --layout A")
    return LAYOUTS[layout](cpus)


# ---------------------------------------------------------------------- processes


def end_with_parent(parent, cpus=None):
    """What a child does before its program: it is to end when `parent` does, and to stay on CPUs."""

    def prepare():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if cpus:
            os.sched_setaffinity(0, cpus)

    return prepare


class Process:
    """A child with its own CPUs, its output in a file."""

    def __init__(self, name, argv, cpus, directory):
        self.name = name
        self.log_path = os.path.join(directory, f"{name}.log")
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, cwd=directory,
                                          preexec_fn=end_with_parent(os.getpid(), cpus))

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


def cpu_seconds(pid):
    """What a process has used so far; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


# ---------------------------------------------------------------------- nodes


class Nodes:
    """Three redis-servers with the settings of a cache."""

    def __init__(self, binary, cpus, directory, maxmemory="1gb"):
        self.processes = []
        self.ports = []
        self.maxmemory = maxmemory
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
        os.makedirs(home, exist_ok=True)
        process = Process(f"node{index}", [
            binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--maxmemory", self.maxmemory, "--maxmemory-policy", "allkeys-lru", "--maxclients", "30000",
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


# ---------------------------------------------------------------------- load


class LoadRun:
    """One bench_load. It ends by itself after its time, or when told to, and then reports."""

    def __init__(self, binary, address, arguments, cpus):
        self.popen = subprocess.Popen([binary, "-a", address, *map(str, arguments)],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE,
                                      preexec_fn=end_with_parent(os.getpid(), cpus))

    @property
    def pid(self):
        return self.popen.pid

    def report(self, bound):
        """Waits for the end, `bound` seconds at most, and returns what it says."""
        try:
            out, errors = self.popen.communicate(timeout=bound)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise BenchError("the load generator did not end in time") from error
        if self.popen.returncode != 0:
            lines = errors.decode("utf-8", "replace").strip().splitlines()
            raise BenchError(lines[-1] if lines else
                             f"the load generator ended with {self.popen.returncode}")
        return json.loads(out)

    def end(self):
        """Tells it to stop now and returns what it measured until then."""
        if self.popen.poll() is None:
            self.popen.terminate()
        return self.report(10)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()
        self.popen.stderr.close()


BAD_FIELDS = {"errors": "errors", "misses": "misses", "wrong": "wrong replies",
              "lost_connections": "lost connections", "unsent": "requests never sent",
              "unanswered": "requests never answered"}


def bad_of(report, reads_slowly=False):
    """How many requests did not get what they should, and connections broke. A slow reader may
    have something under way when it is told to end."""
    return sum(report[field] for field in BAD_FIELDS
               if not (reads_slowly and field == "unanswered"))


def bad_words(report):
    """The same in words: what there was of it, and the first error's text."""
    words = [f"{report[field]:,} {name}" for field, name in BAD_FIELDS.items() if report[field]]
    if report["first_error"]:
        words.append(f"the first: {report['first_error']}")
    return ", ".join(words)


def fill_nodes(binary, nodes, cpus, load, keys_max):
    """Every node gets every key of a load, so it does not matter how a peer spreads them."""
    count = min(load.keys or keys_max, keys_max)
    for port in nodes.ports:
        arguments = ["-d", "set", "-o", "-s", load.value_size, "-P", 16, "-c", min(8, count),
                     "-k", count, "-t", 60]
        report = LoadRun(binary, f"127.0.0.1:{port}", arguments, cpus).report(90)
        if report["requests"] != count or report["errors"] > 0:
            raise BenchError(f"cannot fill the nodes: {report}")


# ---------------------------------------------------------------------- about this machine


def commit_words():
    """Which state of the sources was measured, if git can tell."""
    try:
        done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                              capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f", commit {done.stdout.decode().strip()}" if done.returncode == 0 else ""


def machine_facts(network, options_layout=None):
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        match = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.M)
        if match:
            model = match.group(1)
    cpus = all_cpus()
    facts = [f"{len(cpus)} × {model}, Linux {os.uname().release.split('-')[0]}, "
             f"{time.strftime('%Y-%m-%d', time.gmtime())}{commit_words()}",
             f"Network: {network}."]
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
                        help="a further peer; {listen}, {port}, {nodes} and {dir} are filled in. "
                             "The variable PEERS may name some too, divided by semicolons")
    parser.add_argument("--out", metavar="DIR", help="where the results go (bench/results)")


def end_on_sigterm():
    """Turns SIGTERM into an exit that passes through every `finally`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

# SPDX-License-Identifier: Apache-2.0
"""Another process takes the place of a running one, with its listening sockets: SIGUSR2, `sumcache upgrade`,
and sockets of a service manager."""
import contextlib
import fcntl
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import certificates
import processes
from cluster import eject_by_requests, owner, put_all, values, wait_until_up
from processes import BINARY, HOST, SLOWNESS, alive
from resp import Closed, Connection, encode, eventually

pytestmark = pytest.mark.proxy_only

NO_DRAIN = {"timeouts": {"drain": "1s", "request": "5s"}}


class Successors:
    """The processes that come after one; ends the last of them."""

    def __init__(self, proxy):
        self.proxy, self.pids = proxy, []

    @property
    def pid(self):
        return self.pids[-1] if self.pids else self.proxy.pid

    def upgrade(self, *options):
        """Asks the present process; returns what the command said."""
        done = processes.run("upgrade", "--pid", self.pid, *options, timeout=60)
        if done.returncode == 0:
            self.pids.append(int(re.fullmatch(r"sumcache: process (\d+) serves; .*\n", done.stdout).group(1)))
        return done

    def upgraded(self, *options):
        done = self.upgrade(*options)
        assert (done.returncode, done.stderr) == (0, ""), done
        return self.pid

    def end(self):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in self.pids:
            eventually(lambda pid=pid: gone(pid), within=10 * SLOWNESS, what=f"process {pid} ends")


def gone(pid):
    return not alive(pid)


@pytest.fixture
def successors():
    all_of_them = []

    def make(proxy):
        all_of_them.append(Successors(proxy))
        return all_of_them[-1]
    yield make
    for each in all_of_them:
        each.end()


class Visitors:
    """Clients that come, ask a few things and leave, without a pause; the first error ends one."""

    def __init__(self, connect, count=4):
        self.connect, self.over, self.errors, self.visits = connect, False, [], 0
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]

    def _run(self, number):
        visit = 0
        try:
            while not self.over:
                visit += 1
                with self.connect() as client:
                    for turn in range(5):
                        key = f"{id(self)}:{number}:{turn}"
                        assert client.ask("SET", key, visit) == "OK"
                        got = client.ask("GET", key)
                        assert got == b"%d" % visit, got
                self.visits += 1
        except Exception as error:  # whatever it is, the test is to show it
            self.errors.append(f"visit {visit} of {number}: {error!r}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()


def test_no_request_fails_while_it_is_upgraded_twice(start, nodes, successors, tmp_path):
    path = str(tmp_path / "s")
    port = processes.free_port()
    proxy = start.proxy(nodes, {"listen": [f"{HOST}:{port}", f'"unix:{path}"'], **NO_DRAIN}, workers=2, port=port)
    chain = successors(proxy)

    with Visitors(lambda: Connection(port)) as many, Visitors(lambda: Connection(0, path=path), 2) as few:
        for _ in range(2):
            before = many.visits, few.visits
            chain.upgraded()
            eventually(lambda: many.errors or few.errors or (many.visits > before[0] + 100 and few.visits > before[1] + 20),
                       within=20 * SLOWNESS)
    assert many.errors == [] and few.errors == []
    assert proxy.wait(5 * SLOWNESS) == 0
    assert gone(chain.pids[0]) or eventually(lambda: gone(chain.pids[0]), within=5 * SLOWNESS)
    assert os.path.exists(path)  # it is the last one's now
    os.kill(chain.pid, signal.SIGTERM)
    eventually(lambda: gone(chain.pid), within=5 * SLOWNESS)
    assert not os.path.exists(path)


def test_a_client_that_stays_is_served_until_the_drain_time_and_then_closed_at_rest(start, nodes, successors, key):
    proxy = start.proxy(nodes, {"timeouts": {"drain": "2s", "request": "5s"}}, workers=2)
    chain = successors(proxy)
    stays = [proxy.connect() for _ in range(40)]
    assert all(client.ask("PING") == "PONG" for client in stays)
    chain.upgraded()
    began = time.monotonic()
    ends = {}
    while len(ends) < len(stays) and time.monotonic() - began < 10 * SLOWNESS:
        for i, client in enumerate(stays):
            if i in ends:
                continue
            client.socket.setblocking(False)
            try:
                assert client.socket.recv(1) == b""
                ends[i] = time.monotonic() - began
            except BlockingIOError:
                pass
            client.socket.setblocking(True)
        if time.monotonic() - began < 0.8:
            live = [client for i, client in enumerate(stays) if i not in ends]
            assert all(client.ask("SET", key(0), 1) == "OK" for client in live)
        time.sleep(0.01)
    times = sorted(ends.values())
    assert len(times) == len(stays) and times[0] > 0.8 and times[-1] < 2.5 * SLOWNESS
    assert times[-1] - times[0] > 0.5  # not all at once
    assert proxy.wait(5 * SLOWNESS) == 0 and "drain-over" not in proxy.log()


def test_a_request_that_takes_longer_than_the_drain_time_is_answered(start, nodes, successors, key):
    proxy = start.proxy(nodes, NO_DRAIN)
    chain = successors(proxy)
    with proxy.connect() as blocked:
        blocked.send(encode("BLPOP", key(0), "0"))
        eventually(lambda: proxy.counter("clients_blocked") == 1)
        chain.upgraded()
        time.sleep(0.3)
        assert Connection(proxy.port).ask("RPUSH", key(0), "x") == 1
        assert blocked.reply().value[1] == b"x"


def test_a_file_that_is_wrong_changes_nothing(start, nodes, successors):
    proxy = start.proxy(nodes, NO_DRAIN)
    chain = successors(proxy)
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    right = path.read_text()
    path.write_text(right + "nonsense: 1\n")
    with Visitors(lambda: Connection(proxy.port)) as many:
        done = chain.upgrade()
    assert many.errors == []
    assert done.returncode == 1 and "ended with status 2" in done.stderr
    assert "upgrade-failed" in proxy.log() and "nonsense" in proxy.log()
    assert proxy.counter("upgrades_failed") == 1
    path.write_text(right)
    chain.upgraded()
    assert proxy.wait(5 * SLOWNESS) == 0


def test_a_successor_that_is_killed_before_it_serves_changes_nothing(start, nodes, successors):
    proxy = start.proxy(nodes, NO_DRAIN)
    chain = successors(proxy)
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    right = path.read_text()
    path.unlink()
    os.mkfifo(path)  # it waits for somebody to write
    command = subprocess.Popen([BINARY, "upgrade", "--pid", str(proxy.pid)], stderr=subprocess.PIPE, text=True)
    pid = eventually(lambda: (m := re.search(r"upgrade-started pid=(\d+)", proxy.log())) and int(m.group(1)))
    assert processes.run("upgrade", "--pid", proxy.pid).stderr == "sumcache upgrade: nothing has changed: another is under way\n"
    os.kill(pid, signal.SIGKILL)
    _, stderr = command.communicate(timeout=10 * SLOWNESS)
    assert command.returncode == 1 and "signal 9" in stderr
    path.unlink()
    path.write_text(right)
    assert proxy.ask("PING") == "PONG"
    chain.upgraded()


@pytest.mark.parametrize("before,after", [(1, 3), (3, 1), (2, 2)])
def test_another_number_of_workers(start, nodes, successors, before, after):
    proxy = start.proxy(nodes, NO_DRAIN, workers=before)
    chain = successors(proxy)
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    path.write_text(path.read_text().replace(f"workers: {before}", f"workers: {after}"))
    with Visitors(lambda: Connection(proxy.port), 6) as many:
        chain.upgraded()
        assert proxy.wait(5 * SLOWNESS) == 0
        seen = many.visits
        eventually(lambda: many.errors or many.visits > seen + 200, within=20 * SLOWNESS)
    assert many.errors == []
    assert f"ready workers={after}" in proxy.log()


def test_addresses_come_and_go(start, nodes, successors):
    ports = [processes.free_port() for _ in range(3)]
    proxy = start.proxy(nodes, {"listen": [f"{HOST}:{p}" for p in ports[:2]], **NO_DRAIN}, workers=2, port=ports[0])
    chain = successors(proxy)
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    path.write_text(path.read_text().replace(f"{HOST}:{ports[1]}", f"{HOST}:{ports[2]}"))
    chain.upgraded()
    assert proxy.wait(5 * SLOWNESS) == 0
    assert [processes.is_open(port) for port in ports] == [True, False, True]


def test_tls_and_the_admin_page_go_over(start, nodes, successors, tmp_path):
    port, secure, admin = (processes.free_port() for _ in range(3))
    pair = certificates.Authority(tmp_path).issue("server")
    proxy = start.proxy(nodes, {"listen": [f"{HOST}:{port}", f"{HOST}:{secure} tls"], "admin": {"listen": f"{HOST}:{admin}"},
                                "tls": {"certificate_file": pair[0], "key_file": pair[1]}, **NO_DRAIN}, port=port)
    chain = successors(proxy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def connect():
        client = Connection(secure)
        client.socket = context.wrap_socket(client.socket)
        return client
    with Visitors(connect, 2) as many:
        eventually(lambda: many.errors or many.visits > 10, within=10 * SLOWNESS)
        chain.upgraded()
        before = many.visits
        eventually(lambda: many.errors or many.visits > before + 20, within=10 * SLOWNESS)
    assert many.errors == []
    page = get_page(admin, "/readyz")
    assert page.startswith(b"HTTP/1.1 200")
    assert proxy.wait(5 * SLOWNESS) == 0
    assert get_page(admin, "/readyz").startswith(b"HTTP/1.1 200")
    metrics = get_page(admin, "/metrics")
    assert b"sumcache_upgrades_failed_total 0" in metrics


def get_page(port, path):
    with socket.create_connection((HOST, port), timeout=5) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while piece := s.recv(65536):
            got += piece
        return got


def test_not_while_keys_are_away_from_home(start, successors, key):
    """What a node that is out is to forget, only this process knows."""
    two = start.nodes(2)
    proxy = start.proxy(two, {"timeouts": {"drain": "1s", "request": "1s"}, "health": {"interval": "100ms", "interval_out": "50ms"}})
    chain = successors(proxy)
    assert proxy.ask("PING") == "PONG"
    two[0].kill()
    with proxy.connect() as client:
        for i in range(50):
            client.ask("SET", key(i), i)
        eventually(lambda: proxy.state_of(two[0].name) == "out")
        client.ask("MSET", *[x for i in range(50) for x in (key(i), i)])
    done = chain.upgrade()
    assert done.returncode == 1 and "slots_away=" in done.stderr and "--flush-out" in done.stderr
    two[0].start_again()
    eventually(lambda: proxy.state_of(two[0].name) == "up", within=5 * SLOWNESS)
    chain.upgraded()


QUICK = {"timeouts": {"drain": "1s", "request": "200ms"}, "health": {"interval": "100ms", "interval_out": "50ms", "hold_min": "50ms"}}


def test_with_flush_out_a_node_that_is_out_is_emptied_before_the_new_process_uses_it(start, successors):
    """It hangs, and so keeps what it had before its keys were written elsewhere."""
    three = start.nodes(3)
    proxy = start.proxy(three, QUICK, workers=2)
    chain = successors(proxy)
    keys = [f"k{i}" for i in range(300)]
    mine = [key for key in keys if owner(three, key) is three[0]]
    put_all(proxy, dict.fromkeys(keys, "old"))
    three[0].freeze()
    eject_by_requests(proxy, three[0], mine[0])
    put_all(proxy, dict.fromkeys(mine, "new"))
    with Visitors(lambda: Connection(proxy.port)) as many:
        chain.upgraded("--flush-out")
    assert many.errors == []
    assert "inherited nodes=1 " in proxy.log() and "forgets=yes" in proxy.log()
    assert proxy.state_of(three[0]) == "out"
    assert values(proxy, mine) == dict.fromkeys(mine, b"new")  # who stands in has them still
    put_all(proxy, dict.fromkeys(mine, "newer"))
    three[0].thaw()
    wait_until_up(proxy, three[0])
    assert values(three[0], mine) == {} and values(proxy, mine) == {}
    assert "node-flushed" in proxy.log()
    others = [key for key in keys if key not in mine]
    assert values(proxy, others) == dict.fromkeys(others, b"old")
    eventually(lambda: all(values(node, mine) == {} for node in three), within=10 * SLOWNESS)  # … nor for the next time


def test_a_node_that_left_before_an_upgrade_comes_back_empty(start, successors):
    three = start.nodes(3)
    proxy = start.proxy(three, {**QUICK, "nodes": {"static": [node.name for node in three], "grace": 0}})
    chain = successors(proxy)
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    all_of_them = path.read_text()
    mine = [key for key in (f"k{i}" for i in range(100)) if owner(three, key) is three[2]]
    put_all(proxy, dict.fromkeys(mine, "old"))
    path.write_text(all_of_them.replace(f", {three[2].name}", ""))
    proxy.signal(signal.SIGHUP)
    eventually(lambda: proxy.state_of(three[2]) is None, within=10 * SLOWNESS)
    put_all(proxy, dict.fromkeys(mine, "new"))
    eventually(lambda: proxy.counter("slots_away") == 0, within=10 * SLOWNESS)
    pid = chain.upgraded()
    path.write_text(all_of_them)
    os.kill(pid, signal.SIGHUP)
    wait_until_up(proxy, three[2])
    assert values(three[2], mine) == {} and values(proxy, mine) == {}


def test_a_service_manager_hears_which_process_it_is(start, nodes, successors, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10 * SLOWNESS)
        proxy = start.proxy(nodes, NO_DRAIN, env={**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000"})
        assert manager.recv(1000) == b"READY=1"
        chain = successors(proxy)
        pid = chain.upgraded()
        said = set()
        eventually(lambda: said.add(manager.recv(1000)) or {b"READY=1", b"MAINPID=%d" % pid} <= said, within=10 * SLOWNESS)
        assert proxy.wait(5 * SLOWNESS) == 0
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert b"WATCHDOG_PID=%d" % pid in environment


def test_sigterm_to_the_old_process_ends_it_sooner(start, nodes, successors):
    proxy = start.proxy(nodes, {"timeouts": {"drain": "60s"}})
    chain = successors(proxy)
    with proxy.connect() as client:
        assert client.ask("PING") == "PONG"
        chain.upgraded()
        assert client.ask("PING") == "PONG"
        proxy.signal(signal.SIGTERM)
        assert proxy.wait(5 * SLOWNESS) == 0
        with pytest.raises(Closed):
            client.ask("PING")


def test_nodes_of_local_are_not_handed_over(start):
    process = start.process([BINARY, "--local", "1", "--listen", f"{HOST}:{processes.free_port()}"])
    eventually(lambda: "ready workers" in process.log(), within=10 * SLOWNESS)
    done = processes.run("upgrade", "--pid", process.pid)
    assert done.returncode == 1 and "--local" in done.stderr
    assert process.end() == 0


# ---------------------------------------------------------------------- socket activation

ACTIVATE = """
import os, socket, sys
count, argv = int(sys.argv[1]), sys.argv[2:]
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = str(count), str(os.getpid())
for fd in range(3, 3 + count):
    os.set_inheritable(fd, True)
os.execv(argv[0], argv)
"""


def activated(start, listeners, *options):
    """As systemd-socket-activate does: the sockets are descriptors 3 and following."""
    fds = [one.fileno() for one in listeners]

    def place():
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)
    log = start.directory / f"activated-{time.monotonic_ns()}.log"
    with open(log, "ab") as out:
        popen = subprocess.Popen([sys.executable, "-c", ACTIVATE, str(len(fds)), str(BINARY), *map(str, options)],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out, close_fds=False, preexec_fn=place)
    return popen, log


def listening(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HOST, port))
    s.listen(64)
    return s


@pytest.mark.parametrize("workers", [1, 3])
def test_a_socket_of_a_service_manager_is_taken(start, nodes, successors, workers):
    port = processes.free_port()
    with listening(port) as one:
        early = Connection(port)  # it waits in the queue, until there is a process
        early.send(encode("PING"))
        popen, log = activated(start, [one], "--listen", f"{HOST}:{port}", "--nodes", nodes[0].name, "--workers", workers)
        try:
            assert early.reply().value == "PONG"
            clients = [Connection(port) for _ in range(20)]
            assert all(client.ask("PING") == "PONG" for client in clients)
        finally:
            popen.terminate()
            assert popen.wait(10 * SLOWNESS) == 0, log.read_text()


def test_a_socket_that_nobody_wants_is_an_error(start, nodes):
    port, other = processes.free_port(), processes.free_port()
    with listening(port) as one:
        popen, log = activated(start, [one], "--listen", f"{HOST}:{other}", "--nodes", nodes[0].name)
        assert popen.wait(10 * SLOWNESS) == 1
        assert f"LISTEN_FDS has a socket at {HOST}:{port}, which is neither in `listen` nor admin.listen" in log.read_text()


def test_what_is_no_socket_is_an_error(start, nodes, tmp_path):
    with open(tmp_path / "x", "w", encoding="ascii") as file:
        popen, log = activated(start, [file], "--listen", f"{HOST}:{processes.free_port()}", "--nodes", nodes[0].name)
        assert popen.wait(10 * SLOWNESS) == 1
        assert "descriptor 3 of LISTEN_FDS is no socket that listens" in log.read_text()

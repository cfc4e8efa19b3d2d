# SPDX-License-Identifier: Apache-2.0
"""The process: starting, refusing to start, ending, and running out of things."""
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

import processes
from fake_node import FakeNode
from processes import BINARY, HOST, SLOWNESS, alive, children, free_port, is_open
from resp import Closed, Connection, Error, ask, encode, eventually

pytestmark = pytest.mark.proxy_only


def refused(*argv, **options):
    """It ends by itself with one clear line and a code that is not 0; returns the line."""
    done = processes.run(*argv, timeout=10, **options)
    assert done.returncode not in (0, None) and done.returncode > 0, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_version_and_help():
    done = processes.run("--version")
    assert done.returncode == 0 and re.fullmatch(r"sumcache \d+\.\d+\.\d+\n", done.stdout)
    done = processes.run("--help")
    assert done.returncode == 0
    for option in ("--config", "--check-config", "--print-config", "--listen", "--nodes", "--workers", "--local", "--log-level"):
        assert option in done.stdout


@pytest.mark.parametrize("argv", [["--nope"], ["--workers", "x", "--nodes", "a:1"], ["--workers"], ["stray", "--nodes", "a:1"],
                                  ["--listen", "127.0.0.1:99999", "--nodes", "a:1"], ["--log-level", "loud", "--nodes", "a:1"],
                                  ["--nodes", "a:0"], ["--nodes", ""], [], ["--config", "/nonexistent.yaml"],
                                  ["--local", "0", "--nodes", ""], ["--local", "-1"], ["--listen", "nosuchaddress:1", "--nodes", "a:1"]])
def test_bad_options(argv):
    refused(*argv)


@pytest.mark.parametrize("text,place", [
    ("nodes:\n  static: [a:1]\nworkerz: 2\n", "3:1"),
    ("nodes:\n  static: [a:1]\n  dynamic: 1\n", "3:3"),
    ("nodes: { static: [a:1] }\ntimeouts: { connect: 1s, request: soon }\n", "2:35"),
    ("nodes: { static: [a:1] }\ntimeouts:\n  request: 100\n", "3:12"),
    ("nodes: { static: [a:1] }\nlimits:\n  memory: -1gb\n", "3:11"),
    ("nodes: { static: [a:1] }\nlimits:\n  memory: 1tib\n", "3:11"),
    ("nodes: { static: [a:1] }\nlimits: 5\n", "2:9"),
    ("nodes: { static: [a:1] }\non_failure: { reads: maybe }\n", "2:22"),
    ("nodes: { static: [a:1] }\nring: { hash_tags: perhaps }\n", "2:20"),
    ("nodes: { static: a:1 }\n", "1:18"),
    ("nodes: { static: [a:1, [b:1]] }\n", "1:24"),
    ("nodes: { static: [a:1] }\nworkers: 0\n", "2:10"),
    ("nodes: { static: [a:1] }\nworkers: 2\nworkers: 3\n", "3:1"),
    ("nodes: { static: [a:1] }\nlisten: [127.0.0.1:70000]\n", "2:10"),
    ("- a\n- b\n", "1:1"),
])
def test_bad_config(tmp_path, text, place):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for mode in ([], ["--check-config"]):
        line = refused("--config", path, *mode)
        assert f"{path}:{place}: " in line, line


@pytest.mark.parametrize("text", ["nodes: { static: [a:1\n", "\tworkers: 2\n", "a: b: c\n", "%YAML 9\n---\n", "\x00", "\xff\xff", "&a *a\n",
                                  "nodes: &n { static: [a:1] }\nring: *m\n", "---\nworkers: 1\n---\nworkers: 2\n"])
def test_not_yaml(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode("latin-1"))
    line = refused("--config", path, "--check-config")
    assert re.search(re.escape(str(path)) + r":\d+:\d+: ", line), line


def test_good_config(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text("""# Everything that docs/operations.md names.
listen: [127.0.0.1:6379, "[::1]:6379"]
nodes: { static: [a:6379, b:6379] }
workers: auto
log_level: info
ring: { hash_tags: on }
timeouts: { connect: 1s, request: 100ms, stall: 250ms, drain: 5s, client_idle: 0, client_stall: 5s, tcp_keepalive: 60s,
            tcp_user: 10s, backoff_min: 50ms, backoff_max: 1s, gather: 50us, gather_replies: 100us }
on_failure: { reads: miss, writes: error }
limits: { clients: 10000, client_pending: 1024, client_output: 256mb, client_pubsub_output: 32mb,
          client_subscriptions: 100000, subscriptions: 1000000, memory: 1gb, max_value: 512mb, max_elements: 1000000,
          max_split_request: 64mb, bulk_above: 64kb, bulk_max: 2, client_min_rate: 1mb, node_requests: 16384, node_bytes: 256mb,
          private: 1024, transaction_commands: 10000, transaction_bytes: 16mb }
local: { nodes: 0, memory: 64mb }
""")
    done = processes.run("--config", path, "--check-config")
    assert done.returncode == 0 and not done.stderr, done.stderr
    printed = processes.run("--config", path, "--print-config")
    assert printed.returncode == 0
    again = tmp_path / "again.yaml"
    again.write_text(printed.stdout)
    assert processes.run("--config", again, "--check-config").returncode == 0
    assert processes.run("--config", again, "--print-config").stdout == printed.stdout


def test_print_config_shows_flags(tmp_path):
    out = processes.run("--nodes", "x:1,y:2", "--workers", "3", "--print-config").stdout
    assert "x:1" in out and re.search(r"workers: *3", out) and "max_split_request" in out


def test_port_in_use(start, nodes):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("--listen", f"{HOST}:{port}", "--nodes", nodes[0].name)
        assert str(port) in line and "in use" in line.lower()
    # Two of our own do not share a port unnoticed either.
    proxy = start.proxy(nodes)
    line = refused("--listen", f"{HOST}:{proxy.port}", "--nodes", nodes[0].name)
    assert str(proxy.port) in line
    assert proxy.ask("PING") == "PONG"


def test_address_of_another_machine():
    assert "192.0.2.1" in refused("--protected-mode", "off", "--listen", f"192.0.2.1:{free_port()}", "--nodes", "127.0.0.1:1")


def test_no_redis_server_for_local(tmp_path):
    line = refused("--local", "2", "--listen", f"{HOST}:{free_port()}", env={"PATH": str(tmp_path)})
    assert "redis-server" in line


def test_too_few_descriptors(nodes):
    done = subprocess.run(["prlimit", "--nofile=64:64", str(BINARY), "--nodes", nodes[0].name, "--listen", f"{HOST}:{free_port()}"],
                          capture_output=True, text=True, timeout=10 * SLOWNESS, check=False)
    assert done.returncode > 0 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "64" in done.stderr and "limits.clients" in done.stderr


def test_soft_limit_of_descriptors_is_raised(start, nodes):
    proxy = start.proxy(nodes, nofile="256:20000")
    soft, _ = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    assert soft > 10000
    assert proxy.ask("PING") == "PONG"


def test_nodes_that_dns_will_bring_have_descriptors(start):
    """32 of a name, each with a probe and, for its only worker, ten upstreams."""
    given = start.proxy([f"{HOST}:{free_port()}"], nofile="256:20000")
    found = start.proxy([], {"nodes": {"dns": ["a.invalid:6379", "b.invalid:6379"]}}, nofile="256:20000")
    limits = [resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)[0] for proxy in (given, found)]
    assert limits[1] - limits[0] == (2 * 32 - 1) * (10 + 1)


def test_starts_with_no_node(start):
    """Also with a name that nobody knows."""
    began = time.monotonic()
    proxy = start.proxy([f"{HOST}:{free_port()}", "no.such.name.invalid:6379"])
    assert time.monotonic() - began < 2 * SLOWNESS
    with proxy.connect() as client:
        assert client.ask("PING") == "PONG"
        for i in range(20):
            assert client.ask("GET", f"k{i}") is None
            assert isinstance(client.ask("SET", f"k{i}", "v"), Error)


def test_listens_on_several_addresses(start, nodes):
    ports = [free_port() for _ in range(2)]
    start.process([BINARY, "--listen", f"{HOST}:{ports[0]}", "--listen", f"127.0.0.2:{ports[1]}",
                   "--nodes", ",".join(node.name for node in nodes)])
    eventually(lambda: is_open(ports[0]), within=5 * SLOWNESS)
    for host, port in ((HOST, ports[0]), ("127.0.0.2", ports[1])):
        assert ask(port, "PING", host=host) == "PONG"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="machine: no IPv6")
def test_listens_on_ipv6(start, nodes):
    ports = [free_port() for _ in range(2)]
    start.process([BINARY, "--listen", f"{HOST}:{ports[0]}", "--listen", f"[::1]:{ports[1]}",
                   "--nodes", ",".join(node.name for node in nodes)])
    eventually(lambda: is_open(ports[0]), within=5 * SLOWNESS)
    with socket.socket(socket.AF_INET6) as six:
        six.settimeout(5)
        six.connect(("::1", ports[1]))
        six.sendall(b"PING\r\n")
        assert six.recv(100) == b"+PONG\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("clients", [0, 1])
def test_ends_quickly_when_idle(start, nodes, number, clients):
    proxy = start.proxy(nodes, workers=2)
    idle = [proxy.connect() for _ in range(clients)]
    assert all(client.ask("SET", "a", "b") == "OK" for client in idle)
    began = time.monotonic()
    proxy.signal(number)
    assert proxy.wait(10 * SLOWNESS) == 0
    assert time.monotonic() - began < 1 * SLOWNESS
    for client in idle:
        assert client.rest() == b""


def test_drains(start):
    """After SIGTERM: no new client, what is under way is answered, then the end, with code 0."""
    held = []
    fake = FakeNode(lambda connection, args: held.append(connection))
    try:
        proxy = start.proxy([fake], {"timeouts": {"request": "5s", "drain": "5s"}})
        with proxy.connect() as client, proxy.connect() as half:
            client.send(encode("GET", "a") + encode("GET", "b"))
            half.send(b"*2\r\n$3\r\nGE")
            eventually(lambda: len(held) == 2)
            proxy.signal(signal.SIGTERM)
            eventually(lambda: not is_open(proxy.port), what="no new client is accepted")
            assert proxy.popen.poll() is None
            held[0].send(b"$1\r\n1\r\n$1\r\n2\r\n")
            assert client.rest() == b"$1\r\n1\r\n$1\r\n2\r\n"
        assert proxy.wait(5 * SLOWNESS) == 0
    finally:
        fake.end()


def test_drain_has_an_end(start):
    fake = FakeNode(lambda connection, args: None)
    try:
        proxy = start.proxy([fake], {"timeouts": {"request": "60s", "drain": "300ms"}})
        with proxy.connect() as client:
            client.send(encode("GET", "a"))
            eventually(lambda: fake.requests)
            began = time.monotonic()
            proxy.signal(signal.SIGTERM)
            assert proxy.wait(5 * SLOWNESS) == 0
            assert 0.2 < time.monotonic() - began < 0.3 + 1.5 * SLOWNESS
    finally:
        fake.end()


def test_drain_under_load(start, nodes, key):
    """Every request that was answered before the end was answered whole and rightly."""
    proxy = start.proxy(nodes, {"timeouts": {"request": "10s"}}, workers=2)
    clients = [proxy.connect() for _ in range(20)]
    for client in clients:
        client.send(b"".join(encode("SET", key(i), "x" * 1000) + encode("GET", key(i)) for i in range(200)))
    proxy.signal(signal.SIGTERM)
    one = b"+OK\r\n$1000\r\n" + b"x" * 1000 + b"\r\n"
    for client in clients:
        got = client.rest()
        whole, part = divmod(len(got), len(one))
        assert got == one * whole + one[:part] and part in (0, 5)
    assert proxy.wait(7 * SLOWNESS) == 0


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_client_that_still_sends_reads_all_that_was_answered_before_the_end(start, nodes, key, kind, tmp_path):
    """A connection that is closed with bytes unread is reset, and what its socket still had to send is lost."""
    path = str(tmp_path / "s")
    port = free_port()
    proxy = start.proxy(nodes, {"listen": [f"{HOST}:{port}", f'"unix:{path}"'], "timeouts": {"request": "10s"}}, port=port)
    with proxy.connect() as client:
        client.ask("SET", key(0), "x" * 200_000)
    one = b"$200000\r\n" + b"x" * 200_000 + b"\r\n"
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(path if kind == "unix" else (HOST, port))
        raw.sendall(encode("GET", key(0)) * 4)
        time.sleep(0.2)  # its socket takes no more, and the rest waits in the proxy
        proxy.signal(signal.SIGTERM)
        eventually(lambda: not is_open(port))
        for _ in range(50):  # what comes now is not executed any more
            raw.sendall(encode("GET", key(0)))
        got = bytearray()
        while piece := raw.recv(65536):
            got += piece
    assert len(got) % len(one) == 0 and got == one * (len(got) // len(one)) and len(got) >= 4 * len(one)
    assert proxy.wait(7 * SLOWNESS) == 0


def test_second_signal_ends_at_once(start):
    fake = FakeNode(lambda connection, args: None)
    try:
        proxy = start.proxy([fake], {"timeouts": {"request": "60s", "drain": "60s"}})
        with proxy.connect() as client:
            client.send(encode("GET", "a"))
            eventually(lambda: fake.requests)
            proxy.signal(signal.SIGTERM)
            eventually(lambda: not is_open(proxy.port))
            proxy.signal(signal.SIGTERM)
            proxy.wait(2 * SLOWNESS)
    finally:
        fake.end()


@pytest.fixture
def local(start):
    port = free_port()
    process = start.process([BINARY, "--local", "3", "--local-memory", "32mb", "--listen", f"{HOST}:{port}", "--workers", "1"])
    eventually(lambda: is_open(port) or process.popen.poll() is not None, within=10 * SLOWNESS)
    assert process.popen.poll() is None, process.log()
    process.port = port
    eventually(lambda: len(children(process.pid)) == 3)
    process.children = children(process.pid)
    yield process
    process.end()
    eventually(lambda: not any(alive(child) for child in process.children), what="no child is left")


def test_local(local):
    with Connection(local.port) as client:
        for i in range(100):
            assert client.ask("SET", f"k{i}", i) == "OK"
        assert client.ask("MGET", *[f"k{i}" for i in range(100)]) == [b"%d" % i for i in range(100)]
    # The settings of a cache.
    for child in local.children:
        line = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
        port = int(re.search(rb"(?:--port\0|:)(\d+)", line).group(1))
        assert ask(port, "CONFIG", "GET", "maxmemory") == [b"maxmemory", b"%d" % (32 << 20)]
        assert ask(port, "CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lru"
        assert ask(port, "CONFIG", "GET", "save")[1] == b"" and ask(port, "CONFIG", "GET", "appendonly")[1] == b"no"
        assert 10 < ask(port, "DBSIZE") < 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_local_children_end_with_the_parent(local, number):
    local.signal(number)
    code = local.wait(10 * SLOWNESS)
    assert code == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    eventually(lambda: not any(alive(child) for child in local.children), within=5 * SLOWNESS)


def test_local_child_that_dies_is_started_again(local):
    with Connection(local.port) as client:
        assert all(client.ask("SET", f"k{i}", i) == "OK" for i in range(30))
        os.kill(local.children[0], signal.SIGKILL)
        # The others have its keys meanwhile; then it is back.
        eventually(lambda: not alive(local.children[0]) and len(children(local.pid)) == 3, within=5 + 5 * SLOWNESS)
        local.children = children(local.pid)
        eventually(lambda: info_counter(client, "nodes_out") == 0 and info_counter(client, "node_admissions") > 0,
                   within=5 + 5 * SLOWNESS)
        assert all(client.ask("SET", f"k{i}", i) == "OK" for i in range(30))


def test_no_descriptors_at_run_time(start, nodes):
    """EMFILE: accepting pauses, clients that are there go on, and it recovers by itself."""
    proxy = start.proxy(nodes)
    with proxy.connect() as client:
        for i in range(10):
            assert client.ask("SET", f"k{i}", i) == "OK"
        _, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        fds = len(os.listdir(f"/proc/{proxy.pid}/fd"))
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (fds + 3, hard))
        more = [proxy.connect() for _ in range(12)]
        eventually(lambda: client.ask("PING") == "PONG" and info_counter(client, "accept_pauses") >= 1, within=3 * SLOWNESS)
        for i in range(200):
            assert client.ask("GET", f"k{i % 10}") == b"%d" % (i % 10)
        # It does not spin meanwhile.
        before = cpu_seconds(proxy.pid)
        time.sleep(0.3)
        assert cpu_seconds(proxy.pid) - before < 0.15 * SLOWNESS
        # Who left makes room for who waits.
        served = 0
        for each in more[:3]:
            each.send(b"PING\r\n")
        for each in more[:3]:
            served += each.reply().value == "PONG"
        assert served == 3
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (hard, hard))
        for each in more:
            each.send(encode("GET", "k1"))
        for each in more:
            assert each.reply().value == b"1"
            each.close()


def info_counter(client, name):
    return processes.counters_of(client.ask("INFO"))[name]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_costs_no_cpu(start, nodes):
    proxy = start.proxy(nodes, workers=2)
    clients = [proxy.connect() for _ in range(50)]
    assert all(client.ask("SET", "a", "b") == "OK" for client in clients)
    before = cpu_seconds(proxy.pid)
    time.sleep(0.5)
    assert cpu_seconds(proxy.pid) - before <= 0.02 * SLOWNESS
    for client in clients:
        client.close()


def test_descriptors_do_not_leak(start, nodes, key):
    proxy = start.proxy(nodes)

    def count():
        return len(os.listdir(f"/proc/{proxy.pid}/fd"))

    def come_and_go(times):
        for i in range(times):
            client = proxy.connect()
            client.send([b"", b"PING\r\n", b"*1\r\nx\r\n", encode("GET", key(1)), b"QUIT\r\n", b"*3\r\n$3"][i % 6])
            client.reset() if i % 2 else client.close()
        eventually(lambda: proxy.counter("clients") == 1)

    for _ in range(2 * len(nodes)):  # each worker opens its upstreams when it needs them
        proxy.ask("MSET", *[x for i in range(50) for x in (key(i), i)])
    come_and_go(60)
    before = count()
    come_and_go(300)
    eventually(lambda: count() <= before, what="all descriptors are closed")


def clients_per_worker(pid, port):
    """Which epoll instance watches how many client sockets: seen from outside, in /proc."""
    inodes = set()
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[1].split(":")[1], 16) == port:
            inodes.add(fields[9])
    clients, epolls = set(), []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            clients.add(int(fd))
        elif target == "anon_inode:[eventpoll]":
            epolls.append(fd)
    counts = []
    for fd in epolls:
        text = pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
        counts.append(sum(int(tfd) in clients for tfd in re.findall(r"tfd: *(\d+)", text)))
    return sorted(counts, reverse=True)


@pytest.mark.parametrize("count", [2, 4, 8, 50, 200])
def test_few_long_lived_clients_are_spread_evenly(start, nodes, count):
    proxy = start.proxy(nodes, workers=2)
    clients = [proxy.connect_alone()] + [proxy.connect() for _ in range(count - 1)]
    assert all(client.ask("PING") == "PONG" for client in clients)
    counts = eventually(lambda: (c := clients_per_worker(proxy.pid, proxy.port)) and sum(c) == count and c)[:2]
    assert abs(counts[0] - counts[1]) <= 1 + count // 10, counts
    # And all of them work, wherever they are.
    for i, client in enumerate(clients):
        assert client.ask("SET", f"c{i}", i) == "OK" and client.ask("GET", f"c{i}") == b"%d" % i
    for client in clients:
        client.close()


def test_balance_after_some_left(start, nodes):
    proxy = start.proxy(nodes, workers=2)
    clients = [proxy.connect_alone()] + [proxy.connect() for _ in range(19)]
    assert all(client.ask("PING") == "PONG" for client in clients)
    for client in clients[::2]:
        client.close()
    clients = clients[1::2]
    eventually(lambda: processes.counters_of(clients[0].ask("INFO"))["clients"] == 10)
    clients += [proxy.connect() for _ in range(10)]
    assert all(client.ask("PING") == "PONG" for client in clients)
    counts = clients_per_worker(proxy.pid, proxy.port)[:2]
    assert sum(counts) == 20 and abs(counts[0] - counts[1]) <= 3, counts
    for client in clients:
        client.close()


@pytest.mark.slow
def test_two_workers_under_load(start, nodes, key):
    """The proxy with two threads gives the same right answers, and INFO sums both."""
    proxy = start.proxy(nodes, {"timeouts": {"request": "10s"}}, workers=2)
    clients = [proxy.connect(protocol=2 + i % 2) for i in range(100)]
    for step in range(10):
        for i, client in enumerate(clients):
            client.send(b"".join(encode("SET", key(f"{i}:{j}"), f"{step}:{j}") for j in range(10)) +
                        encode("MGET", *[key(f"{i}:{j}") for j in range(10)]))
        for client in clients:
            assert [reply.value for reply in client.replies(10)] == ["OK"] * 10
            assert client.reply().value == [b"%d:%d" % (step, j) for j in range(10)]
    counters = processes.counters_of(clients[0].ask("INFO"))
    assert counters["clients"] == 100 and counters["workers"] == 2
    assert counters["requests"] >= 100 * 10 * 11 and counters["requests_split"] == 1000
    for client in clients:
        client.close()
    with pytest.raises((Closed, OSError)):
        clients[0].ask("PING")

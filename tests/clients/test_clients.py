# SPDX-License-Identifier: Apache-2.0
"""Real client libraries, caches built upon them, and Redis's own tools, with default options, as
applications use them.

Each does its work over three nodes, some move large values, and each must be able to connect and to PING
with every node down, because a cache must never keep its applications from starting. And each goes on
working while a node is killed, another falls silent, and then the proxy is killed: errors and misses, but
nothing hangs and no reply goes astray. What each program does is in the program.
"""
import json
import os
import pathlib
import pty
import re
import select
import subprocess
import sys

import pytest

import processes
from certificates import Authority
from processes import SLOWNESS
from resp import eventually

CLIENTS = pathlib.Path(__file__).parent
PYTHON = "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else sys.executable

NODE = {"ioredis.mjs": ["ioredis5", "ioredis6", "iovalkey"], "node-redis.mjs": ["redis5", "redis5-resp3", "redis6"],
        "caches.mjs": ["cache-manager", "bentocache", "connect-redis", "bullmq"]}
COMMANDS = {
    **{library: ["node", CLIENTS / program, library] for program, libraries in NODE.items() for library in libraries},
    "phpredis": ["php", CLIENTS / "phpredis.php"],
    "redispy": [PYTHON, CLIENTS / "redispy.py"],
    "redisrb": ["ruby", CLIENTS / "redisrb.rb"],
    "hiredis": [],
}
NEEDS_NODE_20 = ["ioredis6", "redis6"]

DRIVERS = [library for library in COMMANDS if library not in NODE["caches.mjs"]]
MODES = [
    *((library, mode) for mode in ("connect", "work", "scan", "multi", "pubsub") for library in DRIVERS),
    *((library, "large") for library in ("ioredis5", "redis6", "phpredis", "redispy")),
    *((library, "blocking") for library in DRIVERS if library != "hiredis"),
    ("redispy", "load"),
    ("cache-manager", "work"), ("cache-manager", "multi"), ("cache-manager", "scan"),
    ("bentocache", "work"), ("bentocache", "scan"), ("bentocache", "pubsub"),
    ("connect-redis", "work"), ("connect-redis", "scan"), ("bullmq", "crossing"), ("bullmq", "queue"),
]


@pytest.fixture(scope="session")
def node_modules():
    """Installs the npm packages of package-lock.json unless they are there."""
    modules = CLIENTS / "node_modules"
    lock = CLIENTS / "package-lock.json"
    mark = modules / ".package-lock.json"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=CLIENTS, check=True, timeout=180,
                       capture_output=True)
        mark.touch()
    return modules


@pytest.fixture(scope="session")
def hiredis_program(tmp_path_factory):
    program = tmp_path_factory.mktemp("hiredis") / "hiredis"
    subprocess.run(["cc", "-Wall", "-Wextra", "-o", program, CLIENTS / "hiredis.c", "-lhiredis"],
                   check=True)
    return program


@pytest.fixture(scope="session")
def lonely_proxy(shared):
    """A proxy with default settings of which no node is there."""
    dead = [f"{processes.HOST}:{processes.free_port()}" for _ in range(3)]
    return shared.proxy(dead)


def node_version():
    if not processes.has("node"):
        return 0
    out = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.match(r"v(\d+)", out).group(1))


def argv_of(request, library):
    """What starts the program of that library; skips where it cannot run."""
    if library in NEEDS_NODE_20 and 0 < node_version() < 20:
        pytest.skip(f"machine: {library} asks for Node.js 20")
    argv = COMMANDS[library] or [request.getfixturevalue("hiredis_program")]
    if argv[0] == "node":
        request.getfixturevalue("node_modules")
    return [str(word) for word in argv]


@pytest.mark.parametrize("library,mode", MODES)
def test_library(request, library, mode, key):
    if mode == "crossing" and processes.STAND_IN:
        pytest.skip("a redis-server stands in for the proxy")
    argv = argv_of(request, library)
    target = request.getfixturevalue("lonely_proxy" if mode == "connect" else "proxy")
    done = subprocess.run([*argv, str(target.port), mode, key(library)], timeout=60 * SLOWNESS,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-3000:]


@pytest.fixture(scope="module")
def tls_proxy(shared, nodes, tmp_path_factory):
    """With the CA's file as `ca`."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    certificate, key_file = authority.issue("server")
    port, port_tls = processes.free_port(), processes.free_port()
    proxy = shared.proxy(nodes, {"listen": [f"127.0.0.1:{port}", f"127.0.0.1:{port_tls} tls"],
                                 "tls": {"certificate_file": certificate, "key_file": key_file},
                                 "timeouts": {"request": "10s", "stall": "10s"}}, port=port)
    proxy.secure, proxy.ca = port_tls, authority.file
    return proxy


@pytest.mark.proxy_only
@pytest.mark.parametrize("library,mode", [(library, mode) for library in ("redispy", "ioredis5", "ioredis6")
                                          for mode in ("work", "large", "multi", "pubsub")])
def test_library_over_tls(request, library, mode, tls_proxy, key):
    argv = argv_of(request, library)
    before = tls_proxy.counter("tls_handshakes")
    done = subprocess.run([*argv, str(tls_proxy.secure), mode, key(library)], timeout=60 * SLOWNESS,
                          env={**os.environ, "CA": str(tls_proxy.ca)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr[-3000:]
    assert tls_proxy.counter("tls_handshakes") > before


@pytest.mark.proxy_only
@pytest.mark.parametrize("library", DRIVERS)
def test_nodes_and_proxies_that_die(request, start, library, key):
    argv = argv_of(request, library)
    nodes = start.nodes(3)
    proxy = start.proxy(nodes)
    with subprocess.Popen([*argv, str(proxy.port), "killed", key(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as program:
        try:
            assert select.select([program.stdout], [], [], 20 * SLOWNESS)[0], "it does not get going"
            ready = program.stdout.readline()
            assert ready == "ready\n", ready + (program.stderr.read()[-3000:] if program.poll() else "")
            nodes[0].kill()
            eventually(lambda: proxy.state_of(nodes[0]) != "up", within=10 * SLOWNESS, what="the node is out")
            nodes[0].start_again()
            eventually(lambda: proxy.state_of(nodes[0]) == "up", within=20 * SLOWNESS, what="the node is back")
            nodes[1].freeze()
            eventually(lambda: proxy.state_of(nodes[1]) != "up", within=10 * SLOWNESS, what="the silent node is out")
            nodes[1].thaw()
            eventually(lambda: proxy.state_of(nodes[1]) == "up", within=20 * SLOWNESS, what="it is back too")
            assert program.poll() is None, program.stderr.read()[-3000:]
            proxy.kill()
            start.proxy(nodes, port=proxy.port)
            out, errors = program.communicate(timeout=60 * SLOWNESS)  # closes its stdin
        finally:
            if program.poll() is None:
                program.kill()
    lines = out.splitlines()
    assert program.returncode == 0 and lines[-1:] == ["ok"], errors[-3000:] + out
    count = json.loads(lines[-2])
    # A silent node costs what was asked of it. Nothing waits longer than a library takes to connect again.
    assert count["errors"] + count["misses"] > 0, count
    assert count["slowest"] < 10000 * SLOWNESS, count


def cli(port, *args, stdin=None):
    done = subprocess.run(["redis-cli", "-p", str(port), *args], capture_output=True, text=True,
                          timeout=30 * SLOWNESS, check=False, input=stdin)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["-3"]])
def test_redis_cli(proxy, key, options):
    assert cli(proxy.port, *options, "SET", key("a"), "one") == "OK\n"
    assert cli(proxy.port, *options, "GET", key("a")) == "one\n"
    assert cli(proxy.port, *options, "MSET", key("b"), "2", key("c"), "3") == "OK\n"
    assert cli(proxy.port, *options, "MGET", key("a"), key("b"), key("c")) == "one\n2\n3\n"
    assert cli(proxy.port, *options, "DEL", key("a"), key("b"), key("c"), key("d")) == "3\n"
    script = "".join(f"SET {key(i)} v{i}\nGET {key(i)}\n" for i in range(50))
    assert cli(proxy.port, *options, stdin=script) == "".join(f"OK\nv{i}\n" for i in range(50))


def test_redis_cli_pipe(proxy, key):
    """redis-cli --pipe sends everything, then ECHO with 20 bytes, and waits for them."""
    script = "".join(f"SET {key(i)} v{i}\r\n" for i in range(2000))
    assert "errors: 0, replies: 2000" in cli(proxy.port, "--pipe", stdin=script)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("options", [[], ["-3"]])
def test_redis_cli_interactive(request, options, down):
    """On a terminal redis-cli asks COMMAND DOCS (or COMMAND) before the prompt, for its help."""
    target = request.getfixturevalue("lonely_proxy" if down else "proxy")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.environ["HOME"] = "/nonexistent"
        os.execvp("redis-cli", ["redis-cli", "-p", str(target.port), *options])
    seen = b""

    def wait_for(pattern):
        nonlocal seen
        while not re.search(pattern, seen):
            ready, _, _ = select.select([terminal], [], [], 10 * SLOWNESS)
            assert ready, seen
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                raise AssertionError(f"redis-cli ended: {seen!r}") from None
        seen = b""

    try:
        wait_for(rb"> $")
        os.write(terminal, b"PING\r")
        wait_for(rb"PONG\r?\n")
        os.write(terminal, b"NOSUCH x\r")
        wait_for(rb"ERR unknown command")
        os.write(terminal, b"QUIT\r")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def benchmark(port, *args):
    done = subprocess.run(["redis-benchmark", "-p", str(port), "--csv", *args], capture_output=True,
                          text=True, timeout=60 * SLOWNESS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


TESTS = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin," \
        "lrange_100,mset"


def test_redis_benchmark(proxy):
    out = benchmark(proxy.port, "-n", "2000", "-r", "1000", "-t", TESTS)
    assert len(out.splitlines()) >= 17, out


@pytest.mark.parametrize("args", [["-P", "16", "-r", "1000"], ["-c", "200", "-d", "1024"],
                                  ["-3", "-P", "4"], ["--threads", "2", "-r", "100"]])
def test_redis_benchmark_options(proxy, args):
    benchmark(proxy.port, "-n", "5000", "-t", "set,get,mset", *args)


def test_redis_benchmark_of_a_command(proxy, key):
    benchmark(proxy.port, "-n", "2000", "-r", "1000", "MGET", key("__rand_int__"), key("b"), key("c"))


def test_redis_benchmark_with_nodes_down(lonely_proxy):
    benchmark(lonely_proxy.port, "-n", "1000", "-t", "ping_inline,ping_mbulk")

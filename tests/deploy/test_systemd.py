# SPDX-License-Identifier: Apache-2.0
"""deploy/systemd: verified by systemd-analyze, their commands run, and their seccomp filters held
against what the programs really call."""
import re
import subprocess
import urllib.request

import pytest

from processes import BINARY, HOST, ROOT, SLOWNESS, free_port, is_open, run
from resp import Connection, eventually

pytestmark = pytest.mark.proxy_only
UNITS = ROOT / "deploy" / "systemd"
NAMES = ("sumcache.service", "sumcache-node@.service")


def analyze(*words):
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def settings(name):
    found = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path):
    """Copies that name the program that was built, for /usr/bin/sumcache may not be there."""
    for name in NAMES:
        (tmp_path / name).write_text((UNITS / name).read_text().replace("/usr/bin/sumcache", str(BINARY)))
    return tmp_path


def test_systemd_takes_them(units):
    (units / "sumcache-node@6379.service").symlink_to(units / "sumcache-node@.service")
    done = analyze("--man=no", "verify", units / "sumcache.service", units / "sumcache-node@6379.service")
    mine = [line for line in done.stderr.splitlines() if str(units) in line or "sumcache" in line]
    assert (done.returncode, mine) == (0, [])


@pytest.mark.parametrize("name", NAMES)
def test_they_are_exposed_to_little(units, name):
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=20", units / name)
    assert done.returncode == 0, done.stdout


def calls_of_set(name):
    """The system calls of a set such as @system-service, and of those inside it."""
    done = analyze("syscall-filter", name)
    assert done.returncode == 0, done.stderr
    found = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= calls_of_set(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed_calls(unit):
    allowed = set()
    for line in settings(unit)["SystemCallFilter"]:
        calls = set()
        for word in line.lstrip("~").split():
            calls |= calls_of_set(word) if word.startswith("@") else {word}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def calls_in(trace):
    return set(re.findall(r"^(?:\d+ +|\[pid +\d+\] )?(\w+)\(", trace, re.M))


def test_what_sumcache_calls_is_allowed(start, nodes, tmp_path):
    """All of it: start, clients, nodes, DNS, the control plane, the admin listener, the end."""
    trace, port, admin, config = tmp_path / "trace", free_port(), free_port(), tmp_path / "sumcache.yaml"
    (tmp_path / "password").write_text("secret\n")
    config.write_text(f"listen: [{HOST}:{port}, 'unix:{tmp_path}/socket mode=0770']\nworkers: auto\n"
                      f"auth: {{ password_file: {tmp_path}/password }}\n"
                      f"admin: {{ listen: {admin} }}\n"
                      f"nodes: {{ static: [{', '.join(node.name for node in nodes)}], dns: [localhost:{nodes[0].port}] }}\n")
    process = start.process(["strace", "-f", "-qq", "-o", trace, BINARY, "--config", config])
    eventually(lambda: is_open(port), within=20 * SLOWNESS, what="it listens")
    with Connection(port) as client:
        assert client.ask("AUTH", "secret") == "OK"
        assert client.ask("SET", "systemd:k", b"x" * 300_000) == "OK"
        assert len(client.ask("GET", "systemd:k")) == 300_000
        assert client.ask("MGET", "systemd:k", "systemd:l")[1] is None
        eventually(lambda: b",state=up" in client.ask("INFO", "sumcache"), within=20 * SLOWNESS, what="checks")
    with urllib.request.urlopen(f"http://{HOST}:{admin}/metrics", timeout=10) as answer:
        assert answer.status == 200
    for pid in (child for child in map(int, subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True,
                                                            text=True, check=False).stdout.split())):
        subprocess.run(["kill", "-TERM", str(pid)], check=True)
    process.wait(20 * SLOWNESS)
    called = calls_in(trace.read_text(errors="replace"))
    assert {"epoll_wait", "accept4", "socket"} <= called or "epoll_pwait2" in called
    assert called - allowed_calls("sumcache.service") == set()


def test_what_redis_calls_is_allowed(start, tmp_path):
    trace, port = tmp_path / "trace", free_port()
    process = start.process(["strace", "-f", "-qq", "-o", trace, "redis-server", ROOT / "deploy" / "redis" / "redis.conf",
                             "--port", port, "--bind", HOST, "--maxmemory", "64mb", "--dir", tmp_path])
    eventually(lambda: is_open(port), within=20 * SLOWNESS, what="it listens")
    with Connection(port) as client:
        assert client.ask("SET", "k", "v") == "OK"
        assert client.ask("FLUSHALL", "ASYNC") == "OK"
        client.send(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
    process.wait(20 * SLOWNESS)
    assert calls_in(trace.read_text(errors="replace")) - allowed_calls("sumcache-node@.service") == set()


@pytest.mark.parametrize("own", [None, "maxmemory 48mb\nrequirepass secret\n"])
def test_a_node_starts(start, tmp_path, own):
    """Its command as it stands in the unit, with and without a file of its own."""
    port = free_port()
    (command,) = settings("sumcache-node@.service")["ExecStart"]
    script, name = re.fullmatch(r"/bin/sh -c '(.*)' (\S+)", command).groups()
    (tmp_path / "redis.conf").write_text(
        (ROOT / "deploy" / "redis" / "redis.conf").read_text().replace("bind * -::*", f"bind {HOST}"))
    if own:
        (tmp_path / f"node-{port}.conf").write_text(own)
    (tmp_path / f"run-{port}").mkdir()
    for old, new in (("$$", "$"), ("%i", str(port)), ("/etc/sumcache", str(tmp_path)),
                     (f"/run/sumcache-node-{port}", f"{tmp_path}/run-{port}")):
        assert old in script
        script = script.replace(old, new)
    start.process(["/bin/sh", "-c", script, name])
    eventually(lambda: is_open(port), within=20 * SLOWNESS, what="it listens")
    with Connection(port) as client:
        if own:
            assert client.ask("AUTH", "secret") == "OK"
        assert client.ask("CONFIG", "GET", "maxmemory")[1] == (b"50331648" if own else b"1073741824")
        assert client.ask("CONFIG", "GET", "dir")[1].decode() == f"{tmp_path}/run-{port}"


def test_the_configuration_of_the_package_is_right():
    done = run("--config", UNITS / "sumcache.yaml", "--check-config")
    assert (done.returncode, done.stderr) == (0, "")

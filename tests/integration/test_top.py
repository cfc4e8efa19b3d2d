# SPDX-License-Identifier: Apache-2.0
"""`sumcache top` beside real nodes, as text and in a terminal."""
import os
import select
import subprocess
import time

import pytest

import processes
from processes import BINARY, SLOWNESS
from resp import eventually

pytestmark = pytest.mark.proxy_only

HEALTH = {"interval": "100ms", "interval_out": "50ms", "hold_min": "100ms", "hold_max": "100ms"}
HOSTILE = b"\x1b]0;owned\x07\x9b31m\xe2\x80\xae\x00"
SHOWN = r"\x1b]0;owned\x07\x9b31m\xe2\x80\xae\x00"


def once(port, *options):
    return processes.run("top", "--once", *options, port)


@pytest.fixture
def watched(start):
    def make(**admin):
        nodes = start.nodes(3)
        port = processes.free_port()
        proxy = start.proxy(nodes, {"health": HEALTH, "admin": {"listen": port, "sample_each": 1, **admin}}, workers=1)
        eventually(lambda: proxy.events("listening-admin"))
        return proxy, nodes, port
    return make


def row_of(text, node):
    return next((line.split() for line in text.splitlines() if line.startswith(node.name + " ")), ["", ""])


def test_one_frame_and_a_hostile_key(watched):
    proxy, nodes, port = watched()
    for _ in range(20):
        proxy.ask("SET", HOSTILE, "v")
    eventually(lambda: SHOWN in once(port).stdout, within=10 * SLOWNESS, what="the key is hot")
    eventually(lambda: all(row_of(once(port).stdout, node)[1] == "up" for node in nodes), within=5 * SLOWNESS)
    frame = once(port)
    assert (frame.returncode, frame.stderr) == (0, "")
    assert frame.stdout.isascii() and frame.stdout.replace("\n", "").isprintable()
    assert "nodes in ring 3, out 0" in frame.stdout


def test_a_node_is_killed_while_it_runs_in_a_terminal(watched):
    _, nodes, port = watched()
    eventually(lambda: all(row_of(once(port).stdout, node)[1] == "up" for node in nodes), within=5 * SLOWNESS)
    master, slave = os.openpty()
    seen = b""

    def shows(words):
        nonlocal seen
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536)
        return words in seen.split(b"\x1b[H\x1b[2J")[-1]

    with subprocess.Popen([BINARY, "top", str(port)], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL) as top:
        try:
            eventually(lambda: shows(b"nodes in ring 3, out 0"), within=5 * SLOWNESS, what="a frame")
            nodes[0].kill()
            eventually(lambda: shows(b"nodes in ring 2, out 1"), within=10 * SLOWNESS, what="the dead node")
            eventually(lambda: shows(b"up -> out"), within=5 * SLOWNESS, what="the event")
            assert top.poll() is None
        finally:
            top.kill()
    os.close(master)
    os.close(slave)


def test_it_goes_on_when_the_proxy_is_gone(watched):
    proxy, _, port = watched()
    with subprocess.Popen([BINARY, "top", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as top:
        try:
            assert top.stdout.readline() == b"\n" and top.stdout.readline().startswith(b"sumcache top")
            proxy.kill()
            assert b"cannot be asked: " in top.stderr.readline()
            time.sleep(1.2)
            assert top.poll() is None
        finally:
            top.kill()


def test_the_token(watched, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("open-sesame-open-sesame\n")
    token.chmod(0o600)
    _, _, port = watched(token_file=str(token))
    refused = once(port)
    assert refused.returncode == 1 and "unauthorised" in refused.stderr and refused.stdout == ""
    assert once(port, "--token-file", token).returncode == 0
    monkeypatch.setenv("SUMCACHE_ADMIN_TOKEN", "open-sesame-open-sesame")
    assert once(port).returncode == 0
    monkeypatch.setenv("SUMCACHE_ADMIN_TOKEN", "a\tb")
    assert once(port).returncode == 2


def test_what_cannot_be_asked(start, nodes):
    refused = once(processes.free_port())
    assert refused.returncode == 1 and "Connection refused" in refused.stderr
    proxy = start.proxy(nodes, {})
    other = once(proxy.port)  # the Redis port
    assert other.returncode == 1 and len(other.stderr.splitlines()) == 1
    assert once("nonsense").returncode == 2
    assert processes.run("top", "--bogus").returncode == 2

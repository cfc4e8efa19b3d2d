# SPDX-License-Identifier: Apache-2.0
"""Where clients come from: behind a balancer that speaks the PROXY protocol, or through a Unix socket."""
import os
import socket
import stat
import struct

import pytest

import processes
from resp import encode, eventually

pytestmark = pytest.mark.proxy_only

V1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 6379\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H4s4sHH", 12, b"\xc0\0\2\7", b"\x7f\0\0\1", 4711, 6379)


@pytest.fixture
def balanced(start, nodes):
    def make(**limits):
        settings = {"proxy_protocol": {"from": ["127.0.0.0/8"], "timeout": "300ms"}, "limits": {"clients": 100, **limits},
                    "timeouts": {"request": "10s"}}
        return start.proxy(nodes, settings)
    return make


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("cut", [0, 1, 5, 13, 16, -1])
def test_the_client_is_who_the_balancer_says(balanced, header, cut):
    with balanced().connect() as client:
        at = cut % len(header)
        client.send(header[:at])
        if at:
            client.socket.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(5)
        client.send(header[at:] + encode("SET", "k", "v") + encode("CLIENT", "LIST"))
        stored, listed = [reply.value for reply in client.replies(2)]
        assert stored == "OK" and b" addr=192.0.2.7:4711 " in listed
        assert client.ask("GET", "k") == b"v"


def test_a_balancer_may_speak_for_itself(balanced):
    with balanced().connect() as client:
        client.send(b"PROXY UNKNOWN\r\n" + encode("CLIENT", "INFO"))
        assert b" addr=127.0.0.1:" in client.reply().value
        assert client.ask("SET", "k", "v" * 300000) == "OK"


@pytest.mark.parametrize("data", [encode("PING"), b"PROXY TCP4 x y 1 2\r\n", b"PROXY " + b"x" * 200, V2[:14] + b"\xff\xff"])
def test_what_is_no_header_ends_the_connection(balanced, data):
    proxy = balanced()
    with proxy.connect() as client:
        client.send(data)
        assert client.rest() == b""
    with proxy.connect() as client:
        client.send(V1)
        counters = processes.counters_of(client.ask("INFO"))
        assert counters["clients_header_error"] >= 1


def test_a_header_that_does_not_come_is_not_waited_for(balanced):
    proxy = balanced()
    with proxy.connect() as silent, proxy.connect() as slow:
        slow.send(V1[:10])
        assert silent.rest(timeout=5) == slow.rest(timeout=5) == b""


def test_limits_see_the_client_behind_the_balancer(balanced):
    proxy = balanced(clients_per_address=1)
    with proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        one.send(V1 + encode("PING"))
        assert one.reply().value == "PONG"
        two.send(V1 + encode("PING"))
        assert two.rest() == b"-ERR max number of clients reached\r\n"
        three.send(V1.replace(b"192.0.2.7", b"192.0.2.8") + encode("PING"))
        assert three.reply().value == "PONG"
        one.close()
        eventually(lambda: processes.counters_of(three.ask("INFO"))["clients"] == 1)
        with proxy.connect() as again:
            again.send(V1 + encode("PING"))
            assert again.reply().value == "PONG"


def test_others_cannot_say_who_they_are(start, nodes):
    proxy = start.proxy(nodes, {"proxy_protocol": {"from": ["192.0.2.0/24"]}})
    with proxy.connect() as client:
        client.send(V1)
        assert b"unknown command 'PROXY'" in client.reply().raw
        assert client.ask("PING") == "PONG"


# ---- Unix sockets ----


class Unix:
    """What a client on a Unix socket needs."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))

    def ask(self, *args):
        self.socket.sendall(encode(*args))
        return self.socket.recv(1 << 20)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()


@pytest.fixture
def local(start, nodes, tmp_path):
    def make(path=tmp_path / "s", workers=2, **more):
        port = processes.free_port()
        listen = {"listen": [f"127.0.0.1:{port}", f'"unix:{path} mode=0660"'], "timeouts": {"request": "10s"}, **more}
        return start.proxy(nodes, listen, port=port, workers=workers), path
    return make


def test_a_unix_socket_serves_like_any_other(local):
    proxy, path = local(limits={"clients_per_address": 2})  # the test's own looks need them
    status = os.stat(path)
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o660
    eventually(lambda: proxy.counter("clients") == 1)
    with Unix(path) as one, Unix(path) as two, Unix(path) as three:
        for client in (one, two, three):
            assert client.ask("SET", "k", "v") == b"+OK\r\n"
            assert client.ask("GET", "k") == b"$1\r\nv\r\n"
        assert one.ask("CLIENT", "LIST").count(b" addr=unix:0 ") == 3
        assert one.ask("SET", "k", "v" * 300000) == b"+OK\r\n"
    assert f"listening address=unix:{path}" in proxy.log()
    assert proxy.end() == 0
    assert not path.exists()


def test_what_a_killed_process_left_behind_is_no_obstacle(local):
    proxy, path = local()
    proxy.kill()
    assert path.exists()
    _, path = local(path)
    with Unix(path) as client:
        assert client.ask("PING") == b"+PONG\r\n"


def test_the_socket_of_a_living_process_and_files_are_left_alone(local, tmp_path, nodes):
    _, path = local()
    file = tmp_path / "file"
    file.write_text("mine")
    for taken in (path, file):
        result = processes.run("--listen", f"unix:{taken}", "--nodes", nodes[0].name)
        assert result.returncode == 1 and f"cannot listen on unix:{taken}" in result.stderr
    assert file.read_text() == "mine"
    with Unix(path) as client:
        assert client.ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize("item", ["unix:", "unix:relative", "unix:/x mode=9", "unix:/x mode=1777", "unix:/x what", "unix:/" + "x" * 108])
def test_what_is_no_unix_socket(tmp_path, item):
    config = tmp_path / "c.yaml"
    config.write_text(processes.to_yaml({"listen": [f'"{item}"'], "nodes": {"static": ["127.0.0.1:1"]}}))
    result = processes.run("--config", config, "--check-config")
    assert result.returncode == 2 and "c.yaml:1:" in result.stderr and "unix:/PATH" in result.stderr

# SPDX-License-Identifier: Apache-2.0
"""deploy/haproxy/haproxy.cfg with two proxies behind it, one of which is killed under load."""
import re
import shutil
import threading
import time

import pytest

from processes import HOST, ROOT, SLOWNESS, free_port, is_open
from resp import Closed, Connection, Error, eventually

pytestmark = pytest.mark.proxy_only
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/sbin:/bin")
BALANCER = "127.0.0.9"  # where it comes from: the test itself speaks to the proxies without a header
SETTINGS = {"proxy_protocol": {"from": [BALANCER]}, "timeouts": {"request": "5s"}}


class Balancer:
    """haproxy with the file as it is, but for addresses, and for how many connections a test may have."""

    def __init__(self, start, directory, proxies):
        self.port = free_port()
        text = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        text, bound = re.subn(r"bind 0\.0\.0\.0:6379", f"bind {HOST}:{self.port}", text)
        addresses = iter(f"{HOST}:{proxy.port}" for proxy in proxies)
        text, servers = re.subn(r"(server sumcache-\d) \S+", lambda found: f"{found[1]} {next(addresses)}", text)
        assert (bound, servers) == (1, 2)
        path = directory / "haproxy.cfg"
        text = text.replace("default-server ", f"default-server source {BALANCER} ")
        path.write_text(text.replace("maxconn 20000", "maxconn 200"))
        self.process = start.process([HAPROXY, "-db", "-f", path])
        eventually(lambda: is_open(self.port), within=10 * SLOWNESS, what="haproxy listens")


class Client(threading.Thread):
    """Writes and reads; connects again when its connection has gone, as client libraries do."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.number = port, number
        self.over, self.done, self.cut, self.refused, self.wrong = threading.Event(), 0, 0, 0, []
        self.longest = 0

    def run(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                with Connection(self.port) as client:
                    self.talk(client, began)
            except Closed:
                self.cut += 1
            except OSError:
                self.refused += 1

    def talk(self, client, began):
        while not self.over.is_set():
            value = f"{self.number}:{self.done}".encode()
            answers = client.ask("SET", f"client:{self.number}", value), client.ask("GET", f"client:{self.number}")
            self.longest = max(self.longest, time.monotonic() - began)
            began = time.monotonic()
            if answers != ("OK", value):
                self.wrong.append(answers)
            self.done += 1


def test_one_of_two_proxies_is_killed(start, nodes, tmp_path):
    proxies = [start.proxy(nodes, SETTINGS) for _ in range(2)]
    balancer = Balancer(start, tmp_path, proxies)
    clients = [Client(balancer.port, i) for i in range(8)]
    for client in clients:
        client.start()
    eventually(lambda: all(client.done > 20 for client in clients), within=20 * SLOWNESS, what="all are served")
    counts = [proxy.counter("clients") for proxy in proxies]
    assert all(count >= 3 for count in counts), counts  # with the one that asks
    proxies[0].kill()
    before = [client.done for client in clients]
    eventually(lambda: all(client.done > was + 50 for client, was in zip(clients, before)), within=20 * SLOWNESS,
               what="all are served by the other one")
    # Cut was what went through it, and nobody else noticed. Some are cut twice, for until the kernel has
    # closed all its sockets one of those may still take a connection.
    cut = [client for client in clients if client.cut]
    assert 1 <= len(cut) <= counts[0] - 1
    assert max(client.cut for client in clients) <= 3
    assert sum(client.refused for client in clients) == 0
    assert not [answer for client in clients for answer in client.wrong]
    assert max(client.longest for client in clients) < 1.5 * SLOWNESS

    # Back, it gets its share of new connections.
    start.proxy(nodes, SETTINGS, port=proxies[0].port)
    eventually(lambda: "sumcache-1 is UP" in balancer.process.log(), within=20 * SLOWNESS, what="it is seen")
    more = [Connection(balancer.port) for _ in range(8)]
    assert [one.ask("PING") for one in more] == ["PONG"] * 8
    assert proxies[1].counter("clients") < 2 + len(clients) + len(more)
    for one in more:
        one.close()
    for client in clients:
        client.over.set()
    for client in clients:
        client.join(10)


def test_the_proxies_see_who_the_client_is(start, nodes, tmp_path):
    proxies = [start.proxy(nodes, {**SETTINGS, "limits": {"clients_per_address": 3}}) for _ in range(2)]
    balancer = Balancer(start, tmp_path, proxies)
    with Connection(balancer.port) as client:
        listed = client.ask("CLIENT", "LIST").decode()
        own = "%s:%d" % client.socket.getsockname()
        assert f" addr={own} " in listed


def test_proxies_that_want_a_password_are_up(start, nodes, tmp_path):
    (tmp_path / "password").write_text("secret\n")
    settings = {**SETTINGS, "auth": {"password_file": str(tmp_path / "password")}}
    proxies = [start.proxy(nodes, settings) for _ in range(2)]
    balancer = Balancer(start, tmp_path, proxies)
    time.sleep(1.5)  # of two checks
    assert "is DOWN" not in balancer.process.log()
    with Connection(balancer.port) as client:
        assert isinstance(client.ask("GET", "k"), Error)
        assert client.ask("AUTH", "secret") == "OK"
        assert client.ask("GET", "balancer:none") is None

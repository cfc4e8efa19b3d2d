# SPDX-License-Identifier: Apache-2.0
"""Other settings while it runs: SIGHUP, `sumcache reload`, and what the service manager hears."""
import json
import os
import signal
import socket
import threading
import time

import pytest

import processes
from processes import HOST, SLOWNESS
from resp import Closed, Error, eventually

pytestmark = pytest.mark.proxy_only


def rewrite(proxy, settings=None, nodes=None, workers=1):
    names = [node.name for node in (proxy.nodes if nodes is None else nodes)]
    everything = {"listen": [f"{HOST}:{proxy.port}"], "nodes": {"static": names}, "workers": workers,
                  "log_level": "debug", "commands": {"allow": ["all"]}}
    everything.update(settings or {})
    path = proxy.directory / f"proxy-{proxy.port}.yaml"
    path.write_text(processes.to_yaml(everything))
    return path


def reload(proxy):
    return processes.run("reload", "--pid", proxy.pid)


def reloaded(proxy, settings=None, **options):
    """With these settings, all of them in force."""
    rewrite(proxy, settings, **options)
    done = reload(proxy)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "sumcache: the settings are in force\n")


def has(node, key, password):
    with node.connect() as admin:
        return admin.ask("AUTH", password) == "OK" and admin.ask("EXISTS", key) == 1


class Load:
    """Clients that write and read back without a pause; the first error ends one. Where slots move a read may miss."""

    def __init__(self, proxy, clients=3, misses=False):
        self.errors, self.rounds, self.over = [], 0, False
        self.misses = misses
        self.proxy = proxy
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]

    def _run(self, number):
        try:
            with self.proxy.connect() as client:
                count = 0
                while not self.over:
                    key, count = f"load:{number}:{count % 500}", count + 1
                    for answer, expected in ((client.ask("SET", key, count), b"OK"), (client.ask("GET", key), b"%d" % count)):
                        if answer not in (expected, expected.decode()) and not (self.misses and answer is None):
                            raise AssertionError(f"{key}: {answer!r}, not {expected!r}")
                    self.rounds += 1
        except Exception as error:  # whatever it is, the test has to hear of it
            self.errors.append(repr(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        eventually(lambda: self.rounds > 100 or self.errors, within=10 * SLOWNESS, what="the load runs")
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()


def test_sighup_changes_settings_under_a_client(start, nodes):
    proxy = start.proxy(nodes)
    with proxy.connect() as client:
        assert client.ask("SET", "r:a", "1") in ("OK", b"OK")
        rewrite(proxy, {"commands": {"deny": ["get"]}})
        proxy.signal(signal.SIGHUP)
        eventually(lambda: proxy.events("reloaded"), what="reloaded")
        assert isinstance(client.ask("GET", "r:a"), Error)
        reloaded(proxy)
        assert client.ask("GET", "r:a") == b"1"
        assert proxy.counter("reloads") == 2
    assert len(proxy.events("stopping")) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_no_request_fails_while_settings_change(start, nodes, workers):
    patient = {"timeouts": {"request": "10s", "stall": "10s"}}
    proxy = start.proxy(nodes, patient, workers=workers)
    other = {"timeouts": {"request": "9s", "stall": "9s", "client_idle": "1h", "gather": "0"},
             "limits": {"memory": "100mb", "client_rate": 1000000}, "health": {"interval": "50ms"},
             "commands": {"allow": ["all"], "unknown": {"foo.get": "1"}}, "policy": {"rules": ['"other:* deny"']},
             "auth": {"users": ['"default all nopass"']}}
    with Load(proxy) as load:
        for i in range(20):
            reloaded(proxy, other if i % 2 == 0 else patient, workers=workers)
            time.sleep(0.02)
        before = load.rounds
        eventually(lambda: load.rounds > before + 100 or load.errors, within=10 * SLOWNESS, what="it goes on")
    assert load.errors == []
    assert proxy.counter("reloads") == 20


def test_nodes_come_and_go(start):
    first = start.nodes(3)
    proxy = start.proxy(first[:2], {"timeouts": {"request": "10s"}, "nodes": {
        "static": [node.name for node in first[:2]], "grace": "0"}})

    def of(which):
        return {"timeouts": {"request": "10s"}, "nodes": {"static": [node.name for node in which], "grace": "0"}}

    with Load(proxy, misses=True) as load:
        reloaded(proxy, of(first))
        eventually(lambda: proxy.state_of(first[2]) == "up", within=10 * SLOWNESS, what="the new node is up")
        eventually(lambda: first[2].ask("DBSIZE") > 0, within=10 * SLOWNESS, what="the new node is used")
        reloaded(proxy, of(first[1:]))
        eventually(lambda: proxy.state_of(first[0]) is None, within=30 * SLOWNESS, what="the old node has left")
    assert load.errors == []


@pytest.mark.parametrize("text,place", [("workers: 1\nlimits: { clients: many }\n", "2:20"), ("nodes: [\n", None),
                                        ("timeouts:\n  request: 100\n", "2:12")])
def test_a_bad_file_changes_nothing_and_says_where(start, nodes, text, place):
    proxy = start.proxy(nodes)
    path = rewrite(proxy)
    path.write_text(text)
    with proxy.connect() as client:
        done = reload(proxy)
        assert done.returncode == 1 and "nothing has changed" in done.stderr
        assert f"{path}:{place or ''}" in done.stderr
        assert f"{path}:{place or ''}" in proxy.events("reload-failed")[0]
        assert client.ask("PING") in ("PONG", b"PONG")
        eventually(lambda: proxy.counter("reloads_failed") == 1, what="the control plane has counted it")
        assert proxy.counter("reloads") == 0
        reloaded(proxy)


def test_a_password_file_that_is_gone_changes_nothing(start, nodes, tmp_path):
    proxy = start.proxy(nodes)
    rewrite(proxy, {"auth": {"password_file": tmp_path / "none"}})
    done = reload(proxy)
    assert done.returncode == 1 and "auth" in done.stderr and "No such file" in done.stderr
    assert proxy.ask("PING") in ("PONG", b"PONG")


def test_what_needs_a_restart_is_named_and_the_rest_comes(start, nodes):
    proxy = start.proxy(nodes)
    rewrite(proxy, {"databases": 2, "commands": {"deny": ["get"]}}, workers=2)
    done = reload(proxy)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1] == "sumcache: but for these, which need a restart: workers,databases"
    assert "settings=workers,databases" in proxy.events("reload-kept")[0]
    assert isinstance(proxy.ask("GET", "x"), Error) and isinstance(proxy.ask("SELECT", "1"), Error)


def test_nodes_of_a_fixed_layout_need_a_restart(start):
    nodes = start.nodes(2)
    ketama = {"ring": {"kind": "ketama"}}
    proxy = start.proxy(nodes[:1], ketama)
    rewrite(proxy, ketama, nodes=nodes)
    done = reload(proxy)
    assert done.returncode == 0 and "need a restart: nodes.static" in done.stdout
    assert proxy.state_of(nodes[1]) is None


def test_users_change_under_their_clients(start, nodes, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one\n")

    def users(*lines):
        return {"auth": {"users": [json.dumps(line) for line in lines]}}

    ann, ops = f"ann read ~* password_file={secret}", f"ops all password_file={secret}"
    proxy = start.proxy(nodes, users(ann, ops))
    with proxy.connect() as first, proxy.connect() as other, proxy.connect() as stranger:
        assert first.ask("AUTH", "ann", "one") == "OK" and other.ask("AUTH", "ops", "one") == "OK"
        assert isinstance(first.ask("SET", "u:a", "1"), Error)
        reloaded(proxy, users(ann.replace("read", "read write"), ops))
        assert first.ask("SET", "u:a", "1") == "OK", "more rights"
        secret.write_text("two\n")
        reloaded(proxy, users(ops))
        with pytest.raises((Closed, OSError)):
            first.ask("PING")
        assert other.ask("GET", "u:a") == b"1", "stays who it is"
        assert isinstance(stranger.ask("AUTH", "ops", "one"), Error) and stranger.ask("AUTH", "ops", "two") == "OK"
        assert other.ask("INFO").count(b"clients_user_gone:1\r\n") == 1


def test_a_password_does_not_throw_out_those_who_are_in(start, nodes, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    proxy = start.proxy(nodes)
    with proxy.connect() as client:
        assert client.ask("PING") == "PONG"
        reloaded(proxy, {"auth": {"password_file": secret}})
        assert client.ask("SET", "p:a", "1") == "OK", "as with CONFIG SET requirepass"
        with proxy.connect() as late:
            assert "NOAUTH" in str(late.ask("PING"))
            reloaded(proxy)
            assert late.ask("PING") == "PONG"


def test_a_command_that_goes_while_it_is_queued(start, nodes):
    known = {"commands": {"allow": ["all"], "unknown": {"foo.get": "1"}}}
    proxy = start.proxy(nodes[:1], known)
    with proxy.connect() as client:
        assert "unknown command" in str(client.ask("FOO.GET", "a"))
        assert client.ask("MULTI") == "OK" and client.ask("FOO.GET", "a") == "QUEUED"
        reloaded(proxy, nodes=nodes[:1])
        assert "EXECABORT" in str(client.ask("EXEC"))
        assert client.ask("PING") == "PONG"


def test_the_nodes_password_is_for_new_connections(start, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    node = start.node(extra=["--requirepass", "one"])
    settings = {"nodes": {"static": [node.name], "password_file": secret}, "timeouts": {"request": "10s"}}
    proxy = start.proxy([node], settings)
    eventually(lambda: proxy.state_of(node) == "up", within=10 * SLOWNESS, what="its check has logged in too")
    assert proxy.ask("SET", "n:a", "1") == "OK"
    with node.connect() as admin:
        assert admin.ask("AUTH", "one") == "OK"
        assert admin.ask("CONFIG", "SET", "requirepass", "two") == "OK"
        secret.write_text("two\n")
        reloaded(proxy, settings)
        assert proxy.ask("GET", "n:a") == b"1", "what is connected stays"
        admin.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: proxy.ask("GET", "n:a") == b"1" and proxy.state_of(node) == "up",
                   within=20 * SLOWNESS, what="it is used again")


def test_logins_of_some_nodes_change_too(start, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    first, other = start.node(), start.node(extra=["--requirepass", "one"])

    def settings(logins=True):
        lines = [f'"{other.name} password_file={secret}"'] if logins else []
        return {"nodes": {"static": [first.name, other.name], "logins": lines}}

    proxy = start.proxy([first, other], settings())
    key = eventually(lambda: next((f"l:{i}" for i in range(100) if proxy.ask("SET", f"l:{i}", "1") == "OK" and has(other, f"l:{i}", "one")), None),
                     within=10 * SLOWNESS, what="it is used")
    secret.write_text("two\n")
    reloaded(proxy, settings())
    assert proxy.ask("GET", key) == b"1", "what is connected stays"
    with other.connect() as admin:
        assert admin.ask("AUTH", "one") == "OK" and admin.ask("CONFIG", "SET", "requirepass", "two") == "OK"
        admin.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: proxy.ask("GET", key) == b"1" and proxy.state_of(other) == "up",
                   within=20 * SLOWNESS, what="the new password is used")
        assert admin.ask("CONFIG", "SET", "requirepass", "") == "OK"
        reloaded(proxy, settings(logins=False))
        admin.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        eventually(lambda: proxy.ask("GET", key) == b"1" and proxy.state_of(other) == "up",
                   within=20 * SLOWNESS, what="no password is used")


def test_reload_says_when_it_cannot_ask(tmp_path):
    assert processes.run("reload").returncode == 2
    assert processes.run("reload", "--pid", "x").returncode == 2
    assert processes.run("reload", "--pid-file", tmp_path / "none").returncode == 2
    assert "No such process" in processes.run("reload", "--pid", 2 ** 22 + 1).stderr
    assert processes.run("reload", "--help").stdout.startswith("Usage: sumcache reload")


def test_reload_by_a_pid_file(start, nodes, tmp_path):
    proxy = start.proxy(nodes)
    path = tmp_path / "pid"
    path.write_text(f"{proxy.pid}\n")
    rewrite(proxy)
    assert processes.run("reload", "--pid-file", path).returncode == 0
    assert len(proxy.events("reloaded")) == 1


def test_the_service_manager_hears_of_it(start, nodes, tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10 * SLOWNESS)

        def next_state():
            while (text := manager.recv(4096).decode()) == "WATCHDOG=1":
                pass
            return text

        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        proxy = start.proxy(nodes)
        assert next_state() == "READY=1"
        before = time.monotonic_ns() // 1000
        reloaded(proxy)
        state, usec = next_state().splitlines()
        assert state == "RELOADING=1" and before <= int(usec.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert next_state() == "READY=1"
        rewrite(proxy).write_text("nonsense\n")
        assert reload(proxy).returncode == 1
        assert next_state().startswith("RELOADING=1") and next_state() == "READY=1"
        proxy.signal(signal.SIGTERM)
        assert next_state() == "STOPPING=1"


def test_the_watchdog_is_fed_while_all_threads_turn(start, nodes, tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10 * SLOWNESS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        proxy = start.proxy(nodes, workers=2)
        fed = 0
        while fed < 5:
            fed += manager.recv(4096) == b"WATCHDOG=1"
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        other = start.proxy(nodes)
        proxy.end()
        manager.settimeout(0.5)
        heard = []
        try:
            while True:
                heard.append(manager.recv(4096))
        except TimeoutError:
            pass
        assert heard.count(b"WATCHDOG=1") <= 3, "the other one is not asked for it"
        assert other.ask("PING") == "PONG"

# SPDX-License-Identifier: Apache-2.0
"""The admin listener: metrics that promtool takes, pages that tell the truth, requests that are none."""
import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

import processes
from resp import encode, eventually

pytestmark = pytest.mark.proxy_only

CALM = {"timeouts": {"request": "10s"}}


class Admin:
    def __init__(self, port):
        self.port = port

    def get(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10 * processes.SLOWNESS)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def json(self, page):
        status, headers, body = self.get(f"/api/{page}")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert headers["Cache-Control"] == "no-store"
        return json.loads(body)

    def metrics(self):
        """{name with labels: value}"""
        status, headers, body = self.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in body.decode("ascii").splitlines() if not line.startswith("#")]
        found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
        assert len(found) == len(lines)
        return found

    def raw(self, data, timeout=5):
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout * processes.SLOWNESS) as peer:
            peer.sendall(data)
            answer = b""
            while chunk := peer.recv(65536):
                answer += chunk
            return answer


@pytest.fixture
def watched(start, nodes):
    def make(members=None, workers=1, settings=None, **admin):
        port = processes.free_port()
        everything = {**CALM, **(settings or {}), "admin": {"listen": port, **admin}}
        proxy = start.proxy(members or nodes, everything, workers=workers)
        eventually(lambda: proxy.events("listening-admin"))  # it opens behind the others
        return proxy, Admin(port)
    return make


def test_promtool_finds_nothing_to_blame(watched):
    proxy, admin = watched(workers=2)
    proxy.ask("SET", "k", "v")
    proxy.ask("GET", "k")
    eventually(lambda: any(name.startswith("sumcache_node_keys{") for name in admin.metrics()))
    body = admin.get("/metrics")[2]
    result = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_metrics_are_what_info_says(watched):
    proxy, admin = watched(workers=2)
    with proxy.connect() as client:
        for i in range(100):
            client.ask("SET", f"outcome-{i}", "v")
        for i in range(150):
            client.ask("GET", f"outcome-{i}")
        client.ask("LPUSH", "outcome-list", "x")
        client.ask("GET", "outcome-list")
        client.ask("MGET", "outcome-1", "outcome-2")
    counters, metrics = proxy.counters(), admin.metrics()
    for name in ("clients_accepted", "bytes_to_nodes", "upstreams_opened", "views", "nodes_in_ring"):
        found = metrics.get(f"sumcache_{name}_total", metrics.get(f"sumcache_{name}"))
        assert found == counters[name], name
    reads = {result: metrics[f'sumcache_outcomes_total{{class="read",result="{result}"}}']
             for result in ("ok", "hit", "miss", "failover_miss", "node_error", "failed")}
    assert reads == {"ok": 1, "hit": 100, "miss": 50, "failover_miss": 0, "node_error": 1, "failed": 0}
    assert metrics['sumcache_outcomes_total{class="write",result="ok"}'] == 101
    assert metrics["sumcache_request_seconds_count"] >= 253
    assert (metrics["sumcache_mget_hits_total"], metrics["sumcache_mget_misses_total"]) == (2, 0)
    assert metrics["sumcache_turn_seconds_count"] == metrics["sumcache_turns_total"] > 0
    first = [value for name, value in metrics.items() if name.startswith("sumcache_node_first_byte_seconds_count")]
    assert len(first) == len(proxy.nodes) and sum(first) >= 253


def test_what_is_read_at_once_is_counted_one_by_one(watched, start):
    """Pipelines whose requests differ in command, outcome and node, from several clients at a time."""
    members = start.nodes(3)
    proxy, admin = watched(members)
    clients = [proxy.connect() for _ in range(3)]
    one = b"".join(encode("SET", f"k{i}", "v" * i) + encode("GET", f"k{i}") + encode("GET", f"none{i}")
                   + encode("GET", f"k{i}") + encode("LLEN", f"k{i}") + encode("EXISTS", f"none{i}") for i in range(50))
    rounds = 5
    for _ in range(rounds):
        for client in clients:
            client.send(one)
        for client in clients:
            for _ in range(300):
                client.reply()
    for client in clients:
        client.close()
    metrics = admin.metrics()
    each = 50 * rounds * len(clients)

    def outcomes(result, name):
        return metrics[f'sumcache_outcomes_total{{class="{name}",result="{result}"}}']

    assert outcomes("ok", "write") == each
    assert (outcomes("hit", "read"), outcomes("miss", "read"), outcomes("node_error", "read")) == (2 * each, 2 * each, each)
    assert metrics["sumcache_request_seconds_count"] == 6 * each
    assert metrics["sumcache_request_queue_seconds_count"] == 6 * each
    first = [metrics[f'sumcache_node_first_byte_seconds_count{{node="{node.name}"}}'] for node in members]
    assert sum(first) == 6 * each and min(first) > 0
    assert 0 < metrics["sumcache_request_seconds_sum"] < 60 * 6 * each


@pytest.mark.parametrize("proto", [2, 3])
def test_keys_of_mget_are_hits_and_misses_each(watched, start, proto):
    members = start.nodes(3)
    proxy, admin = watched(members)
    with proxy.connect() as client:
        client.ask("HELLO", str(proto))
        for i in range(0, 60, 2):
            client.ask("SET", f"k{i}", "" if i % 4 else "v")
        client.ask("MGET", *(f"k{i}" for i in range(60)))  # over all nodes
        assert (client.ask("SET", "{t}1", "v"), client.ask("LPUSH", "{t}2", "v")) == ("OK", 1)
        client.ask("MGET", "{t}0", "{t}1", "{t}2", "{t}1")  # at one
    metrics = admin.metrics()
    assert (metrics["sumcache_mget_hits_total"], metrics["sumcache_mget_misses_total"]) == (30 + 2, 30 + 2)
    summary = admin.json("summary")
    assert (summary["mget_hits"], summary["mget_misses"]) == (32, 32)


def test_each_metric_is_documented(watched):
    _, admin = watched()
    operations = (processes.ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    eventually(lambda: any(name.startswith("sumcache_node_keys{") for name in admin.metrics()))
    body = admin.get("/metrics")[2].decode()
    names = re.findall(r"^# TYPE (\S+) ", body, re.M)
    assert len(names) == len(set(names))

    def is_documented(name):
        counter = re.sub(r"_total$", "", name.removeprefix("sumcache_"))
        return f"`{name}`" in operations or f"| `{counter}` |" in operations

    assert [name for name in names if not is_documented(name)] == []


def test_a_node_that_dies_is_seen(watched, start):
    members = start.nodes(3)
    proxy, admin = watched(members, settings={"health": {"interval": "50ms", "interval_out": "50ms", "hold_min": "100ms"}})
    eventually(lambda: {node["state"] for node in admin.json("nodes")["nodes"]} == {"up"})
    assert admin.get("/readyz")[0] == 200
    members[1].kill()
    name = members[1].name
    eventually(lambda: admin.metrics()[f'sumcache_node_up{{node="{name}"}}'] == 0, within=10 * processes.SLOWNESS)
    listed = {node["name"]: node for node in admin.json("nodes")["nodes"]}
    assert listed[name]["state"] == "out" and listed[name]["reason"] and not listed[name]["in_ring"]
    eventually(lambda: {n["name"]: n for n in admin.json("nodes")["nodes"]}[name]["slots"] == 0)
    assert sum(node["slots"] for node in admin.json("nodes")["nodes"]) == admin.json("nodes")["slots"]
    events = [event for event in admin.json("events")["events"] if event["node"] == name]
    assert (events[-1]["from"], events[-1]["to"]) == ("up", "out") and events[-1]["reason"]
    members[1].start_again()
    eventually(lambda: admin.json("events")["events"][-1]["to"] == "up", within=10 * processes.SLOWNESS)
    assert proxy.state_of(members[1]) == "up"


def test_nobody_is_ready_without_nodes(watched):
    _, admin = watched([f"127.0.0.1:{processes.free_port()}"])
    eventually(lambda: admin.get("/readyz")[0] == 503)
    assert admin.get("/healthz")[0] == 200
    assert admin.json("summary")["ready"] is False


def test_the_summary_and_the_history(watched):
    proxy, admin = watched()
    proxy.ask("SET", "k", "v" * 1000)

    def has_figures():
        for _ in range(20):
            proxy.ask("GET", "k")
        summary = admin.json("summary")
        return summary["keys"] >= 1 and summary["memory_used"] > 0 and summary["last_second"] and summary["p99_us"] > 0

    eventually(has_figures, within=10 * processes.SLOWNESS)
    summary = admin.json("summary")
    assert summary["ready"] is True and summary["nodes_in_ring"] == len(proxy.nodes)
    assert summary["ring_hash"] == str(proxy.counters()["ring_hash"])
    assert summary["outcomes"]["read"]["hit"] >= 20
    rows = admin.json("history")["rows"]
    assert 1 <= len(rows) <= 300
    assert [row["at_ms"] for row in rows] == sorted(row["at_ms"] for row in rows)
    assert sum(row["requests"] for row in rows) > 0


@pytest.mark.parametrize("key", ["plain", "user:{7}:name", "a b&c=d+e%", "<script>\"\\", "\N{SNOWMAN}", ""])
def test_where_a_key_is(watched, start, key):
    members = start.nodes(3)
    proxy, admin = watched(members)
    proxy.ask("SET", key, "v")
    owner, = [node for node in members if node.ask("EXISTS", key) == 1]
    quoted = "".join(f"%{byte:02x}" for byte in key.encode())
    answer = admin.json(f"where?key={quoted}")
    assert answer["node"] == owner.name
    assert answer["key"] == key.encode().decode("latin-1")
    assert b"<" not in admin.get(f"/api/where?key={quoted}")[2]


@pytest.mark.parametrize("path, status", [("/page", 404), ("/nothing", 404), ("/metrics/", 404), ("/api/where", 400),
                                          ("/api/where?key=%zz", 400), ("/healthz?x=1", 200)])
def test_pages_that_are_none(watched, path, status):
    assert watched()[1].get(path)[0] == status


def test_it_can_only_be_read(watched):
    _, admin = watched()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert admin.get("/healthz", method)[0] == 405
    status, headers, body = admin.get("/metrics", "HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 10000


@pytest.mark.parametrize("data, status", [
    (b"PING\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\n\r\n", b"400"), (b"*1\r\n$4\r\nPING\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n", b""), pytest.param(b"GET /" + b"a" * 5000, b"431", id="long")])
def test_requests_that_are_none(watched, data, status):
    _, admin = watched(timeout="300ms")
    assert admin.raw(data)[9:12] == status
    assert admin.get("/healthz")[0] == 200


def test_a_name_of_elsewhere_is_not_ours(watched):
    _, admin = watched()
    assert admin.get("/metrics", Host="evil.example")[0] == 403
    assert admin.get("/metrics", Host="localhost:1")[0] == 200
    assert watched(remote="on")[1].get("/metrics", Host="sumcache.svc")[0] == 200


def test_a_token_opens_it(watched, tmp_path):
    token = "a token of 26 bytes, secret"
    (tmp_path / "token").write_text(token + "\n")
    proxy, admin = watched(token_file=tmp_path / "token")
    basic = base64.b64encode(f"ana:{token}".encode()).decode()
    for path in ("/metrics", "/api/summary", "/api/where?key=k"):
        status, headers, _ = admin.get(path)
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic ")
        assert admin.get(path, Authorization=f"Bearer {token}x")[0] == 401
        assert admin.get(path, Authorization=f"Bearer {token}")[0] == 200
        assert admin.get(path, Authorization=f"Basic {basic}", Host="sumcache.example")[0] == 200
    eventually(lambda: admin.get("/readyz")[0] == 200)  # a probe has none
    assert admin.get("/healthz")[0] == 200
    assert b"sumcache_admin_unauthorized_total 6\n" in admin.get("/metrics", Authorization=f"Bearer {token}")[2]
    assert token not in proxy.log()


def test_so_many_connections_and_so_long(watched):
    _, admin = watched(connections=2, timeout="500ms")
    held = [socket.create_connection(("127.0.0.1", admin.port), timeout=5) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", admin.port), timeout=5) as third:
        assert third.recv(1) == b""
    for peer in held:
        assert peer.recv(1) == b""
        peer.close()
    assert admin.metrics()["sumcache_admin_refused_total"] >= 1


def test_who_reads_nothing_is_not_waited_for(watched):
    _, admin = watched(timeout="500ms")
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    peer.connect(("127.0.0.1", admin.port))
    peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for _ in range(5):
        assert admin.get("/healthz")[0] == 200
    peer.close()


@pytest.mark.parametrize("listen, words", [("0.0.0.0:9379", "admin.remote"), ("nowhere", "expected PORT"), ("0", "expected PORT")])
def test_where_it_may_listen(tmp_path, listen, words):
    path = tmp_path / "sumcache.yaml"
    path.write_text(f"nodes:\n  static: [127.0.0.1:1]\nadmin:\n  listen: {listen}\n")
    result = processes.run("--config", path, "--check-config")
    assert result.returncode != 0 and words in result.stderr


def test_a_token_is_long(start, nodes, tmp_path):
    (tmp_path / "token").write_text("short\n")
    proxy = start.proxy(nodes, {"admin": {"listen": f"0.0.0.0:{processes.free_port()}", "token_file": tmp_path / "token"}},
                        wait=False)
    assert proxy.wait(10 * processes.SLOWNESS) != 0
    assert "admin.token: expected at least 16 bytes" in proxy.log()


def test_a_port_that_is_taken(start, nodes):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        proxy = start.proxy(nodes, {"admin": {"listen": port}}, wait=False)
        assert proxy.wait(10 * processes.SLOWNESS) != 0
        assert f"cannot listen on 127.0.0.1:{port} (admin.listen)" in proxy.log()


def test_it_is_off_unless_asked_for(start, nodes):
    assert start.proxy(nodes).events("listening-admin") == []


def test_a_draining_proxy_is_not_ready(watched, start):
    node, = members = start.nodes(1)
    patient = {"timeouts": {"drain": "10s", "request": "10s"}, "health": {"eject_after": "10m", "unhealthy": 1000}}
    proxy, admin = watched(members, settings=patient)
    eventually(lambda: admin.get("/readyz")[0] == 200)
    with proxy.connect() as client:
        client.ask("SET", "k", "v")
        node.freeze()
        client.send(encode("GET", "k"))
        eventually(lambda: admin.json("summary")["requests"] >= 2)
        proxy.signal(signal.SIGTERM)
        eventually(lambda: admin.get("/readyz")[0] == 503)
        assert admin.get("/healthz")[0] == 200
        node.thaw()
        assert client.reply().value == b"v"


def test_hot_keys_large_values_and_prefixes(watched):
    proxy, admin = watched(workers=2, sample_each=1)
    with proxy.connect() as client:
        client.ask("SET", "page:big", "x" * 50000)
        client.ask("SET", "user:hot", "v")
        for _ in range(50):
            client.ask("GET", "user:hot")
        for i in range(10):
            client.ask("GET", f"user:{i}")
        client.ask("GET", "page:big")
        client.ask("GET", "\xe4</script>:" + "y" * 100)
    eventually(lambda: admin.json("keys")["samples"] >= 64)
    keys = admin.json("keys")
    hot = keys["hot"][0]
    assert (hot["key"], hot["count"], hot["hits"], hot["misses"], hot["cut"]) == ("user:hot", 51, 50, 0, False)
    assert keys["largest"][0]["key"] == "page:big" and 50000 <= keys["largest"][0]["bytes"] < 50100
    prefixes = {prefix["key"]: prefix for prefix in keys["prefixes"]}
    assert (prefixes["user:"]["hits"], prefixes["user:"]["misses"]) == (50, 10)
    strange, = [key for key in keys["hot"] if key["cut"]]
    assert strange["key"].encode("latin-1").decode() == "\xe4</script>:" + "y" * 52
    metrics = admin.metrics()
    assert metrics['sumcache_prefix_sampled_reads_total{prefix="user:",result="miss"}'] == 10
    assert metrics['sumcache_prefix_sampled_reads_total{prefix="\\\\xc3\\\\xa4</script>:",result="miss"}'] == 1


def test_samples_are_few_unless_more_are_wanted(watched):
    proxy, admin = watched(sample_each=10, prefix_depth=0)
    with proxy.connect() as client:
        for _ in range(100):
            client.ask("GET", "a:b")
    eventually(lambda: admin.json("keys")["samples"] == 10)
    assert admin.json("keys")["prefixes"] == []


def test_slow_requests_are_listed(watched, start):
    node, = members = start.nodes(1)
    proxy, admin = watched(members, slow_above="100ms",
                           settings={"health": {"eject_after": "10m", "unhealthy": 1000}, "timeouts": {"request": "10s"}})
    with proxy.connect() as client:
        client.ask("SET", "k", "v")
        node.freeze()
        client.send(encode("GET", "k"))
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 0.3)
        node.thaw()
        assert client.reply().value == b"v"
        eventually(lambda: admin.json("slowlog")["count"] >= 1)
        entry = admin.json("slowlog")["entries"][0]
    assert (entry["command"], entry["result"], entry["node"]) == ("get", "hit", node.name)
    assert (entry["key"], entry["keys"], entry["cut"], entry["key_bytes"]) == ("k", 1, False, 1)
    assert (entry["bytes_in"], entry["bytes_out"]) == (len(encode("GET", "k")), len(b"$1\r\nv\r\n"))
    assert entry["client"].startswith("127.0.0.1:")
    assert entry["total_us"] >= 250000 and entry["node_us"] >= 250000 and entry["queue_us"] < 100000
    assert entry["total_us"] == entry["queue_us"] + entry["node_us"] + entry["rest_us"] or entry["rest_us"] == 0


SECRET = "a value or a script, which nobody may read here"
STRANGE = "\x00\xff\x1b</script>\u202e"
SLOW_CASES = [  # a request, its command in the list, its first key, how many it has
    (["SET", "written", SECRET], "set", "written", 1),
    (["GET", "written"], "get", "written", 1),
    (["GET", ""], "get", "", 1),
    (["SET", STRANGE, SECRET], "set", STRANGE, 1),
    (["GET", "l" * 65], "get", "l" * 65, 1),
    (["GET", "l" * 5000], "get", "l" * 5000, 1),
    (["SET", "l" * 5000, SECRET], "set", "l" * 5000, 1),
    (["OBJECT", "ENCODING", "written"], "object|encoding", "written", 1),
    (["HSET", "hash", "field", SECRET], "hset", "hash", 1),
    (["MGET", *[f"m{i}" for i in range(20)]], "mget", "m0", 20),
    (["MSET", *[word for i in range(20) for word in (f"m{i}", SECRET)]], "mset", "m0", 20),
    (["BITOP", "NOT", "{b}1", "{b}2"], "bitop", "{b}1", 2),
    (["EVAL", f"return '{SECRET}'", 2, "{s}1", "{s}2", SECRET], "eval", "{s}1", 2),
    (["EVAL", f"return '{SECRET}'", 0, SECRET], "eval", None, 0),
    (["SORT", "{l}1", "BY", "{l}weight_*"], "sort", "{l}1", 1),
    (["SUMCACHE.SET", "tagged", SECRET, "EX", 9, "TAGS", "tag"], "sumcache.set", "tagged", 1),
    (["SUMCACHE.GET", "tagged"], "sumcache.get", "tagged", 1),
    (["SET", "large", SECRET * 50000], "set", "large", 1),
    (["GET", "large"], "get", "large", 1),
    (["WATCH", "watched"], "watch", "watched", 1),
    (["PUBLISH", SECRET, SECRET], "publish", None, 0),
    (["CONFIG", "SET", "latency-monitor-threshold", "123456"], "config|set", None, 0),
    (["DBSIZE"], "dbsize", None, 0),
    (["KEYS", SECRET], "keys", None, 0),
]


@pytest.mark.parametrize("node_count", [1, 3])
def test_slow_requests_name_their_keys(watched, start, node_count):
    proxy, admin = watched(start.nodes(node_count), slow_above="1us", settings={"ring": {"hash_tags": "on"}})
    with proxy.connect() as client:
        for words, command, key, count in SLOW_CASES:
            before = admin.json("slowlog")["count"]
            reply = client.ask(*words)
            eventually(lambda: admin.json("slowlog")["count"] > before)
            entry = admin.json("slowlog")["entries"][0]
            said = f"{words[0]} {key!r:.20}: {reply!r:.80}, {entry}"
            assert (entry["command"], entry["keys"]) == (command, count), said
            if key is None:
                assert entry["key"] is None and "cut" not in entry, said
            else:
                raw = key.encode()
                assert entry["key"].encode("latin-1") == raw[:64], said
                assert (entry["key_bytes"], entry["cut"]) == (len(raw), len(raw) > 64), said
            if command in ("get", "set"):
                assert entry["bytes_in"] == len(encode(*words)), said
            if command == "get" and reply is not None:
                assert entry["bytes_out"] > len(reply), said
        assert SECRET.encode() not in admin.get("/api/slowlog")[2]
        assert b"</script>" not in admin.get("/api/slowlog")[2] and b"123456" not in admin.get("/api/slowlog")[2]


def test_a_slow_transaction_names_its_first_key(watched, start):
    proxy, admin = watched(start.nodes(3), slow_above="1us")
    with proxy.connect() as client:
        for watches in (False, True):
            if watches:
                client.ask("WATCH", "t")
            for words in (["MULTI"], ["SET", "t", SECRET], ["PING"], ["GET", "t"], ["EXEC"]):
                client.ask(*words)
            eventually(lambda: [e["command"] for e in admin.json("slowlog")["entries"][:1]] == ["exec"])
            entry = admin.json("slowlog")["entries"][0]
            assert (entry["key"], entry["keys"], entry["result"]) == ("t", 2, "ok")
            assert entry["bytes_in"] > len(SECRET) and entry["bytes_out"] > len(SECRET)
            client.ask("PING")
    assert SECRET.encode() not in admin.get("/api/slowlog")[2]


def test_slow_requests_by_a_command(watched, start):
    """SUMCACHE.SLOWLOG, in the form of SLOWLOG GET, of two workers."""
    proxy, _ = watched(start.nodes(3), workers=2, slow_above="1us")
    clients = [proxy.connect() for _ in range(4)]  # on both workers
    for i, client in enumerate(clients):
        client.ask("SET", f"key{i}", SECRET)
        client.ask("GET", "l" * 100)
        client.ask("MGET", *[f"m{k}" for k in range(20)])
        client.ask("OBJECT", "ENCODING", f"key{i}")
        client.ask("DBSIZE")
    client = clients[0]

    def listed(*count):  # without the lists themselves, which take a microsecond too
        return [entry for entry in client.ask("SUMCACHE.SLOWLOG", "GET", *count) if entry[3] != [b"sumcache.slowlog"]]
    assert client.ask("SUMCACHE.SLOWLOG", "LEN") == 20
    entries = listed("-1")
    assert len(entries) == 20
    assert len({entry[0] for entry in entries}) == 20
    assert all(abs(entry[1] - time.time()) < 60 and entry[2] >= 1 for entry in entries)
    words = [entry[3] for entry in entries]
    assert sorted(words) == sorted([
        *[[b"set", b"key%d" % i] for i in range(4)], *[[b"object", b"encoding", b"key%d" % i] for i in range(4)],
        *[[b"get", b"l" * 64 + b"... (36 more bytes)"]] * 4, *[[b"mget", b"m0", b"... (19 more keys)"]] * 4,
        *[[b"dbsize"]] * 4])
    assert words[0] == [b"dbsize"] and words[-1] == [b"set", b"key0"]  # the newest first
    assert {entry[4] for entry in entries} == {b"127.0.0.1:%d" % c.socket.getsockname()[1] for c in clients}
    assert {entry[5].decode() for entry in entries if entry[3][0] == b"set"} <= {node.name for node in proxy.nodes}
    assert len(client.ask("SUMCACHE.SLOWLOG", "GET")) == 10
    assert client.ask("SUMCACHE.SLOWLOG", "get", "0") == []
    assert client.ask("SUMCACHE.SLOWLOG", "RESET") == "OK"
    assert client.ask("SUMCACHE.SLOWLOG", "LEN") <= 1 and listed() == []
    client.ask("SET", "after", SECRET)
    assert [entry[3] for entry in listed()] == [[b"set", b"after"]]
    for wrong, error in ((["NONSENSE"], "ERR syntax error"), (["GET", "1", "2"], "ERR syntax error"),
                         (["LEN", "1"], "ERR syntax error"), (["GET", "x"], "ERR value is not an integer"),
                         (["GET", "-2"], "ERR count should be greater")):
        assert str(client.ask("SUMCACHE.SLOWLOG", *wrong)).startswith(error)
    client.ask("MULTI")
    assert "not offered inside MULTI" in str(client.ask("SUMCACHE.SLOWLOG", "LEN"))
    for client in clients:
        client.close()


def test_slow_requests_that_fail_name_their_keys(watched, start):
    """A node that hangs: late replies, and reads that wait for another try in vain."""
    node, = members = start.nodes(1)
    proxy, admin = watched(members, slow_above="100ms", settings={
        "health": {"eject_after": "10m", "unhealthy": 1000}, "timeouts": {"request": "300ms"}})
    requests = (["GET", "read"], ["SET", "written", SECRET], ["MGET", "m0", "m1"], ["GET", "l" * 200])
    with proxy.connect() as client:
        client.ask("SET", "read", "v")
        node.freeze()
        client.send(b"".join(encode(*words) for words in requests))
        replies = [client.reply() for _ in requests]
        node.thaw()
    assert len(replies) == len(requests)
    eventually(lambda: admin.json("slowlog")["count"] >= len(requests))
    entries = {(entry["command"], entry["key"]): entry for entry in admin.json("slowlog")["entries"]}
    for command, key in (("get", "read"), ("set", "written"), ("mget", "m0"), ("get", "l" * 64)):
        assert entries[command, key]["result"] in ("failed", "failover_miss"), entries
        assert entries[command, key]["bytes_out"] > 0


def test_nothing_is_collected_without_a_reader(start, nodes):
    proxy = start.proxy(nodes, {"admin": {"sample_each": 1}})
    with proxy.connect() as client:
        for i in range(1000):
            client.ask("GET", f"k{i}")
        assert client.ask("PING") == "PONG"


def test_a_log_of_objects(start, nodes):
    dead = f"127.0.0.1:{processes.free_port()}"
    proxy = start.proxy([*nodes, dead], {"log_format": "json"})
    eventually(lambda: '"event":"node-ejected"' in proxy.log(), within=10 * processes.SLOWNESS)
    lines = [json.loads(line) for line in proxy.log().splitlines()]
    assert {"level": "info", "event": "ready"}.items() <= [line for line in lines if line["event"] == "ready"][0].items()
    ejected, = [line for line in lines if line["event"] == "node-ejected"]
    assert ejected["node"] == dead and '"' not in ejected["reason"]


def test_log_lines_that_are_too_many_are_counted(watched, nodes):
    dead = [f"127.0.0.1:{processes.free_port()}" for _ in range(5)]
    proxy, admin = watched([*nodes, *dead], settings={"log_rate": 1})
    eventually(lambda: admin.json("summary")["nodes_out"] == 5, within=10 * processes.SLOWNESS)
    suppressed = admin.metrics()["sumcache_log_suppressed_total"]
    ejected = len(proxy.events("node-ejected"))
    assert ejected < 5 and suppressed >= 5 - ejected


DEPLOY = processes.ROOT / "deploy"


def promtool(*args):
    result = subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_rules_for_alerts_do_what_they_should():
    promtool("check", "rules", DEPLOY / "prometheus" / "alerts.yaml")
    promtool("test", "rules", DEPLOY / "prometheus" / "alerts_test.yaml")


def test_prometheus_scrapes_it(watched, tmp_path):
    """The real server, with the rules for alerts, as docs/operations.md has it."""
    proxy, admin = watched()
    eventually(lambda: admin.get("/readyz")[0] == 200)
    port = processes.free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: ["{DEPLOY / "prometheus" / "alerts.yaml"}"]
scrape_configs:
  - job_name: sumcache
    static_configs: [{{targets: ["127.0.0.1:{admin.port}"]}}]
""")
    server = Admin(port)

    def query(text):
        status, _, body = server.get("/api/v1/query?" + urllib.parse.urlencode({"query": text}))
        return [float(one["value"][1]) for one in json.loads(body)["data"]["result"]] if status == 200 else None

    with (tmp_path / "log").open("wb") as log, subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as prometheus:
        try:
            eventually(lambda: processes.is_open(port), within=30 * processes.SLOWNESS)
            eventually(lambda: query("up") == [1], within=30 * processes.SLOWNESS)
            proxy.ask("SET", "k", "v")
            wanted = 'sum(sumcache_outcomes_total{class="write"})'
            eventually(lambda: query(wanted) == [1], within=10 * processes.SLOWNESS)
            assert query("sumcache_ready") == [1]
            assert query("scrape_samples_scraped")[0] > 100
            rules = json.loads(server.get("/api/v1/rules")[2])["data"]["groups"]
            assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
            assert sum(len(group["rules"]) for group in rules) >= 5
        finally:
            prometheus.terminate()
            prometheus.wait(timeout=30 * processes.SLOWNESS)


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(watched):
    _, admin = watched()
    eventually(lambda: any(name.startswith("sumcache_node_keys{") for name in admin.metrics()))
    there = set(re.findall(r"^# TYPE (\S+) ", admin.get("/metrics")[2].decode(), re.M))
    dashboard = json.loads((DEPLOY / "grafana" / "sumcache.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    asked = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    asked += (DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8").partition("groups:")[2]
    names = {name.removesuffix("_bucket") for name in re.findall(r"\bsumcache_\w+", asked)}
    assert names and names - there == set()

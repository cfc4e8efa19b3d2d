# SPDX-License-Identifier: Apache-2.0
"""`sumcache import`: whole files of other proxies, what they come to, and what is said about them.

What is expected stands beside each file in tests/vectors/import/. After a change of words or meaning:

    SUMCACHE_WRITE_EXPECTED=1 /usr/bin/python3 -m pytest tests/integration/test_import.py; git diff
"""
import os
import subprocess

import pytest

import processes
from ring import Ring

FILES = processes.ROOT / "tests" / "vectors" / "import"

pytestmark = pytest.mark.proxy_only


def run(*args):
    return subprocess.run([processes.BINARY, *args], cwd=FILES, capture_output=True, text=True, timeout=10)


def imported(path, *args):
    done = run("import", path, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


CASES = [("envoy-maglev.yaml", None), ("envoy-full.yaml", "cache"), ("envoy-full.yaml", "sessions"),
         ("envoy-old.json", None), ("nutcracker.yml", "alpha"), ("nutcracker.yml", "beta"),
         ("nutcracker.yml", "gamma")]


@pytest.mark.parametrize("name,pool", CASES)
def test_files_come_to_what_is_expected(name, pool, tmp_path):
    done = run("import", name, *(["--pool", pool] if pool else []))
    assert done.returncode == 0
    expected = FILES / f"{name}{'.' + pool if pool else ''}.expected"
    said = done.stdout + "--- said:\n" + done.stderr
    if os.environ.get("SUMCACHE_WRITE_EXPECTED"):
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")
    config = tmp_path / "sumcache.yaml"
    config.write_text(done.stdout, encoding="utf-8")
    check = run("--config", config, "--check-config")
    assert (check.returncode, check.stderr) == (0, "")


def test_no_secret_is_repeated():
    for name, pool in CASES:
        done = run("import", name, *(["--pool", pool] if pool else []))
        assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("name,pool,said", [
    ("nutcracker.yml", None, "choose one with --pool: alpha, beta, gamma, delta, memcached"),
    ("nutcracker.yml", "nope", "no pool of that name"),
    ("nutcracker.yml", "delta", "distribution: 'random' does not say where a key is"),
    ("nutcracker.yml", "memcached", "speaks memcached's protocol"),
    ("envoy-full.yaml", None, "choose one with --pool: cache, other"),
    ("envoy-full.yaml", "web", "no redis_proxy has that name"),
])
def test_what_cannot_be_kept_is_refused(name, pool, said):
    done = run("import", name, *(["--pool", pool] if pool else []))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("text,said", [
    ("", "expected an Envoy bootstrap"),
    ("a: [", ":2:1: not valid YAML"),
    ("[a, b]", "expected an Envoy bootstrap"),
    ("alpha: { redis: true, servers: ['/tmp/redis.sock:1'] }", "expected HOST:PORT:WEIGHT [NAME]"),
    ("alpha: { redis: true, servers: ['a:1:1', 'a:1:1'] }", "listed twice"),
    ("alpha: { redis: true, distribution: modula, servers: ['a:1:300'] }", "weights above 256"),
    ("alpha: { redis: true, hash: sha1, servers: ['a:1:1'] }", "hash: 'sha1' is not known"),
    ("static_resources: { clusters: [] }", "no redis_proxy filter"),
    ("x: " + "[" * 100 + "]" * 100, "nested deeper"),
])
def test_wrong_files_are_refused(tmp_path, text, said):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    done = run("import", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.splitlines()[-1]


def test_usage():
    assert run("import").returncode == 2
    assert run("import", "--nope").returncode == 2
    assert run("import", "a", "b").returncode == 2
    missing = run("import", "missing.yaml")
    assert missing.returncode == 2 and "No such file" in missing.stderr
    assert "--pool NAME" in run("import", "--help").stdout


def test_envoys_keys_stay_on_their_nodes(start, tmp_path):
    """Weights and a hash_key of Envoy's metadata, by the ring as Envoy builds it."""
    nodes = start.nodes(3)
    endpoints = [{"endpoint": {"address": {"socket_address": {"address": node.host, "port_value": node.port}}}}
                 for node in nodes]
    endpoints[1]["load_balancing_weight"] = 3
    endpoints[2]["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": "cache-c"}}}
    port = processes.free_port()
    envoy = {"static_resources": {
        "listeners": [{
            "address": {"socket_address": {"address": processes.HOST, "port_value": port}},
            "filter_chains": [{"filters": [{"name": "redis", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
                "stat_prefix": "x", "settings": {"op_timeout": "5s"},
                "prefix_routes": {"catch_all_route": {"cluster": "c"}}}}]}]}],
        "clusters": [{"name": "c", "connect_timeout": "1s", "lb_policy": "MAGLEV",
                      "load_assignment": {"endpoints": [{"lb_endpoints": endpoints}]}}]}}
    path = tmp_path / "envoy.json"
    path.write_text(processes.json.dumps(envoy), encoding="utf-8")
    config = tmp_path / "sumcache.yaml"
    config.write_text(imported(path), encoding="utf-8")
    proxy = start.process([processes.BINARY, "--config", config])
    processes.resp.eventually(lambda: processes.is_open(port), what="it listens")
    keys = [b"user:%d" % i for i in range(400)] + [b"{a}:%d" % i for i in range(20)]
    for key in keys:
        assert processes.resp.ask(port, "SET", key, b"v") == "OK"
    names = [nodes[0].name, nodes[1].name, "cache-c"]
    ring = Ring(names, hash_tags=False, weights=dict(zip(names, [1, 3, 1])))
    for name, node in zip(names, nodes):
        assert set(node.ask("KEYS", "*")) == {key for key in keys if ring.owner(key) == name}
    assert proxy.end() == 0

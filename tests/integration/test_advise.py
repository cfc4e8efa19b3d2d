# SPDX-License-Identifier: Apache-2.0
"""`sumcache advise` beside real nodes that are configured wrongly, and rightly; deploy/redis/redis.conf."""
import json
import re
import subprocess

import pytest

import fake_node
import processes
from processes import HOST, ROOT, SLOWNESS, free_port, is_open
from resp import eventually

pytestmark = pytest.mark.proxy_only

REDIS_CONF = ROOT / "deploy" / "redis" / "redis.conf"


class ConfiguredNode(processes.Node):
    """A redis-server with settings of the test's own."""

    def __init__(self, directory, settings, conf=None):
        self.settings, self.conf = settings, conf
        super().__init__(directory)

    def _start(self):
        options = [word for name, value in self.settings.items() for word in (f"--{name}", str(value))]
        argv = ["redis-server", *([self.conf] if self.conf else []), "--port", self.port, "--dir", self.directory,
                *options]
        processes.Process.__init__(self, argv, self.directory / f"node-{self.host}-{self.port}.log")
        eventually(lambda: self.popen.poll() is not None or is_open(self.port), within=10 * SLOWNESS,
                   what="redis-server accepts")
        assert self.popen.poll() is None, self.log()


@pytest.fixture
def start_node(start, tmp_path):
    def start_it(settings, conf=None):
        return start._keep(ConfiguredNode(tmp_path, settings, conf))
    return start_it


def advise(*options):
    return processes.run("advise", *options)


def findings_of(nodes, *options):
    """{id: finding} of each node, then of all together; the exit status."""
    names = [node if isinstance(node, str) else node.name for node in nodes]
    done = advise("--nodes", ",".join(names), "--json", *options)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    of_name = {node["name"]: node["findings"] for node in told["nodes"]}
    lists = [of_name[name.split()[0]] for name in names] + [told["findings"]]
    assert told["well"] == (done.returncode == 0)
    return [{finding["id"]: finding for finding in found} for found in lists], done.returncode


def levels(found):
    return {name: finding["level"] for name, finding in found.items()}


def test_a_node_with_our_settings_is_well(start_node):
    nodes = [start_node({"maxmemory": "64mb"}, REDIS_CONF) for _ in range(2)]
    found, status = findings_of(nodes)
    assert [levels(one) for one in found] == [{"requirepass": "note"}] * 2 + [{}]
    assert status == 0
    text = advise("--nodes", f"{nodes[0].name},{nodes[1].name}")
    assert text.returncode == 0
    assert text.stdout.endswith("2 nodes: 0 wrong, 0 better, 2 notes\n")


def test_our_settings_are_those_of_the_running_node(start_node):
    """Each line of redis.conf is taken as it stands there, and is explained above it."""
    node = start_node({"maxmemory": "64mb"}, REDIS_CONF)
    units = {"kb": 1024, "mb": 1024 ** 2, "gb": 1024 ** 3}
    explained = 0
    lines = REDIS_CONF.read_text().splitlines()
    with node.connect() as client:
        for at, line in enumerate(lines):
            if not line or line.startswith("#"):
                continue
            name, value = line.split(None, 1)
            assert lines[at - 1], f"nothing above says why: {line}"
            explained += lines[at - 1].startswith("#")
            if name in ("port", "maxmemory"):
                continue  # given by the test
            value = value.strip('"')
            value = re.sub(r"\b(\d+)(kb|mb|gb)\b", lambda m: str(int(m[1]) * units[m[2]]), value)
            told = client.ask("CONFIG", "GET", name)[1].decode()
            if name == "client-output-buffer-limit":
                assert value.replace("replica", "slave") in told
            else:
                assert told == value, name
    assert explained > 20


def test_each_wrong_setting_is_named(start_node):
    wrong = start_node({
        "bind": "* -::*", "protected-mode": "yes", "save": "3600 1", "appendonly": "yes", "maxmemory": "0",
        "maxmemory-policy": "noeviction", "timeout": "300", "tcp-keepalive": "0", "maxclients": "100",
        "client-output-buffer-limit": "normal 1048576 0 0", "disable-thp": "no", "maxmemory-clients": "10mb",
        "min-replicas-to-write": "1", "notify-keyspace-events": "KEA", "loglevel": "debug",
        "proto-max-bulk-len": "1mb", "activedefrag": "no"})
    (found, together), status = findings_of([wrong])
    assert levels(found) == {
        "save": "wrong", "appendonly": "wrong", "min-replicas-to-write": "wrong", "maxmemory": "wrong",
        "maxmemory-policy": "wrong", "protected-mode": "wrong", "client-output-buffer-limit": "wrong",
        "timeout": "better", "tcp-keepalive": "better", "maxclients": "better", "maxmemory-clients": "better",
        "huge-pages": "better", "notify-keyspace-events": "note", "loglevel": "better",
        "proto-max-bulk-len": "note", "lazyfree": "note"}
    assert levels(together) == {"one-node": "note"}
    assert status == 1
    text = advise(f"--nodes={wrong.name}").stdout
    assert '  wrong   save: snapshots (save "3600 1")' in text
    assert "after 300 s" in text and "closes connections that are owed 1.0 MB (soft: none)" in text
    assert "1 nodes: 7 wrong, 6 better, 4 notes\n" in text

    # What it says is to be done, done: what can be changed while it runs is well then.
    with wrong.connect() as client:
        for name, value in (("save", ""), ("appendonly", "no"), ("maxmemory", "64mb"), ("timeout", "0"),
                            ("maxmemory-policy", "allkeys-lru"), ("protected-mode", "no"),
                            ("client-output-buffer-limit", "normal 0 0 0"), ("min-replicas-to-write", "0"),
                            ("tcp-keepalive", "60"), ("maxclients", "1000"), ("maxmemory-clients", "0"),
                            ("notify-keyspace-events", ""), ("loglevel", "notice")):
            assert client.ask("CONFIG", "SET", name, value) == "OK", name
    (found, _), _ = findings_of([wrong])
    assert set(levels(found)) == {"huge-pages", "proto-max-bulk-len", "lazyfree", "requirepass"}


def test_keys_are_looked_at(start_node):
    node = start_node({"maxmemory": "200mb", "maxmemory-policy": "volatile-lru"}, REDIS_CONF)
    with node.connect() as client:
        client.ask("SET", "lasts", "x")
        client.ask("SET", "goes", "x", "EX", "100")
        client.ask("SET", "image:1", b"x" * 3_000_000, "EX", "100")
    (found, _), status = findings_of([node], "--sample", "100")
    assert status == 1
    assert found["maxmemory-policy"]["level"] == "wrong"
    assert found["maxmemory-policy"]["what"].startswith("volatile-lru, and 1 of 3 keys have no TTL")
    assert found["ttl"]["what"].startswith("1 of 3 keys have no TTL")
    assert re.search(r"'image:1' is the largest: (2\.9|3\.\d) MB", found["large-values"]["what"])
    (found, _), _ = findings_of([node], "--sample=0")
    assert "large-values" not in found


def test_keys_of_other_databases(start_node):
    node = start_node({"maxmemory": "64mb", "databases": "4"}, REDIS_CONF)
    with node.connect() as client:
        client.ask("SELECT", "3")
        client.ask("SET", "k", "v")
    (found, _), _ = findings_of([node])
    assert found["databases"]["what"].startswith("1 keys are in databases other than 0")


def test_a_replica_and_its_master(start_node):
    master, replica = start_node({"maxmemory": "64mb"}, REDIS_CONF), start_node({"maxmemory": "64mb"}, REDIS_CONF)
    replica.ask("REPLICAOF", HOST, master.port)
    eventually(lambda: b"connected_slaves:1" in master.ask("INFO", "replication"), within=20 * SLOWNESS,
               what="it has a replica")
    (of_master, of_replica, _), status = findings_of([master, replica])
    assert levels(of_master)["replicas"] == "better"
    assert levels(of_replica)["replicaof"] == "wrong"
    assert status == 1


def test_nodes_are_compared(start_node):
    small, large = start_node({"maxmemory": "64mb"}, REDIS_CONF), start_node({"maxmemory": "256mb"}, REDIS_CONF)
    found, status = findings_of([small, large])
    assert levels(found[-1]) == {"balance": "better"}
    assert "64 MB for weight 1" in found[-1]["balance"]["what"]
    assert status == 1
    found, status = findings_of([small, f"{large.name} weight=4"])
    assert (levels(found[-1]), status) == ({}, 0)
    found, status = findings_of([small, f"localhost:{small.port}"])
    assert levels(found[-1]) == {"twins": "wrong"}


def test_memory_of_a_host(start_node):
    total = int(re.search(r"MemTotal:\s+(\d+) kB", open("/proc/meminfo", encoding="ascii").read())[1]) * 1024
    nodes = [start_node({"maxmemory": total // 2}, REDIS_CONF) for _ in range(2)]
    found, _ = findings_of(nodes)
    assert levels(found[-1]) == {"host-memory": "wrong"}
    whole = start_node({"maxmemory": total}, REDIS_CONF)
    (found, _), _ = findings_of([whole])
    assert levels(found)["maxmemory"] == "wrong"


def test_passwords_and_users(start_node, tmp_path):
    node = start_node({"maxmemory": "64mb", "requirepass": "secret", "protected-mode": "yes"}, REDIS_CONF)
    done = advise("--nodes", node.name)
    assert done.returncode == 2
    assert f"{node.name}  cannot be asked: NOAUTH Authentication required.\n" in done.stdout
    (tmp_path / "right").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")
    found, status = findings_of([node], "--password-file", tmp_path / "right")
    assert (levels(found[0]), status) == ({}, 0)
    done = advise("--nodes", node.name, f"--password-file={tmp_path / 'wrong'}", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["nodes"][0]["error"].startswith("WRONGPASS ")
    with node.connect() as client:
        client.ask("AUTH", "secret")
        client.ask("ACL", "SETUSER", "watcher", "on", ">secret", "~*", "+info")
    (found, _), status = findings_of([node], "--user", "watcher", "--password-file", tmp_path / "right")
    assert (levels(found), status) == ({"config": "note"}, 0)
    assert "NOPERM" in found["config"]["what"]
    config = tmp_path / "sumcache.yaml"
    config.write_text(f"nodes:\n  static: [{node.name}]\n  password_file: {tmp_path / 'right'}\n")
    done = advise("--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "secret" not in done.stdout


def test_one_that_is_gone_does_not_keep_the_others_from_being_asked(start_node):
    node, gone = start_node({"maxmemory": "64mb"}, REDIS_CONF), f"{HOST}:{free_port()}"
    done = advise("--nodes", f"{gone},{node.name},nowhere.invalid:1")
    assert done.returncode == 2
    assert f"{gone}  cannot be asked: Connection refused\n" in done.stdout
    assert "nowhere.invalid:1  cannot be asked: its name has no address\n" in done.stdout
    assert done.stdout.endswith("3 nodes: 0 wrong, 0 better, 1 notes; 2 cannot be asked\n")


def test_names_of_a_configuration(start, dns, tmp_path):
    nodes = start.nodes_of_a_name(2)
    dns.set(redis=[node.host for node in nodes])
    config = tmp_path / "named.yaml"
    config.write_text(f"nodes:\n  dns: [redis.test:{nodes[0].port}]\n"
                      f"dns:\n  servers: [{HOST}:{dns.port}]\n  timeout: 1s\n")
    done = advise("--config", config, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(node["name"] for node in json.loads(done.stdout)["nodes"]) == sorted(n.name for n in nodes)

    dns.write_hosts({f"redis-{i}.test": [node.host] for i, node in enumerate(nodes)})
    dns.set_services(*(("_redis._tcp.cache.test", f"redis-{i}.test", node.port, 0, 1) for i, node in enumerate(nodes)))
    config.write_text(f"nodes:\n  srv: [_redis._tcp.cache.test]\ndns:\n  servers: [{HOST}:{dns.port}]\n")
    done = advise("--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"redis-{i}.test:{node.port}  7." in done.stdout for i, node in enumerate(nodes))

    config.write_text(f"nodes:\n  dns: [other.test:6379]\ndns:\n  servers: [{HOST}:{dns.port}]\n")
    done = advise("--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sumcache advise: cannot be looked up: other.test:6379: ")

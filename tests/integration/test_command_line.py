# SPDX-License-Identifier: Apache-2.0
"""How subcommands reach servers: passwords and users, TLS, Unix sockets. What they then say: their own tests."""
import json
import os

import pytest

import processes
from certificates import Authority
from processes import SLOWNESS
from resp import eventually

pytestmark = pytest.mark.proxy_only


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(ca):
    return ca.issue("server")


def secret(tmp_path, text, name="password"):
    path = tmp_path / name
    path.write_text(f"{text}\nwhat follows does not count\n")
    return str(path)


def run(*words, password=None):
    environment = {**os.environ, "SUMCACHE_PASSWORD": password or ""}
    return processes.run(*words, env=environment)


def is_well(*words, **options):
    """The proxy was asked, and all its nodes are up."""
    def look():
        done = run("nodes", "--json", *words, **options)
        return done.returncode == 0 and json.loads(done.stdout)["well"] and done.stderr == ""
    eventually(look, within=5 * SLOWNESS)
    return True


def error_of(*words, **options):
    done = run(*words, **options)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.stderr.strip()


# ---- passwords ----


def test_a_proxy_with_a_password(start, nodes, tmp_path):
    path = secret(tmp_path, "s3cret")
    proxy = start.proxy(nodes, {"auth": {"password_file": path}})
    to = ("--connect", proxy.port)
    assert is_well(*to, "--password-file", path)
    assert is_well(*to, password="s3cret")
    assert is_well(*to, "--password-file", path, password="the file wins")
    assert error_of("nodes", *to).endswith("answers: NOAUTH Authentication required.")
    assert "answers: WRONGPASS" in error_of("nodes", *to, password="wrong")
    assert "cannot read password_file /nowhere: No such file" in error_of("nodes", *to, "--password-file", "/nowhere")
    done = run("unlink", "nothing*", *to, "--password-file", path)
    assert done.returncode == 0 and "0 keys removed" in done.stdout, done
    assert "answers: NOAUTH" in error_of("unlink", "nothing*", *to)


def test_a_user_of_a_proxy(start, nodes, tmp_path):
    path = secret(tmp_path, "s3cret")
    users = [f"watcher admin password_file={path}", f"reader read password_file={path}", "default off"]
    proxy = start.proxy(nodes, {"auth": {"users": [json.dumps(user) for user in users]}})
    to = ("--connect", proxy.port, "--password-file", path)
    assert is_well(*to, "--user", "watcher")
    assert "answers: WRONGPASS" in error_of("nodes", *to)
    assert "answers: NOPERM" in error_of("unlink", "x*", *to, "--user", "reader")
    assert error_of("nodes", "--connect", proxy.port, "--user", "watcher").endswith(
        "--user: no password is given for watcher")


def test_passwords_of_nodes(start, tmp_path):
    path = secret(tmp_path, "s3cret")
    node = start.node()
    node.ask("ACL", "SETUSER", "looker", "on", ">s3cret", "~*", "+@all")
    node.ask("CONFIG", "SET", "requirepass", "other")
    told = run("advise", "--nodes", node.name, "--user", "looker", "--password-file", path, "--json")
    assert json.loads(told.stdout)["nodes"][0]["asked"], told
    told = run("advise", "--nodes", node.name, "--json", password="other")
    assert json.loads(told.stdout)["nodes"][0]["asked"], told
    told = json.loads(run("advise", "--nodes", node.name, "--json", password="wrong").stdout)
    assert "WRONGPASS" in told["nodes"][0]["error"]


# ---- TLS ----


@pytest.fixture
def secure(start, nodes, server):
    """A proxy that speaks nothing but TLS; → its port."""
    def make(**tls):
        port = processes.free_port()
        settings = {"certificate_file": server[0], "key_file": server[1], **tls}
        start.proxy(nodes, {"listen": [f"127.0.0.1:{port} tls", f"127.0.0.1:{processes.free_port()}"], "tls": settings},
                    port=port)
        return port
    return make


def test_a_proxy_with_tls(secure, ca, tmp_path):
    port = secure()
    assert is_well("--connect", port, "--tls", "--cacert", ca.file)
    assert is_well("--connect", f"localhost:{port}", "--tls", "--cacert", ca.file)
    assert is_well("--connect", f"127.0.0.1:{port}", "--tls", "--cacert", ca.file, "--sni", "localhost")
    done = run("unlink", "nothing*", "--connect", port, "--tls", "--cacert", ca.file)
    assert done.returncode == 0, done
    other = Authority(tmp_path, "other")
    assert error_of("nodes", "--connect", port, "--tls", "--cacert", other.file).endswith(
        "TLS: certificate: unable to get local issuer certificate")
    assert "certificate" in error_of("nodes", "--connect", port, "--tls")
    assert error_of("nodes", "--connect", port, "--tls", "--cacert", ca.file, "--sni", "else.where").endswith(
        "TLS: certificate: hostname mismatch")
    assert "the CA /nowhere: No such file" in error_of("nodes", "--connect", port, "--tls", "--cacert", "/nowhere")


def test_one_side_speaks_tls_and_the_other_does_not(secure, start, nodes, ca):
    assert "cannot be asked" in error_of("nodes", "--connect", secure())
    plain = start.proxy(nodes)
    # A hello of TLS has no end of a line, which a server that speaks Redis waits for.
    assert "does not answer within" in error_of("nodes", "--connect", plain.port, "--tls", "--cacert", ca.file)
    assert error_of("nodes", "--connect", plain.port, "--cacert", ca.file).endswith("of no use without --tls")


def test_a_proxy_that_wants_a_certificate(secure, ca):
    port = secure(client_certificates="required", ca_file=ca.file)
    certificate, key = ca.issue("client")
    to = ("--connect", port, "--tls", "--cacert", ca.file)
    assert is_well(*to, "--cert", certificate, "--key", key)
    assert "certificate required" in error_of("nodes", *to)
    assert "the key" in error_of("nodes", *to, "--cert", certificate)  # it is in a file of its own


def test_long_answers_by_tls(start, server, ca):
    """Longer than a record: 300 nodes that are not there."""
    port = processes.free_port()
    proxy = start.proxy([], {"listen": [f"127.0.0.1:{port} tls", f"127.0.0.1:{processes.free_port()}"],
                             "tls": {"certificate_file": server[0], "key_file": server[1]},
                             "nodes": {"static": [f"127.0.0.1:{i}" for i in range(1, 301)]}}, port=port)
    done = run("nodes", "--json", "--connect", proxy.port, "--tls", "--cacert", ca.file)
    assert len(json.loads(done.stdout)["nodes"]) == 300 and len(done.stdout) > 1 << 15, done.stderr


def test_nodes_with_tls(start, server, ca, tmp_path):
    port = processes.free_port()
    node = start.node(port=port, extra=["--port", "0", "--tls-port", port, "--tls-cert-file", server[0],
                                        "--tls-key-file", server[1], "--tls-ca-cert-file", ca.file,
                                        "--tls-auth-clients", "no"])
    config = tmp_path / "sumcache.yaml"
    config.write_text(f"nodes: {{ static: ['{node.name}'] }}\nnodes_tls: {{ enabled: on, ca_file: {ca.file} }}\n")
    ways = [("--nodes", node.name, "--tls", "--cacert", ca.file), ("--config", config)]
    for way in ways:
        told = json.loads(run("advise", *way, "--json").stdout)
        assert told["nodes"][0]["asked"] and told["nodes"][0]["version"], told
    assert "certificate" in run("advise", "--nodes", node.name, "--tls").stdout
    config.write_text(config.read_text().replace(str(ca.file), "/nowhere"))
    assert "nodes_tls: the CA /nowhere" in error_of("advise", "--config", config)


# ---- Unix sockets ----


def test_a_unix_socket(start, nodes, tmp_path, ca):
    path = tmp_path / "s"
    port = processes.free_port()
    start.proxy(nodes, {"listen": [f"127.0.0.1:{port}", f"unix:{path}"]}, port=port)
    assert is_well("--connect", f"unix:{path}")
    assert run("unlink", "nothing*", "--connect", f"unix:{path}").returncode == 0
    assert error_of("nodes", "--connect", f"unix:{path}x").endswith("cannot be asked: No such file or directory")
    assert error_of("nodes", "--connect", "unix:nowhere").endswith("not HOST:PORT: unix:nowhere")
    assert error_of("nodes", "--connect", f"unix:{path}", "--tls", "--cacert", ca.file).endswith(
        "--tls: a Unix socket speaks none")

# SPDX-License-Identifier: Apache-2.0
"""Who the proxy is at its nodes: user and password, what they let it do, and one server under two names."""
import pytest

from processes import SLOWNESS, run, to_yaml
from resp import eventually

pytestmark = pytest.mark.proxy_only

QUICK = {"interval": "50ms", "interval_out": "20ms", "hold_min": "10ms", "hold_max": "50ms"}


def password_file(tmp_path, text="s3cret\n"):
    path = tmp_path / "password"
    path.write_text(text)
    return str(path)


def access(nodes, path, user=None):
    given = {"static": [node.name for node in nodes], "password_file": path}
    return {"nodes": {**given, "user": user} if user else given, "health": QUICK}


def states(proxy):
    return {part["name"]: part for part in (dict(field.split("=", 1) for field in line.split(":", 1)[1].split(","))
                                            for line in proxy.ask("INFO", "sumcache").decode().split("\r\n")
                                            if line.startswith("node") and line[4].isdigit())}


@pytest.mark.parametrize("protocol", [2, 3])
def test_password_of_the_default_user(start, tmp_path, protocol):
    node = start.node()
    assert node.ask("CONFIG", "SET", "requirepass", "s3cret") == "OK"
    proxy = start.proxy([node], access([node], password_file(tmp_path)))
    with proxy.connect(protocol=protocol) as client:
        eventually(lambda: client.ask("SET", "k", "v") == "OK", within=3 * SLOWNESS)
        assert client.ask("GET", "k") == b"v"
    assert "s3cret" not in proxy.log()


def test_user_and_password(start, tmp_path):
    node = start.node()
    assert node.ask("ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "+@all") == "OK"
    assert node.ask("ACL", "SETUSER", "default", "off") == "OK"
    proxy = start.proxy([node], access([node], password_file(tmp_path), "proxy"))
    with proxy.connect() as client:
        eventually(lambda: client.ask("SET", "k", "v") == "OK", within=3 * SLOWNESS)


def test_wrong_password(start, tmp_path):
    """It is out, with the node's own words, and everything is answered at once."""
    node, good = start.node(), start.node()
    assert node.ask("CONFIG", "SET", "requirepass", "other") == "OK"
    assert good.ask("CONFIG", "SET", "requirepass", "s3cret") == "OK"
    proxy = start.proxy([node, good], access([node, good], password_file(tmp_path)))
    with proxy.connect() as client:
        eventually(lambda: states(proxy)[node.name]["state"] == "out", within=3 * SLOWNESS)
        assert "WRONGPASS" in states(proxy)[node.name]["reason"]
        eventually(lambda: all(client.ask("SET", f"k{i}", "v") == "OK" for i in range(50)), within=3 * SLOWNESS,
                   what="the other one has all keys")


def test_a_password_file_that_is_none(start, tmp_path):
    for text, words in [("", "first line is empty"), (None, "cannot read")]:
        path = tmp_path / "none" if text is None else password_file(tmp_path, text)
        settings = {"nodes": {"static": ["127.0.0.1:1"], "password_file": str(path)}}
        proxy = start.proxy(["127.0.0.1:1"], settings, wait=False)
        assert proxy.wait(10) == 1
        assert words in proxy.log() and str(path) in proxy.log()


def test_missing_rights_are_told(start, tmp_path):
    """A user who may not UNLINK nor CLIENT KILL: the node is used, and the log says what that means."""
    node = start.node()
    assert node.ask("ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "+@all", "-unlink", "-client|kill") == "OK"
    proxy = start.proxy([node], access([node], password_file(tmp_path), "proxy"))
    with proxy.connect() as client:
        eventually(lambda: client.ask("SET", "k", "v") == "OK", within=3 * SLOWNESS)
    eventually(lambda: f"node-forbids node={node.name} unlink=no client_kill=no flushall=yes" in proxy.log(),
               within=3 * SLOWNESS)
    assert proxy.log().count("node-forbids") == 1


@pytest.mark.parametrize("how", ["acl", "renamed"])
def test_a_forbidden_flush_is_told(start, tmp_path, how):
    """Only that: the node is used, and asking has flushed nothing. Renamed, it is not there either."""
    if how == "renamed":
        node = start.node(extra=["--rename-command", "FLUSHALL", "EMPTY"])
        proxy = start.proxy([node], {"health": QUICK})
    else:
        node = start.node()
        assert node.ask("ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "+@all", "-flushall") == "OK"
        proxy = start.proxy([node], access([node], password_file(tmp_path), "proxy"))
    eventually(lambda: f"node-forbids node={node.name} unlink=yes client_kill=yes flushall=no" in proxy.log(),
               within=3 * SLOWNESS)
    with proxy.connect() as client:
        eventually(lambda: client.ask("SET", "k", "v") == "OK", within=3 * SLOWNESS)
    assert proxy.log().count("node-forbids") == 1


def test_asking_for_the_right_to_flush_flushes_nothing(start):
    """By who may do it."""
    node = start.node()
    assert node.ask("SET", "k", "v") == "OK"
    proxy = start.proxy([node], {"health": QUICK})
    with proxy.connect() as client:
        eventually(lambda: states(proxy)[node.name]["state"] == "up", within=3 * SLOWNESS)
        assert client.ask("GET", "k") == b"v"
    assert "cmdstat_flushall" in node.ask("INFO", "commandstats").decode()
    assert "node-forbids" not in proxy.log()


def test_one_server_under_two_names(start):
    """By its run_id: one of the names is used, with a warning; its keys are all there."""
    node, other = start.node(), start.node()
    second = f"localhost:{node.port}"
    proxy = start.proxy([node, other, second], {"health": QUICK})
    with proxy.connect() as client:
        eventually(lambda: proxy.counter("nodes_in_ring") == 2 and proxy.counter("slots_away") == 0, within=5 * SLOWNESS)
        assert states(proxy)[second]["state"] == "out"
        assert states(proxy)[second]["reason"] == f"the same server as {node.name}"
        assert f"node-twin node={second} of={node.name}" in proxy.log()
        for i in range(200):
            assert client.ask("SET", f"k{i}", i) == "OK"
        eventually(lambda: proxy.counter("sweeps") >= 2, within=5 * SLOWNESS)
        assert all(client.ask("GET", f"k{i}") == b"%d" % i for i in range(200))


def test_each_source_may_have_a_login_of_its_own(start, tmp_path):
    first, second, third = start.nodes(3)
    assert first.ask("CONFIG", "SET", "requirepass", "s3cret") == "OK"
    assert second.ask("ACL", "SETUSER", "proxy", "on", ">other", "~*", "+@all") == "OK"
    assert second.ask("ACL", "SETUSER", "default", "off") == "OK"
    assert third.ask("CONFIG", "SET", "requirepass", "third") == "OK"
    files = []
    for name in ("other", "third"):
        path = tmp_path / name
        path.write_text(name + "\n")
        files.append(path)
    settings = access([first, second, third], password_file(tmp_path))
    settings["nodes"]["logins"] = [f'"{second.name} user=proxy password_file={files[0]}"',
                                   f'"{third.name} password_file={files[1]}"']
    settings["timeouts"] = {"request": "10s"}
    proxy = start.proxy([first, second, third], settings)
    with proxy.connect() as client:
        eventually(lambda: all(client.ask("SET", f"k{i}", "v") == "OK" for i in range(100)), within=3 * SLOWNESS)
    eventually(lambda: all(part["state"] == "up" for part in states(proxy).values()), within=3 * SLOWNESS)
    for node, password in ((first, "s3cret"), (third, "third")):
        with node.connect() as direct:
            direct.ask("AUTH", password)
            assert direct.ask("DBSIZE") > 0
    log = proxy.log()
    assert "s3cret" not in log and "user=proxy" not in log


@pytest.mark.parametrize("line, says", [
    ("127.0.0.9:1 password_file=/x", "expected sources that"), ("127.0.0.1:1 password=hunter2", "expected SOURCE"),
    ("127.0.0.1:1 user=a", "expected SOURCE"), ("127.0.0.1:1 hunter2 password_file=/x", "expected SOURCE")])
def test_logins_that_are_none(tmp_path, line, says):
    config = tmp_path / "c.yaml"
    config.write_text(to_yaml({"nodes": {"static": ["127.0.0.1:1"], "logins": [f'"{line}"']}}))
    result = run("--config", config, "--check-config")
    assert result.returncode == 2 and says in result.stderr and "hunter2" not in result.stderr
    config.write_text(to_yaml({"nodes": {"static": ["h"], "logins": ['"h user=u password=${X}"']}}))
    assert "h user=u password=${X}" in run("--config", config, "--print-config").stdout

# SPDX-License-Identifier: Apache-2.0
"""Who may enter and what they may do there, in the words of a redis-server."""
import hashlib
import json

import pytest

import processes
from resp import Closed, Error, encode, eventually

pytestmark = pytest.mark.proxy_only

WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."


def is_error(value, text):
    return isinstance(value, Error) and text in str(value)


def secret(tmp_path, name, *lines):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def users(*lines):
    return {"users": [json.dumps(line) for line in lines]}


@pytest.fixture
def locked(start, nodes, tmp_path):
    return start.proxy(nodes, {"auth": {"password_file": secret(tmp_path, "p", "s3cret-1")},
                               "timeouts": {"request": "10s"}})


ASKED = [
    ("GET", "a"), ("FOO",), ("GET",), ("HELLO",), ("HELLO", "3", "AUTH", "default", "x"), ("AUTH", "x"),
    ("AUTH", "x", "y"), ("AUTH", "a", "b", "c"), ("CLIENT", "LIST"), ("PING",), ("RESET",), ("COMMAND", "COUNT"),
    ("MGET", *"abcdefghi"), ("HELLO", "3", "SETNAME", "me"), ("QUIT",),
]


@pytest.mark.parametrize("question", ASKED, ids=" ".join)
def test_strangers_hear_what_redis_says(start, locked, question):
    with start.node(extra=["--requirepass", "s3cret-1"]).connect() as redis, locked.connect() as client:
        assert client.ask_raw(*question) == redis.ask_raw(*question)


@pytest.mark.parametrize("request_bytes", [
    encode(*("x" * 11)), b"*1\r\n$16385\r\n", b"*11\r\n", b"*-1\r\nPING\r\n", b"*1\r\n$x\r\n", b"*x\r\n",
    b"*99999999999\r\n", b"*1\r\n$-5\r\n"])
def test_strangers_send_no_more_than_redis_takes(start, locked, request_bytes):
    with start.node(extra=["--requirepass", "s3cret-1"]).connect() as redis, locked.connect() as client:
        for connection in (redis, client):
            connection.send(request_bytes)
            connection.half_close()
        assert client.rest() == redis.rest()


def test_who_gives_the_password_may_do_everything(locked):
    with locked.connect() as client:
        assert client.ask("AUTH", "wrong").args == (WRONGPASS,)
        assert client.ask("AUTH", "s3cret-1") == "OK"
        assert client.ask("SET", "k", "v" * 200000) == "OK"
        assert b" user=default " in client.ask("CLIENT", "LIST")
        assert client.ask("RESET") == "RESET"
        assert is_error(client.ask("GET", "k"), "NOAUTH")
    with locked.connect() as client:
        assert client.ask("HELLO", "3", "AUTH", "default", "s3cret-1", "SETNAME", "me")[b"proto"] == 3
        assert client.ask("CLIENT", "GETNAME") == b"me"
        client.ask("DEL", "k")
    with locked.connect() as client:  # one read for all three: each is judged by what came before it
        client.send(encode("GET", "k") + encode("AUTH", "s3cret-1") + encode(*["MGET"] + ["k"] * 20))
        refused, entered, found = [reply.value for reply in client.replies(3)]
        assert is_error(refused, "NOAUTH") and entered == "OK" and found == [None] * 20
    assert "s3cret" not in locked.log()


def test_a_long_value_of_a_stranger_is_not_taken(locked):
    with locked.connect() as client:
        client.send(encode("SET", "k", "v" * 200000))
        assert b"unauthenticated bulk length" in client.rest()


def test_passwords_change_without_a_gap_and_may_be_hashes(start, nodes, tmp_path):
    digest = hashlib.sha256(b"new").hexdigest()
    proxy = start.proxy(nodes, {"auth": {"password_file": secret(tmp_path, "p", "old", f"#{digest}")}})
    for password, answer in (("old", "OK"), ("new", "OK")):
        assert proxy.ask("AUTH", password) == answer
    assert is_error(proxy.ask("AUTH", f"#{digest}"), "WRONGPASS")


def test_a_password_from_the_environment_is_nowhere_to_be_read(tmp_path, monkeypatch, start, nodes):
    monkeypatch.setenv("CACHE_PASSWORD", "hunter2-env")
    proxy = start.proxy(nodes, {"auth": {"password": '"${CACHE_PASSWORD}"'}})
    assert proxy.ask("AUTH", "hunter2-env") == "OK"
    config = tmp_path / f"proxy-{proxy.port}.yaml"
    shown = processes.run("--config", config, "--print-config").stdout
    assert '"${CACHE_PASSWORD}"' in shown and "hunter2" not in shown
    assert "hunter2" not in proxy.log()
    monkeypatch.delenv("CACHE_PASSWORD")
    refused = processes.run("--config", config)
    assert refused.returncode == 1 and "CACHE_PASSWORD is not set" in refused.stderr


@pytest.mark.parametrize("auth", [
    {"password": "hunter2"}, {"users": ['"app read password=hunter2"']}, {"users": ['"app read hunter2"']},
    {"users": ['"app read >hunter2"']}])
def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path, auth):
    config = tmp_path / "c.yaml"
    config.write_text(processes.to_yaml({"nodes": {"static": ["127.0.0.1:1"]}, "auth": auth}))
    result = processes.run("--config", config, "--check-config")
    assert result.returncode == 2 and "auth." in result.stderr and "hunter2" not in result.stderr


@pytest.fixture(scope="module")
def shared_by_two(shared, nodes, tmp_path_factory):
    path = secret(tmp_path_factory.mktemp("users"), "p", "pw")
    rights = [f"app read write +@scripting ~app:* ~one password_file={path}",
              f"reader read -@hash ~* password_file={path}",
              f"ops all -flushall password_file={path}",
              f"slow read write ~* rate=20 password_file={path}", "gone all off"]
    return shared.proxy(nodes, {"auth": users(*rights), "timeouts": {"request": "10s"}})


@pytest.fixture(scope="module")
def redis_shared(shared):
    rights = ["--user", "app on >pw ~app:* ~one +@read +@write +@scripting +@connection -@admin -@dangerous",
              "--user", "reader on >pw ~* +@read +@connection -@hash -@admin -@dangerous"]
    words = [part for line in rights for part in ([line] if line == "--user" else line.split(" "))]
    return shared.node(extra=words)


JUDGED = [
    ("app", ("SET", "app:1", "x")), ("app", ("GET", "app:1")), ("app", ("GET", "other:1")), ("app", ("GET", "one")),
    ("app", ("GET", "one2")), ("app", ("SET", "ap", "x")), ("app", ("MGET", "app:1", "b:1")), ("app", ("DEL", "b:1")),
    ("app", ("MSET", "app:1", "1", "b:1", "2")), ("app", ("EVAL", "return 1", "1", "app:1")),
    ("app", ("EVAL", "return 1", "1", "b:1")), ("app", ("FLUSHALL",)), ("app", ("CONFIG", "GET", "save")),
    ("app", ("CLIENT", "LIST")), ("app", ("PING",)), ("app", ("OBJECT", "ENCODING", "b:1")),
    ("reader", ("GET", "b:1")), ("reader", ("SET", "b:1", "x")), ("reader", ("HGET", "b:1", "f")),
    ("reader", ("EVAL", "return 1", "0")), ("reader", ("LLEN", "b:2")),
]


@pytest.mark.parametrize("user, question", JUDGED, ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_rights_are_judged_as_redis_judges_them(shared_by_two, redis_shared, user, question):
    with shared_by_two.connect() as client, redis_shared.connect() as redis:
        assert client.ask("AUTH", user, "pw") == redis.ask("AUTH", user, "pw") == "OK"
        assert client.ask_raw(*question) == redis.ask_raw(*question)


def test_patterns_stay_inside_the_keys_of_a_user(shared_by_two):
    with shared_by_two.connect() as client:
        assert client.ask("AUTH", "app", "pw") == "OK"
        assert isinstance(client.ask("SCAN", "0", "MATCH", "app:*"), list)
        assert isinstance(client.ask("SCAN", "0", "COUNT", "5", "match", "app:x?"), list)
        for question in (("SCAN", "0"), ("SCAN", "0", "MATCH", "*"), ("SCAN", "0", "MATCH", "a[p]p:*"),
                         ("SCAN", "0", "MATCH", "app:*", "MATCH", "*"), ("RANDOMKEY",),
                         ("SORT", "app:l{x}", "BY", "w:{x}*"), ("SORT", "app:l{x}", "GET", "w:{x}*"),
                         ("SUMCACHE.INVALIDATE", "tag"), ("SUMCACHE.JOBS",), ("SUMCACHE.UNLINK", "MATCH", "*"),
                         ("SUMCACHE.SLOWLOG", "GET")):
            assert is_error(client.ask(*question), "NOPERM"), question
        assert client.ask("SORT", "app:l{x}", "GET", "app:w{x}*") == []


def test_an_upload_is_judged_like_any_write(shared_by_two):
    with shared_by_two.connect() as client:
        assert client.ask("AUTH", "app", "pw") == "OK"
        assert client.ask("SET", "app:big", "v" * 300000) == "OK"
        assert is_error(client.ask("SET", "b:big", "v" * 300000), "NOPERM")
        assert client.ask("DEL", "app:big") == 1
        assert client.ask("AUTH", "reader", "pw") == "OK"
        assert client.ask("EXISTS", "b:big") == 0


def test_users_in_lists(shared_by_two):
    with shared_by_two.connect() as ops, shared_by_two.connect() as client:
        assert is_error(client.ask("AUTH", "gone", ""), "WRONGPASS")
        assert client.ask("AUTH", "reader", "pw") == "OK"
        assert ops.ask("AUTH", "ops", "pw") == "OK"
        assert is_error(ops.ask("FLUSHALL"), "NOPERM")
        lines = ops.ask("CLIENT", "LIST").decode()
        assert " user=ops " in lines and " user=reader " in lines
        assert ops.ask("CLIENT", "KILL", "USER", "app") == 0
        assert is_error(ops.ask("CLIENT", "KILL", "USER", "joe"), "No such user")
        assert ops.ask("CLIENT", "KILL", "USER", "reader") == 1
        with pytest.raises((Closed, ConnectionError)):
            client.ask("PING")
    with shared_by_two.connect() as stranger:  # there is no default user
        assert is_error(stranger.ask("GET", "a"), "NOAUTH")
        assert is_error(stranger.ask("AUTH", "pw"), "WRONGPASS")


def test_a_user_has_a_rate_over_all_its_clients(shared_by_two):
    before = 0
    with shared_by_two.connect() as one, shared_by_two.connect() as two:
        for client in (one, two):
            assert client.ask("AUTH", "slow", "pw") == "OK"
        answers = []
        for client in (one, two):
            client.send(encode("GET", "k") * 40)
        for client in (one, two):
            answers += [reply.value for reply in client.replies(40)]
        refused = [answer for answer in answers if is_error(answer, "too many requests a second: the rate of its user")]
        assert 30 <= len(refused) <= 62, len(refused)
        eventually(lambda: one.ask("GET", "k") is None, what="it may go on")
    with shared_by_two.connect() as ops:
        ops.ask("AUTH", "ops", "pw")
        info = processes.counters_of(ops.ask("INFO"))
        assert info["requests_rate_limit"] >= before + len(refused)
        assert info["requests_forbidden"] > 0


def test_clients_have_a_rate(start, nodes):
    proxy = start.proxy(nodes, {"limits": {"client_rate": 10}})
    with proxy.connect() as client:
        client.send(encode("PING") * 30)
        refused = [r for r in client.replies(30) if is_error(r.value, "limits.client_rate")]
        assert 15 <= len(refused) <= 20
    assert proxy.counter("requests_rate_limit") == len(refused)


def test_clients_of_an_address_are_limited(start, nodes):
    proxy = start.proxy(nodes, {"limits": {"clients_per_address": 2}})
    eventually(lambda: proxy.counter("clients") == 1)
    one, two = proxy.connect(), proxy.connect()
    assert one.ask("PING") == two.ask("PING") == "PONG"
    with proxy.connect() as three:
        assert three.rest() == b"-ERR max number of clients reached\r\n"
    two.close()
    eventually(lambda: one.ask("INFO", "sumcache").count(b"\r\nclients:1\r\n") == 1)
    with proxy.connect() as again:
        assert again.ask("PING") == "PONG"
    assert processes.counters_of(one.ask("INFO"))["clients_address_limit"] == 1


def test_who_guesses_has_to_wait(start, nodes, tmp_path):
    proxy = start.proxy(nodes, {"auth": {"password_file": secret(tmp_path, "p", "right"), "failures_per_minute": 5}})
    with proxy.connect() as known, proxy.connect() as client:
        assert known.ask("AUTH", "right") == "OK"
        for _ in range(5):
            assert client.ask("AUTH", "hunter2", "wrong").args == (WRONGPASS,)
        # From now on the right one helps as little: else it would be known by that.
        assert is_error(client.ask("AUTH", "right"), "too many failures")
        assert is_error(proxy.ask("HELLO", "3", "AUTH", "default", "right"), "too many failures")
        counters = processes.counters_of(known.ask("INFO"))
    assert (counters["auth_failed"], counters["auth_slowed"]) == (5, 2)
    assert len(proxy.events("auth-failed")) in (1, 2)
    assert "hunter2" not in proxy.log()


@pytest.mark.parametrize("listen, settings, starts", [
    ("0.0.0.0:{}", {}, False), ("'[::]:{}'", {}, False), ("127.0.0.2:{}", {}, True),
    ("0.0.0.0:{}", {"protected_mode": "off"}, True),
    ("0.0.0.0:{}", {"auth": {"users": ['"default all nopass"']}}, False),
    ("0.0.0.0:{}", {"auth": {"users": ['"default all password_file=/x"']}}, True)])
def test_other_hosts_are_let_in_by_a_password_or_a_word(tmp_path, listen, settings, starts):
    config = tmp_path / "c.yaml"
    everything = {"listen": [listen.format(processes.free_port())], "nodes": {"static": ["127.0.0.1:1"]}, **settings}
    config.write_text(processes.to_yaml(everything))
    result = processes.run("--config", config, "--check-config")
    assert result.returncode == (0 if starts else 2), result.stderr
    assert starts or "protected_mode" in result.stderr

# SPDX-License-Identifier: Apache-2.0
"""Discovery on the real resolver (c-ares), beside a real DNS server and one that misbehaves.

The program is tests/integration/discover.c; what discovery makes of answers is tested in
tests/unit/test_discovery.c, here it is whether answers, failures and changes of the real world come
through as such.
"""
import re
import struct
import time

import pytest

import dns_servers
import processes
import resp
from dns_servers import AAAA, HOST, SRV, FakeServer, address, reply

pytestmark = pytest.mark.proxy_only

DISCOVER = processes.BINARY.parent / "tests" / "discover"
SLOWNESS = processes.SLOWNESS


class Discover:
    """The running program and what it has printed."""

    def __init__(self, start, *options):
        self.process = start.process([DISCOVER, *options])

    def lines(self, first_word):
        complete = self.process.log().rpartition("\n")[0]
        return [line.split()[1:] for line in complete.split("\n") if line.startswith(first_word + " ")
                or line == first_word]

    def members(self):
        """{name: (address, weight, is gone)}"""
        found = {}
        for item in self.lines("members")[-1]:
            name, at, weight, gone = re.fullmatch(r"(\S+?)@(\S+?)\*(\d+)(-?)", item).groups()
            found[name] = (at, int(weight), bool(gone))
        return found

    def present(self):
        return sorted(name for name, (_, _, gone) in self.members().items() if not gone)

    def gone(self):
        return sorted(name for name, (_, _, gone) in self.members().items() if gone)

    def changes(self):
        return len(self.lines("members")) - 1

    def source(self, name):
        """(state, {counter: value}) of the last report."""
        words = [line for line in self.lines("source") if line[0] == name][-1]
        return words[1], {key: int(value) for key, value in (word.split("=") for word in words[2:])}

    def failures(self, name):
        return {key: value for key, value in self.source(name)[1].items() if key != "queries" and value > 0}

    def wait_for(self, question, what):
        def ask():
            assert self.process.popen.poll() is None, self.process.log()[-2000:]
            return self.lines("source") and question()

        return resp.eventually(ask, within=10 * SLOWNESS, every=0.02, what=what)

    def wait_for_members(self, *names):
        self.wait_for(lambda: self.present() == sorted(names), f"{names} are the members")

    def wait_for_queries(self, name, count):
        """… more than there have been."""
        before = self.source(name)[1]["queries"]
        self.wait_for(lambda: self.source(name)[1]["queries"] >= before + count, "it has asked again")


@pytest.fixture
def discover(start):
    started = []

    def run(*options):
        started.append(Discover(start, *options))
        return started[-1]

    yield run
    for one in started:
        code = one.process.end()
        log = one.process.log()
        for trouble in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer"):
            assert trouble not in log, log[-5000:]
        assert code == 0 and log.endswith("ended\n"), log[-2000:]


def at(server):
    return f"server={HOST}:{server.port}"


def test_addresses_that_change(dns, discover):
    dns.set(redis=["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    d = discover(at(dns), "dns=redis.test:6379")
    d.wait_for_members("10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379")
    dns.set(redis=["10.0.0.3", "10.0.0.4"])
    d.wait_for_members("10.0.0.3:6379", "10.0.0.4:6379")
    assert d.gone() == ["10.0.0.1:6379", "10.0.0.2:6379"]
    dns.set(redis=["10.0.0.1", "10.0.0.3", "10.0.0.4"])
    d.wait_for_members("10.0.0.1:6379", "10.0.0.3:6379", "10.0.0.4:6379")
    assert d.source("redis.test:6379")[0] == "good"
    assert d.failures("redis.test:6379") == {}


def test_ipv6_only_where_there_is_no_ipv4(dns, discover):
    dns.set(six=["2001:db8::1", "::2"], both=["10.0.0.1", "2001:db8::1"])
    d = discover(at(dns), "dns=six.test:1", "dns=both.test:2")
    d.wait_for_members("10.0.0.1:2", "[2001:db8::1]:1", "[::2]:1")
    only_six = discover(at(dns), "family=v6", "dns=both.test:2")
    only_six.wait_for_members("[2001:db8::1]:2")


def test_services(dns, discover):
    dns.set(**{"redis-1": ["10.0.0.1"], "redis-2": ["10.0.0.2"], "redis-3": ["2001:db8::3"]})
    name = "_redis._tcp.cache.test"
    dns.set_services((name, "redis-1.test", 6379, 10, 60), (name, "redis-2.test", 6380, 10, 0),
                     (name, "spare.test", 6379, 20, 60))
    d = discover(at(dns), f"srv={name}")
    d.wait_for(lambda: d.members() == {"redis-1.test:6379": ("10.0.0.1:6379", 60, False),
                                       "redis-2.test:6380": ("10.0.0.2:6380", 1, False)}, "both targets")
    dns.set_services((name, "redis-1.test", 6379, 10, 60), (name, "redis-3.test", 6379, 10, 30))
    d.wait_for(lambda: d.members() == {"redis-1.test:6379": ("10.0.0.1:6379", 60, False),
                                       "redis-2.test:6380": ("10.0.0.2:6380", 1, True),
                                       "redis-3.test:6379": ("[2001:db8::3]:6379", 30, False)}, "a new one")
    # A pod that restarts with another address keeps its place.
    dns.set(**{"redis-1": ["10.0.9.1"], "redis-3": ["2001:db8::3"]})
    d.wait_for(lambda: d.members()["redis-1.test:6379"][0] == "10.0.9.1:6379", "the new address")


def test_a_name_that_vanishes_keeps_its_members(dns, discover):
    dns.set(redis=["10.0.0.1"])
    d = discover(at(dns), "dns=redis.test:6379")
    d.wait_for_members("10.0.0.1:6379")
    dns.set(other=["10.0.0.9"])
    d.wait_for(lambda: d.failures("redis.test:6379").get("nxdomain", 0) >= 2, "NXDOMAIN is counted")
    assert d.source("redis.test:6379")[0] == "failing"
    assert d.present() == ["10.0.0.1:6379"]
    dns.set(redis=["10.0.0.2"])
    d.wait_for_members("10.0.0.2:6379")
    assert d.process.log().count("warn resolve-failed") == 1
    assert d.process.log().count("info resolve-recovered") == 1


def test_an_empty_answer_keeps_the_members(dns, discover):
    dns.set(redis=["10.0.0.1"])
    d = discover(at(dns), "family=v4", "dns=redis.test:6379")
    d.wait_for_members("10.0.0.1:6379")
    dns.set(redis=["2001:db8::1"])
    d.wait_for(lambda: d.failures("redis.test:6379").get("no_data", 0) >= 2, "empty answers are counted")
    assert d.present() == ["10.0.0.1:6379"]


def test_more_than_fits_a_datagram(dns, discover):
    """60 addresses: the answer is cut off, and asked for again over TCP."""
    addresses = [f"10.0.1.{i}" for i in range(60)]
    dns.set(redis=addresses)
    d = discover(at(dns), "dns=redis.test:1")
    d.wait_for_members(*(f"{one}:1" for one in addresses))
    d.wait_for_queries("redis.test:1", 5)
    assert d.changes() == 1
    assert d.failures("redis.test:1") == {}


def test_answers_in_another_order_change_nothing(dns, discover):
    dns.set(redis=[f"10.0.0.{i}" for i in range(1, 9)])
    d = discover(at(dns), "dns=redis.test:1")
    d.wait_for(lambda: len(d.present()) == 8, "eight members")
    d.wait_for_queries("redis.test:1", 10)
    assert d.changes() == 1


def test_a_server_that_hangs(dns, discover):
    dns.set(redis=["10.0.0.1"])
    d = discover(at(dns), "timeout=300", "dns=redis.test:1")
    d.wait_for_members("10.0.0.1:1")
    dns.freeze()
    d.wait_for(lambda: d.failures("redis.test:1").get("timed_out", 0) >= 3, "time-outs are counted")
    assert d.present() == ["10.0.0.1:1"]
    dns.set(redis=["10.0.0.2"])
    dns.thaw()
    d.wait_for_members("10.0.0.2:1")
    assert set(d.failures("redis.test:1")) == {"timed_out"}


def test_a_server_that_is_not_there_at_first(start, tmp_path, discover):
    port = processes.free_port()
    d = discover(f"server={HOST}:{port}", "dns=redis.test:1", "static=10.0.0.7:1")
    d.wait_for(lambda: d.failures("redis.test:1").get("unreachable", 0) >= 2, "it is told")
    assert d.present() == ["10.0.0.7:1"]
    server = dns_servers.Dnsmasq(tmp_path, port)
    start.started.append(server)
    server.set(redis=["10.0.0.1"])
    d.wait_for_members("10.0.0.1:1", "10.0.0.7:1")


def test_a_question_is_given_up_in_time(discover):
    with FakeServer(lambda query, is_tcp: None) as silent:
        begin = time.monotonic()
        d = discover(at(silent), "timeout=500", "dns=redis.test:1")
        d.wait_for(lambda: d.failures("redis.test:1") == {"timed_out": 1}, "it is given up")
        assert 0.45 < time.monotonic() - begin < 0.5 + 1.0 * SLOWNESS
        assert silent.queries >= 2, "a lost packet would have been made good"


def test_after_a_time_out_another_socket_is_used(discover):
    """A NAT on the way may have tied the old one to a server that has gone."""
    with FakeServer(lambda query, is_tcp: None) as silent:
        d = discover(at(silent), "timeout=200", "dns=redis.test:1")
        d.wait_for(lambda: d.failures("redis.test:1").get("timed_out", 0) >= 5, "time-outs are counted")
        assert len(silent.peers) >= 5


# A server's answer to everything, and how it is counted.
MISBEHAVIOUR = {
    "servfail": (lambda query: reply(query, code=2), "server_failure"),
    "notimp": (lambda query: reply(query, code=4), "server_failure"),
    "refused": (lambda query: reply(query, code=5), "refused"),
    "nxdomain": (lambda query: reply(query, code=3), "nxdomain"),
    "empty": (reply, "no_data"),
    "cut_off": (lambda query: reply(query, [address("10.0.0.9")])[:-3], "malformed"),
    "lying_count": (lambda query: reply(query, [address("10.0.0.9")])[:-16], "malformed"),
    "bad_name": (lambda query: reply(query, [address("10.0.0.9")])[:-16] + b"\x80" * 16, "malformed"),
    "not_dns": (lambda query: b"HTTP/1.1 400 Bad Request\r\n\r\n", "timed_out"),
    "too_short": (lambda query: query[:5], "timed_out"),
    "other_question": (lambda query: query[:2] + reply(dns_servers.query_bytes("x.test", 1))[2:], "timed_out"),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
@pytest.mark.parametrize("source", ["dns=redis.test:1", "srv=_redis._tcp.test"])
def test_a_server_that_misbehaves(discover, name, source):
    answer, counter = MISBEHAVIOUR[name]
    with FakeServer(lambda query, is_tcp: answer(query)) as server:
        d = discover(at(server), "timeout=200", source, "static=10.0.0.7:1")
        label = source.partition("=")[2]
        d.wait_for(lambda: d.failures(label).get(counter, 0) >= 2, f"{counter} is counted")
        assert set(d.failures(label)) == {counter}
        assert d.present() == ["10.0.0.7:1"]


SRV_TARGETS = {
    "no host name": b"\4a\nb:\0",
    "forward": b"\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("target", SRV_TARGETS)
def test_srv_records_that_make_no_sense(discover, target):
    record = (SRV, 1, struct.pack(">HHH", 1, 1, 6379) + SRV_TARGETS[target])
    with FakeServer(lambda query, is_tcp: reply(query, [record])) as server:
        d = discover(at(server), "srv=_redis._tcp.test")
        d.wait_for(lambda: d.failures("_redis._tcp.test").get("malformed", 0) >= 2, "it is counted")
        assert d.present() == []


def test_the_next_server_is_asked(dns, discover):
    """After SERVFAIL, and when the first one is silent or not there."""
    dns.set(redis=["10.0.0.1"])
    with FakeServer(lambda query, is_tcp: reply(query, code=2)) as failing, \
            FakeServer(lambda query, is_tcp: None) as silent:
        nobody = f"server={HOST}:{processes.free_port()}"
        for first in (at(failing), at(silent), nobody):
            d = discover(first, at(dns), "dns=redis.test:1")
            d.wait_for_members("10.0.0.1:1")
            assert d.failures("redis.test:1") == {}


def test_a_lost_question_for_ipv4_does_not_turn_members_into_ipv6(discover):
    silent = []

    def answer(query, _):
        if dns_servers.question_of(query)[1] == AAAA:
            return reply(query, [(AAAA, 1, bytes(15) + b"\1")])
        return None if silent else reply(query, [address("10.0.0.1")])

    with FakeServer(answer) as server:
        d = discover(at(server), "timeout=200", "dns=redis.test:1")
        d.wait_for_members("10.0.0.1:1")
        silent.append(True)
        d.wait_for(lambda: d.failures("redis.test:1").get("timed_out", 0) >= 2, "time-outs are counted")
        assert d.members() == {"10.0.0.1:1": ("10.0.0.1:1", 1, False)}


def test_tcp_answers_that_come_in_pieces(discover):
    addresses = [f"10.2.{i // 250}.{i % 250 + 1}" for i in range(1000)]

    def answer(query, is_tcp):
        if not is_tcp:
            return reply(query, truncated=True)
        whole = reply(query, [address(one) for one in addresses])
        whole = struct.pack(">H", len(whole)) + whole
        return [whole[:1], whole[1:2], whole[2:100], whole[100:101], whole[101:]]

    with FakeServer(answer) as server:
        d = discover(at(server), "dns=redis.test:1")
        d.wait_for(lambda: len(d.present()) == 1000, "all members")


def test_the_hosts_file(discover):
    """Answered without any server; there is no TTL."""
    d = discover(f"server={HOST}:{processes.free_port()}", "static=localhost:1")
    d.wait_for(lambda: d.members().get("localhost:1", ("",))[0] == "127.0.0.1:1", "it is found")
    d.wait_for_queries("localhost:1", 2)
    assert d.failures("localhost:1") == {}


def test_resolv_conf_and_its_changes(dns, discover, tmp_path):
    """Search domains and ndots hold for addresses and services, and a new file is followed."""
    dns.set(**{"redis.one": ["10.0.0.1"], "redis.two": ["10.0.0.2"], "a.b.one": ["10.0.0.3"]})
    dns.set_services(("_r._tcp.one.test", "redis.one.test", 6, 1, 1))
    conf = tmp_path / "resolv.conf"
    conf.write_text("search one.test\noptions ndots:3\n")
    d = discover(f"resolv_conf={conf}", at(dns), "dns=redis:1", "dns=a.b:2", "srv=_r._tcp")
    d.wait_for_members("10.0.0.1:1", "10.0.0.3:2", "redis.one.test:6")
    new = tmp_path / "new.conf"
    new.write_text("search two.test\n")
    new.rename(conf)
    resp.eventually(lambda: "10.0.0.2:1" in d.present(), within=8 * SLOWNESS, what="the new domain is searched")
    d.wait_for(lambda: d.source("a.b:2")[0] == "failing", "the other names are not there")
    assert "10.0.0.3:2" in d.present()

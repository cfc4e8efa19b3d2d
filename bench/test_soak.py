# SPDX-License-Identifier: Apache-2.0
"""Does the soak notice? Its load against a server that is wrong in one way at a time, and its verdicts."""

import json
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from fake_server import HELLO, FakeServer  # noqa: E402  pylint: disable=wrong-import-position
import soak_run  # noqa: E402  pylint: disable=wrong-import-position

LOAD = os.path.join(os.environ.get("BUILD_DIR", os.path.join(os.path.dirname(HERE), "build")), "bench", "bench_soak")
FAULTY_EVERY = 50  # of the replies that a fault can be put into


class Server(FakeServer):
    """Redis enough for the load: one thread per client, values in a dictionary."""

    def __init__(self, fault=None):
        self.fault = fault
        self.values = {}
        self.count = 0
        super().__init__()

    def _is_due(self):
        self.count += 1
        return self.count % FAULTY_EVERY == 0

    def _answer(self, args):
        name = args[0]
        with self.lock:
            if name == b"HELLO":
                return HELLO
            if name == b"QUIT":
                return b"+OK\r\n"
            if name == b"SET":
                self.values[args[1]] = args[2]
                return b"+OK\r\n" if self.fault != "wrong kind" or not self._is_due() else b":1\r\n"
            if name == b"DEL":
                return b":%d\r\n" % sum(self.values.pop(key, None) is not None for key in args[1:])
            parts = [self._bulk(key) for key in args[1:]]
        if self.fault == "close" and self._is_due():
            return None
        if self.fault == "error" and self._is_due():
            return b"-WRONGTYPE Operation against a key\r\n"
        if self.fault == "allowed error" and self._is_due():
            return b"-ERR sumcache: node 127.0.0.1:7001 timed out\r\n"
        return b"".join(parts) if name == b"GET" else b"*%d\r\n" % len(parts) + b"".join(parts)

    def _bulk(self, key):
        value = self.values.get(key)
        if value is None:
            return b"$-1\r\n"
        if self.fault in ("flipped bit", "lost byte", "other key", "never written", "late bytes") and self._is_due():
            value = self._spoil(key, value)
        end = b"\n\r" if self.fault == "bad end" and self._is_due() else b"\r\n"
        return b"$%d\r\n%s%s" % (len(value), value, end)

    def _spoil(self, key, value):
        if self.fault == "flipped bit":
            return value[:-1] + bytes([value[-1] ^ 4])
        if self.fault == "lost byte":
            return value[:30] + value[31:]
        if self.fault == "late bytes":  # the body of another value of the same length
            return value[:64] + value[65:] + value[64:65] if len(value) > 66 else value[:63] + b"?"
        if self.fault == "never written":
            version = value.split()[3]
            return value.replace(b"version " + version, b"version 9" + version, 1)
        others = [other for name, other in self.values.items() if name != key]
        return others[0] if others else value + b"?"


def run_load(fault, seconds=3):
    server = Server(fault)
    try:
        done = subprocess.run([LOAD, "--port", str(server.port), "--seconds", str(seconds), "--clients", "60", "--rate", "1500",
                               "--bulk", "20", "--keys", "1", "--seed", "5"], check=False, text=True, capture_output=True, timeout=60)
    finally:
        server.close()
    return done, json.loads(done.stdout.splitlines()[-1])


def test_all_is_well_with_a_right_server():
    done, load = run_load(None)
    assert done.stderr == ""
    assert done.returncode == 0
    assert load["ended"] and load["connected"] == 0
    assert [load[name] for name in ("wrong", "strange", "hung", "closed_other", "errors")] == [0] * 5
    assert load["hits"] > 100 and load["large"] > 0 and load["checked_bytes"] > 10**6
    assert load["left_politely"] > 0


@pytest.mark.parametrize("fault, counter", [
    ("flipped bit", "wrong"),
    ("lost byte", "wrong"),
    ("late bytes", "wrong"),
    ("other key", "wrong"),
    ("never written", "wrong"),
    ("bad end", "wrong"),
    ("wrong kind", "wrong"),
    ("error", "strange"),
    ("close", "closed_other"),
])
def test_a_fault_is_seen(fault, counter):
    done, load = run_load(fault)
    assert done.returncode == 1
    assert load[counter] > 0
    assert [name for name in ("wrong", "strange", "hung", "closed_other") if load[name] > 0] == [counter]
    assert done.stderr.startswith("client ")


def test_an_error_of_the_proxy_is_counted_and_allowed():
    done, load = run_load("allowed error")
    assert done.returncode == 0
    assert load["errors"] > 0
    assert load["kinds"] == {"-ERR sumcache: node # timed out": load["errors"]}


# ---------------------------------------------------------------------- verdicts


def samples_of(*rss_mib):
    return [soak_run.Sample(float(i), rss * 1024, None, {"buffer_bytes": 0}, 0.0, None) for i, rss in enumerate(rss_mib, 1)]


@pytest.mark.parametrize("rss_mib, is_flat", [
    # One a second: the second quarter is the 2nd and 3rd, the last one the 6th to 8th.
    ([10, 30, 30, 99, 99, 30, 30, 30], True),
    ([10, 30, 30, 30, 30, 45, 45, 45], True),     # within 16 MiB
    ([10, 30, 30, 99, 99, 47, 47, 47], False),
    ([10, 200, 200, 9, 9, 235, 235, 235], True),  # within 20 %
    ([10, 200, 200, 9, 9, 245, 245, 245], False),
    ([10], False),
])
def test_rss(rss_mib, is_flat):
    assert soak_run.verdict_rss(samples_of(*rss_mib))[0] == is_flat


def test_descriptors_are_told_apart():
    sockets = {"1": (7000, 0), "2": (7000, 50000), "3": (50001, 8001), "4": (50002, 9999)}
    links = ["socket:[1]", "socket:[2]", "socket:[3]", "socket:[4]", "socket:[5]", "anon_inode:[eventpoll]"]
    found = soak_run.descriptors_of(links, sockets, 7000, {8001, 8002})
    assert found == soak_run.Descriptors(all=6, clients=1, upstreams=1, others=4)


@pytest.mark.parametrize("clients, upstreams, others, is_good", [
    (0, 12, 11, True), (0, 0, 10, True), (1, 12, 11, False), (0, 12, 12, False), (0, 49, 11, False)])
def test_descriptors_left(clients, upstreams, others, is_good):
    before = soak_run.Descriptors(23, 0, 12, 11)
    after = soak_run.Descriptors(clients + upstreams + others, clients, upstreams, others)
    assert soak_run.verdict_descriptors(before, after)[0] == is_good


def load_of(**changed):
    load = {"ended": True, "wrong": 0, "strange": 0, "hung": 0, "closed_other": 0, "hits": 9, "checked_bytes": 9, "large": 9,
            "left_in_request": 1, "left_in_reply": 1, "connects": 9, "replies": 9}
    return {**load, **changed}


@pytest.mark.parametrize("load, status, is_good", [
    (load_of(), 0, True), (load_of(), 1, False), (load_of(), None, False), (load_of(), -11, False), (None, 0, False),
    (load_of(ended=False), 0, False), (load_of(wrong=1), 1, False), (load_of(strange=1), 1, False), (load_of(hung=1), 1, False),
    (load_of(closed_other=1), 1, False), (load_of(large=0), 0, False)])
def test_load(load, status, is_good):
    assert all(line[0] for line in soak_run.verdict_load(load, status)) == is_good

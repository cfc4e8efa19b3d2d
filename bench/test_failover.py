# SPDX-License-Identifier: Apache-2.0
"""Does bench/failover judge rightly? Its load against servers that lie in known ways, and its arithmetic.

    /usr/bin/python3 -m pytest -q bench/test_failover.py

The tests of the load and the relay need build/bench (or BENCH_TOOLS=DIR) and leave themselves out without it.
"""

import collections
import json
import math
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import failover_faults  # noqa: E402
import failover_parts  # noqa: E402
import failover_report as report  # noqa: E402
from fake_server import HELLO, FakeServer  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("BENCH_TOOLS", HERE.parent / "build" / "bench"))
needs_load = pytest.mark.skipif(not (TOOLS / "bench_failover_load").exists(), reason="bench_failover_load is not built")
needs_relay = pytest.mark.skipif(not (TOOLS / "bench_failover_relay").exists(), reason="bench_failover_relay is not built")

FAULTY_EVERY = 20  # of the replies that a lie fits into


class Server(FakeServer):
    """Redis enough for the load: a thread per connection, all values that a key ever had. Tells the truth while
    the keys are filled, that is, until a key is asked for; then it lies in its own way."""

    def __init__(self, lie=None):
        self.lie = lie
        self.history = collections.defaultdict(list)  # key → [value or None, …]
        self.count = 0
        self.lies = 0
        self.has_begun = False
        self.writing = collections.Counter()
        self.writing_max = 0
        super().__init__()

    def _is_due(self):
        with self.lock:
            self.count += 1
            if self.count % FAULTY_EVERY:
                return False
            self.lies += 1
            return True

    def _answer(self, args):
        name = args[0]
        if name == b"GET":
            self.has_begun = True
            return self._get(args[1])
        if name in (b"SET", b"DEL"):
            value = args[2] if name == b"SET" else None
            return self._write(args[1], value) if self.has_begun else self._store(args[1], value)
        return HELLO if name == b"HELLO" else b"+PONG\r\n" if name == b"PING" else b"+OK\r\n"

    def _store(self, key, value):
        with self.lock:
            self.history[key].append(value)
        return b":1\r\n" if value is None else b"+OK\r\n"

    def _write(self, key, value):
        if self.lie == "refuses":
            return b"-ERR sumcache: node 127.0.0.1:7001 timed out\r\n"
        if self.lie == "does and refuses":
            self._store(key, value)
            return b"-ERR sumcache: node 127.0.0.1:7001 timed out\r\n"
        if self.lie == "does not delete" and value is None:
            self.lies += 1
            return b":1\r\n"
        if self.lie == "writes slowly":
            with self.lock:
                self.writing[key] += 1
                self.writing_max = max(self.writing_max, self.writing[key])
            time.sleep(0.05)
            answer = self._store(key, value)
            with self.lock:
                self.writing[key] -= 1
            return answer
        return self._store(key, value)

    def _get(self, key):
        with self.lock:
            values = list(self.history[key])
        value = values[-1] if values else None
        if self.lie == "slow" and int(key[3:]) % 2:
            time.sleep(0.1)
        if self.lie == "silent":
            time.sleep(60)
        if value is None:
            return b"$-1\r\n"
        if self.lie in ("late", "late and old") and self._is_due():
            time.sleep(0.4)
            value = values[0] if self.lie == "late and old" and values[0] else value
        if self.lie == "close" and self._is_due():
            return None
        if self.lie == "error" and self._is_due():
            return b"-ERR sumcache: node 127.0.0.1:7001 is down\r\n"
        if self.lie == "old" and values[0]:
            self.lies += values[0] != value
            value = values[0]
        if self.lie in SPOILT and self._is_due():
            return SPOILT[self.lie](value, key, self.history)
        return b"$%d\r\n%s\r\n" % (len(value), value)


def whole(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


def value_of_other(_, key, history):
    return whole(next(values[-1] for other, values in history.items() if other != key and values[-1]))


SPOILT = {
    "other key": value_of_other,
    "cut": lambda value, *_: whole(value[:-1]),
    "cut inside": lambda value, *_: b"$%d\r\n%s\r\n" % (len(value), value[:-9]),
    "longer": lambda value, *_: whole(value + b"x"),
    "flipped bit": lambda value, *_: whole(value[:-1] + bytes([value[-1] ^ 4])),
    "never written": lambda value, *_: whole(value.replace(b" v", b" v9", 1)),
    "empty": lambda *_: whole(b""),
    "huge": lambda *_: whole(b"x" * 50000),
    "number": lambda *_: b":1\r\n",
    "nonsense": lambda *_: b"?what\r\n",
}


def run_load(*servers, seconds=1.0, rate=1000, keys=60, sets=10, dels=2, more=()):
    try:
        done = subprocess.run([
            TOOLS / "bench_failover_load", "-a", ",".join(f"127.0.0.1:{server.port}" for server in servers), "-c", "8",
            "-r", str(rate), "-k", str(keys), "-t", str(seconds), "--sets", str(sets), "--dels", str(dels), "--give-up", "0.2",
            *more], check=False, text=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    finally:
        for server in servers:
            server.close()
    assert done.returncode == 0, done.stderr
    first, line = done.stdout.splitlines()
    assert first == "filled"
    return json.loads(line)


# ---------------------------------------------------------------------- the load's judgement


@needs_load
def test_nothing_is_wrong_with_a_right_server():
    load = run_load(Server(), more=["--probe", "resp3", "--phases", "a:0.5,b:0.7"])
    assert load["all"]["asked"] == 1200  # what the clock says, whatever is answered
    assert [load["all"][name] for name in ("stale", "stale_other", "wrong", "error", "late", "unanswered", "unsent")] == [0] * 7
    assert load["all"]["ok"] + load["all"]["miss"] == 1200
    assert load["all"]["done"] == pytest.approx(1200 * 0.12, rel=0.4)
    assert load["all"]["miss"] > 0  # of what was deleted
    assert load["details"] == [] and load["errors"] == {}
    assert [(window["name"], window["all"]["asked"]) for window in load["windows"]] == [("a", 500), ("b", 700)]
    assert sum(bin_["all"]["asked"] for bin_ in load["bins"]) == 1200 and len(load["bins"]) == 12
    assert len(load["probes"]) in (11, 12)
    assert all(probe["result"] == "ready" and probe["errors"] == 0 and 0 < probe["first_us"] <= probe["ready_us"]
               for probe in load["probes"])


@needs_load
def test_an_old_version_is_stale():
    server = Server("old")
    load = run_load(server, sets=30, dels=0)
    assert load["all"]["stale"] > 50 and load["all"]["wrong"] == 0
    # Only a read that started before the newer write was acknowledged may be excused.
    assert load["all"]["stale"] <= server.lies <= load["all"]["stale"] + 20
    detail = load["details"][0]
    assert detail["what"] == "stale" and detail["returned"] == {"version": 1, "state": "filled"}
    assert detail["expected"]["state"] == "acknowledged" and detail["expected"]["version"] > 1
    assert detail["expected"]["answered"] <= detail["sent"]
    assert len(load["details"]) == 20


@needs_load
def test_what_was_deleted_and_is_still_there_is_stale():
    load = run_load(Server("does not delete"), sets=0, dels=20)
    assert load["all"]["stale"] > 50 and load["all"]["wrong"] == 0 and load["all"]["miss"] == 0
    assert load["details"][0]["expected"]["command"] == "DEL"


@needs_load
@pytest.mark.parametrize("lie", ["refuses", "does and refuses"])
def test_a_write_that_failed_may_have_happened_or_not(lie):
    load = run_load(Server(lie), sets=20)
    assert load["all"]["error"] > 100 and load["all"]["done"] == 0
    assert (load["all"]["stale"], load["all"]["wrong"]) == (0, 0)
    assert load["errors"] == {"-ERR sumcache: node # timed out": load["all"]["error"]}


@needs_load
def test_a_read_that_starts_before_the_acknowledgement_may_be_old_and_a_key_has_one_write_at_a_time():
    server = Server("writes slowly")
    load = run_load(server, keys=10, sets=10, rate=300, dels=2)
    assert (load["all"]["stale"], load["all"]["wrong"]) == (0, 0)
    assert load["all"]["done"] > 10
    assert server.writing_max == 1


@needs_load
@pytest.mark.parametrize("lie", [lie for lie in SPOILT if lie not in ("cut inside", "nonsense")])
def test_a_wrong_value_is_seen(lie):
    server = Server(lie)
    load = run_load(server)
    assert load["all"]["wrong"] == server.lies > 10
    assert load["all"]["stale"] == 0
    assert {detail["what"] for detail in load["details"]} == {"wrong"}


@needs_load
@pytest.mark.parametrize("lie", ["cut inside", "nonsense"])
def test_what_is_no_reply_is_wrong_and_ends_the_connection(lie):
    load = run_load(Server(lie))
    assert load["all"]["wrong"] > 5
    assert load["lost_connections"] > 5
    assert load["all"]["stale"] == 0
    assert load["all"]["hit"] > 300  # on new ones


@needs_load
@pytest.mark.parametrize("lie, is_stale", [("late", False), ("late and old", True)])
def test_a_late_answer_is_counted_as_such_and_still_judged(lie, is_stale):
    load = run_load(Server(lie), seconds=2, rate=300, sets=30, dels=0)
    assert load["all"]["late"] > 0
    assert load["all"]["max_us"] >= 400000
    assert load["all"]["wrong"] == 0
    assert (load["all"]["stale"] > 0) == is_stale
    assert load["slowest"][0]["ms"] >= 400 and load["slowest"][0]["outcome"] in ("late", "unanswered")


@needs_load
def test_what_is_never_answered_is_charged_with_its_waiting():
    load = run_load(Server("silent"), seconds=0.5, sets=0, dels=0)
    assert load["all"]["unanswered"] == load["all"]["asked"] == 500
    assert load["all"]["p50_us"] > 400000  # half of them waited a quarter of a second and the time to give up
    assert load["all"]["max_us"] >= 700000


@needs_load
def test_a_closed_connection_fails_what_was_under_way_and_comes_again():
    server = Server("close")
    load = run_load(server, seconds=2, rate=500)
    assert load["lost_connections"] >= server.lies - 8 > 10
    assert load["all"]["error"] >= load["lost_connections"]
    assert (load["all"]["stale"], load["all"]["wrong"]) == (0, 0)
    assert load["seconds"][1]["all"]["hit"] > 200


@needs_load
def test_errors_are_no_misses():
    server = Server("error")
    load = run_load(server, sets=0, dels=0)
    assert load["all"]["error"] == server.lies > 10
    assert load["all"]["miss"] == 0


@needs_load
def test_what_another_proxy_acknowledged_is_counted_apart():
    load = run_load(Server(), Server(), sets=30, dels=0)  # each with values of its own: they know nothing of each other
    assert load["all"]["stale_other"] > 50
    assert (load["all"]["stale"], load["all"]["wrong"]) == (0, 0)


@needs_load
def test_keys_of_a_node_are_told_apart(tmp_path):
    path = tmp_path / "map"
    path.write_text("".join(f"fo:{key:08d}\t127.0.0.1:{7001 + key % 2}\n" for key in range(60))
                    + "127.0.0.1:7001\t32768\t50.000%\n", encoding="utf-8")  # as `sumcache ring` ends
    load = run_load(Server(), more=["--map", str(path), "--focus", "127.0.0.1:7002"])
    asked = [load[group]["asked"] for group in ("focus", "others", "all")]
    assert asked[0] + asked[1] == asked[2] and min(asked) > 200
    assert sum(load["fine"]["focus_writes"]) == load["focus"]["done"] > 0
    assert abs(max(load["fine"]["focus_max_us"]) - load["focus"]["max_us"]) <= 1  # whole µs, and rounded


@needs_load
@pytest.mark.parametrize("arguments", [
    ["-a", "nowhere"], ["-a", "127.0.0.1:0"], [], ["-a", "127.0.0.1:1", "--sets", "101"], ["-a", "127.0.0.1:1", "--sets", "60", "--dels", "60"],
    ["-a", "127.0.0.1:1", "-s", "10:20"], ["-a", "127.0.0.1:1", "-P", "a"], ["-a", "127.0.0.1:1", "more"]])
def test_a_wrong_command_line_is_refused(arguments):
    done = subprocess.run([TOOLS / "bench_failover_load", *arguments], check=False, capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and done.stderr and not done.stdout


@needs_load
def test_who_waits_keeps_only_those_waiting_that_share_its_connection(tmp_path):
    path = tmp_path / "map"
    path.write_text("".join(f"fo:{key:08d}\tnode{key % 2}\n" for key in range(60)), encoding="utf-8")

    def others_p50_us(*more):
        server = Server("slow")
        return run_load(server, rate=200, sets=0, dels=0, more=["--map", str(path), "--focus", "node1", *more])["others"]["p50_us"]

    assert others_p50_us() > 100000 > 20000 > others_p50_us("--apart")


@needs_load
def test_windows_are_named_while_it_runs():
    server = Server()
    load = failover_parts.Load(str(TOOLS / "bench_failover_load"), ["-a", f"127.0.0.1:{server.port}", "-r", "1000", "-k", "50", "-c", "4"])
    try:
        load.go()
        begun = time.monotonic_ns()
        time.sleep(0.8)
        load.window("early", begun + 200_000_000, begun + 300_000_000)
        load.say(f"phase late {begun + 400_000_000}")
        result = load.report()
    finally:
        load.kill()
        server.close()
    assert report.window_of(result, "early")["all"]["asked"] == pytest.approx(100, abs=1)
    assert report.window_of(result, "late")["to"] == result["length"] == pytest.approx(0.8, abs=0.3)


# ---------------------------------------------------------------------- the relay


@needs_relay
def test_the_relay_delays_answers_and_keeps_their_order():
    server = Server()
    port = failover_parts.harness.free_port()
    relay = failover_parts.Relay(str(TOOLS / "bench_failover_relay"), f"127.0.0.1:{port}", f"127.0.0.1:{server.port}")

    def asked(sock, text):
        begun = time.monotonic()
        sock.sendall(failover_parts.harness.encode(*text))
        assert sock.recv(100) == b"+OK\r\n"
        return time.monotonic() - begun

    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            assert asked(sock, [b"SET", b"a", b"1"]) < 0.2
            relay.delay(200)
            time.sleep(0.05)
            assert 0.2 <= asked(sock, [b"SET", b"a", b"2"]) < 1
            sock.sendall(failover_parts.harness.encode(b"SET", b"a", b"3"))
            time.sleep(0.05)
            relay.delay(0)
            sock.sendall(failover_parts.harness.encode(b"DEL", b"a"))
            got = b""
            while len(got) < 9:
                got += sock.recv(100)
            assert got == b"+OK\r\n:1\r\n"
            assert asked(sock, [b"SET", b"a", b"4"]) < 0.2
    finally:
        relay.kill()
        server.close()


# ---------------------------------------------------------------------- the arithmetic


def fine_of(focus, others=None, writes=None):
    return {"ms": 10, "focus_max_us": focus, "others_max_us": others or [500] * len(focus), "focus_writes": writes or [0] * len(focus)}


@pytest.mark.parametrize("focus, expected", [
    # One figure per 10 ms, from 100 ms before the fault.
    ([400] * 100, (0.0, 0)),
    ([400] * 10 + [100000] * 25 + [400] * 65, (250.0, 0)),
    # A bin without a request that waits is not yet the end of waiting.
    ([400] * 10 + [100000] * 10 + [400] * 9 + [100000] * 5 + [400] * 66, (240.0, 0)),
    ([400] * 10 + [100000] * 25 + [400] * 20 + [100000] * 3 + [400] * 20 + [100000] + [400] * 21, (250.0, 2)),
    ([400] * 10 + [100000] * 90, (None, 0)),
])
def test_when_a_node_is_out_of_the_way(focus, expected):
    after, blips = report.ejection(fine_of(focus), 0.1, 1.0)
    assert (None if after is None else pytest.approx(after), blips) == (expected[0], expected[1])


def test_when_everybody_waits_it_is_the_machine():
    assert report.ejection(fine_of([400] * 10 + [60000] * 5 + [400] * 85, [400] * 10 + [50000] * 5 + [400] * 85), 0.1, 1.0) == (0.0, 0)


def test_when_the_keys_can_be_written_again():
    writes = [1] * 12 + [0] * 18 + [2] * 70  # the first 20 ms may have been on their way
    assert report.writes_back_ms(fine_of([400] * 100, writes=writes), 0.1, 1.0) == pytest.approx(200)
    assert report.writes_back_ms(fine_of([400] * 100), 0.1, 1.0) is None


def group_of(**changed):
    group = {name: 0 for name in (*report.COUNTS, "hit", "done", "unsent")}
    return {**group, "asked": 1000, "ok": 1000, "p50_us": 200.0, "p99_us": 1000.0, "p999_us": 2000.0, "max_us": 5000.0, **changed}


def load_of(fault=None, others=None, **changed):
    """A run: control from 0 to 5 s, the fault from 5.002 to 10.002 s, after it 3 s more."""
    windows = []
    for name, begin, end in (("control", 0.5, 4.85), ("fault", 5.002, 10.002), ("after", 10.002, 13.002), ("out", 5.002, 10.002),
                             ("settled", 5.302, 10.002)):
        group = group_of(**(fault or {})) if name in ("fault", "settled", "out") else group_of()
        windows.append({"name": name, "lag_max_us": 500, "from": begin, "to": end, "all": group, "others": group})
    p99 = others or [1000.0] * 13
    seconds = [{"t": float(t), "all": group_of(), "others": group_of(p99_us=p99[t])} for t in range(13)]
    load = {"windows": windows, "seconds": seconds, "fine": fine_of([400] * 1300, writes=[1] * 1300), "probes": [], "errors": {},
            "all": group_of(), "probe_stale": 0, "probe_wrong": 0, "stray": 0, "lost_connections": 0, "died": [],
            "foreign": 0.02, "lag_max_us": 900}
    return {**load, **changed}


def test_the_ratio_of_other_keys_is_that_of_the_median_seconds():
    p99 = [1000.0, 9000.0, 1000.0, 1200.0, 1000.0, 1500.0, 1300.0, 1300.0, 1200.0, 9000.0, 50.0, 50.0, 50.0]
    assert report.others_ratio(load_of(others=p99)) == pytest.approx(1300 / 1100)


def test_what_the_machine_adds_is_taken_off():
    assert report.excess_ms(load_of(fault={"max_us": 108000.0})) == pytest.approx(103)


def test_the_first_answer_is_the_slowest_one_in_the_fault():
    probes = [{"t": 4.0, "result": "ready", "first_us": 90000.0}, {"t": 6.0, "result": "ready", "first_us": 800.0},
              {"t": 7.0, "result": "timed out", "first_us": 3000.0}]
    assert report.first_answer_ms(load_of(probes=probes)) == pytest.approx(3)
    assert report.first_answer_ms(load_of(probes=[*probes, {"t": 8.0, "result": "refused"}])) == math.inf
    assert report.first_answer_ms(load_of()) is None


def test_stale_and_wrong_values_of_new_connections_count():
    load = load_of(all=group_of(stale=2, wrong=1), probe_stale=3, probe_wrong=4, stray=5)
    assert (report.bad_values(load, "stale"), report.bad_values(load, "wrong")) == (5, 10)


def target(name):
    return next(figure for figure in report.TARGETS if figure.name == name)


@pytest.mark.parametrize("stale, is_met", [([0, 0, 0, 0, 0], True), ([0, 0, 1, 0, 0], False)])
def test_a_count_has_to_be_met_in_every_run(stale, is_met):
    loads = [load_of(all=group_of(stale=count)) for count in stale]
    assert report.judge(target("stale"), loads) == (0, max(stale), 5 - sum(stale), 5, "met" if is_met else "**missed**")


@pytest.mark.parametrize("slowest, is_met", [([90, 100, 105, 300, 400], True), ([90, 100, 106, 110, 110], False)])
def test_a_time_has_to_be_met_in_the_median_run(slowest, is_met):
    loads = [load_of(fault={"max_us": 5000.0 + 1000.0 * ms}) for ms in slowest]
    assert report.judge(target("deadline"), loads) == (
        slowest[2], slowest[-1], sum(ms <= 105 for ms in slowest), 5, "met" if is_met else "**missed**")


def test_who_waits_to_the_end_misses():
    load = load_of(fine=fine_of([400] * 500 + [100000] * 800))
    assert report.judge(target("ejected"), [load]) == (math.inf, math.inf, 0, 1, "**missed**")
    assert report.judge(target("blips"), [load])[4] == "**missed**"


def test_who_answers_at_once_but_takes_no_writes_has_not_ejected():
    load = load_of(fine=fine_of([400] * 1300, writes=[1] * 500 + [0] * 800))
    assert report.judge(target("ejected"), [load])[4] == "met"
    assert report.judge(target("written"), [load])[4] == "**missed**"


def fault_of(name):
    return next(fault for fault in failover_faults.FAULTS if fault.name == name)


def test_which_targets_a_fault_has():
    names = {fault.name: [figure.name for figure in report.targets_of(fault)] for fault in failover_faults.FAULTS}
    assert names["stop"] == names["drop"] == ["deadline", "ejected", "written", "settled", "blips", "others", "stale", "wrong"]
    assert names["kill"] == ["deadline", "ejected", "written", "blips", "others", "stale", "wrong"]
    assert names["loss"] == names["latency"] == names["flap"] == ["others", "stale", "wrong"]
    assert names["all"] == ["first", "stale", "wrong"]
    assert names["scale"] == names["dns"] == ["stale", "wrong"]
    limits = [figure.limit for name in ("stop", "kill") for figure in report.targets_of(fault_of(name)) if figure.name == "ejected"]
    assert limits == [250, 50]


def test_who_is_asked_what():
    assert fault_of("stop").suits("twemproxy") and fault_of("scale").suits("sumcache")
    assert not fault_of("scale").suits("twemproxy") and not fault_of("two").suits("twemproxy")
    assert [fault.name for fault in failover_faults.faults_wanted("kill,stop")] == ["kill", "stop"]
    with pytest.raises(failover_parts.BenchError, match="no such fault: fire"):
        failover_faults.faults_wanted("kill,fire")


class Recorder:
    """A stage whose parts only note what is done to them."""

    def __init__(self):
        self.done = []

    def __getattr__(self, name):
        def note(*args):
            self.done.append((name, *args))
        return note


@pytest.mark.parametrize("name, expected", [
    ("stop", [(0, "freeze"), (15, "thaw")]),
    ("kill", [(0, "kill"), (10, "start")]),
    ("flap", [(0, "freeze"), (2, "thaw"), (4, "freeze"), (6, "thaw"), (8, "freeze"), (10, "thaw"), (12, "freeze"), (14, "thaw")]),
])
def test_what_happens_when(name, expected):
    node = Recorder()
    timeline = fault_of(name).timeline(type("Stage", (), {"focus": node}), 15.0)
    for _, action in timeline:
        action()
    assert list(zip([at for at, _ in timeline], [done[0] for done in node.done])) == [(pytest.approx(at), what) for at, what in expected]


def test_the_phases_have_their_lengths():
    lengths = report.Lengths(5.0, 15.0, 10.0)
    assert (lengths.total(fault_of("stop")), lengths.total(fault_of("all"))) == (30, 20)


def test_the_tables_say_what_was_seen():
    loads = [load_of(fault={"ok": 700, "miss": 300, "stale": 2, "max_us": 100000.0}, errors={"-ERR sumcache: node # is down": 7},
                     died=["sumcache"])]
    text = report.fault_text(fault_of("stop"), {"sumcache": loads})
    assert "| sumcache | fault | 140 | 60 | 0 | 0 | 0 | 0.20 | 1.00 | 2.00 | 100 | 0.50 | 2 | 0 |" in text
    assert "7 × `-ERR sumcache: node # is down`" in text and "ended by itself 1 times" in text
    rows = report.targets_text([(fault_of("stop"), {"sumcache": loads}), (fault_of("two"), {"sumcache": loads})])
    assert "| stop | slowest answer, less the control phase's | ≤ 105 ms | sumcache | 95 ms | 95 ms | 1 of 1 | met |" in rows
    assert "two" not in rows


def test_a_disturbed_run_does_not_count_for_times():
    slow = {"max_us": 900000.0}
    runs = [load_of(), load_of(fault=slow, foreign=0.4), load_of(fault=slow, lag_max_us=60000),
            load_of(fault=slow, all=group_of(stale=1), foreign=0.4)]
    assert report.judge(target("deadline"), runs) == (0, 0, 1, 1, "met")
    assert report.judge(target("deadline"), runs[1:])[3:] == (0, "void: disturbed")
    assert report.judge(target("stale"), runs)[3:] == (4, "**missed**")  # what is stale is stale
    assert report.doubts([(fault_of("stop"), {"sumcache": runs, "other": [load_of()]})]) == [
        "stop, sumcache: 3 of 4 runs were disturbed and do not count for times: other programs used up to 40 % of the machine, "
        "the load was up to 60 ms late"]


def test_a_plot_has_all_panels():
    script = report.fault_plot(fault_of("stop"), {"sumcache": [load_of()], "twemproxy": [load_of()]}, "x.svg")
    assert sum(line.startswith("plot ") for line in script) == 6


@pytest.mark.parametrize("printed, is_known", [
    ("listen: [\"x\"]\nnodes:\n  static: []\n  dns: []\nworkers: auto\n", True),
    ("listen: [\"x\"]\nnodes:\n  static: []\nworkers: auto\ndns:\n  servers: []\n", False)])
def test_whether_a_sumcache_knows_dns(tmp_path, monkeypatch, printed, is_known):
    program = tmp_path / "sumcache"
    program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{printed}EOF\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(failover_parts, "dnsmasq_path", lambda: "/usr/sbin/dnsmasq")
    assert (failover_parts.lacks_dns(str(program)) is None) == is_known


def ask_dns(port, name):
    """The last byte of each address that the name has."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + question, ("127.0.0.1", port))
        reply = sock.recv(4096)
    count = int.from_bytes(reply[6:8], "big")
    answers = reply[12 + len(question):]
    return sorted(answers[16 * i + 15] for i in range(count))  # a pointer to the name, 10 bytes, the address


@pytest.mark.skipif(not failover_parts.dnsmasq_path(), reason="dnsmasq is missing")
def test_dns_answers_what_it_is_told_and_nothing_while_it_is_frozen(tmp_path):
    dns = failover_parts.Dns(str(tmp_path), [])
    name = failover_parts.DNS_NAME

    def becomes(expected):
        end = time.monotonic() + 5
        while True:
            try:
                if ask_dns(dns.port, name) == expected:
                    return True
            except OSError:
                pass
            if time.monotonic() > end:
                return False
            time.sleep(0.02)

    try:
        assert becomes([])
        dns.answer(["127.0.1.1", "127.0.1.2"])
        assert becomes([1, 2])
        dns.answer(["127.0.1.2"])
        assert becomes([2])
        dns.freeze()
        with pytest.raises(TimeoutError):
            ask_dns(dns.port, name)
        dns.thaw()
        assert becomes([2])
    finally:
        dns.stop()

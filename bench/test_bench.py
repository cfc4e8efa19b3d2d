# SPDX-License-Identifier: Apache-2.0
"""The bench's arithmetic and its load generator: what is wrong here is wrong in every figure.

    /usr/bin/python3 -m pytest -q bench/test_bench.py

The tests of the load generator need build/bench/bench_load (or BENCH_TOOLS=DIR) and leave
themselves out without it.
"""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import guard  # noqa: E402
import harness  # noqa: E402
import peers  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import stats  # noqa: E402
import workloads  # noqa: E402

TOOLS = pathlib.Path(os.environ.get("BENCH_TOOLS", HERE.parent / "build" / "bench"))

# ---------------------------------------------------------------------- statistics


@pytest.mark.parametrize("count, rank", [
    # From tables of the sign test.
    (1, 0), (5, 0), (6, 1), (7, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8),
])
def test_the_rank_of_the_interval_is_that_of_the_sign_test(count, rank):
    assert stats.interval_rank(count) == rank


def test_nine_rounds_give_the_second_smallest_and_the_second_largest():
    estimate = stats.Estimate([9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert (estimate.median, estimate.low, estimate.high) == (5, 2, 8)
    assert stats.coverage(9, 2) == pytest.approx(1 - 20 / 512)


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    draw = random.Random(20240607)
    held = 0
    for _ in range(4000):
        # Skewed, as times on a shared machine are. The median of this distribution is 1.
        estimate = stats.Estimate([draw.lognormvariate(0, 0.5) for _ in range(9)])
        held += estimate.low <= 1 <= estimate.high
    assert held / 4000 == pytest.approx(stats.coverage(9, 2), abs=0.01)


def test_five_rounds_have_no_interval():
    estimate = stats.Estimate([1, 2, 3, 4, 5])
    assert (estimate.median, estimate.low, estimate.high) == (3, None, None)


@pytest.mark.parametrize("ratios, words", [
    ([], stats.NOT_MEASURED),
    ([0.1] * 5, stats.TOO_FEW),
    ([0.6, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.8, 0.9], stats.MET),
    ([0.9, 0.95, 1, 1, 1, 1, 1, 1, 1.4], stats.MET),
    # The median is above the target, but the interval reaches down to it.
    ([0.5, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.2], stats.MET_WITHIN),
    ([0.5, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.2], "**missed** by 10 %"),
])
def test_the_verdict(ratios, words):
    assert stats.verdict(ratios, 1.0) == words


def test_ratios_are_paired_by_round_and_skip_what_failed():
    ours = [{"cpu": 2}, None, {"cpu": 9}, {"cpu": None}, {"cpu": 4}]
    theirs = [{"cpu": 4}, {"cpu": 4}, None, {"cpu": 4}, {"cpu": 2}]
    assert stats.paired_ratios(ours, theirs, "cpu") == [0.5, 2]
    assert stats.paired_ratios(ours, None, "cpu") == []


# ---------------------------------------------------------------------- targets and tables


def cells(values, field="cpu", bad=0):
    return [{field: value, "bad": bad, "rss": 1024} for value in values]


def part_of(letter, results):
    names = list(dict.fromkeys(name for rows in results.values() for name in rows))
    return {"part": letter, "command": "bench/run.py", "facts": ["a machine"], "notes": [],
            "peers": names, "proxies": [n for n in names if n not in report.AIDS],
            "results": results}


def test_a_target_is_judged_in_its_own_layouts_only():
    rows = {"sumcache": cells([6] * 9), "floor": cells([5] * 9), "twemproxy": cells([10] * 9)}
    judged = report.judged_targets(part_of("B", {"get1k-c50": rows}))
    assert [(t["peer"], t["measured"], t["verdict"]) for t in judged] == [
        ("floor", "**1.20** (1.20–1.20)", stats.MET),
        ("twemproxy", "**0.60** (0.60–0.60)", stats.MET)]
    judged = report.judged_targets(part_of("A", {"get1k-c50": rows}))
    assert [t["verdict"] for t in judged] == [stats.NOT_MEASURED]


def test_the_better_peer_is_the_one_with_the_smaller_median():
    rows = {"sumcache": cells([21] * 9, "all"), "haproxy": cells([25] * 8 + [1], "all"),
            "twemproxy": cells([20] * 9, "all")}
    judged = report.judged_targets(part_of("A", {"get1k-c50": rows}))
    assert [(t["peer"], t["verdict"]) for t in judged] == [("twemproxy", stats.MET)]


def test_the_best_other_proxy_is_never_sumcache_itself():
    fields = {"sumcache": 2000, "nogather": 100, "direct3": 50, "mine": 1000, "haproxy": 3000}
    rows = {name: [{"p99": p99, "p99_ratio": 2, "bad": 0, "rss": 0} for _ in range(9)]
            for name, p99 in fields.items()}
    judged = report.judged_targets(part_of("B", {"beside": rows}))
    assert [(t["peer"], t["verdict"]) for t in judged] == [
        ("direct3", stats.MET), ("mine", "**missed** by 100 %")]


def test_requests_that_went_wrong_make_a_target_void():
    rows = {"sumcache": cells([6] * 9, bad=1), "floor": cells([5] * 9)}
    judged = report.judged_targets(part_of("B", {"get1k-c50": rows}))
    assert judged[0]["verdict"].startswith("**void**: 9 ")


def test_every_target_names_a_workload_that_its_layouts_run():
    known = {w.name: w for w in workloads.WORKLOADS}
    for target in workloads.TARGETS:
        workload = known[target.workload]
        assert set(target.layouts) <= set(workload.layouts), target.workload
        assert target.peer not in workload.without, target.workload
        assert target.field in report.FIELD_WORDS


def whole_cell(scale):
    return {"rps": 1000.0, "p50": 100.0 * scale, "p99": 300.0 * scale, "p999": 900.0 * scale,
            "cpu": 5.0 * scale, "nodes_cpu": 4.0, "load_cpu": 3.0, "all": 12.0 * scale,
            "busy": 0.5, "cores": 1.5, "rss": 2048, "foreign": 0.0, "bad": 0, "misses": 0,
            "alone_p50": 90.0, "alone_p99": 200.0, "p99_ratio": 1.5 * scale,
            "large_rate": 40.0, "large_p50": 4000.0, "large_p99": 9000.0, "slow_rate": 7.0}


def whole_parts():
    results = {}
    for workload in workloads.WORKLOADS:
        names = ["direct", "direct3", "floor", "haproxy", "twemproxy", "sumcache", "nogather"]
        results[workload.name] = {
            name: [whole_cell(1 + i) for _ in range(9)] for i, name in enumerate(names)
            if name not in workload.without}
    return {"layout-B": part_of("B", results), "layout-A": part_of("A", results)}


def test_every_row_of_every_table_has_as_many_cells_as_its_head():
    parts = whole_parts()
    pages = [report.layout_page(part) for part in parts.values()]
    pages.append(report.summary(parts, [("cpu-B.svg", "words")]))
    tables = 0
    for page in pages:
        width = None
        for line in page.splitlines():
            if not line.startswith("|"):
                width = None
                continue
            tables += width is None
            width = width or line.count("|")
            assert line.count("|") == width, line
    assert tables > 30


@pytest.mark.skipif(not shutil.which("gnuplot"), reason="gnuplot is missing")
def test_gnuplot_takes_every_plot(tmp_path):
    parts = whole_parts()
    silent = {"silent": {"samples": [[0.1, 3.0], [0.2, 4.5]]}}
    parts["memory"] = {"part": "memory", "results": {"sumcache": silent, "mine": silent}}
    drawn = plots.draw_all(parts, tmp_path)
    assert len(drawn) == 11
    for file, _ in drawn:
        assert "</svg>" in (tmp_path / file).read_text(encoding="utf-8")


# ---------------------------------------------------------------------- the guard


@pytest.mark.parametrize("ratios, words", [
    ([], guard.TOO_FEW),
    ([0.1] * 5, guard.TOO_FEW),
    ([1.0] * 6, guard.NO_WORSE),
    ([0.9, 1.0, 1.01, 1.02, 1.03, 1.04, 1.04, 1.05, 1.9], guard.NO_WORSE),
    # The median is fine, but the interval reaches beyond the limit.
    ([0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.06, 1.06], guard.UNDECIDED),
    ([1.0, 1.06, 1.07, 1.07, 1.07, 1.08, 1.08, 1.09, 1.1], guard.WORSE),
])
def test_the_guards_verdict(ratios, words):
    assert guard.verdict(ratios) == words


def guarded(scale, bad=0):
    part = part_of("S", {workload.name: {
        "sumcache": [{**whole_cell(scale), "bad": bad} for _ in range(9)],
        "old": [whole_cell(1) for _ in range(9)]} for workload in workloads.WORKLOADS})
    part["abreast"] = {workload.name: part["results"][workload.name] for workload in workloads.WORKLOADS
                       if workload.kind != workloads.CLOSED}
    return part


def test_the_guard_sees_what_got_worse():
    assert guard.all_no_worse([guarded(1.04)])
    assert not guard.all_no_worse([guarded(1.04), guarded(1.06)])
    assert not guard.all_no_worse([guarded(1.0, bad=1)])
    assert not guard.all_no_worse([])
    figures = guard.judged(guarded(1.06))
    assert {f["verdict"] for f in figures if f["field"] == "cpu"} == {guard.WORSE}
    assert "0 of " in guard.page(guarded(1.06))


def test_the_guard_judges_latency_only_where_both_ran_at_once():
    part = guarded(1.0)
    part["results"] = {name: {"sumcache": [whole_cell(2.0)] * 9, "old": [whole_cell(1)] * 9}
                       for name in part["results"]}
    figures = guard.judged(part)
    assert {f["verdict"] for f in figures if f["field"] in ("p50", "p99")} == {guard.NO_WORSE}
    assert {f["verdict"] for f in figures if f["field"] in ("cpu", "all")} == {guard.WORSE}


@pytest.mark.parametrize("new,old,bad", [
    ([1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], False),
    ([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], True),
    ([9, 1, 1, 1, 1, 0], [0, 0, 0, 0, 3, 2], False),
    ([0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], False),
])
def test_the_guard_knows_a_stall_of_the_machine_from_lost_answers(new, old, bad):
    def cells(misses, wrong=0):
        return [{"bad": n + wrong, "misses": n} for n in misses]
    assert guard.is_bad(cells(new), cells(old)) == bad
    assert guard.is_bad(cells(new, 1), cells(old))


def test_half_of_a_load():
    half = {workload.name: workload.half() for workload in workloads.WORKLOADS}
    assert half["open15k"].load.rate == 7500 and half["open15k"].load.clients == 50
    assert half["beside"].load.clients == 4 and half["beside"].beside["large"].rate == 20
    assert half["slow"].beside["slow"].clients == 6
    assert {workload.name: workload.load.rate for workload in workloads.WORKLOADS}["open15k"] == 15000


# ---------------------------------------------------------------------- peers


@pytest.mark.parametrize("text, pieces", [
    ("", []),
    ("a=b c", ["a=b c"]),
    ("a=b c; d=e\nf=g;;", ["a=b c", "d=e", "f=g"]),
    ("a=sh -c 'x; y' {dir};d=e", ["a=sh -c 'x; y' {dir}", "d=e"]),
])
def test_PEERS_is_cut_at_semicolons_outside_quotes(text, pieces):
    assert peers.split_peers(text) == pieces


def test_a_peers_command_is_filled_in():
    class Nodes:
        addresses = ["127.0.0.1:1", "127.0.0.1:2"]

    peer = peers.peer_from_text("mine='/a b/mine' -l {listen} -p {port} -n {nodes} {dir}/c {x}")
    argv = peer.make_argv(peers.Where(7, Nodes, "/tmp/home", 1024, 0.1, None))
    assert argv == ["/a b/mine", "-l", "127.0.0.1:7", "-p", "7", "-n", "127.0.0.1:1,127.0.0.1:2",
                    "/tmp/home/c", "{x}"]


@pytest.mark.parametrize("text", ["", "mine", "=x", "a b=c", "mine= "])
def test_a_peer_without_name_or_command_is_refused(text):
    with pytest.raises(harness.BenchError):
        peers.peer_from_text(text)


# ---------------------------------------------------------------------- the load generator


class Server(threading.Thread):
    """Answers GETs on one thread. The value of every key is the same; `pause` seconds before the
    request number `pause_at`."""

    def __init__(self, value, pause=0.0, pause_at=-1):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reply = b"$%d\r\n%s\r\n" % (len(value), value)
        self.pause = pause
        self.pause_at = pause_at
        self.seen = 0
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        pending = b""
        with connection:
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                pending += chunk
                # A GET of the generator has five line ends.
                while pending.count(b"\r\n") >= 5:
                    pending = pending.split(b"\r\n", 5)[5]
                    if self.seen == self.pause_at:
                        time.sleep(self.pause)
                    self.seen += 1
                    try:
                        connection.sendall(self.reply)
                    except OSError:
                        return


def load(*arguments):
    binary = TOOLS / "bench_load"
    if not os.access(binary, os.X_OK):
        pytest.skip("machine: bench_load is not built here")
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, timeout=30,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_open_loop_keeps_its_rate():
    server = Server(b"v" * 64)
    told = load("-a", f"127.0.0.1:{server.port}", "-s", 64, "-c", 1, "-r", 500, "-t", 1)
    assert 490 <= told["requests"] <= 510
    assert harness.bad_of(told) == 0


def test_an_open_loop_charges_a_pause_to_all_that_was_due_in_it():
    server = Server(b"v" * 64, pause=0.5, pause_at=100)
    told = load("-a", f"127.0.0.1:{server.port}", "-s", 64, "-c", 1, "-r", 400, "-t", 1)
    # Half a second of one: 200 of 400 requests waited, evenly from 0.5 s down to nothing.
    assert 390 <= told["requests"] <= 401
    assert 0.45e6 < told["max_us"] < 1.0e6
    assert told["p99_us"] > 0.4e6


def test_a_closed_loop_does_not_see_it():
    server = Server(b"v" * 64, pause=0.4, pause_at=10)
    told = load("-a", f"127.0.0.1:{server.port}", "-s", 64, "-c", 1, "-t", 1)
    assert told["requests"] > 200
    assert told["max_us"] > 0.39e6
    assert told["p99_us"] < 0.2e6


@pytest.mark.parametrize("size, verify, field", [
    (63, False, "wrong"),  # a value of another length
    (64, True, "wrong"),  # the right length, other bytes
])
def test_a_wrong_value_is_seen(size, verify, field):
    server = Server(b"v" * size)
    told = load("-a", f"127.0.0.1:{server.port}", "-s", 64, "-c", 1, "-n", 20, "-t", 5,
                *(["-v"] if verify else []))
    assert told[field] >= 20


def test_a_slow_reader_takes_its_time():
    size = 2_000_000
    server = Server(b"v" * size)
    started = time.monotonic()
    told = load("-a", f"127.0.0.1:{server.port}", "-s", size, "-c", 1, "-n", 1, "-t", 20,
                "-R", 4_000_000)
    assert told["requests"] == 1
    assert 0.4 < time.monotonic() - started < 3


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is missing")
def test_what_is_set_is_read_again_from_the_node_of_its_key(tmp_path):
    nodes = harness.Nodes(shutil.which("redis-server"), sorted(os.sched_getaffinity(0)), tmp_path)
    try:
        address = ",".join(nodes.addresses)
        for size in (100, 1_000_000):
            written = load("-a", address, "-d", "set", "-s", size, "-o", "-k", 30, "-c", 3,
                           "-P", 4, "-t", 20)
            assert (written["requests"], harness.bad_of(written)) == (30, 0)
            for extra in ([], ["-P", 3], ["-r", 200]):
                read = load("-a", address, "-s", size, "-k", 30, "-c", 3, "-t", 0.3, "-v", *extra)
                assert read["requests"] > 20
                assert harness.bad_of(read) == 0
        # Each key is on one node only: one node alone misses the others.
        alone = load("-a", nodes.addresses[0], "-s", 100, "-k", 30, "-n", 100, "-t", 5)
        assert 0 < alone["misses"] < 100
    finally:
        nodes.stop()

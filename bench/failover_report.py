# SPDX-License-Identifier: Apache-2.0
"""What the figures of bench/failover say: when a node was out of the way, targets, tables, plots.

Pure but for write_page(). All figures come from what bench_failover_load prints.
"""

import collections
import math
import os
import statistics
import subprocess

import harness
import plots

DEADLINE_MS = 105.0  # timeouts.request and 5 ms
EJECT_HUNG_MS = 250.0
EJECT_DEAD_MS = 50.0
SETTLED_P99 = 2.0  # times the control phase's
OTHERS_P99 = 1.5
FIRST_ANSWER_MS = 5.0

WAIT_US = 25000  # so long nobody waits on a node that is well, even on a busy machine
WAIT_TIMES_OTHERS = 2  # else it was the machine: everybody waited
FOREIGN_MAX = 0.15  # of the machine, used by other programs
LAG_MAX_MS = 20.0  # that the load itself is late
QUIET_BINS = 10  # so many without a request that waits: the node is out of the way
PHASES = ("control", "fault", "after")
COUNTS = ("asked", "ok", "miss", "error", "late", "unanswered", "stale", "stale_other", "wrong")


class Lengths(collections.namedtuple("Lengths", "control fault after")):
    """Seconds of the phases."""

    def fault_of(self, fault):
        return min(self.fault, fault.seconds) if fault.seconds else self.fault

    def total(self, fault):
        return self.control + self.fault_of(fault) + self.after


# ---------------------------------------------------------------------- arithmetic


def window_of(load, name):
    for window in load["windows"]:
        if window["name"] == name:
            return window
    raise KeyError(name)


def is_waiting(fine, index):
    """Whether in this bin a request for the focus waited, and not everybody did."""
    focus = fine["focus_max_us"][index]
    return focus > WAIT_US and focus > WAIT_TIMES_OTHERS * fine["others_max_us"][index]


def ejection(fine, from_s, to_s):
    """(ms, blips): after how long no request for the focus waited any more, and how many times in a
    row one waited again before to_s. (None, 0): they waited to the end."""
    bin_s = fine["ms"] / 1000
    first = int(from_s / bin_s)
    last = min(int(to_s / bin_s), len(fine["focus_max_us"]))
    waits = [is_waiting(fine, index) for index in range(first, last)]
    for index in range(len(waits) - QUIET_BINS + 1):
        if not any(waits[index:index + QUIET_BINS]):
            rest = waits[index + QUIET_BINS:]
            blips = sum(1 for i, waited in enumerate(rest) if waited and (i == 0 or not rest[i - 1]))
            return max(0.0, ((first + index) * bin_s - from_s) * 1000) if index else 0.0, blips
    return None, 0


def writes_back_ms(fine, from_s, to_s):
    """When the first write to a key of the focus was sent that somebody acknowledged; None: none was.
    What was sent in the first 20 ms may have been on its way before."""
    bin_s = fine["ms"] / 1000
    first = math.ceil((from_s + 0.02) / bin_s)
    for index in range(first, min(int(to_s / bin_s), len(fine["focus_writes"]))):
        if fine["focus_writes"][index] > 0:
            return (index * bin_s - from_s) * 1000
    return None


def seconds_in(load, window, group):
    """The whole seconds of a window. Phases begin and end some hundredths of one beside the clock's."""
    return [second[group] for second in load["seconds"]
            if second["t"] >= window["from"] - 0.2 and second["t"] + 1 <= window["to"] + 0.2 and second[group]["asked"] > 0]


def others_ratio(load):
    """Keys of other nodes: the median second's p99 in the fault over that of the control phase."""
    p99 = {}
    for name in ("control", "fault"):
        seconds = seconds_in(load, window_of(load, name), "others")
        if not seconds:
            return None
        p99[name] = statistics.median(second["p99_us"] for second in seconds)
    return p99["fault"] / p99["control"] if p99["control"] else None


def excess_ms(load, group="all"):
    """The slowest answer in the fault, by the generator's clock, minus the slowest of the control
    phase: what the machine itself adds is not the proxy's."""
    return (window_of(load, "fault")[group]["max_us"] - window_of(load, "control")[group]["max_us"]) / 1000


def probes_in(load, window):
    return [probe for probe in load["probes"] if window["from"] <= probe["t"] < window["to"]]


def first_answer_ms(load):
    """The slowest first answer of an application that starts during the fault; inf: one got none."""
    probes = probes_in(load, window_of(load, "fault"))
    if not probes:
        return None
    return max(probe.get("first_us", math.inf) for probe in probes) / 1000


def bad_values(load, kind):
    """Stale or wrong ones of the whole run, new connections' included."""
    if kind == "wrong":
        return load["all"]["wrong"] + load["probe_wrong"] + load["stray"]
    return load["all"]["stale"] + load["probe_stale"]


Figure = collections.namedtuple("Figure", "name words limit unit kinds of")


def settled_ratio(load):
    settled, control = window_of(load, "settled")["all"], window_of(load, "control")["all"]
    return settled["p99_us"] / control["p99_us"] if control["p99_us"] and settled["asked"] else None


def ejected_ms(load):
    out = window_of(load, "out")
    after, _ = ejection(load["fine"], out["from"], out["to"])
    return math.inf if after is None else after


def blips(load):
    out = window_of(load, "out")
    after, count = ejection(load["fine"], out["from"], out["to"])
    return math.inf if after is None else float(count)


def written_ms(load):
    """Who answers for a node at once does not wait, but has not put another in its place either: this tells."""
    out = window_of(load, "out")
    after = writes_back_ms(load["fine"], out["from"], out["to"])
    return math.inf if after is None else after


NODE_FAULTS = ("hung", "dead", "slow")
TARGETS = [
    Figure("deadline", "slowest answer, less the control phase's", DEADLINE_MS, "ms", ("hung", "dead"), excess_ms),
    Figure("ejected", "no request for its keys waits any more, after", EJECT_HUNG_MS, "ms", ("hung",), ejected_ms),
    Figure("ejected", "no request for its keys waits any more, after", EJECT_DEAD_MS, "ms", ("dead",), ejected_ms),
    Figure("written", "its keys can be written again, after", EJECT_HUNG_MS, "ms", ("hung",), written_ms),
    Figure("written", "its keys can be written again, after", EJECT_DEAD_MS, "ms", ("dead",), written_ms),
    Figure("settled", "p99 from 300 ms on, over the control phase's", SETTLED_P99, "×", ("hung",), settled_ratio),
    Figure("blips", "times its keys waited again while it was out", 0.0, "", ("hung", "dead"), blips),
    Figure("others", "keys of other nodes: median second's p99 over the control phase's", OTHERS_P99, "×", NODE_FAULTS,
           others_ratio),
    Figure("first", "slowest first answer to a new connection while all are down", FIRST_ANSWER_MS, "ms", ("down",),
           first_answer_ms),
    Figure("stale", "stale values", 0.0, "", None, lambda load: float(bad_values(load, "stale"))),
    Figure("wrong", "wrong values", 0.0, "", None, lambda load: float(bad_values(load, "wrong"))),
]


def targets_of(fault):
    return [target for target in TARGETS if target.kinds is None or fault.kind in target.kinds]


def is_quiet(load):
    """Whether the machine had time for this run: else its latencies say nothing, good or bad."""
    return load["foreign"] <= FOREIGN_MAX and load["lag_max_us"] <= LAG_MAX_MS * 1000


def judge(target, loads):
    """(median, worst, runs that met it, runs that count, verdict): counts have to be met in every run, times
    in the median one of those that were not disturbed. None: not measured."""
    counted = loads if target.unit == "" else [load for load in loads if is_quiet(load)]
    values = sorted(value for value in map(target.of, counted or loads) if value is not None)
    if not values:
        return None
    median = statistics.median(values)
    met = sum(value <= target.limit for value in values)
    if not counted:
        return median, values[-1], met, 0, "void: disturbed"
    is_met = met == len(values) if target.unit == "" else median <= target.limit
    return median, values[-1], met, len(values), "met" if is_met else "**missed**"


# ---------------------------------------------------------------------- tables


def number(value, unit=""):
    if value is None:
        return "–"
    if math.isinf(value):
        return "never"
    digits = 2 if unit == "×" else 0 if value >= 100 or value == int(value) else 1
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def per_second(loads, name, field):
    """The median over the runs; below ten with a digit behind the point, so that one does not vanish."""
    values = []
    for load in loads:
        window = window_of(load, name)
        values.append(window["all"][field] / max(window["to"] - window["from"], 0.001))
    value = statistics.median(values)
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def latency_ms(loads, name, field):
    value = statistics.median(window_of(load, name)["all"][field] for load in loads) / 1000
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def lag_ms(loads, name):
    """How late the load itself has sent, at most: the machine's, not the proxy's."""
    value = statistics.median(window_of(load, name)["lag_max_us"] for load in loads) / 1000
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


PHASE_HEAD = ("| proxy | phase | ok /s | miss /s | error /s | late | unanswered | p50 ms | p99 | p99.9 | max | load late | stale | wrong |\n"
              "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")


def phase_row(peer, loads, name):
    def summed(field):
        return sum(window_of(load, name)["all"][field] for load in loads)

    cells = [peer, name, *(per_second(loads, name, field) for field in ("ok", "miss", "error")),
             f"{summed('late'):,}", f"{summed('unanswered'):,}",
             *(latency_ms(loads, name, field) for field in ("p50_us", "p99_us", "p999_us")),
             latency_ms(loads, name, "max_us"), lag_ms(loads, name), f"{summed('stale'):,}", f"{summed('wrong'):,}"]
    return "| " + " | ".join(cells) + " |"


def median_or_none(values):
    """The median; of values some of which are None (it never came), None when that is the middle."""
    ordered = sorted(values, key=lambda value: math.inf if value is None else value)
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def node_words(fault, peer, loads):
    """When the focus's keys stopped waiting, and when they could be written again."""
    found = [(load, window_of(load, "out")) for load in loads if "fine" in load]
    if fault.kind not in ("hung", "dead") or not found:
        return None
    pairs = [ejection(load["fine"], out["from"], out["to"]) for load, out in found]
    after = median_or_none([pair[0] for pair in pairs])
    back = median_or_none([writes_back_ms(load["fine"], out["from"], out["to"]) for load, out in found])
    waits = "its keys' requests wait to the end" if after is None else (
        f"its keys' requests wait for {after:.0f} ms, and {sum(pair[1] for pair in pairs):,} times again")
    writes = "they cannot be written before it is back" if back is None else f"they can be written after {back:.0f} ms"
    return f"- {peer}: {waits}; {writes}"


def probe_words(peer, loads):
    """How a new connection fares: median and worst time to its first answer, per phase."""
    texts = []
    for name in PHASES:
        probes = [probe for load in loads for probe in probes_in(load, window_of(load, name))]
        answered = [probe["first_us"] / 1000 for probe in probes if "first_us" in probe]
        if not answered:
            texts.append(f"{name}: no answer to {len(probes)}")
            continue
        lost = sum(probe["result"] != "ready" for probe in probes)
        texts.append(f"{name}: {statistics.median(answered):.2f} ms, at most {max(answered):.1f}"
                     + (f", {lost} of {len(probes)} did not come to the end" if lost else ""))
    return f"- {peer}: first answer to a new connection, " + "; ".join(texts)


def trouble_words(peer, loads):
    """Errors by kind, what was stale only to another proxy, proxies that died."""
    kinds = collections.Counter()
    for load in loads:
        kinds.update(load["errors"])
    words = [f"{count:,} × `{text}`" for text, count in kinds.most_common(4)]
    lost = sum(load["lost_connections"] for load in loads)
    other = sum(load["all"]["stale_other"] for load in loads)
    if lost:
        words.append(f"{lost:,} connections lost")
    if other:
        words.append(f"{other:,} values older than what was written through the other proxy")
    died = sum(len(load["died"]) for load in loads)
    if died:
        words.append(f"**ended by itself {died} times**")
    return f"- {peer}: " + "; ".join(words) if words else None


def doubts(parts_done):
    """Which runs are left out of the judgement of times, and why."""
    lines = []
    for fault, results in parts_done:
        for peer, loads in results.items():
            disturbed = sum(not is_quiet(load) for load in loads)
            if disturbed:
                foreign = max(load["foreign"] for load in loads)
                lag = max(load["lag_max_us"] for load in loads) / 1000
                lines.append(f"{fault.name}, {peer}: {disturbed} of {len(loads)} runs were disturbed and do not count for times: other "
                             f"programs used up to {100 * foreign:.0f} % of the machine, the load was up to {lag:.0f} ms late")
    return lines


def fault_text(fault, results):
    """The tables of one fault, for all proxies."""
    lines = [f"### {fault.name}: {fault.words}", "", PHASE_HEAD]
    for peer, loads in results.items():
        lines += [phase_row(peer, loads, name) for name in PHASES]
    lines.append("")
    for peer, loads in results.items():
        lines += [line for line in (node_words(fault, peer, loads), probe_words(peer, loads), trouble_words(peer, loads)) if line]
    return "\n".join(lines)


def target_rows(fault, results):
    rows = []
    for target in targets_of(fault):
        for peer, loads in results.items():
            judged = judge(target, loads)
            if judged is None:
                continue
            median, worst, met, counted, verdict = judged
            rows.append(f"| {fault.name} | {target.words} | ≤ {number(target.limit, target.unit)} | {peer} | {number(median, target.unit)} "
                        f"| {number(worst, target.unit)} | {f'{met} of {counted}' if counted else '–'} | {verdict} |")
    return rows


def targets_text(parts_done):
    rows = [row for fault, results in parts_done if fault.has_targets for row in target_rows(fault, results)]
    head = ("| fault | figure | target | proxy | median | worst | runs | |\n|---|---|---:|---|---:|---:|---:|---|")
    return "\n".join([head, *rows])


def short_words(fault, load):
    """One run in one line, while it goes on."""
    window = window_of(load, "fault")["all"]
    words = [f"ok {window['ok']:,}", f"miss {window['miss']:,}", f"error {window['error']:,}",
             f"p99 {window['p99_us'] / 1000:.1f} ms", f"max {window['max_us'] / 1000:.0f} ms",
             f"stale {bad_values(load, 'stale')}", f"wrong {bad_values(load, 'wrong')}"]
    if fault.kind in ("hung", "dead"):
        words.append(f"waits {number(ejected_ms(load), 'ms')}")
    if load["died"]:
        words.append(f"{', '.join(load['died'])} ENDED BY ITSELF")
    return ", ".join(words)


def load_words(options, workers):
    return (f"{options.rate:,.0f} requests a second by the clock, 5 % SET and 0.5 % DEL, over {options.connections} connections "
            f"({'shared by all keys' if options.shared else 'keys of the broken node have theirs'}) and "
            f"{options.keys:,} keys of 100 to 1,000 B; 4 nodes; sumcache with {workers} workers. Phases: control {options.lengths.control:g} s, "
            f"fault {options.lengths.fault:g} s, after {options.lengths.after:g} s; {options.runs} runs, medians unless told otherwise.")


# ---------------------------------------------------------------------- plots


def series_of(loads, read):
    """One value per second: the median over the runs."""
    length = min(len(load["seconds"]) for load in loads)
    # The last second is rarely a whole one.
    return [(second, statistics.median(read(load["seconds"][second]["all"]) for load in loads)) for second in range(length - 1)]


PANELS = [
    ("requests per second", "set nologscale y", "0:*", [
        ("ok", "#009e73", lambda s: s["ok"]),
        ("miss", "#56b4e9", lambda s: s["miss"]),
        ("error", "#d55e00", lambda s: s["error"] + s["late"] + s["unanswered"])]),
    ("latency, ms", "set logscale y", "*:*", [
        ("p50", "#9ecae1", lambda s: max(s["p50_us"], 1) / 1000),
        ("p99", "#4292c6", lambda s: max(s["p99_us"], 1) / 1000),
        ("p99.9", "#08306b", lambda s: max(s["p999_us"], 1) / 1000)]),
    ("values per second", "set nologscale y", "0:10<*", [
        ("stale", "#cc79a7", lambda s: s["stale"]),
        ("wrong", "#000000", lambda s: s["wrong"])]),
]


def fault_plot(fault, results, file):
    """Three panels one above the other, a column per proxy."""
    count = len(results)
    lines = plots.head(file, 460 * count, 900, "")
    lines += [f"set multiplot layout {len(PANELS)},{count} title {plots.quoted(f'{fault.name}: {fault.words}')}",
              "set key below", "set xlabel 'seconds'"]
    for panel, (axis, scale, span, curves) in enumerate(PANELS):
        for column, (peer, loads) in enumerate(results.items()):
            window = window_of(loads[0], "fault")
            lines += [scale, f"set ylabel {plots.quoted(axis)}", f"set title {plots.quoted(peer)}", "unset arrow",
                      f"set yrange [{span}]"]
            lines += [f"set arrow from {window[edge]}, graph 0 to {window[edge]}, graph 1 nohead dt 2 lc rgb '#999999'" for edge in ("from", "to")]
            drawn = []
            for index, (name, colour, read) in enumerate(curves):
                block = f"d{panel}_{column}_{index}"
                lines += plots.block(block, series_of(loads, read))
                drawn.append(f"${block} using ($1+0.5):2 with lines lw 2 lc rgb '{colour}' title {plots.quoted(name)}")
            lines.append("plot " + ", ".join(drawn))
    return [*lines, "unset multiplot"]


def draw(parts_done, directory):
    """Returns {fault name: file} of the plots that are there."""
    gnuplot = harness.find_program("gnuplot")
    drawn = {}
    for fault, results in parts_done if gnuplot else []:
        file = f"failover-{fault.name}.svg"
        script = fault_plot(fault, results, file)
        done = subprocess.run([gnuplot], input="\n".join(script).encode() + b"\n", cwd=directory, capture_output=True, timeout=60,
                              check=False)
        if done.returncode != 0:
            raise harness.BenchError(f"gnuplot, {file}: {done.stderr.decode().strip()[-300:]}")
        drawn[fault.name] = file
    return drawn


# ---------------------------------------------------------------------- the page

NOTE = """A latency runs from the moment at which the request was due by the clock. *Slowest answer*: by the generator's clock,
less the slowest of the same run's control phase, which is what this machine adds. *Waits*: a request for a key of the
broken node that took more than 25 ms, and twice as long as any for other nodes' keys in the same 10 ms; the node is out
of the way when there was none for 100 ms. *Load late*: how late the generator itself sent, at most; its latencies hold
that too. Times are met by the median run, counts by every run; a run in which other programs used more than 15 % of the
machine, or the load was more than 20 ms late, does not count for times. Stale: the read started after a newer write or
delete of its key was acknowledged through the same proxy."""


def page_text(facts, parts_done, notes, drawn):
    lines = ["# Failover", "", f"Written by `{harness.shown_command()}`; [README.md](../README.md) says how it is measured.", ""]
    lines += [f"- {fact}" for fact in [*facts, *notes]]
    lines += ["", NOTE, "", "## Targets", "", targets_text(parts_done), "", "## Phases"]
    for fault, results in parts_done:
        lines += ["", fault_text(fault, results)]
        if fault.name in drawn:
            lines += ["", f"![{fault.words}]({drawn[fault.name]})"]
    return "\n".join(lines) + "\n"


def write_page(options, facts, parts_done, notes):
    drawn = draw(parts_done, options.out)
    return harness.write_file(os.path.join(options.out, "failover.md"), page_text(facts, parts_done, notes, drawn))

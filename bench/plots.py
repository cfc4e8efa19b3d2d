# SPDX-License-Identifier: Apache-2.0
"""Plots of what was measured, as SVG by gnuplot. Without gnuplot there are none."""

import os
import subprocess
import sys

import harness
from peers import SUBJECT
from report import judged_targets, ratio_columns, short_of
from stats import Estimate, median_of, paired_ratios
from workloads import MIXED, WORKLOADS

# Distinct for the colour-blind too. A peer has the same one in every plot.
PEER_COLOURS = {SUBJECT: "#000000", "floor": "#0072b2", "haproxy": "#d55e00",
                "twemproxy": "#009e73", "nogather": "#cc79a7"}
COLOURS = ["#56b4e9", "#e69f00", "#999999"]

BAR_COLOURS = ["#9ecae1", "#4292c6", "#08306b"]


def colour_of(peer, peers):
    """`peers` are all of the plot, so that further ones get different colours."""
    others = [name for name in peers if name not in PEER_COLOURS]
    return PEER_COLOURS.get(peer) or COLOURS[others.index(peer) % len(COLOURS)]


def quoted(text):
    """A gnuplot string. Of what gnuplot would take for markup nothing is left."""
    return '"' + text.replace("\\", "/").replace('"', "'") + '"'


def block(name, rows):
    """Inline data under a name."""
    return [f"${name} << EOD", *[" ".join(str(word) for word in row) for row in rows], "EOD"]


def head(file, width, height, title):
    return [f'set terminal svg size {width},{height} noenhanced font "sans-serif,12" '
            'background "#ffffff"', f"set output {quoted(file)}", f"set title {quoted(title)}",
            "set border lc rgb '#666666'", "set grid lc rgb '#dddddd' lt 1"]


# ---------------------------------------------------------------------- ratios


def ratio_rows(part, field):
    """(peer, [(line, median, low, high)]) per peer, and the labels of the lines from below."""
    names = [w.name for w in reversed(WORKLOADS)
             if w.name in part["results"] and w.kind not in MIXED]
    columns = [peer for kind, peer in ratio_columns(part) if kind == field]
    series = []
    for index, peer in enumerate(columns):
        rows = []
        for line, name in enumerate(names):
            cells = part["results"][name]
            ratios = paired_ratios(cells.get(SUBJECT), cells.get(peer), field)
            if ratios:
                estimate = Estimate(ratios)
                low = estimate.low or min(ratios)
                high = estimate.high or max(ratios)
                # Peers of one workload stand one above the other, not on top of each other.
                at = line + 0.5 - (index + 1) / (len(columns) + 1)
                rows.append((round(at, 3), estimate.median, low, high))
        if rows:
            series.append((peer, rows))
    return series, names


def ratio_plot(part, field, words, file):
    series, names = ratio_rows(part, field)
    if not series:
        return None
    lines = head(file, 900, 110 + 58 * len(names),
                 f"sumcache over its peers: {words}, layout {part['part']}")
    lines += ["set logscale x 2", "set xrange [0.14:4]",
              "set xlabel 'ratio of CPU time: left of 1 sumcache is cheaper; median and interval'",
              f"set yrange [-0.6:{len(names) - 0.4}]",
              "set xtics (0.18, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4)", "set key below",
              "set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb '#000000' lw 1.5",
              "set ytics (" + ", ".join(f"{quoted(short_of(name))} {i}"
                                        for i, name in enumerate(names)) + ")"]
    plots = []
    aims = {}
    for index, (peer, rows) in enumerate(series):
        lines += block(f"peer{index}", [(m, at, low, high) for at, m, low, high in rows])
        colour = colour_of(peer, [name for name, _ in series])
        plots.append(f"$peer{index} using 1:2:3:4 with xerrorbars lc rgb '{colour}' lw 2 pt 7 "
                     f"ps 0.7 title {quoted(peer)}")
        for target in judged_targets(part):
            if target["field"] == field and target["peer"] == peer:
                line = names.index(target["workload"])
                at = [row[0] for row in rows if abs(row[0] - line) < 0.5]
                if at:
                    aims.setdefault(colour, []).append((target["number"], at[0]))
    for index, (colour, rows) in enumerate(aims.items()):
        lines += block(f"aim{index}", rows)
        title = 'title "target (at most)"' if index == 0 else "notitle"
        plots.append(f"$aim{index} using 1:2 with points pt 10 ps 1.1 lw 1.5 "
                     f"lc rgb '{colour}' {title}")
    return [*lines, "plot " + ", ".join(plots)]


# ---------------------------------------------------------------------- latencies


def bar_plot(file, title, axis, groups, series):
    """Bars side by side: `groups` are names, `series` are (words, [value or None per group])."""
    lines = head(file, 760, 380, title)
    rows = [(quoted(group), *["?" if values[i] is None else round(values[i], 4)
                              for _, values in series]) for i, group in enumerate(groups)]
    lines += block("data", rows)
    lines += ['set datafile missing "?"', "set style data histogram",
              "set style histogram clustered gap 1", "set style fill solid 0.9 border -1",
              "set boxwidth 0.9", "set logscale y", f"set ylabel {quoted(axis)}", "set key below",
              "set grid noxtics"]
    plots = [f"$data using {i + 2}" + (":xtic(1)" if i == 0 else "")
             + f" lc rgb '{BAR_COLOURS[i]}' title {quoted(words)}"
             for i, (words, _) in enumerate(series)]
    return [*lines, "plot " + ", ".join(plots)]


def latency_plot(part, name, fields, file):
    rows = part["results"].get(name)
    groups = [peer for peer, cells in (rows or {}).items() if any(cells)]
    if not groups:
        return None
    series = []
    for field, words in fields:
        values = [median_of(rows[peer], field) for peer in groups]
        series.append((words, [None if value is None else value / 1000 for value in values]))
    return bar_plot(file, f"{short_of(name)}; layout {part['part']}", "ms", groups, series)


# ---------------------------------------------------------------------- memory


def memory_plot(part, file):
    lines = head(file, 760, 380, "20 clients ask for 25 × 5 MB each and read nothing")
    lines += ["set xlabel 'seconds'", "set ylabel 'RSS of the proxy, MB'", "set logscale y",
              "set key outside right"]
    plots = []
    for index, (peer, result) in enumerate(part["results"].items()):
        if not result["silent"]:
            continue
        lines += block(f"peer{index}", result["silent"]["samples"])
        plots.append(f"$peer{index} using 1:2 with lines lw 2 "
                     f"lc rgb '{colour_of(peer, part['results'])}' title {quoted(peer)}")
    return [*lines, "plot " + ", ".join(plots)] if plots else None


# ---------------------------------------------------------------------- all of them

OPEN_FIELDS = [("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")]
BESIDE_FIELDS = [("alone_p99", "p99 alone"), ("p99", "p99 beside"), ("p999", "p99.9 beside")]


def all_scripts(parts):
    """(file, words, script) of every plot that the parts have figures for."""
    wanted = []
    for part in parts.values():
        if "proxies" in part:
            letter = part["part"]
            for field, words in (("cpu", "CPU of the proxy"), ("all", "CPU of all processes")):
                file = f"{field}-{letter}.svg"
                wanted.append((file, f"{words} per request, layout {letter}",
                               ratio_plot(part, field, f"{words} per request", file)))
            for name, fields in (("open15k", OPEN_FIELDS), ("beside", BESIDE_FIELDS),
                                 ("slow", OPEN_FIELDS)):
                file = f"{name}-{letter}.svg"
                wanted.append((file, f"latency of {name}, layout {letter}",
                               latency_plot(part, name, fields, file)))
    if "memory" in parts:
        wanted.append(("silent.svg", "memory with clients that never read",
                       memory_plot(parts["memory"], "silent.svg")))
    return [(file, words, script) for file, words, script in wanted if script]


def draw_all(parts, directory):
    """Draws what can be drawn. Returns (file, words) of the plots that are there."""
    gnuplot = harness.find_program("gnuplot")
    if not gnuplot:
        print("bench: gnuplot is missing: no plots", file=sys.stderr)
        return []
    drawn = []
    for file, words, script in all_scripts(parts):
        done = subprocess.run([gnuplot], input="\n".join(script).encode() + b"\n", cwd=directory,
                              capture_output=True, timeout=60, check=False)
        if done.returncode != 0 or not os.path.exists(os.path.join(directory, file)):
            raise harness.BenchError(f"gnuplot, {file}: {done.stderr.decode().strip()[-300:]}")
        drawn.append((file, words))
    return drawn

# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown from what run.py measured. Pure: figures in, text out."""

from peers import SUBJECT
from stats import Estimate, median_of, paired_ratios, verdict
from workloads import (BESIDE, BEST_OF_ALL, BEST_OF_DEBIAN, DEBIAN_PEERS, FIELD_WORDS, MIXED, SLOW,
                       TARGETS, WORKLOADS)

# Not peers to be judged by: what is measured to understand the others.
AIDS = ("direct", "direct3", "floor")


def show(value, digits, scale=1.0, unit=""):
    return "–" if value is None else f"{value * scale:,.{digits}f}{unit}"


def show_ratios(ratios):
    return str(Estimate(ratios)) if ratios else "–"


def title_of(name):
    return next(w.title for w in WORKLOADS if w.name == name)


def short_of(name):
    return next(w.short for w in WORKLOADS if w.name == name)


def table(head, rows, texts=()):
    """A table whose first column is text, as are those in `texts`; the others are figures."""
    rule = "".join("---|" if i in (0, *texts) else "--:|" for i in range(len(head)))
    return ["| " + " | ".join(head) + " |", f"|{rule}",
            *["| " + " | ".join(row) + " |" for row in rows], ""]


# ---------------------------------------------------------------------- targets


def best_peer(rows, field, names):
    """The peer with the smallest median. Chosen by the median and not anew in each round: the
    best of several noisy values is better than any of them is."""
    medians = {name: median_of(rows.get(name), field) for name in names}
    medians = {name: value for name, value in medians.items() if value is not None}
    return min(medians, key=medians.get) if medians else None


def peer_of(target, part, rows):
    """The name of the peer that a target means, or None when nobody of that kind was measured."""
    if target.peer == BEST_OF_DEBIAN:
        return best_peer(rows, target.field, DEBIAN_PEERS)
    if target.peer == BEST_OF_ALL:
        return best_peer(rows, target.field,
                         [n for n in part["proxies"] if n not in (SUBJECT, "nogather")])
    return target.peer


def judged_targets(part):
    """One dict per target of this layout whose workload was run: what, limit, measured, verdict,
    and for the plots workload, field, peer and number."""
    judged = []
    for target in TARGETS:
        rows = part["results"].get(target.workload)
        if part["part"] not in target.layouts or rows is None:
            continue
        peer = peer_of(target, part, rows)
        ratios = paired_ratios(rows.get(SUBJECT), rows.get(peer), target.field)
        bad = sum(cell["bad"] for cell in rows.get(SUBJECT) or [] if cell)
        words = verdict(ratios, target.limit)
        if bad > 0:
            words = f"**void**: {bad:,} requests went wrong"
        name = target.peer if target.peer == peer or peer is None else f"{target.peer}: {peer}"
        judged.append({"what": f"{short_of(target.workload)}: {FIELD_WORDS[target.field]}",
                       "limit": f"≤ {target.limit:g} × {name}", "number": target.limit,
                       "measured": show_ratios(ratios), "verdict": words,
                       "workload": target.workload, "field": target.field, "peer": peer})
    return judged


def target_table(judged):
    if not judged:
        return []
    return ["## Targets", "",
            "Median of the rounds' paired ratios, and its interval of at least 95 %.", "",
            *table(["", "target", "measured", ""],
                   [[t["what"], t["limit"], t["measured"], t["verdict"]] for t in judged],
                   texts=(1, 3))]


# ---------------------------------------------------------------------- ratios


def ratio_columns(part):
    """(field, peer) of the columns that compare. `all` has none for the floor, which has no nodes
    behind it."""
    others = [n for n in part["peers"] if n not in (SUBJECT, "direct", "direct3")]
    return ([("cpu", name) for name in others]
            + [("all", name) for name in others if name != "floor"])


def ratio_table(part):
    columns = ratio_columns(part)
    rows = []
    for workload in WORKLOADS:
        cells = part["results"].get(workload.name)
        if cells is None or workload.kind in MIXED:
            continue
        rows.append([workload.title, *[
            show_ratios(paired_ratios(cells.get(SUBJECT), cells.get(peer), field))
            for field, peer in columns]])
    if not rows:
        return []
    used = [i for i in range(len(columns)) if any(row[i + 1] != "–" for row in rows)]
    words = {"cpu": "CPU", "all": "all"}
    return ["## sumcache over its peers", "",
            "Below 1 is cheaper. Median of the rounds' paired ratios, and its interval of at "
            "least 95 %.", "",
            *table(["", *[f"{words[columns[i][0]]} / {columns[i][1]}" for i in used]],
                   [[row[0], *[row[i + 1] for i in used]] for row in rows])]


# ---------------------------------------------------------------------- figures


def rss_of(cells):
    peak = max((c["rss"] or 0 for c in cells if c), default=0)
    return show(peak or None, 1, 1 / 1024)


def plain_row(cells):
    return [show(median_of(cells, "rps"), 0), show(median_of(cells, "p50"), 0),
            show(median_of(cells, "p99"), 0), show(median_of(cells, "p999"), 0),
            show(median_of(cells, "cpu"), 2), show(median_of(cells, "nodes_cpu"), 2),
            show(median_of(cells, "load_cpu"), 2), show(median_of(cells, "all"), 2),
            show(median_of(cells, "busy"), 0, 100, " %"), rss_of(cells),
            show(median_of(cells, "foreign"), 0, 100, " %"),
            f"{sum(c['bad'] for c in cells if c):,}"]


PLAIN_HEAD = ["", "rps", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs", "nodes µs", "load µs",
              "**all µs**", "busy", "RSS peak MB", "foreign", "bad"]


def ms(cells, field):
    return show(median_of(cells, field), 2, 1 / 1000)


def mixed_row(workload, cells):
    row = [show(median_of(cells, "rps"), 0)]
    if workload.kind == BESIDE:
        row += [ms(cells, "alone_p50"), ms(cells, "alone_p99")]
    row += [ms(cells, "p50"), ms(cells, "p99"), ms(cells, "p999")]
    if workload.kind == BESIDE:
        row.append(show_ratios([c["p99_ratio"] for c in cells if c]))
    row += [show(median_of(cells, "large_rate"), 0), ms(cells, "large_p50"),
            ms(cells, "large_p99")]
    if workload.kind == SLOW:
        row.append(show(median_of(cells, "slow_rate"), 1))
    row += [show(median_of(cells, "busy"), 0, 100, " %"), show(median_of(cells, "cores"), 2),
            rss_of(cells), show(median_of(cells, "foreign"), 0, 100, " %"),
            f"{sum(c['bad'] for c in cells if c):,}"]
    return row


def mixed_head(workload):
    head = ["", "rps"]
    if workload.kind == BESIDE:
        head += ["alone: p50 ms", "p99 ms"]
    head += ["beside: p50 ms", "p99 ms", "p99.9 ms"]
    if workload.kind == BESIDE:
        head.append("p99 beside / alone")
    head += ["large: per s", "p50 ms", "p99 ms"]
    if workload.kind == SLOW:
        head.append("slow: per s")
    return [*head, "proxy busy", "cores, all", "RSS peak MB", "foreign", "bad"]


def workload_table(workload, rows):
    mixed = workload.kind in MIXED
    head = mixed_head(workload) if mixed else PLAIN_HEAD
    lines = []
    for name, cells in rows.items():
        if any(cells):
            lines.append([name, *(mixed_row(workload, cells) if mixed else plain_row(cells))])
        else:
            lines.append([name, *["–"] * (len(head) - 1)])
    return [f"### {workload.title}", "", *table(head, lines)]


EXPLAINED = (
    "CPU, nodes, load, all: µs of CPU per request of the proxy, of the three nodes, of the load "
    "generator, of all together. busy: the proxy's share of one core. foreign: the share of the "
    "machine that other programs used. bad: errors, misses, wrong replies, lost connections and "
    "what was never answered. Explained in README.md of this directory's parent.")


def layout_page(part):
    lines = [f"# Bench, layout {part['part']}", "", f"`{part['command']}`", "",
             *[f"* {fact}" for fact in part["facts"]], f"* {EXPLAINED}",
             *[f"* Note: {note}." for note in part["notes"]], ""]
    if SUBJECT in part["peers"]:
        lines += target_table(judged_targets(part)) + ratio_table(part)
    lines += ["## Figures", ""]
    for workload in WORKLOADS:
        if workload.name in part["results"]:
            lines += workload_table(workload, part["results"][workload.name])
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------------- the summary

LAYOUT_WORDS = {
    "B": "B: the proxy has a core of its own",
    "S": "S: the proxy shares a core with the nodes, the load has the other",
    "A": "A: everything shares all cores",
}


def target_lines(parts):
    """All targets of all parts in one table, each part under its own name."""
    rows = []
    for name, part in parts.items():
        judged = part["targets"] if "targets" in part else judged_targets(part)
        for target in judged:
            rows.append([part["part"], target["what"], target["limit"], target["measured"],
                         target["verdict"]])
    return table(["", "", "target", "measured", ""], rows, texts=(1, 2, 4)) if rows else []


def cost_lines(part):
    """CPU per request as ratios to the usual peers, one line per workload."""
    rows = []
    columns = [("cpu", "floor"), ("cpu", "twemproxy"), ("cpu", "haproxy"), ("all", "twemproxy"),
               ("all", "haproxy")]
    for workload in WORKLOADS:
        cells = part["results"].get(workload.name)
        if cells is None or workload.kind in MIXED:
            continue
        row = [show_ratios(paired_ratios(cells.get(SUBJECT), cells.get(peer), field))
               for field, peer in columns]
        rows.append([workload.title, *row])
    if not rows:
        return []
    return [f"Layout {LAYOUT_WORDS[part['part']]}.", "",
            *table(["sumcache over", "CPU / floor", "CPU / twemproxy", "CPU / HAProxy",
                    "all / twemproxy", "all / HAProxy"], rows)]


def latency_lines(part):
    lines = []
    for name, head, fields in (
            ("open15k", ["p50 ms", "p99 ms", "p99.9 ms"], ["p50", "p99", "p999"]),
            ("beside", ["p99 ms alone", "p99 ms beside", "p99.9 ms beside"],
             ["alone_p99", "p99", "p999"]),
            ("slow", ["p50 ms", "p99 ms", "p99.9 ms"], ["p50", "p99", "p999"])):
        cells = part["results"].get(name)
        if cells is None:
            continue
        rows = [[peer, *[ms(rounds, field) for field in fields], rss_of(rounds),
                 f"{sum(c['bad'] for c in rounds if c):,}"]
                for peer, rounds in cells.items() if any(rounds)]
        lines += [f"{title_of(name)}; layout {part['part']}.", "",
                  *table(["", *head, "RSS peak MB", "bad"], rows)]
    return lines


def summary(parts, plots):
    """What the README may show: targets, ratios, latencies, memory. `plots` are (file, words)."""
    layouts = [part for name, part in parts.items() if name.startswith("layout-")]
    lines = ["# Summary", ""]
    for part in parts.values():
        lines.append(f"* {part['part']}: `{part['command']}`, {part['facts'][0]}")
    lines += ["", "## Targets", "",
              "A ratio is met when its interval of at least 95 % includes the target or lies "
              "below it.", "", *target_lines(parts), "## CPU per request", "",
              "Ratios of CPU time within one run, below 1 is cheaper; in brackets the interval of "
              "at least 95 %. *all* is the proxy, the nodes and the load generator together.", ""]
    for part in layouts:
        lines += cost_lines(part)
    lines += ["## Latency", ""]
    for part in layouts:
        lines += latency_lines(part)
    for name in ("memory", "idle"):
        if name in parts:
            lines += [f"## {parts[name]['title']}", "", *parts[name]["tables"]]
    if plots:
        lines += ["## Plots", "", *[f"![{words}]({file})" for file, words in plots]]
    return "\n".join(lines).rstrip() + "\n"

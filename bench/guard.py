# SPDX-License-Identifier: Apache-2.0
"""Has a change made something worse? Two binaries of sumcache, measured in turns, figure by figure.

A figure is no worse when the upper end of the interval of its paired ratios (stats.py), new over old, is at
most LIMIT. It is worse when the whole interval lies above LIMIT. Between them more rounds are needed. Pure:
figures in, text out.
"""

import itertools
import math

from peers import AGAINST, SUBJECT
from report import short_of, table
from stats import Estimate, paired_ratios
from workloads import FIELD_WORDS, MIXED, WORKLOADS

LIMIT = 1.05

NO_WORSE = "no worse"
UNDECIDED = "undecided: more rounds"
TOO_FEW = "too few rounds to say"
WORSE = "**worse**"
BAD = "**bad requests**"

# What is read off a workload: where the load is as large as can be, latency is only its reverse, and
# where several loads run, CPU belongs to no request.
CPU_FIELDS = ("cpu", "all")
LATENCY_FIELDS = ("p50", "p99")


TURNS = "results"
ABREAST = "abreast"


def fields_of(workload, part_key):
    """What is judged of the rounds in turns, and of those in which both binaries ran at once."""
    if part_key == ABREAST:
        return LATENCY_FIELDS
    return () if workload.kind in MIXED else CPU_FIELDS


def verdict(ratios, limit=LIMIT):
    if not ratios or Estimate(ratios).high is None:
        return TOO_FEW
    estimate = Estimate(ratios)
    if estimate.high <= limit:
        return NO_WORSE
    return WORSE if estimate.low > limit else UNDECIDED


def is_bad(new, old):
    """Whether the new one did worse than be slow. What is wrong or lost counts one by one. A miss is a
    deadline that passed, and a machine that stands still for a moment makes some with either: they count
    when too many rounds have more of them with the new one than with the old (a sign test, 95 %)."""
    if wrong_of(new) > wrong_of(old):
        return True
    pairs = [(n["misses"], o["misses"]) for n, o in zip(new, old) if n and o]
    more, fewer = sum(n > o for n, o in pairs), sum(n < o for n, o in pairs)
    chance = sum(math.comb(more + fewer, i) for i in range(more, more + fewer + 1)) / 2 ** (more + fewer)
    return more > fewer and chance < 0.05


def wrong_of(cells):
    return sum(cell["bad"] - cell["misses"] for cell in cells if cell)


def judged(part):
    """One dict per figure of a layout: workload, field, ratios, verdict."""
    found = []
    for workload, key in itertools.product(WORKLOADS, (TURNS, ABREAST)):
        rows = part[key].get(workload.name)
        if rows is None:
            continue
        new, old = rows.get(SUBJECT, []), rows.get(AGAINST, [])
        for field in fields_of(workload, key):
            ratios = paired_ratios(new, old, field)
            words = verdict(ratios)
            if is_bad(new, old):
                words = BAD
            found.append({"workload": workload.name, "field": field, "ratios": ratios,
                          "verdict": words})
    return found


def page(part):
    figures = judged(part)
    rows = [[short_of(f["workload"]), FIELD_WORDS[f["field"]],
             str(Estimate(f["ratios"])) if f["ratios"] else "–", f["verdict"]] for f in figures]
    count = sum(f["verdict"] == NO_WORSE for f in figures)
    lines = [f"# New over old, layout {part['part']}", "", f"`{part['command']}`", "",
             *[f"* {fact}" for fact in part["facts"]],
             *[f"* Note: {note}." for note in part["notes"]],
             f"* Ratios are paired by round; in brackets what holds the true median with at least "
             f"95 %. No worse: its upper end is at most {LIMIT:.2f}.", "",
             *table(["workload", "figure", "new / old", "verdict"], rows, texts=(1, 3)),
             f"{count} of {len(figures)} figures are no worse."]
    return "\n".join(lines) + "\n"


def all_no_worse(parts):
    figures = [f for part in parts for f in judged(part)]
    return bool(figures) and all(f["verdict"] == NO_WORSE for f in figures)

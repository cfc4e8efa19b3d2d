#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/commands.md: what becomes of each command, by src/resp/command_table.h and its neighbours.

  tools/gen_command_docs.py             writes the document
  tools/gen_command_docs.py --check     only says whether it is up to date (status 1: no)

A way, a place of keys or a gate that is new in the tables needs a line here; the tool says so.
"""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import check_command_table as tables  # noqa: E402

DOCUMENT = ROOT / "docs/commands.md"
GATES = ROOT / "src/resp/command_gate_table.h"
SOURCE = ROOT / "src/resp/command.c"

WORKS, ONE_NODE, FANS_OUT, REFUSED = "works", "works on one node", "fans out", "refused"
OUTCOMES = (WORKS, ONE_NODE, FANS_OUT, REFUSED)

WAYS = {"FORWARD": None, "SPLIT": FANS_OUT, "LOCAL": WORKS, "SESSION": WORKS, "PUBSUB": FANS_OUT, "ALL_NODES": FANS_OUT, "TAGS": FANS_OUT,
        "REFUSE": REFUSED}
GATE_REMARKS = {"ALLOW": "needs `commands.allow`", "NEVER": "cannot be allowed"}

# Groups of Redis's manual, those first that a cache uses most.
GROUPS = {
    "string": "Strings", "hash": "Hashes", "generic": "Keys of any type", "list": "Lists", "set": "Sets",
    "sorted-set": "Sorted sets", "bitmap": "Bitmaps", "hyperloglog": "HyperLogLog", "geo": "Geo", "stream": "Streams",
    "scripting": "Scripts and functions", "transactions": "Transactions", "pubsub": "Publish and subscribe",
    "connection": "Connections", "server": "Server", "cluster": "Redis Cluster", "": "Of sumcache's own, and of others",
}

# What the tables cannot say: forms of a command that fare otherwise than the rest of it.
REMARKS = {
    "SORT": "BY and GET: by patterns with a hash tag before their `*`, or without a `*`",
    "SORT_RO": "BY and GET: by patterns with a hash tag before their `*`, or without a `*`",
    "XREAD": "BLOCK: as BLPOP",
    "XREADGROUP": "BLOCK: as BLPOP",
    "MIGRATE": "takes the time of a request, so `timeouts.request` bounds it",
    "SELECT": "as many databases as the setting `databases` says",
    **dict.fromkeys(("COPY", "MOVE"), "between databases: as `SELECT`"),
    **dict.fromkeys(("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"), "without keys: always the same"),
}

HEAD = """# Commands

Written by [tools/gen_command_docs.py](../tools/gen_command_docs.py) from the command table
([src/resp/command_table.h](../src/resp/command_table.h)). The names are those of Redis 7.0 to 7.4; where Redis 8 or
Valkey have something for caches that 7.0 does not, the version stands behind it, and a node has to be as new.

* **works**: its only key says which node it goes to, or the proxy answers by itself.
* **works on one node**: it may have several keys, and all have to be on one node, which a hash tag (`{user:1}:name`)
  brings about; else it answers `CROSSSLOT`, as Redis Cluster would.
* **fans out**: the proxy splits it over the nodes, or asks all of them, and gives one answer.
* **refused**: an error that says why, and the connection stays.

What *needs `commands.allow`* touches the data of all clients or stops all, and answers `NOPERM` until the operator
opens it. Any command may be denied or renamed, and those of modules made known: see
[operations.md](operations.md#commands). A name that nobody knows gets Redis's own `ERR unknown command`.

"""


def fail(text):
    sys.exit(f"gen_command_docs: {text}")


def gates():
    found = re.findall(r"^COMMAND_GATE\((\w+), (\w+)\)$", GATES.read_text(encoding="utf-8"), re.M)
    return dict(found)


def reasons():
    """What follows the name in the error of a refused command, by its name in the table."""
    text = SOURCE.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r'^#define REASON_(\w+) +((?:"[^"]*"\s*)+)$', text, re.M)
    return {name: "".join(re.findall(r'"([^"]*)"', parts)) for name, parts in found}


def outcome_of(row):
    if row.way not in WAYS:
        fail(f"the way {row.way} of {row.name} is not in WAYS")
    if row.way != "FORWARD":
        return WAYS[row.way]
    first, last, _ = row.range
    return WORKS if row.keys == "RANGE" and first == last else ONE_NODE


def is_listed(row, rows):
    """Not a container whose subcommands are: nobody calls that alone."""
    return "CONTAINER" not in row.flags or not any(name.startswith(row.name + "|") for name in rows) or row.way != "REFUSE"


def shown_name(row, since):
    name = row.name.upper().replace("|", " ")
    if since == "" or (" " not in since and tables.Server.version(since) < (7, 1)):
        return f"`{name}`"
    who, _, version = since.rpartition(" ")
    return f"`{name}` ({who.capitalize() or 'Redis'} {version.removesuffix('.0')})"


def lines_of(rows, facts, shut, why):
    """{group: {(outcome, remark): [(name, how it is shown)]}}"""
    found = {group: {} for group in GROUPS}
    for row in rows.values():
        if not is_listed(row, rows):
            continue
        group, since = facts.get(row.name, ("", ""))[:2]
        if group not in found:
            fail(f"the group {group} of {row.name} is not in GROUPS")
        outcome = outcome_of(row)
        gate = shut.get(row.ident)
        remarks = [GATE_REMARKS[gate]] if gate and (outcome != REFUSED or gate == "NEVER") else []
        if outcome == REFUSED:
            if row.reason not in why:
                fail(f"no REASON_{row.reason} for {row.name}")
            remarks.append(f"it {why[row.reason]}")
        if row.name.upper() in REMARKS and outcome != REFUSED:
            remarks.append(REMARKS[row.name.upper()])
        found[group].setdefault((outcome, "; ".join(remarks)), []).append((row.name, shown_name(row, since)))
    return found


def document():
    rows, facts = tables.rows(), tables.facts()
    parts, counts = [], dict.fromkeys(OUTCOMES, 0)
    for group, lines in lines_of(rows, facts, gates(), reasons()).items():
        if not lines:
            continue
        parts.append(f"## {GROUPS[group]}\n\n| | commands |\n|---|---|\n")
        for (outcome, remark), names in sorted(lines.items(), key=lambda line: (OUTCOMES.index(line[0][0]), line[0][1])):
            counts[outcome] += len(names)
            said = f"**{outcome}**" + (f"; {remark}" if remark else "")
            parts.append(f"| {said} | {', '.join(shown for _, shown in sorted(names))} |\n")
        parts.append("\n")
    summary = ", ".join(f"{counts[outcome]} {outcome.replace('works', 'work').replace('fans', 'fan')}" for outcome in OUTCOMES)
    return HEAD + f"Of {sum(counts.values())} commands and subcommands {summary}.\n\n" + "".join(parts).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = document()
    if DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        print("docs/commands.md is out of date: run tools/gen_command_docs.py")
        return 1
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

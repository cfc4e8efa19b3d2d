#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the tables of settings and counters in docs/operations.md as the program has them.

  tools/gen_config_doc.py [--build DIR]           writes the tables into the document
  tools/gen_config_doc.py [--build DIR] --check   only says whether they are up to date (status 1: no)
  tools/gen_config_doc.py [--build DIR] --print   writes the tables to standard output

Each stands between two lines: `<!-- NAME: written by tools/gen_config_doc.py -->` and
`<!-- end of NAME -->`. What the settings say comes from `sumcache --print-config`: lines `name: value
# range; meaning`, indented inside a section. Counters come from the METRIC(…) lists of the headers.
"""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "operations.md"
COUNTERS = {
    "counters of the data plane": ROOT / "src" / "proxy" / "metrics.h",
    "counters of the control plane": ROOT / "src" / "cluster" / "control_metrics.h",
}

RELOAD = {"needs a restart": "restart", "for new connections": "new connections"}

SECTION = re.compile(r"^(\w+):$")
SETTING = re.compile(r"^( *)(\w+): *(.*?) *# (.*?); (.*)$")
ITEM = re.compile(r'^ *- "(.*)"$')
METRIC = re.compile(r'METRIC\((\w+), (COUNTER|GAUGE),[\s\\]*"([^"]*)"\)')


def settings(config):
    """[name, default, range, reload, meaning] of each setting."""
    rows, section = [], ""
    for line in config.splitlines():
        if line.startswith("#"):
            continue
        if match := SECTION.match(line):
            section = match[1] + "."
        elif match := SETTING.match(line):
            indent, name, value, allowed, meaning = match.groups()
            begin, _, end = meaning.rpartition("; ")
            reload = RELOAD.get(end, "yes")
            rows.append([(section if indent else "") + name, value, allowed, reload, begin if end in RELOAD else meaning])
        elif match := ITEM.match(line):
            rows[-1][1] = ", ".join(filter(None, [rows[-1][1], match[1]]))
        else:
            sys.exit(f"gen_config_doc: a line of --print-config is of no known form: {line}")
    if not rows:
        sys.exit("gen_config_doc: --print-config printed no settings")
    return rows


def table(rows):
    lines = ["| setting | default | allowed | reload | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        name, default, allowed, reload, meaning = (cell.replace("|", "\\|") for cell in row)
        default = "none" if default in ("[]", "{}") else f"`{default}`"
        lines.append(f"| `{name}` | {default} | {allowed} | {reload} | {meaning} |")
    return "\n".join(lines) + "\n"


def counters(header):
    found = METRIC.findall(header.read_text(encoding="utf-8"))
    if len(found) != len(re.findall(r"METRIC\(\w+, [A-Z]", header.read_text(encoding="utf-8"))):
        sys.exit(f"gen_config_doc: a counter of {header} is of no known form")
    lines = ["| counter | kind | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind.lower()} | {meaning} |" for name, kind, meaning in found]
    return "\n".join(lines) + "\n"


def replaced(text, name, new):
    begin_line = f"<!-- {name}: written by tools/gen_config_doc.py -->"
    end_line = f"<!-- end of {name} -->"
    begin, end = text.find(begin_line), text.find(end_line)
    if begin < 0 or end < begin:
        sys.exit(f"gen_config_doc: {DOCUMENT} lacks the lines\n{begin_line}\n{end_line}")
    return text[: begin + len(begin_line)] + "\n" + new + text[end:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"), help="where sumcache was built")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--print", action="store_true")
    options = parser.parse_args()
    command = [str(pathlib.Path(options.build) / "sumcache"), "--print-config"]
    config = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tables = {"settings": table(settings(config))}
    tables.update({name: counters(header) for name, header in COUNTERS.items()})
    if options.print:
        sys.stdout.write("\n".join(tables.values()))
        return 0
    text = new = DOCUMENT.read_text(encoding="utf-8")
    for name, lines in tables.items():
        new = replaced(new, name, lines)
    if new == text:
        return 0
    if options.check:
        print("docs/operations.md: its tables are out of date: run tools/gen_config_doc.py")
        return 1
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

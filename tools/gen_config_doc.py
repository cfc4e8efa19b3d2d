#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the table of settings in docs/operations.md as the program has it.

  tools/gen_config_doc.py [--build DIR]           writes the table into the document
  tools/gen_config_doc.py [--build DIR] --check   only says whether it is up to date (status 1: no)
  tools/gen_config_doc.py [--build DIR] --print   writes the table to standard output

The table stands between the lines BEGIN and END below. What it says comes from
`sumcache --print-config`: lines `name: value  # range; meaning`, indented inside a section.
"""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "operations.md"
BEGIN = "<!-- settings: written by tools/gen_config_doc.py -->"
END = "<!-- end of settings -->"

SECTION = re.compile(r"^(\w+):$")
SETTING = re.compile(r"^( *)(\w+): *(.*?) *# (.*?); (.*)$")
ITEM = re.compile(r'^ *- "(.*)"$')


def settings(config):
    """[name, default, range, meaning] of each setting."""
    rows, section = [], ""
    for line in config.splitlines():
        if line.startswith("#"):
            continue
        if match := SECTION.match(line):
            section = match[1] + "."
        elif match := SETTING.match(line):
            indent, name, value, allowed, meaning = match.groups()
            rows.append([(section if indent else "") + name, value, allowed, meaning])
        elif match := ITEM.match(line):
            rows[-1][1] = ", ".join(filter(None, [rows[-1][1], match[1]]))
        else:
            sys.exit(f"gen_config_doc: a line of --print-config is of no known form: {line}")
    if not rows:
        sys.exit("gen_config_doc: --print-config printed no settings")
    return rows


def table(rows):
    lines = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for row in rows:
        name, default, allowed, meaning = (cell.replace("|", "\\|") for cell in row)
        default = "none" if default == "[]" else f"`{default}`"
        lines.append(f"| `{name}` | {default} | {allowed} | {meaning} |")
    return "\n".join(lines) + "\n"


def replaced(text, new):
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        sys.exit(f"gen_config_doc: {DOCUMENT} lacks the lines\n{BEGIN}\n{END}")
    return text[: begin + len(BEGIN)] + "\n" + new + text[end:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"), help="where sumcache was built")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--print", action="store_true")
    options = parser.parse_args()
    command = [str(pathlib.Path(options.build) / "sumcache"), "--print-config"]
    config = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    new = table(settings(config))
    if options.print:
        sys.stdout.write(new)
        return 0
    text = DOCUMENT.read_text(encoding="utf-8")
    if replaced(text, new) == text:
        return 0
    if options.check:
        print("docs/operations.md: its table is out of date: run tools/gen_config_doc.py")
        return 1
    DOCUMENT.write_text(replaced(text, new), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

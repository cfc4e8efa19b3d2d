#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the micro benchmarks: nanoseconds by the clock, instructions by callgrind.

  bench/micro/run.py                  measures and prints both
  bench/micro/run.py --compare        … and holds the instructions against results.md; exits 1 if
                                      one has grown by more than the tolerance, or cases differ
  bench/micro/run.py --save           … and writes results.md
  bench/micro/run.py frame hash       only the cases whose name begins so

Instructions are exact and the same in every run of one binary, so they are what is compared. What
a cache miss or a wrongly predicted branch costs they do not see: read the nanoseconds too.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RESULTS = os.path.join(HERE, "results.md")
CALLS_PER_CASE = 3  # of micro_measured() in a counted run: warm, few rounds, many rounds
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| *([\d.]+|–) \| *([\d.]+|–) \| *([\d.]+|–) \| (.*) \|$")


class MicroError(Exception):
    """Something the user has to know about; printed as one line."""


class Case:
    def __init__(self, name, what, instructions=None, median_ns=None, min_ns=None):
        self.name = name
        self.what = what
        self.instructions = instructions
        self.median_ns = median_ns
        self.min_ns = min_ns


# glibc copies long stretches with one instruction that repeats itself, which callgrind counts once
# per byte, and other machines copy without it. So it is told never to.
COUNTED_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=0x40000000:"
                                         "glibc.cpu.x86_rep_stosb_threshold=0x40000000"}


def run_program(argv, **environment):
    done = subprocess.run(argv, check=False, text=True, capture_output=True, env={**os.environ, **environment})
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise MicroError(f"{os.path.basename(argv[0])} failed: {lines[-1] if lines else 'no word'}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def timed(program, names):
    rows = run_program([program, *names])
    return {name: Case(name, what, None, float(median), float(least))
            for name, median, least, what in rows[1:]}


def dump_number(path):
    return int(path.rsplit(".", 1)[1])


def instructions_of_dump(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    raise MicroError(f"callgrind wrote no sum into {os.path.basename(path)}")


def counted(program, names):
    """{name: case with its instructions}: callgrind writes a dump each time micro_measured() returns."""
    if not shutil.which("valgrind"):
        raise MicroError("valgrind is missing (or use --no-count)")
    with tempfile.TemporaryDirectory(prefix="sumcache-micro-") as directory:
        base = os.path.join(directory, "dump")
        rows = run_program(["valgrind", "--tool=callgrind", f"--callgrind-out-file={base}", "--collect-atstart=no",
                            "--toggle-collect=micro_measured", "--dump-after=micro_measured",
                            "--toggle-collect=world_*",  # inside: what stands for kernel, clients and nodes
                            program, "--counted", *names], **COUNTED_ENVIRONMENT)[1:]
        dumps = [os.path.join(directory, name) for name in os.listdir(directory)
                 if re.fullmatch(r"dump\.\d+", name)]
        sums = [instructions_of_dump(path) for path in sorted(dumps, key=dump_number)]
    if len(sums) not in (CALLS_PER_CASE * len(rows), CALLS_PER_CASE * len(rows) + 1):
        raise MicroError(f"callgrind wrote {len(sums)} dumps for {len(rows)} cases")
    cases = {}
    for i, (name, things, what) in enumerate(rows):
        _, few, many = sums[CALLS_PER_CASE * i:CALLS_PER_CASE * (i + 1)]
        cases[name] = Case(name, what, (many - few) / int(things))
    return cases


def shown(figure, digits):
    return "–" if figure is None else f"{figure:.{digits}f}"


def table(cases):
    lines = ["| case | instructions | ns, median | ns, least | what |", "|---|---:|---:|---:|---|"]
    for case in cases:
        lines.append(f"| `{case.name}` | {shown(case.instructions, 1)} | {shown(case.median_ns, 1)} "
                     f"| {shown(case.min_ns, 1)} | {case.what} |")
    return "\n".join(lines)


def read_table(text):
    """The cases of a results.md, by name."""
    def number(field):
        return None if field == "–" else float(field)

    cases = {}
    for line in text.splitlines():
        match = ROW.match(line)
        if match:
            name, instructions, median, least, what = match.groups()
            cases[name] = Case(name, what, number(instructions), number(median), number(least))
    return cases


def differences(kept, now, tolerance, slack):
    """(lines to print, whether one is worse): `tolerance` as a share, `slack` in instructions."""
    lines = []
    is_worse = False
    for case in now.values():
        before = kept.get(case.name)
        if case.instructions is None:
            continue
        if before is None or before.instructions is None:
            lines.append(f"new    {case.name}: {case.instructions:.1f}; keep it with --save")
            is_worse = True
            continue
        change = case.instructions - before.instructions
        allowed = max(slack, tolerance * before.instructions)
        if abs(change) <= allowed:
            continue
        word = "WORSE " if change > 0 else "better"
        is_worse = is_worse or change > 0
        share = 100 * change / max(before.instructions, 0.1)
        lines.append(f"{word} {case.name}: {before.instructions:.1f} → {case.instructions:.1f} instructions ({share:+.1f} %)")
    return lines, is_worse


def missing_cases(kept, now, names):
    return [name for name, case in kept.items()
            if case.instructions is not None and name not in now and (not names or name.startswith(tuple(names)))]


def build_facts(build):
    """The compiler and its flags, as Meson has written them down for micro.c."""
    path = os.path.join(build, "compile_commands.json")
    if not os.path.exists(path):
        return "an unknown compiler"
    with open(path, encoding="utf-8") as file:
        commands = [entry["command"].split() for entry in json.load(file) if entry["file"].endswith("micro/micro.c")]
    if not commands:
        return "an unknown compiler"
    words = [word for word in commands[0] if not word.endswith("ccache")]
    version = subprocess.run([words[0], "--version"], check=False, text=True, capture_output=True)
    flags = [word for word in words if re.match(r"-O|-march|-flto|-fsanitize", word)]
    return ", ".join([version.stdout.splitlines()[0], " ".join(flags)])


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        match = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    return match.group(1) if match else platform.machine()


def results_text(cases, build):
    today = datetime.date.today().isoformat()
    return (
        "# Micro benchmarks: kept results\n\n"
        "Written by `bench/micro/run.py --save`; compared with by `bench/micro/run.py --compare`. "
        "What the columns mean is in [README.md](README.md).\n\n"
        f"{today} · {cpu_name()} · {build_facts(build)} · {platform.libc_ver()[0]} {platform.libc_ver()[1]}\n\n"
        f"{table(cases)}\n")


def options_read():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only cases whose name begins so")
    parser.add_argument("--build", default=os.path.join(ROOT, "build-micro"), metavar="DIR",
                        help="default: build-micro")
    parser.add_argument("--compare", action="store_true", help="hold the instructions against results.md")
    parser.add_argument("--tolerance", type=float, default=2.0, metavar="PERCENT",
                        help="what --compare lets pass (default: 2)")
    parser.add_argument("--slack", type=float, default=2.0, metavar="N",
                        help="… and so many instructions in any case (default: 2)")
    parser.add_argument("--save", action="store_true", help="write results.md")
    parser.add_argument("--no-time", action="store_true", help="instructions only")
    parser.add_argument("--no-count", action="store_true", help="nanoseconds only")
    options = parser.parse_args()
    if options.save and (options.names or options.no_time or options.no_count):
        parser.error("--save keeps all cases with all figures")
    if options.compare and options.no_count:
        parser.error("--compare needs the instructions")
    return options


def measure(options):
    program = os.path.join(os.path.abspath(options.build), "bench", "micro", "bench_micro")
    if not os.access(program, os.X_OK):
        raise MicroError(f"{program} is missing: build it first (tools/build.sh micro bench/micro/bench_micro)")
    cases = {} if options.no_time else timed(program, options.names)
    if not options.no_count:
        for name, case in counted(program, options.names).items():
            cases.setdefault(name, case).instructions = case.instructions
    return cases


def main():
    options = options_read()
    cases = measure(options)
    print(table(cases.values()))
    status = 0
    if options.compare:
        with open(RESULTS, encoding="utf-8") as file:
            kept = read_table(file.read())
        lines, is_worse = differences(kept, cases, options.tolerance / 100, options.slack)
        gone = missing_cases(kept, cases, options.names)
        lines += [f"gone   {name}; drop it with --save" for name in gone]
        print("\n" + ("\n".join(lines) or f"as kept, within {options.tolerance:g} %"))
        status = 1 if is_worse or gone else 0
    if options.save:
        with open(RESULTS, "w", encoding="utf-8") as file:
            file.write(results_text(cases.values(), options.build))
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MicroError as error:
        sys.exit(f"bench/micro: {error}")

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy over all files that a build compiles, in parallel, and says each thing once.

  tools/clang_tidy.py [--quick] BUILD_DIR

--quick leaves out the analyzer, which follows all paths through a function: nineteen twentieths of the time.

Beyond what clang-tidy does by itself:
* A finding in a header is printed once, not once for each file that includes it.
* Findings in system headers are dropped: the analyzer reports them there if a path through our
  code, with values it invented, ends in them.
* So are leaks of variables marked CLEANUP(…): the analyzer does not know that attribute.
* A file is not read again if neither it, nor any header, nor a .clang-tidy has changed since it was
  found clean (BUILD_DIR/clang-tidy-clean/).
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FINDING = re.compile(r"^(/?[^\s:][^:\n]*):(\d+):\d+: (?:error|warning): (.*)$")
LEAK = re.compile(r"Potential leak of memory pointed to by '(\w+)'")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def compiled_files(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        entries = json.load(f)
    files = {}
    for entry in entries:
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        # What the build itself has written is no source.
        if path.startswith(ROOT + "/") and path.endswith(".c") and not path.startswith(os.path.abspath(build) + "/"):
            files[path] = entry["command"]
    return files


def digest_of_surroundings():
    """All that may change what clang-tidy says about any file, but the file itself."""
    digest = hashlib.sha256(read(os.path.abspath(__file__)))
    for top in (".clang-tidy", "src", "sim", "tests", "bench", "client"):
        for folder, folders, files in os.walk(os.path.join(ROOT, top)):
            folders[:] = sorted(d for d in folders if d != "node_modules")
            for name in sorted(files):
                if name.endswith(".h") or name == ".clang-tidy":
                    digest.update(read(os.path.join(folder, name)))
    digest.update(read(os.path.join(ROOT, ".clang-tidy")))
    return digest.digest()


def is_false_alarm(path, text):
    leak = LEAK.match(text)
    if not leak:
        return False
    return re.search(rf"\b{leak.group(1)}\b[^;\n]* CLEANUP\(".encode(), read(path)) is not None


def findings_of(path, build, options):
    """(key, text) for each finding in our own files; a key that is "" is a failure of the tool."""
    result = subprocess.run(
        # The compile commands are gcc's: clang must not stumble over warnings it does not know.
        ["clang-tidy", "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", *options, path],
        cwd=build,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    found = []
    any_finding = False
    keep = False
    for line in result.stdout.split("\n"):
        match = FINDING.match(line)
        if match:
            any_finding = True
            file = os.path.normpath(os.path.join(build, match.group(1)))
            keep = file.startswith(ROOT + "/") and not is_false_alarm(file, match.group(3))
            if keep:
                place = f"{os.path.relpath(file, ROOT)}:{match.group(2)}"
                found.append([f"{place} {match.group(3)}", f"{place}: {match.group(3)}"])
        elif keep:
            found[-1][1] += "\n    " + line.rstrip()
    if result.returncode != 0 and not any_finding:
        found.append(["", f"clang-tidy failed on {path}\n{result.stdout}{result.stderr}"])
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("build")
    given = parser.parse_args()
    build = os.path.abspath(given.build)
    options = ["--checks=-clang-analyzer-*"] if given.quick else []
    files = compiled_files(build)
    if not files:
        sys.exit("clang-tidy: the build compiles nothing")
    clean = os.path.join(build, "clang-tidy-clean")
    around = digest_of_surroundings()
    todo = {}
    for path, command in files.items():
        content = around + repr((options, command)).encode() + read(path)
        mark = os.path.join(clean, hashlib.sha256(content).hexdigest())
        if not os.path.exists(mark):
            todo[path] = mark
    seen = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(todo, pool.map(lambda p: findings_of(p, build, options), todo)):
            for key, text in found:
                seen.setdefault(key or path, text)
            if not found:
                os.makedirs(clean, exist_ok=True)
                with open(todo[path], "w", encoding="utf-8"):
                    pass
    for key in sorted(seen):
        print(seen[key].rstrip())
    print(f"clang-tidy: {len(files)} files, {len(todo)} read, {len(seen)} findings")
    sys.exit(1 if seen else 0)


if __name__ == "__main__":
    main()

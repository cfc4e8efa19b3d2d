# SPDX-License-Identifier: Apache-2.0
"""Each rule of tidy.py finds what it is there for, and leaves good code alone.

A rule that never fires looks the same as a code base without faults. So every case plants one fault
in a small tree that is clean otherwise, and wants exactly that finding.
"""

import os
import subprocess
import sys

import pytest

TIDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tidy.py")
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"

CLEAN = {
    "tools/layers.txt": "base:\nos: base\nring: base\nproxy: base os ring\ntests: *\nclient:\n",
    "tools/exceptions.txt": "untested src/os/io.c : it is nothing but system calls\n",
    "src/base/str.h": SPDX + "#pragma once\n#include <stddef.h>\n\nsize_t str_len(const char *);\n",
    "src/base/str.c": SPDX
    + '#include "base/str.h"\n\n#include <string.h>\n\n'
    + "static const char *const names[] = {\"a\", \"// no comment\"};\n\n"
    + "/* The name counts, so that the table is kept. */\n"
    + "size_t str_len(const char *s)\n{\n    return strlen(s) + strlen(names[*s & 1]);\n}\n",
    "src/base/meson.build": "base_lib = static_library('base', files('str.c'))\n",
    "src/ring/ring.h": SPDX + '#pragma once\n\nint ring_first(void);\n',
    "src/ring/ring.c": SPDX
    + '#include "ring/ring.h"\n#include "base/str.h"\n\n'
    + "int ring_first(void)\n{\n    return (int)str_len(\"\");\n}\n",
    "src/ring/meson.build": "ring_lib = static_library('ring', files('ring.c'))\n",
    "src/os/io.h": SPDX + "#pragma once\n\nint io_open(void);\n",
    "src/os/io.c": SPDX
    + '#include "os/io.h"\n\n#include <unistd.h>\n\nint io_open(void)\n{\n    return dup(0);\n}\n',
    "src/os/meson.build": "os_lib = static_library('os', files('io.c'))\n",
    "tests/unit/test_str.c": SPDX + '#include "base/str.h"\n',
    "tests/unit/test_ring.c": SPDX + '#include "ring/ring.h"\n',
    "tests/unit/meson.build": "unit_tests = {\n  'test_str': [base],\n  'test_ring': [ring],\n}\n",
    "docs/tour.md": "`src/base/str.c` has `str_len()`. [Style](style.md)\n",
    "docs/style.md": "Style.\n",
}


def run(root, files, with_objects=False):
    for path, text in files.items():
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    command = [sys.executable, TIDY, "--root", str(root)]
    if with_objects:
        for path in files:
            if path.startswith("src/") and path.endswith(".c"):
                _, folder, name = path.split("/")
                objects = os.path.join(root, "build/src", folder, f"lib{folder}.a.p")
                os.makedirs(objects, exist_ok=True)
                subprocess.run(
                    ["cc", "-O2", "-c", "-I", os.path.join(root, "src"), os.path.join(root, path)]
                    + ["-o", os.path.join(objects, name + ".o")],
                    check=True,
                )
    else:
        command.append("--no-objects")
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stderr == ""
    lines = result.stdout.strip().split("\n")
    return result.returncode, lines[:-1]


def test_clean_tree_passes(tmp_path):
    assert run(tmp_path, CLEAN, with_objects=True) == (0, [])


def appended(path, text):
    return {path: CLEAN[path] + text}


def replaced(path, old, new):
    assert old in CLEAN[path]
    return {path: CLEAN[path].replace(old, new)}


LONG_BODY = "".join(f"    x += {i};\n" for i in range(100))
LONG = "int ring_long(int x)\n{\n" + LONG_BODY + "    return x;\n}\n"
RING_C = "src/ring/ring.c"
STR_C = "src/base/str.c"

# What is planted, the file of the finding, a part of its text.
IN_SOURCES = {
    "upward include": (
        replaced(STR_C, '#include "base/str.h"', '#include "base/str.h"\n#include "ring/ring.h"'),
        STR_C,
        "layer base may not include",
    ),
    "sideways include": (
        replaced(RING_C, '"base/str.h"', '"os/io.h"'),
        RING_C,
        "layer ring may not include",
    ),
    "include of the tests": (
        {
            "tests/unit/fake.h": SPDX + "#pragma once\n",
            **replaced(RING_C, '"base/str.h"', '"tests/unit/fake.h"'),
        },
        RING_C,
        "the product may not include",
    ),
    "unknown folder": (
        {"src/extra/x.h": SPDX + "#pragma once\n"},
        "src/extra/x.h",
        "not in tools/layers.txt",
    ),
    "no such file": (replaced(RING_C, '"base/str.h"', '"str.h"'), RING_C, "no file of ours"),
    "own header not first": (
        replaced(
            RING_C,
            '#include "ring/ring.h"\n#include "base/str.h"\n',
            '#include "base/str.h"\n#include "ring/ring.h"\n',
        ),
        RING_C,
        "own header has to come first",
    ),
    "ours after theirs": (
        replaced(RING_C, '#include "base/', '#include <stdint.h>\n#include "base/'),
        RING_C,
        "after system headers",
    ),
    "header cycle": (
        {
            "src/ring/a.h": SPDX + '#pragma once\n#include "ring/b.h"\n',
            "src/ring/b.h": SPDX + '#pragma once\n#include "ring/a.h"\n',
        },
        "src/ring/b.h",
        "include each other",
    ),
    "no pragma once": ({"src/ring/a.h": SPDX}, "src/ring/a.h", "#pragma once"),
    "line comment": (appended(RING_C, "int ring_x; // why\n"), RING_C, "a // comment"),
    "banned": (
        appended(RING_C, "void f(char *a)\n{\n    strcpy(a, a);\n}\n"),
        RING_C,
        "strcpy() is banned",
    ),
    "todo": (appended(RING_C, "/* TODO: later */\n"), RING_C, "TODO without an issue"),
    "typedef": (appended(RING_C, "typedef struct x x;\n"), RING_C, "typedef hides"),
    "tab": (appended(RING_C, "int\tring_x;\n"), RING_C, "tab"),
    "trailing blank": (appended(RING_C, "int ring_x; \n"), RING_C, "trailing blank"),
    "wide": (appended(RING_C, "/* " + "x" * 100 + " */\n"), RING_C, "columns"),
    "no line feed": (appended(RING_C, "int ring_x;"), RING_C, "no line feed"),
    "no licence": (
        {"src/ring/a.h": "#pragma once\n" + SPDX},
        "src/ring/a.h",
        "the first line is",
    ),
    "empty name": (
        {"src/ring/ring_utils.h": SPDX + "#pragma once\n"},
        "src/ring/ring_utils.h",
        "does not say what is inside",
    ),
    "no unit test": (
        {
            "src/ring/other.c": SPDX,
            "src/ring/meson.build": "files('ring.c', 'other.c')\n",
        },
        "src/ring/other.c",
        "no tests/unit/test_other.c",
    ),
    "no unit test in client/c": (
        {
            "client/c/src/other.c": SPDX,
            "client/c/src/meson.build": "files('other.c')\n",
        },
        "client/c/src/other.c",
        "no client/c/tests/unit/test_other.c",
    ),
    "not built": (
        {
            "src/ring/other.c": SPDX,
            "tests/unit/test_other.c": SPDX,
            "tests/unit/meson.build": "['test_str', 'test_ring', 'test_other']\n",
        },
        "src/ring/other.c",
        "does not build it",
    ),
    "test not built": (
        {"tests/unit/test_other.c": SPDX},
        "tests/unit/test_other.c",
        "does not build it",
    ),
    "sleeping test": (
        appended("tests/unit/test_str.c", "void f(void)\n{\n    usleep(1);\n}\n"),
        "tests/unit/test_str.c",
        "a test that sleeps",
    ),
    "dead link": (
        {"docs/tour.md": "[x](gone.md)\n"},
        "docs/tour.md",
        "link to gone.md",
    ),
    "tour names a file that is gone": (
        {"docs/tour.md": "See `src/base/gone.c`.\n"},
        "docs/tour.md",
        "no file src/base/gone.c",
    ),
    "tour names a function that is gone": (
        {"docs/tour.md": "See `str_gone()`.\n"},
        "docs/tour.md",
        "no function str_gone()",
    ),
    "tour names a struct that is gone": (
        {"docs/tour.md": "See `struct gone`.\n"},
        "docs/tour.md",
        "no struct gone",
    ),
    "exception without a reason": (
        appended("tools/exceptions.txt", "untested src/base/str.c : no\n"),
        "tools/exceptions.txt",
        "needs a reason",
    ),
}


@pytest.mark.parametrize("case", IN_SOURCES)
def test_finds_in_sources(tmp_path, case):
    planted, path, text = IN_SOURCES[case]
    status, findings = run(tmp_path, {**CLEAN, **planted})
    assert status == 1
    assert len(findings) == 1, findings
    assert findings[0].startswith(path + ":") and text in findings[0]


IN_OBJECTS = {
    "system call": (
        appended(RING_C, "int getpid(void);\nint ring_pid(void)\n{\n    return getpid();\n}\n"),
        RING_C,
        "uses getpid:",
    ),
    "call of stdio": (
        appended(RING_C, "int puts(const char *);\nint ring_p(void)\n{\n    return puts(0);\n}\n"),
        RING_C,
        "uses puts:",
    ),
    "initialised global": (appended(RING_C, "int ring_count = 3;\n"), RING_C, "mutable global"),
    "static global": (
        appended(RING_C, "int ring_n(void)\n{\n    static int n;\n    return ++n;\n}\n"),
        RING_C,
        "mutable global n ",
    ),
    "thread-local global": (
        appended(RING_C, "_Thread_local int ring_n;\n"),
        RING_C,
        "mutable global ring_n",
    ),
    "exception for a module that has a test": (
        appended("tools/exceptions.txt", "untested src/ring/ring.c : it once had no test\n"),
        "tools/exceptions.txt",
        "no longer needed",
    ),
    "exception that nobody needs": (
        appended("tools/exceptions.txt", "symbol src/ring/ring.c getpid : it once asked for it\n"),
        "tools/exceptions.txt",
        "no longer needed",
    ),
}


@pytest.mark.parametrize("case", IN_OBJECTS)
def test_finds_in_objects(tmp_path, case):
    planted, path, text = IN_OBJECTS[case]
    status, findings = run(tmp_path, {**CLEAN, **planted}, with_objects=True)
    assert status == 1
    assert len(findings) == 1, findings
    assert findings[0].startswith(path + ":") and text in findings[0]


def test_exceptions_let_pass(tmp_path):
    planted = appended(
        RING_C,
        "int getpid(void);\nint ring_count = 3;\nint ring_pid(void)\n{\n    return getpid();\n}\n",
    )
    planted.update(
        appended(
            "tools/exceptions.txt",
            "symbol src/ring/ring.c getpid : the ring wants to know\n"
            "global src/ring/ring.c ring_count : the ring counts itself\n",
        )
    )
    assert run(tmp_path, {**CLEAN, **planted}, with_objects=True) == (0, [])


def test_object_that_was_not_built(tmp_path):
    run(tmp_path, CLEAN, with_objects=True)
    os.remove(tmp_path / "build/src/ring/libring.a.p/ring.c.o")
    result = subprocess.run(
        [sys.executable, TIDY, "--root", str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 1 and "no object of it" in result.stdout


def test_long_function_is_a_warning_unless_it_says_why(tmp_path):
    status, findings = run(tmp_path, {**CLEAN, **appended(RING_C, LONG)})
    assert (status, len(findings)) == (0, 1)
    assert "warning: ring_long() has 103 lines" in findings[0]
    reason = "/* Long: one switch that reads straight down. */\n"
    assert run(tmp_path, {**CLEAN, **appended(RING_C, reason + LONG)}) == (0, [])


def test_long_file_is_a_warning_unless_it_says_why(tmp_path):
    many = "".join(f"int ring_declared_{i}(void);\n" for i in range(701))
    status, findings = run(tmp_path, {**CLEAN, **appended(RING_C, many)})
    assert (status, len(findings)) == (0, 1) and "lines; split it" in findings[0]
    reason = replaced(RING_C, SPDX, SPDX + "/* Long: a table. */\n")[RING_C]
    assert run(tmp_path, {**CLEAN, RING_C: reason + many}) == (0, [])

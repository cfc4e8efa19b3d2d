# SPDX-License-Identifier: Apache-2.0
"""The documents say what is: the program of the first page, the tables, the man page, the reference."""
import re
import subprocess

from conftest import BUILD, ROOT, address_of

PAGE = (ROOT / "docs" / "client-c.md").read_text()
HEADER = (ROOT / "client" / "c" / "include" / "sumcache.h").read_text()
LIBRARY = BUILD / "client" / "c"


def run(*words, **options):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, errors="replace", timeout=120, **options)


def fields(name):
    body = re.search(rf"struct {name} {{(.*?)\n}};", HEADER, re.S)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return {word for line in re.findall(r"[^;]+;", body) for word in re.findall(r"(\w+)\s*[,;]", line)}


def test_the_first_program_compiles_as_printed_and_does_without_a_cache(tmp_path):
    [program] = re.findall(r"```c\n(.*?)```", PAGE, re.S)
    assert len([line for line in program.splitlines() if line.strip(" {}")]) <= 24
    (tmp_path / "hello.c").write_text(program)
    done = run("gcc", "-std=c99", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Werror",
               "-o", tmp_path / "hello", tmp_path / "hello.c", f"-I{ROOT}/client/c/include", f"-L{LIBRARY}", "-lsumcache",
               f"-Wl,-rpath,{LIBRARY}")
    assert done.returncode == 0, done.stderr
    # Whether or not somebody's Redis listens on the default port: the answer is the same.
    done = run(tmp_path / "hello")
    assert (done.returncode, done.stdout) == (0, '{"id":"42"}\n')


def test_the_table_of_limits_names_what_there_is():
    table = PAGE[PAGE.index("## Limits"):PAGE.index("## What it costs")]
    options, counters = fields("sc_options") | fields("sc_store_options"), fields("sc_stats")
    rows = [row.split("|") for row in table.splitlines() if row.startswith("| ") and "---" not in row][1:]
    for row in rows:
        assert set(re.findall(r"`(\w+)`", row[2])) <= options and set(re.findall(r"`(\w+)`", row[5])) <= counters, row
    named = set(re.findall(r"`(\w+)`", table))
    assert {o for o in fields("sc_options") if o.endswith("_max")} <= named


def test_every_function_named_anywhere_is_declared():
    declared = set(re.findall(r"\b(sc_\w+)\(", HEADER))
    man = (ROOT / "client" / "c" / "man" / "sumcache.3").read_text()
    assert set(re.findall(r"\b(sc_\w+)\(\)", PAGE)) <= declared
    assert set(re.findall(r"\.Fn (sc_\w+)", man)) <= declared


def test_the_man_page_is_well_formed():
    done = run("mandoc", "-T", "lint", "-W", "warning", ROOT / "client" / "c" / "man" / "sumcache.3")
    assert done.returncode == 0, done.stdout


def test_the_reference_can_be_made(tmp_path):
    config = (ROOT / "client" / "c" / "Doxyfile").read_text() + f"OUTPUT_DIRECTORY = {tmp_path}\n"
    done = run("doxygen", "-", cwd=ROOT, input=config)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "sumcache_8h.html").read_text()
    assert "sc_fetch" in page and "Memoizes" in page


def test_defaults_are_what_the_header_says(shell, node):
    """Those that can be seen from outside."""
    sc = shell(address_of(node))
    s = sc.store("s", jitter_percent=0)
    assert 53000 <= sc("fetch", s, "k", "v")["fresh_ms"] <= 60000
    assert sc("set", s, "k", f"@{(5 << 20) + 1}")["cause"] == "too large"

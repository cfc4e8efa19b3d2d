# SPDX-License-Identifier: Apache-2.0
"""What a packager and a compiler see: header, names, libraries, pkg-config."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT, SLOWNESS, address_of

CLIENT = ROOT / "client" / "c"
HEADER = CLIENT / "include" / "sumcache.h"
LIBRARY = BUILD / "client" / "c"

plain_only = pytest.mark.skipif(SLOWNESS != 1, reason="machine: the linking of a sanitizer build is its own")


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def declared():
    return set(re.findall(r"\b(sc_\w+)\(", re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)))


@pytest.mark.parametrize("compiler,standard,ending", [
    ("gcc", "c99", "c"), ("gcc", "c11", "c"), ("clang", "c99", "c"), ("g++", "c++98", "cc"), ("g++", "c++17", "cc"),
    ("clang++", "c++20", "cc")])
def test_the_header_compiles(tmp_path, compiler, standard, ending):
    if not shutil.which(compiler):
        pytest.skip("machine: there is no " + compiler)
    source = tmp_path / f"a.{ending}"
    source.write_text('#include "sumcache.h"\n#include "sumcache.h"\n'
                      "int main() { struct sc_options o = { sizeof(o) }; struct sc_cache *c;\n"
                      "  if (sc_open(&o, &c) < 0) return 1;\n  sc_close(c, 0);\n  return 0; }\n")
    lax = ["-Wno-missing-field-initializers", "-Wno-long-long"]
    run(compiler, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror", *lax, "-fsyntax-only",
        f"-I{HEADER.parent}", source)


def test_the_shared_library_has_the_names_of_the_header_and_no_others():
    names = {line.split()[-1].split("@")[0] for line in
             run("nm", "-D", "--defined-only", LIBRARY / "libsumcache.so").splitlines() if " A " not in line}
    assert {n for n in names if not n.startswith("__")} == declared()
    assert "libsumcache.so.0" in run("readelf", "-d", LIBRARY / "libsumcache.so")


@plain_only
def test_the_static_library_has_the_names_of_the_header_and_no_others():
    lines = run("nm", "--defined-only", "--extern-only", LIBRARY / "libsumcache.a").splitlines()
    assert {line.split()[-1] for line in lines if line.count(" ") == 2} == declared()


PROGRAM = r'''
#include <sumcache.h>
#include <stdio.h>
#include <string.h>
int pool_take(void) { return 7; } /* the library has one, too */
int conn_new(void) { return 7; }
int main(int argc, char **argv)
{
    struct sc_options o = { sizeof(o) };
    struct sc_cache *cache;
    struct sc_store *store;
    struct sc_value value;
    o.address = argc > 1 ? argv[1] : "";
    o.budget_ms = 1000;
    if (sc_open(&o, &cache) < 0 || sc_store_open(cache, NULL, &store) < 0) return 1;
    int rc = sc_get(store, "k", 1, &value, NULL);
    printf("%d %d %u\n", rc, pool_take() + conn_new(), sc_version());
    sc_value_free(&value);
    sc_store_close(store);
    sc_close(cache, 100);
    return 0;
}
'''


@plain_only
def test_an_installed_library_is_found_by_pkg_config(tmp_path, node):
    env = dict(os.environ, DESTDIR=str(tmp_path / "root"))
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--tags", "devel,runtime", env=env)
    [pc] = (tmp_path / "root").rglob("sumcache.pc")
    prefix = next(line.split("=")[1] for line in pc.read_text().splitlines() if line.startswith("prefix="))
    root = tmp_path / "root" / prefix.strip("/")
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)

    def flags(*words):
        return run("pkg-config", f"--define-variable=prefix={root}", *words, "sumcache", env=env).split()
    assert run("pkg-config", "--modversion", "sumcache", env=env).strip() == "0.2.0"
    run("gcc", "-o", tmp_path / "shared", source, *flags("--cflags", "--libs"))
    env["LD_LIBRARY_PATH"] = str(pc.parent.parent)
    assert run(tmp_path / "shared", address_of(node), env=env) == "1 14 200\n"
    run("gcc", "-o", tmp_path / "static", source, *flags("--cflags"), pc.parent.parent / "libsumcache.a",
        *[f for f in flags("--static", "--libs") if f != "-lsumcache"])
    assert run(tmp_path / "static", address_of(node)) == "1 14 200\n"


def test_the_version_is_one():
    text = HEADER.read_text()
    number = int(re.search(r"#define SC_VERSION (\d+)", text)[1])
    version = re.search(r"client_version = '([\d.]+)'", (CLIENT / "meson.build").read_text())[1]
    major, minor, patch = map(int, version.split("."))
    assert number == major * 10000 + minor * 100 + patch

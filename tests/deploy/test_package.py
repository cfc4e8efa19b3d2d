# SPDX-License-Identifier: Apache-2.0
"""The Debian package: what is in it, and that it is the same each time. Installed, run and purged it is
by tools/deb_in_chroot.sh (`make debtest`), which needs minutes and a mirror."""
import os
import re
import subprocess

import pytest

from processes import BINARY, ROOT

pytestmark = pytest.mark.proxy_only


def output_of(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=True,
                          **options).stdout


def build(directory):
    environment = {**os.environ, "SUMCACHE_BIN": str(BINARY), "SOURCE_DATE_EPOCH": "1700000000"}
    return output_of(ROOT / "tools" / "deb.sh", directory, env=environment).strip()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    output_of("dpkg-deb", "-x", package, root)
    return root


def test_what_it_says_of_itself(package):
    version = re.search(r"version: '([0-9.]+)'", (ROOT / "meson.build").read_text())[1]
    fields = dict(line.split(": ", 1) for line in output_of("dpkg-deb", "-f", package).splitlines() if ": " in line)
    assert (fields["Package"], fields["Version"]) == ("sumcache", version)
    # A package for each library, with the version that has what is used of it.
    for name in ("libc6 (>= ", "libc-ares2 (>= ", "libssl3 (>= ", "libyaml-0-2"):
        assert name in fields["Depends"]
    assert fields["Recommends"] == "redis-server"


def test_what_is_in_it(package):
    lines = [line.split() for line in output_of("dpkg-deb", "-c", package).splitlines()]
    files = {line[5].lstrip("."): line for line in lines}
    for path, mode in (("/usr/bin/sumcache", "-rwxr-xr-x"), ("/lib/systemd/system/sumcache.service", "-rw-r--r--"),
                       ("/lib/systemd/system/sumcache-node@.service", "-rw-r--r--"),
                       ("/etc/sumcache/sumcache.yaml", "-rw-r--r--"), ("/etc/sumcache/redis.conf", "-rw-r--r--"),
                       ("/usr/share/man/man1/sumcache.1.gz", "-rw-r--r--"),
                       ("/usr/share/man/man5/sumcache.yaml.5.gz", "-rw-r--r--"),
                       ("/usr/share/doc/sumcache/copyright", "-rw-r--r--"),
                       ("/usr/share/doc/sumcache/operations.md.gz", "-rw-r--r--")):
        assert files[path][:2] == [mode, "root/root"], path
    conffiles = output_of("dpkg-deb", "-I", package, "conffiles").split()
    assert sorted(conffiles) == ["/etc/sumcache/redis.conf", "/etc/sumcache/sumcache.yaml"]


def test_what_is_in_it_runs(unpacked):
    program = unpacked / "usr" / "bin" / "sumcache"
    assert output_of(program, "--version") == output_of(BINARY, "--version")
    output_of(program, "--config", unpacked / "etc" / "sumcache" / "sumcache.yaml", "--check-config")
    assert "debug_info" not in output_of("file", program) and "pie" in output_of("file", program)
    # What the units start is where they look for it.
    unit = (unpacked / "lib" / "systemd" / "system" / "sumcache.service").read_text()
    for path in re.findall(r"^Exec\w+=(\S+) --config (\S+)", unit, re.M):
        assert all((unpacked / word.lstrip("/")).exists() for word in path)


def test_it_is_the_same_each_time(package, tmp_path):
    with open(package, "rb") as one, open(build(tmp_path), "rb") as other:
        assert one.read() == other.read()

# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests/integration, and the library's shell (shell.c).

    SUMCACHE_BUILD           the build directory; build unless given
    SUMCACHE_TEST_SLOWNESS   widens margins of time, for sanitizer builds
"""
import itertools
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SUMCACHE_BUILD", ROOT / "build")).resolve()
SLOWNESS = float(os.environ.get("SUMCACHE_TEST_SLOWNESS", "1"))
os.environ.setdefault("SUMCACHE_BIN", str(BUILD / "sumcache"))

sys.path.insert(0, str(ROOT / "tests"))
from integration_fixtures import *  # noqa: E402,F401,F403

_names = itertools.count()


class Shell:
    """A process that uses the library. A call is a line to it, and a dict back."""

    def __init__(self, address, **options):
        self.process = subprocess.Popen([BUILD / "client" / "c" / "tests" / "client_shell"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.prefix = f"t{os.getpid()}-{next(_names)}"
        opened = self("open", address, **options)["number"]
        if opened != 0:
            self.process.stdin.close()
            self.process.wait(timeout=20)
        assert opened == 0

    def send(self, *words, **options):
        line = " ".join([*map(str, words), *(f"{name}={value}" for name, value in options.items())])
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def take(self):
        line = self.process.stdout.readline()
        assert line, f"the shell has ended: {self.process.wait()}"
        return json.loads(line)

    def __call__(self, *words, **options):
        self.send(*words, **options)
        return self.take()

    def store(self, name, **options):
        options.setdefault("prefix", f"{self.prefix}-{name}")
        options.setdefault("jitter_percent", 101)  # times are what they are said to be
        assert self("store", name, **options)["number"] == 0
        return name

    def stats(self):
        return self("stats")

    def loads(self):
        return self("loads")["loads"]

    def end(self):
        """Closes: a report of a sanitizer makes this fail."""
        if not self.process.stdin.closed:
            self("close", 100)
            self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


@pytest.fixture
def shell():
    """shell(address, option=…) → Shell. All are closed at the end, and have to end well."""
    opened = []

    def make(address, **options):
        opened.append(Shell(address, **options))
        return opened[-1]
    yield make
    for one in opened:
        one.end()


@pytest.fixture(scope="session")
def node(shared):
    return shared.node()


def address_of(thing):
    return f"127.0.0.1:{thing.port}"

# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say; the demonstration is run through sumcache while nodes die."""
import re
import subprocess
import time

import pytest

from conftest import BUILD, address_of

EXAMPLES = BUILD / "client" / "c" / "examples"


def lines(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=30, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(done.stdout.splitlines())


@pytest.mark.parametrize("loop", ["poll", "uv"])
def test_event_loops(start, loop):
    node = start.node()

    def run():
        if loop == "poll":
            return lines(EXAMPLES / "loop_poll", address_of(node), input="a\nb\na\n")
        return lines(EXAMPLES / "loop_uv", address_of(node), "a", "b", "a")
    # Three calls, two loads: one of them was shared, and says that it was loaded.
    assert run() == ["loaded: row of a (absent)"] * 2 + ["loaded: row of b (absent)"]
    assert run() == ["hit: row of a (none)"] * 2 + ["hit: row of b (none)"]
    node.kill()
    assert [line.split(" (")[0] for line in run()] == ["loaded: row of a"] * 2 + ["loaded: row of b"]


def test_the_demonstration(start, tmp_path):
    nodes = start.nodes(3)
    proxy = start.proxy(nodes)
    demo = subprocess.Popen([EXAMPLES / "shows", address_of(proxy), tmp_path / "shows.db", "8", "8"],
                            stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(2.5)
        nodes[0].kill()
        time.sleep(2)
        nodes[1].freeze()
        time.sleep(1)
        proxy.kill()
        rows = demo.stdout.read().splitlines()
        assert demo.wait(timeout=20) == 0
    finally:
        demo.kill()
        nodes[1].thaw()
    print("\n".join(rows))
    pattern = (r" *\d+ s: +(\d+) requests, p50 +([\d.]+) ms, p99 +([\d.]+) ms, max +([\d.]+) ms; +(\d+) queries; "
               r"breaker [a-z ]+; (\d+) wrong")
    said = [[float(x) for x in re.fullmatch(pattern, row).groups()] for row in rows]
    assert len(said) == 8
    assert all(requests > 100 and wrong == 0 for requests, _, _, _, _, wrong in said)
    assert said[1][4] < said[1][0] / 4  # with a cache the database has little to do
    assert said[-1][4] > said[-1][0] / 2 and said[-1][1] < 25  # without one all of it, and no budget on top

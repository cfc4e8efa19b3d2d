# SPDX-License-Identifier: Apache-2.0
"""`sumcache top` beside real nodes, as text and in a terminal."""
import os
import re
import select
import signal
import subprocess
import time

import pytest

import processes
from processes import BINARY, SLOWNESS
from resp import eventually
from screen import COLOURS, Terminal

pytestmark = pytest.mark.proxy_only

HEALTH = {"interval": "100ms", "interval_out": "50ms", "hold_min": "100ms", "hold_max": "100ms"}
HOSTILE = b"\x1b]0;owned\x07\x9b31m\xe2\x80\xae\x00"
SHOWN = r"\x1b]0;owned\x07\x9b31m\xe2\x80\xae\x00"


def once(port, *options):
    return processes.run("top", "--once", *options, port)


@pytest.fixture
def watched(start):
    def make(**admin):
        nodes = start.nodes(3)
        port = processes.free_port()
        settings = {"health": HEALTH, "timeouts": {"request": "10s"},
                    "admin": {"listen": port, "sample_each": 1, **admin}}
        proxy = start.proxy(nodes, settings, workers=1)
        eventually(lambda: proxy.events("listening-admin"))
        return proxy, nodes, port
    return make


def row_of(text, node):
    return next((line.split() for line in text.splitlines() if line.startswith(node.name + " ")), ["", ""])


def test_one_frame_and_a_hostile_key(watched):
    proxy, nodes, port = watched()
    for _ in range(20):
        proxy.ask("SET", HOSTILE, "v")
    eventually(lambda: SHOWN in once(port).stdout, within=10 * SLOWNESS, what="the key is hot")
    eventually(lambda: all(row_of(once(port).stdout, node)[1] == "up" for node in nodes), within=5 * SLOWNESS)
    frame = once(port)
    assert (frame.returncode, frame.stderr) == (0, "")
    assert frame.stdout.isascii() and frame.stdout.replace("\n", "").isprintable()
    assert "nodes in ring 3, out 0" in frame.stdout


def test_a_node_is_killed_while_it_runs_in_a_terminal_without_keys(watched):
    _, nodes, port = watched()
    eventually(lambda: all(row_of(once(port).stdout, node)[1] == "up" for node in nodes), within=5 * SLOWNESS)
    master, slave = os.openpty()
    seen = b""

    def shows(words):
        nonlocal seen
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536)
        return words in seen.split(b"\x1b[H\x1b[2J")[-1]

    with subprocess.Popen([BINARY, "top", str(port)], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL,
                          env={**os.environ, "TERM": "xterm"}) as top:
        try:
            eventually(lambda: shows(b"nodes in ring 3, out 0"), within=5 * SLOWNESS, what="a frame")
            nodes[0].kill()
            eventually(lambda: shows(b"nodes in ring 2, out 1"), within=10 * SLOWNESS, what="the dead node")
            eventually(lambda: shows(b"up -> out"), within=5 * SLOWNESS, what="the event")
            assert top.poll() is None
        finally:
            top.kill()
    os.close(master)
    os.close(slave)


def test_it_goes_on_when_the_proxy_is_gone(watched):
    proxy, _, port = watched()
    with subprocess.Popen([BINARY, "top", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as top:
        try:
            assert top.stdout.readline() == b"\n" and top.stdout.readline().startswith(b"sumcache top")
            proxy.kill()
            assert b"cannot be asked: " in top.stderr.readline()
            time.sleep(1.2)
            assert top.poll() is None
        finally:
            top.kill()


def test_the_token(watched, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("open-sesame-open-sesame\n")
    token.chmod(0o600)
    _, _, port = watched(token_file=str(token))
    refused = once(port)
    assert refused.returncode == 1 and "unauthorised" in refused.stderr and refused.stdout == ""
    assert once(port, "--token-file", token).returncode == 0
    monkeypatch.setenv("SUMCACHE_ADMIN_TOKEN", "open-sesame-open-sesame")
    assert once(port).returncode == 0
    monkeypatch.setenv("SUMCACHE_ADMIN_TOKEN", "a\tb")
    assert once(port).returncode == 2


def test_what_cannot_be_asked(start, nodes):
    refused = once(processes.free_port())
    assert refused.returncode == 1 and "Connection refused" in refused.stderr
    proxy = start.proxy(nodes, {})
    other = once(proxy.port)  # the Redis port
    assert other.returncode == 1 and len(other.stderr.splitlines()) == 1
    assert once("nonsense").returncode == 2
    assert processes.run("top", "--bogus").returncode == 2


# With keys and a screen.


@pytest.fixture
def shown(watched):
    """A proxy over three nodes, all up, and what `sumcache top` shows of it."""
    proxy, nodes, port = watched()
    with Terminal([BINARY, "top", port]) as top:
        top.shows("nodes in ring 3, out 0", *(f"{node.name} up" for node in nodes), within=10)
        assert top.is_taken()
        yield proxy, nodes, top


def rows_of(top, nodes):
    """Names of nodes in the order of their rows."""
    names = [node if isinstance(node, str) else node.name for node in nodes]
    return [line.split()[0] for line in top.screen.lines() if line.split()[:1] and line.split()[0] in names]


def selected(top):
    """What is marked, without the title."""
    return [line for row, line in enumerate(top.screen.lines()) if 7 in top.screen.looks_at(row, 0)][1:]


ENDS = {"q": (b"q", None), "Ctrl-C": (b"\x03", None), "Ctrl-\\": (b"\x1c", None), "F10": (b"\x1b[21~", None),
        "SIGTERM": (b"", signal.SIGTERM), "SIGINT": (b"", signal.SIGINT), "SIGHUP": (b"", signal.SIGHUP)}


@pytest.mark.parametrize("how", ENDS)
def test_the_terminal_is_as_it_was(shown, how):
    _, _, top = shown
    keys, number = ENDS[how]
    top.press(keys)
    if number:
        top.signal(number)
    assert top.ends() == 0
    assert top.is_as_before()
    assert top.screen.clears == 1  # that of the fresh alternate screen: frames do not flicker


def test_sorting_stays_over_redraws(shown):
    _, nodes, top = shown
    for count, node in zip((5, 50, 20), nodes):
        for i in range(count):
            node.ask("SET", f"k{i}", "v")
    by_keys = [nodes[1].name, nodes[2].name, nodes[0].name]
    assert rows_of(top, nodes) == sorted(node.name for node in nodes)
    assert "NODE^" in top.text()
    top.press(b"sssss")
    top.shows("KEYSv")
    top.eventually(lambda: rows_of(top, nodes) == by_keys, within=10, what="the greatest first")
    top.press(b"r")
    top.shows("KEYS^")
    top.eventually(lambda: rows_of(top, nodes) == by_keys[::-1], what="the smallest first")
    for i in range(100):
        nodes[0].ask("SET", f"more{i}", "v")
    top.eventually(lambda: rows_of(top, nodes) == [nodes[2].name, nodes[1].name, nodes[0].name], within=10,
                   what="another order by the same column")
    assert "KEYS^" in top.text()
    top.press(b"<")
    top.shows("P99v")
    top.press(b">>>>>")
    top.shows("STATEv")


def test_selection_and_scrolling(start):
    names = [f"127.0.0.1:{port}" for port in range(1001, 1061)]  # nobody is there
    port = processes.free_port()
    proxy = start.proxy(names, {"health": HEALTH, "admin": {"listen": port}})
    eventually(lambda: proxy.events("listening-admin"))
    with Terminal([BINARY, "top", port], columns=100, rows=24) as top:
        top.shows("nodes 1-12 of 60", within=10)
        moves = [(b"j", 1), (b"\x1b[B", 2), (b"\x1bOB", 3), (b"k", 2), (b"\x1b[A", 1), (b"\x1b[6~", 12), (b"\x1b[5~", 1),
                 (b"G", 59), (b"g", 0), (b"\x1b[F", 59), (b"\x1b[H", 0), (b"\x1b[4~", 59), (b"k", 58), (b"\x1b[1~", 0)]
        for keys, row in moves:
            top.press(keys)
            top.eventually(lambda n=names[row]: [line.split()[0] for line in selected(top)] == [n], what=f"{keys!r}: row {row}")
        top.press(b"G")
        top.shows("nodes 49-60 of 60", names[59])
        top.press(b"2")
        top.shows("events 1-")
        assert selected(top) and "ago" in selected(top)[0]
        top.press(b"\t")
        top.shows("hot keys 0-0 of 0")
        top.press(b"\x1b[Z\x1b[Z")
        top.shows("nodes 49-60 of 60", names[59])  # where it was
        top.press(b"q")
        assert top.ends() == 0


def test_sections_show_keys_of_strangers_escaped(shown):
    proxy, _, top = shown
    for i in range(40):
        proxy.ask("SET", HOSTILE, "v")
        proxy.ask("GET", f"user:{i}")
    top.press(b"3")
    top.shows(SHOWN, within=10 * SLOWNESS)  # and Screen knows no sequence but ours
    top.press(b"4")
    top.shows("PREFIXES", "prefixes 1-")
    top.resize(120, 40)
    top.shows("NODE^", "LAST EVENTS", "HOT KEYS", "PREFIXES")


def test_pause_interval_and_help(shown):
    proxy, _, top = shown
    for keys, words in [(b"+", "every 2 s"), (b"-", "every 1 s"), (b"-", "every 0.5 s"), (b"d2.5\r", "every 2.5 s"),
                        (b"d9", "(0.5 to 60): 9_"), (b"\x1b", "q quit"), (b"-", "every 2 s"), (b"d0.5\n", "every 0.5 s")]:
        top.press(keys)
        top.shows(words)
    for key in (b"h", b"?", b"\x1bOP"):
        top.press(key)
        top.shows("sumcache top: keys", "Any key leaves this help.")
        top.press(b"q")
        top.hides("Any key")
    top.press(b"p")
    top.shows("PAUSED")
    for _ in range(20):
        proxy.ask("SET", "while-it-pauses", "v")
    top.press(b"3")
    end = time.monotonic() + 1.2  # more than two intervals
    top.eventually(lambda: time.monotonic() > end, what="time passes")
    assert "while-it-pauses" not in top.text()
    top.press(b" ")
    top.shows("while-it-pauses", "every 0.5 s")
    top.press(b"q")
    assert top.ends() == 0


def test_resizing(shown):
    _, nodes, top = shown
    top.press(b"d60\r")  # what comes now is drawn because of the size
    top.shows("every 60 s")
    for columns, rows in [(20, 5), (1, 1), (3, 2), (300, 60), (40, 10), (1, 50), (100, 24)]:
        top.resize(columns, rows)
        assert top.popen.poll() is None
        first = top.screen.line(0)
        assert first == "sumcache top"[:columns] if columns < 12 else first.startswith("sumcache top")
        if columns >= 20 and rows >= 5:
            top.shows(nodes[0].name)
    top.press(b"q")
    assert top.ends() == 0 and top.is_as_before()


def test_a_node_is_killed(shown):
    _, nodes, top = shown
    nodes[0].kill()
    top.shows("nodes in ring 2, out 1", "up -> out", f"{nodes[0].name} out", within=10)
    row = next(i for i, line in enumerate(top.screen.lines()) if line.startswith(nodes[0].name))
    column = top.screen.line(row).index("out")
    assert top.screen.looks_at(row, column) & COLOURS == {31}
    top.press(b"s")
    top.eventually(lambda: rows_of(top, nodes)[0] == nodes[0].name, what="the worst first")
    nodes[0].start_again()
    top.shows("nodes in ring 3, out 0", "-> up", within=20)


def silence(top):
    return int(re.search(r"no answer for (\d+) s", top.text()).group(1))


def test_the_proxy_is_gone_and_comes_back(start, nodes):
    port, admin = processes.free_port(), processes.free_port()
    settings = {"health": HEALTH, "admin": {"listen": admin}}
    proxy = start.proxy(nodes, settings, port=port)
    with Terminal([BINARY, "top", admin]) as top:
        top.shows("nodes in ring 3, out 0", within=10)
        proxy.kill()
        top.shows("no answer for ", "Connection refused", "nodes in ring 3")
        since = silence(top)
        top.eventually(lambda: silence(top) > since, what="it counts the seconds")
        top.press(b"2")
        top.shows("no answer for ", "LAST EVENTS")
        start.proxy(nodes, settings, port=port)
        top.hides("no answer", within=10)
        top.shows("events 1-", within=10)
        top.press(b"q")
        assert top.ends() == 0 and top.is_as_before()


def test_a_proxy_that_does_not_answer_stops_no_key(shown):
    proxy, _, top = shown
    proxy.freeze()
    top.shows("no answer for ", "it does not answer", within=10)
    top.press(b"h")
    top.shows("Any key", within=1)
    top.press(b"xs")
    top.shows("STATEv", within=1)
    top.press(b"q")
    assert top.ends(within=1) == 0 and top.is_as_before()


def test_there_is_no_proxy(watched, tmp_path):
    with Terminal([BINARY, "top", processes.free_port()]) as top:
        top.shows("no answer yet: ", "Connection refused")
        top.press(b"q")
        assert top.ends() == 0 and top.is_as_before()
    token = tmp_path / "token"
    token.write_text("open-sesame-open-sesame\n")
    token.chmod(0o600)
    _, _, port = watched(token_file=str(token))
    with Terminal([BINARY, "top", port], columns=50) as top:
        top.eventually(lambda: "--token-file" in "".join(top.screen.lines()), what="what is missing")
        top.signal(signal.SIGTERM)
        assert top.ends() == 0 and top.is_as_before()
    with Terminal([BINARY, "top", "--token-file", token, port]) as top:
        top.shows("nodes in ring 3, out 0", within=10)


def test_colours(watched):
    _, _, port = watched()
    for environment, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal([BINARY, "top", port], **environment) as top:
            top.shows("nodes in ring 3, out 0", within=10)
            assert bool(top.screen.seen_looks & COLOURS) == has_colours
            assert 7 in top.screen.seen_looks


def test_a_dumb_terminal_gets_frames_without_sequences(watched):
    _, _, port = watched()
    with Terminal(["env", "TERM=dumb", BINARY, "top", port], columns=100, rows=1000) as top:
        top.eventually(lambda: top.bytes.count(b"sumcache top") >= 2, within=10, what="two frames")
        assert b"\x1b" not in top.bytes


@pytest.fixture
def shell(watched):
    """`sumcache top` as a job of a shell."""
    _, _, port = watched()
    with Terminal(["bash", "--norc", "--noprofile", "-i"], columns=100, rows=40) as terminal:
        terminal.press(f"{BINARY} top {port}\n".encode())
        terminal.shows("nodes in ring 3, out 0", within=10)
        assert terminal.is_taken()
        yield terminal
        terminal.popen.kill()


def says(terminal, word):
    """The shell's answer, whatever the screen looks like."""
    terminal.eventually(lambda: word in terminal.bytes, what=f"the shell says {word!r}")


def test_ctrl_z_and_fg(shell):
    shell.press(b"\x1a")
    says(shell, b"Stopped")
    assert shell.screen.modes["?1049"] == "l" and shell.screen.modes["?25"] == "h"
    shell.press(b"stty -a | tr ';' '\\n' | grep -o '[-]*icanon'; echo as''ked\n")
    says(shell, b"asked")
    assert re.search(rb"[^-]icanon\r\n", shell.bytes)
    for _ in range(2):  # bg changes nothing: it is stopped again, and does not write
        shell.press(b"bg; sleep 0.2; jobs; echo jo''bs\n")
        says(shell, b"jobs\r\n")
    assert shell.screen.modes["?1049"] == "l"
    shell.press(b"fg\n")
    shell.eventually(shell.is_taken, what="it is taken again")
    shell.shows("nodes in ring 3, out 0", "NODE^")
    shell.press(b"s")
    shell.shows("STATEv")
    shell.press(b"q")
    shell.eventually(lambda: shell.screen.modes["?1049"] == "l", what="it has ended")
    shell.press(b"echo status=$?\n")
    says(shell, b"status=0")


def test_a_stopped_job_is_killed(shell):
    shell.press(b"\x1a")
    says(shell, b"Stopped")
    shell.press(b"pid=$(jobs -p %1); kill %1; while kill -0 $pid; do sleep 0.1; done 2>/dev/null; echo go''ne\n")
    says(shell, b"gone\r\n")
    assert shell.screen.modes["?1049"] == "l"

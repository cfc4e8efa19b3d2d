# SPDX-License-Identifier: Apache-2.0
"""A terminal for programs with a screen: a pseudo terminal, and what one would see on it.

It knows the few sequences that such a program of ours may use, and fails at all others, at text that
goes past the last column, and at a line feed that would scroll.
"""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

from processes import SLOWNESS
from resp import eventually

SEQUENCE = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])")
COLOURS = set(range(30, 50))
FRAME = b"\x1b[m\x1b[H"


class Screen:
    """What is seen. Looks: the numbers of SGR that count, of each cell."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = {}
        self.row = self.column = 0
        self.looks = frozenset()
        self.seen_looks = set()
        self.modes = {}
        self.clears = 0
        self.rest = b""

    def feed(self, data):
        data = self.rest + data
        self.rest = b""
        at = 0
        while at < len(data):
            if data[at] == 0x1b:
                match = SEQUENCE.match(data, at)
                if not match:
                    assert len(data) - at < 20, f"no sequence that we know: {data[at:at + 20]!r}"
                    self.rest = data[at:]
                    return
                self._obey(match[1].decode(), match[2].decode())
                at = match.end()
            else:
                self._put(data[at])
                at += 1

    def _put(self, byte):
        if byte == 13:
            self.column = 0
        elif byte == 10 and self.modes.get("?1049") == "h":
            assert self.row < self.rows - 1, "it scrolls"
            self.row += 1
        elif byte in (7, 8, 10):
            pass  # a shell's, which we do not look at
        else:
            assert 0x20 <= byte < 0x7f or self.modes.get("?1049") != "h", byte
            if self.modes.get("?7") == "l":
                assert self.column < self.columns, f"past the last column: {self.line(self.row)!r}"
            self.cells[self.row, self.column] = (chr(byte), self.looks)
            self.column += 1

    def _obey(self, parameters, what):
        if what in "hl":
            self.modes[parameters] = what
        elif what == "H":
            numbers = [int(n or 1) for n in parameters.split(";")] + [1]
            self.row, self.column = min(numbers[0], self.rows) - 1, min(numbers[1], self.columns) - 1
        elif what == "K":
            assert parameters == ""
            self._erase(lambda at: at[0] == self.row and at[1] >= min(self.column, self.columns - 1))
        elif what == "J":
            self.clears += 1
            self._erase(lambda at: parameters == "2" or at >= (self.row, self.column))
        elif what == "m":
            for number in [int(n or 0) for n in parameters.split(";")]:
                self.looks = frozenset() if number == 0 else self.looks | {number}
                self.seen_looks.add(number)
        else:
            raise AssertionError(f"unknown: ESC [ {parameters}{what}")

    def _erase(self, is_erased):
        self.cells = {at: cell for at, cell in self.cells.items() if not is_erased(at)}

    def line(self, row):
        return "".join(self.cells.get((row, column), (" ",))[0] for column in range(self.columns)).rstrip()

    def lines(self):
        return [self.line(row) for row in range(self.rows)]

    def looks_at(self, row, column):
        return self.cells.get((row, column), (" ", frozenset()))[1]


class Terminal:
    """A program that has a terminal to itself, or shares it with a shell."""

    def __init__(self, argv, columns=100, rows=30, **environment):
        self.master, self.slave = pty.openpty()
        self.screen = Screen(columns, rows)
        self.bytes = b""
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        env.update(TERM="xterm", PS1="$ ", **environment)
        # pylint: disable=subprocess-popen-preexec-fn
        self.popen = subprocess.Popen(
            [str(word) for word in argv], stdin=self.slave, stdout=self.slave, stderr=self.slave, env=env,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        os.close(self.master)
        os.close(self.slave)

    def _set_size(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        """As a window does it; the kernel sends SIGWINCH. Another number of rows tells the frames that
        are of the new size from those that were under way."""
        assert rows != self.screen.rows
        self.read()
        self.screen.columns, self.screen.rows = max(columns, self.screen.columns), max(rows, self.screen.rows)
        self._set_size(columns, rows)

        def last_frame():
            frame = self.bytes[self.bytes.rindex(FRAME):]
            return frame if frame.count(b";1H") == rows - 1 else None

        frame = self.eventually(last_frame, what=f"a frame of {rows} rows")
        modes, self.screen = self.screen.modes, Screen(columns, rows)
        self.screen.modes = modes
        self.screen.feed(frame)

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            data = os.read(self.master, 65536)
            self.bytes += data
            self.screen.feed(data)

    def press(self, keys):
        os.write(self.master, keys)

    def eventually(self, question, within=5, what=None):
        def ask():
            self.read()
            return question()
        try:
            return eventually(ask, within=within * SLOWNESS, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; on the screen:\n" + "\n".join(self.screen.lines())) from None

    def text(self):
        return "\n".join(self.screen.lines())

    def shows(self, *texts, within=5):
        self.eventually(lambda: all(text in self.text() for text in texts), within, f"it shows {texts}")

    def hides(self, text, within=5):
        self.eventually(lambda: text not in self.text(), within, f"it shows {text} no more")

    def ends(self, within=5):
        """The exit status."""
        self.eventually(lambda: self.popen.poll() is not None, within, "it ends")
        self.read()
        return self.popen.returncode

    def is_as_before(self):
        modes = self.screen.modes
        return (termios.tcgetattr(self.slave) == self.before and modes.get("?1049") == "l" and
                modes.get("?25") == "h" and modes.get("?7") == "h")

    def is_taken(self):
        modes = self.screen.modes
        cooked = termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)
        return not cooked and modes.get("?1049") == "h" and modes.get("?25") == "l"

    def signal(self, number):
        os.kill(self.popen.pid, number)

"""A terminal for tests: runs a command in one, and shows what is then on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


class Screen:
    """The lines of a terminal after some text was written to it.

    Attributes:
        lines: without the spaces at their ends.
        is_cursor_visible: whether the cursor is shown.
        bottom_lines: what stood in the line of the cursor whenever it was erased.
    """

    def __init__(self, text, width):
        self.width, self.cells, self.row, self.column = width, [[]], 0, 0
        self.is_cursor_visible, self.bottom_lines = True, []
        position = 0
        for token in TOKEN.finditer(text):
            assert token.start() == position, f"unknown: {text[position : position + 20]!r}"
            position = token.end()
            if token[2]:
                self._control(token[1], token[2])
            else:
                self._write(token[0])
        self.lines = ["".join(row).rstrip() for row in self.cells]

    def _control(self, argument, letter):
        if letter == "K":
            assert argument == "2"
            self.bottom_lines.append("".join(self.cells[self.row]).rstrip())
            self.cells[self.row] = []
        elif letter == "A":
            self.row -= int(argument or 1)
        elif argument == "?25":
            self.is_cursor_visible = letter == "h"
        else:
            assert letter == "m", letter

    def _write(self, character):
        if character == "\r":
            self.column = 0
            return
        if character == "\n" or self.column == self.width:
            self.row, self.column = self.row + 1, 0
            self.cells += [[] for _ in range(self.row + 1 - len(self.cells))]
        if character != "\n":
            row = self.cells[self.row]
            row += " " * (self.column + 1 - len(row))
            row[self.column] = character
            self.column += 1


def run_in_terminal(command, width, *, press_ctrl_c_at=None, **options):
    """Runs a command in a terminal of a width.

    Args:
        command: the arguments.
        width: the number of columns.
        press_ctrl_c_at: the pattern of text after which Ctrl-C is pressed once.

    Returns:
        The exit code and all that was written.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    streams = dict.fromkeys(("stdin", "stdout", "stderr"), end)
    process = subprocess.Popen(
        list(map(str, command)), preexec_fn=take_terminal, **streams, **options
    )
    os.close(end)
    written = b""
    while part := _read(terminal):
        written += part
        if press_ctrl_c_at and re.search(press_ctrl_c_at, written.decode(errors="ignore")):
            os.write(terminal, b"\x03")
            press_ctrl_c_at = None
    os.close(terminal)
    return process.wait(), written.decode()


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how Linux says that all programs have closed it
        return b""

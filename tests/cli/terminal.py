"""Commands on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from unittest import mock

from tests.conftest import ROOT


def on_a_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    columns: int = 160,
    lines: int = 40,
    status: int = 0,
) -> str:
    """What a command writes to a terminal of that size; it has to end with that status."""
    ours, theirs = _open_terminal(lines, columns)
    size = {"COLUMNS": str(columns), "LINES": str(lines)}
    environment = {**environment, **size, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = _read_to_end(ours)
    assert process.wait(30) == status, text
    return text


def on_a_terminal_here(command: Callable[[], object], *, columns: int = 160) -> str:
    """What a function writes to a terminal of that width, as its standard output."""
    ours, theirs = _open_terminal(40, columns)
    read: list[str] = []
    reading = threading.Thread(target=lambda: read.append(_read_to_end(ours)))
    reading.start()
    size = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}
    try:
        with (
            os.fdopen(theirs, "w", encoding="utf-8") as terminal,
            mock.patch.dict(os.environ, size),
            redirect_stdout(terminal),
        ):
            command()
    finally:
        reading.join()
    return read[0]


def _open_terminal(lines: int, columns: int) -> tuple[int, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return ours, theirs


def _read_to_end(ours: int) -> str:
    written = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        try:
            part = os.read(ours, 65536) if ready else b""
        except OSError:  # Linux' way to say that the other end is closed
            part = b""
        if not part:
            break
        written += part
    os.close(ours)
    return written.decode()

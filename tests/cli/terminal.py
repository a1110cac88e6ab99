"""Commands on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

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
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    size = {"COLUMNS": str(columns), "LINES": str(lines)}
    environment = {**environment, **size, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
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
    text = written.decode()
    assert process.wait(30) == status, text
    return text

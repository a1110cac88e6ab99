"""Child processes that are gone when this process is, however it ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.03

# Stands between us and a child. Its stdin is a pipe that only we hold: when we end, even by
# SIGKILL, the pipe does, and then the child's process group, a worker's pool processes included.
# The child has its own session, so that Ctrl-C in the terminal reaches only us.
_KEEPER = """\
import os, signal, subprocess, sys, threading
child = None
asked = threading.Event()
def terminate(*_):
    asked.set()
    if child is not None:
        child.terminate()
def kill():
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass
def watch():
    sys.stdin.buffer.read()
    kill()
signal.signal(signal.SIGTERM, terminate)
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
threading.Thread(target=watch, daemon=True).start()
if asked.is_set():
    child.terminate()
status = child.wait()
kill()
os._exit(status if status >= 0 else 128 - status)
"""


class ChildFailed(Exception):
    """A process ended by itself, or did not become ready; the message shows its last lines."""


class Child:
    """A process with its log.

    Args:
        name: its name in messages.
        command: the program and its arguments.
        log: the file for its output.
        env: its whole environment.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _KEEPER, *command],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process that keeps this child and has no other."""
        return self._keeper.pid

    def check(self) -> None:
        """Raise `ChildFailed` when it has ended."""
        status = self._keeper.poll()
        if status is not None:
            raise self.failure(f"ended with status {status}")

    def terminate(self) -> None:
        """Ask it to end."""
        self._keeper.terminate()

    def wait(self) -> None:
        """Return when it has ended, which is forced when it takes too long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait()

    def failure(self, what: str) -> ChildFailed:
        lines = self._log.read_text(errors="replace").splitlines()[-20:]
        tail = "\n".join(lines) or "(it wrote nothing)"
        return ChildFailed(f"The {self.name} {what}.\nIts last lines:\n\n{tail}")


def wait_ready(
    waited_for: Mapping[Child, Callable[[], bool]], on_ready: Callable[[Child, float], None]
) -> None:
    """Return when all are ready; `on_ready` is called for each, with the seconds it took.

    Raises:
        ChildFailed: one ended instead, or takes too long.
    """
    began = time.monotonic()
    pending = dict(waited_for)
    while pending:
        for child, ready in list(pending.items()):
            child.check()
            seconds = time.monotonic() - began
            if ready():
                del pending[child]
                on_ready(child, seconds)
            elif seconds > START_SECONDS:
                raise child.failure(f"was not ready within {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)

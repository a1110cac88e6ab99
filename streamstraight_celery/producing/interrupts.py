"""What interrupts a generator: its state, and the signals for one in a process' main thread."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal

from celery.exceptions import SoftTimeLimitExceeded

from ..errors import StreamStopped
from . import threads
from .writer import StreamWriter

# Celery leaves SIGUSR2 free in its pool processes. It has two meanings, which the handler tells
# apart by whether a stop is known here.
# From this process's own sender thread: leave the wait for the generator, now.
INTERRUPT = getattr(signal, "SIGUSR2", None)
# From the worker's parent process, which cannot know which stream runs here: ask the store whether
# one of this process's streams is to stop.
CHECK_STOPS = INTERRUPT
# Celery's parent process tells a pool process of a soft time limit by this one.
LIMIT: Any = getattr(signal, "SIGUSR1", None)


Ending = Literal[
    "stopped", "time-limit", "revoked", "shutdown", "terminated", "failed", "suspended"
]  # fmt: skip
# From without: celery's parent process has the pool process or the greenlet terminated.
_TERMINATIONS = ("SystemExit", "KeyboardInterrupt", "GreenletExit")


class Interruptible:
    """The state of one generator that may be interrupted; made where it is to run.

    Args:
        why_terminated: asked why its process or greenlet is terminated.

    Attributes:
        heard: it has been interrupted, and what it sends from now on are its last chunks.
        suspended: its task ends this attempt, to wait without a worker.
    """

    def __init__(self, why_terminated: Callable[[], Ending] = lambda: "terminated") -> None:
        self._why_terminated = why_terminated
        self._terminated = False
        self.heard = self.suspended = False
        self._stopping = False
        self._limited = False
        # The generator names SoftTimeLimitExceeded, so it gets that first; `_told`: it has.
        self._wants_limit = False
        self._told = False
        # An error that the attempt fails with.
        self._failure: BaseException | None = None
        self._writer: StreamWriter | None = None
        # It may be interrupted now: it waits for something, or runs its own code.
        self._waiting = False
        self._undisturbed = False
        self._gate = threading.Lock()
        self._green = threads.current_greenlet()
        self._thread = threading.get_ident()
        self._task: asyncio.Task[None] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the generator is to hear of a stop, or of its time limit."""
        return self._stopping or (self._limited and not (self._wants_limit and self._told))

    def interruption(self) -> BaseException:
        """What to raise in the generator, which has heard of it then."""
        self.heard = True
        if self._stopping or not self._wants_limit:
            self._waiting = False
            return StreamStopped()
        self._told = True
        limit: BaseException = SoftTimeLimitExceeded()
        return limit

    @property
    def ending(self) -> Ending | None:
        """Why the generator is ended from without, or suspended; None: it is not."""
        if self._failure is not None:
            return "failed"
        if self._stopping:
            return "stopped" if self._writer is None or self._writer.stop_asked else "failed"
        if self._limited:
            return "time-limit"
        if self._terminated or type(sys.exc_info()[1]).__name__ in _TERMINATIONS:
            return self._why_terminated()
        return "suspended" if self.suspended else None

    def runs_here(self) -> bool:
        """Whether this is the thread, greenlet or asyncio task in which the generator runs."""
        if self._task is not None:
            return current_asyncio_task() is self._task
        return threading.get_ident() == self._thread

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Interrupt nobody in the middle of this, where the generator runs."""
        if not self.runs_here():
            yield
            return
        with self._gate:
            waiting, self._waiting = self._waiting, False
        self._undisturbed = True
        try:
            yield
        finally:
            self._undisturbed = False
            with self._gate:
                self._waiting = waiting

    def _write(self, text: str, writer: StreamWriter) -> None:
        """Write what the generator yields. A time limit during the round trip is for it to hear."""
        self._undisturbed = True
        try:
            writer.put(text)
        finally:
            self._undisturbed = False
        if writer.full():
            writer.wait_for_space()


def current_asyncio_task() -> asyncio.Task[object] | None:
    """The asyncio task that runs now, if any."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def celery_limit_handler() -> Any:
    """Celery's own handler of the soft time limit's signal, in processes of the prefork pool."""
    from billiard.pool import soft_timeout_sighandler  # dear, and no web process has a use for it

    return soft_timeout_sighandler


def ignore(_number: int, _frame: FrameType | None) -> None:
    """An interrupt that came after its generator had ended."""


def ignore_interrupts(**_: Any) -> None:
    """Let a pool process survive an interrupt between two tasks (the default action ends it)."""
    if INTERRUPT is not None and signal.getsignal(INTERRUPT) is signal.SIG_DFL:
        signal.signal(INTERRUPT, ignore)

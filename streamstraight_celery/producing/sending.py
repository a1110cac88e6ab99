"""Chunks that a task sends by itself, from any of its threads: `self.stream.send(chunk)`.

They go the same way as those that its generator yields. An interrupt (a stop, a time limit) has to
reach whoever sends: the generator itself is interrupted where it waits, another thread or asyncio
task by the first chunk that it wants to send from then on. Once told, it may send last chunks, for
as long as readers wait for the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery.exceptions import SoftTimeLimitExceeded

from ..errors import ChunkTooLargeError, EncodeError, PublicError, StreamClosedError, StreamStopped
from ..os_threads import os_lock
from . import threads
from .generators import MOST_LAST_CHUNKS
from .interrupts import current_asyncio_task
from .writer import StreamWriter

if TYPE_CHECKING:
    from .driver import Driver

# What runs in this context, a task for example. Asyncio tasks, `asyncio.to_thread` and executors of
# frameworks take their context along.
running: ContextVar[Any] = ContextVar("streamstraight_running", default=None)
# How often a producer that may not block looks whether there is room for more chunks.
FULL_INTERVAL = 0.002


class Sending:
    """What one attempt sends besides what its generator yields. Safe in every thread.

    Args:
        driver: drives the generator.
        encode: chunk to one-line JSON text, `""` for no chunk.
        writer: the attempt's.
    """

    def __init__(self, driver: Driver, encode: Callable[[Any], str], writer: StreamWriter) -> None:
        self._driver = driver
        self._encode = encode
        self._writer = writer
        self._told_threads = threading.local()
        self._told_tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._last_chunks = 0
        self._runs_as = running.get()
        # Threads and greenlets of the task's own that have sent something, and what they do; and
        # asyncio tasks that are the task's own.
        self._helpers: dict[int, _Helper] = {}
        self._helping: WeakSet[asyncio.Task[Any]] = WeakSet()
        # Between a helper that is in the middle of `send` and one who is about to interrupt it.
        self._reaching = os_lock()

    def send(self, chunk: Any) -> None:
        """Send a chunk. Waits while the buffer is full, but never on an event loop.

        Raises:
            StreamStopped: the stream was stopped, or ran into its time limit.
            StreamClosedError: it has ended.
            StreamError: the chunk cannot be sent.
        """
        self._put(chunk)
        if self._writer.full() and current_asyncio_task() is None:
            while self._writer.full() and not self._driver.interrupted:
                time.sleep(FULL_INTERVAL)
                self._writer.check()
        self._raise_interruption()

    async def asend(self, chunk: Any) -> None:
        """As `send`; lets the event loop run while the buffer is full."""
        self._put(chunk)
        while self._writer.full() and not self._driver.interrupted:
            await asyncio.sleep(FULL_INTERVAL)
            self._writer.check()
        self._raise_interruption()

    def _put(self, chunk: Any) -> None:
        driver, writer = self._driver, self._writer
        if self._raise_interruption():
            self._last_chunks += 1
            if self._last_chunks > MOST_LAST_CHUNKS:
                raise StreamClosedError(writer.stream_id, "stopped")
        with driver.undisturbed() if driver.runs_here() else self._helps():
            try:
                text = self._encode(chunk)
                if text:
                    writer.add(text)
            except (EncodeError, ChunkTooLargeError, PublicError) as error:
                driver.refuse(error)
                raise

    def interrupt_helpers(self) -> None:
        """Interrupt those who have sent something and wait for more from a model, each once.

        The others hear of it when they send, or here, when they wait the next time.
        """
        with self._reaching:
            for helper in self._helpers.values():
                if not (helper.sends or helper.told):
                    helper.interrupt()
        tasks = list(self._helping)
        self._helping.clear()
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """The attempt is over: nobody is to be interrupted any more, but by its own interrupt."""
        if self._driver.interrupted:
            self.interrupt_helpers()
        with self._reaching:
            self._helpers.clear()
        self._helping.clear()

    @contextlib.contextmanager
    def _helps(self) -> Iterator[None]:
        """Note who sends, another than the generator itself, and leave it alone meanwhile."""
        task = current_asyncio_task()
        if task is not None:
            # Not one that serves other streams too.
            if running.get() is self._runs_as is not None:
                self._helping.add(task)
            yield
            return
        helper = _Helper(
            threads.job_frame(sys._getframe()), threads.current_greenlet(), self._is_told()
        )
        with self._reaching:
            self._helpers[helper.thread] = helper
        try:
            yield
        finally:
            with self._reaching:
                helper.sends = False

    def _raise_interruption(self) -> bool:
        """Interrupt whoever sends, once; True: it was, and may send last chunks.

        Raises:
            StreamStopped: it had not heard of it yet.
            SoftTimeLimitExceeded: nor had a generator that handles this.
        """
        driver = self._driver
        if not driver.interrupted:
            return False
        if driver.runs_here():
            if not (driver.heard or _is_being_interrupted()):
                raise driver.interruption()
        elif not (self._was_told() or _is_being_interrupted()):
            raise StreamStopped
        return True

    def _was_told(self) -> bool:
        """Whether this thread or asyncio task was told before; from now on it was."""
        task = current_asyncio_task()
        if task is not None:
            told = task in self._told_tasks
            self._told_tasks.add(task)
            return told
        told = self._is_told()
        self._told_threads.told = True
        with self._reaching:
            if helper := self._helpers.get(threading.get_ident()):
                helper.told = True
        return told

    def _is_told(self) -> bool:
        return bool(getattr(self._told_threads, "told", False))


class _Helper:
    """A thread or greenlet other than the generator's that sends chunks.

    Args:
        job: the frame of what it does for the task.
        greenlet: if it is one.
        told: it has been interrupted.

    Attributes:
        sends: it is in the middle of sending.
    """

    def __init__(
        self, job: FrameType | None, greenlet: threads.CurrentGreenlet | None, told: bool
    ) -> None:
        self.thread = threading.get_ident()
        self.told = told
        self.sends = True
        self._job = job
        self._greenlet = greenlet

    def interrupt(self) -> None:
        """Interrupt it, if it reads from a socket for the task."""
        greenlet = self._greenlet
        if greenlet is not None:
            greenlet.soon(lambda: self._throw(greenlet))
        elif self._reads(sys._current_frames().get(self.thread)):
            self.told = True
            threads.hang_up(self.thread, StreamStopped)

    def _reads(self, innermost: FrameType | None) -> bool:
        return self._job is not None and threads.reads_within(innermost, self._job)

    def _throw(self, greenlet: threads.CurrentGreenlet) -> None:
        if not (self.sends or self.told) and self._reads(greenlet.frame):
            self.told = True
            greenlet.throw(StreamStopped())


def _is_being_interrupted() -> bool:
    """Whether this runs while an interrupt is handled: in a `finally` block, for example."""
    error = sys.exc_info()[1]
    if error is None:
        return False
    return isinstance(error, SoftTimeLimitExceeded) or not isinstance(error, Exception)

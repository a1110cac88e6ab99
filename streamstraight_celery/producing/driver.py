"""Runs a user's generator and hands its chunks to the writer; stoppable while it waits.

A stop has to reach a generator that is blocked in a read from the LLM. How that is done depends on
where it runs:

- in the process' main thread (prefork, solo): a signal whose handler raises `StreamStopped`, only
  while the driver is inside `next()`;
- in a greenlet (gevent, eventlet): the same is thrown into it;
- on the event loop thread (async generators, in any pool): the task is cancelled;
- in another thread (threads): Python cannot interrupt it. So it runs on a thread of its own that is
  left behind: the pool's thread is free at once, the generator is closed at its next chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from ..errors import StreamError, StreamStopped
from ..os_threads import Mailbox, loop_thread
from .generators import aclose_generator, close_generator
from .threads import current_greenlet, start_thread
from .writer import StreamWriter

Wire = Callable[[Any], str]

# Celery leaves SIGUSR2 free in its pool processes.
INTERRUPT = getattr(signal, "SIGUSR2", None)
# How long a cancelled async generator may take for its clean-up before it is left behind.
CLEANUP_TIMEOUT = 10.0
# What a generator raises to end its process or coroutine, where it is in none of its own. (Not all
# that is no Exception: terminating a task in a greenlet throws such into it.)
OF_A_PROCESS = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
# How often a generator in the main thread is interrupted until it ends.
INTERRUPT_INTERVAL = 0.02
# How often an async generator looks whether there is room for more chunks.
FULL_INTERVAL = 0.002


class Driver:
    """Drives one generator into one writer.

    Args:
        encode: chunk to one-line JSON text, `""` for no chunk.
        on_poke: called in a signal handler when the signal was not for a waiting generator.
        detached: makes the context in which a sync generator runs that has to run on a thread of
            its own to be stoppable; None: it must not leave this thread.
    """

    def __init__(
        self,
        encode: Wire,
        on_poke: Callable[[], None],
        *,
        detached: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        self._encode = encode
        self._on_poke = on_poke
        self._stopping = False
        self._waiting = False
        self._handling = False
        self._green = current_greenlet()
        self._main = self._green is None and threading.current_thread() is threading.main_thread()
        self._detached = None if self._main or self._green else detached
        self._gate = threading.Lock()
        self._left: Future[Any] | None = None
        self._cancel: Callable[[], None] | None = None
        self._interrupter: threading.Thread | None = None
        self._ended = threading.Event()

    def interrupt(self) -> None:
        """Stop the generator, also while it waits. Called from the sender thread."""
        self._stopping = True
        if self._cancel is not None:
            self._cancel()
        elif self._green is not None:
            self._green.soon(self._throw)
        elif self._left is not None:
            self._leave(self._left)
        elif self._handling and self._interrupter is None:
            self._interrupter = threading.Thread(
                target=self._keep_interrupting, name="stream-stop", daemon=True
            )
            self._interrupter.start()

    def run(self, chunks: Iterator[Any] | AsyncIterator[Any], writer: StreamWriter) -> Any:
        """Drive to the end and return what the generator returns (None for an async one).

        Raises:
            StreamStopped: it was interrupted; the generator is closed.
            Exception: whatever the generator, the codec or the writer raised.
        """
        if isinstance(chunks, AsyncIterator):
            return self._run_async(chunks, writer)
        if self._detached is not None:
            return self._run_detached(chunks, writer, self._detached)
        with self._signals():
            try:
                return self._consume(chunks, writer)
            except OF_A_PROCESS as error:
                if self._main and isinstance(error, (SystemExit, KeyboardInterrupt)):
                    raise
                raise _own(error) from error
            finally:
                close_generator(chunks)

    # -- sync

    def _consume(self, chunks: Iterator[Any], writer: StreamWriter) -> Any:
        encode, write = self._encode, writer.write
        while True:
            # In this order: a stop between the two lines is seen by one of them.
            self._waiting = True
            try:
                if self._stopping:
                    raise StreamStopped
                chunk = next(chunks)
            except StopIteration as end:
                return end.value
            finally:
                self._waiting = False
            text = encode(chunk)
            if text:
                write(text)

    def _throw(self) -> None:
        # Runs between the greenlets, so what it sees does not change meanwhile.
        if self._waiting and self._green is not None:
            self._waiting = False
            self._green.throw(StreamStopped)

    def _keep_interrupting(self) -> None:
        # Once is not enough: a signal that comes when the main thread is about to enter a blocking
        # call, but has not, does not interrupt that call, and Python sees it only afterwards.
        main = threading.main_thread().ident or 0
        while not self._ended.is_set():
            if self._handling and INTERRUPT is not None:
                signal.pthread_kill(main, INTERRUPT)
            self._ended.wait(INTERRUPT_INTERVAL)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle the interrupt signal while the generator runs."""
        if not self._main or INTERRUPT is None:
            yield
            return
        before = signal.signal(INTERRUPT, self._on_signal)
        # Before the generator looks for a stop: one that came earlier has interrupted nobody.
        self._handling = True
        try:
            yield
        finally:
            self._handling = False
            self._ended.set()
            # Never back to the default action, which ends the process: one may be on its way.
            signal.signal(INTERRUPT, before if callable(before) else _ignore)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            # From the worker's parent process, which cannot know which stream runs here now.
            self._on_poke()
        elif self._waiting:
            self._waiting = False
            raise StreamStopped

    # -- sync, on a thread of its own

    def _run_detached(
        self,
        chunks: Iterator[Any],
        writer: StreamWriter,
        context: Callable[[], AbstractContextManager[object]],
    ) -> Any:
        outcome: Future[Any] = Future()

        def run() -> None:
            try:
                with context():
                    try:
                        value = self._consume_gated(chunks, writer)
                    finally:
                        close_generator(chunks)
            except (Exception, StreamStopped) as error:
                _settle(outcome, error)
            except BaseException as error:
                _settle(outcome, _own(error))
            else:
                _settle(outcome, None, value)

        self._left = outcome
        if self._stopping:
            raise StreamStopped
        start_thread("stream-generator", run)
        return outcome.result()

    def _consume_gated(self, chunks: Iterator[Any], writer: StreamWriter) -> Any:
        """As `_consume`; a generator that was left behind while it waited writes nothing more."""
        encode, write = self._encode, writer.write
        while True:
            with self._gate:
                self._waiting = True
            try:
                if self._stopping:
                    raise StreamStopped
                chunk = next(chunks)
            except StopIteration as end:
                return end.value
            finally:
                with self._gate:
                    self._waiting = False
            if self._stopping:
                raise StreamStopped
            text = encode(chunk)
            if text:
                write(text)

    def _leave(self, outcome: Future[Any]) -> None:
        with self._gate:
            # One that does not wait sees by itself that it is to stop.
            if self._waiting:
                _settle(outcome, StreamStopped())

    # -- async

    def _run_async(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        loop = loop_thread()
        finished: Future[None] = Future()
        # Calls for this thread, which has nothing to do meanwhile; None at the end.
        calls: Mailbox[Callable[[], None] | None] = Mailbox()
        state: dict[str, asyncio.Task[None]] = {}

        def start() -> None:
            task = state["task"] = loop.create_task(self._consume_async(chunks, writer))
            task.add_done_callback(end)

        def end(task: asyncio.Task[None]) -> None:
            _copy(task, finished)
            calls.put(None)

        if (tell := writer.on_first_chunk) is not None:
            # All async generators of the process share the loop: receivers must not hold it up.
            writer.on_first_chunk = functools.partial(calls.put, tell)

        def cancel() -> None:
            loop.call_soon_threadsafe(lambda: state["task"].cancel())

        loop.call_soon_threadsafe(start)
        self._cancel = cancel
        with self._signals():
            try:
                if self._stopping:
                    cancel()
                _carry_out(calls)
                finished.result()
            except asyncio.CancelledError as error:
                if not self._stopping:
                    raise _own(error) from error
                raise StreamStopped from None
            except BaseException:
                # A time limit or termination of this thread, or the generator's own error.
                if not finished.done():
                    cancel()
                    with contextlib.suppress(BaseException):
                        _carry_out(calls, CLEANUP_TIMEOUT)
                raise

    async def run_here(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        """As `run`, for an async generator on the running event loop."""
        loop = asyncio.get_running_loop()
        # A task of its own: a stop must not cancel who waits for it.
        task = loop.create_task(self._consume_async(chunks, writer))

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        if self._stopping:
            cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise StreamStopped from None

    async def _consume_async(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        encode = self._encode
        try:
            async for chunk in chunks:
                text = encode(chunk)
                if text:
                    writer.add(text)
                    while writer.full():
                        # Not in an executor: its threads are few, and a stop cannot end the wait.
                        await asyncio.sleep(FULL_INTERVAL)
                        writer.check()
                if self._stopping:
                    raise asyncio.CancelledError
        finally:
            await aclose_generator(chunks)


def _settle(outcome: Future[Any], error: BaseException | None, value: Any = None) -> None:
    """Set a future that both sides may set: the first one counts."""
    with contextlib.suppress(InvalidStateError):
        if error is None:
            outcome.set_result(value)
        else:
            outcome.set_exception(error)


def _own(error: BaseException) -> StreamError:
    """What stands for an error that Celery takes for no task's own, and would wait on forever."""
    own = StreamError(f"{type(error).__name__} came from within the generator")
    own.__cause__ = error
    return own


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """An interrupt that came after its generator had ended."""


def ignore_interrupts(**_: Any) -> None:
    """Let a pool process survive an interrupt between two tasks (the default action ends it)."""
    if INTERRUPT is not None and signal.getsignal(INTERRUPT) is signal.SIG_DFL:
        signal.signal(INTERRUPT, _ignore)


def _carry_out(calls: Mailbox[Callable[[], None] | None], timeout: float | None = None) -> None:
    """Do what is called for, until the end.

    Raises:
        queue.Empty: nothing was for `timeout` seconds.
    """
    while (call := calls.get(timeout)) is not None:
        call()


def _copy(task: asyncio.Task[None], future: Future[None]) -> None:
    """Hand a task's outcome to the thread that waits for it."""
    if task.cancelled():
        # Not future.cancel(): the waiting thread would see another class of CancelledError.
        future.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        future.set_exception(error if isinstance(error, Exception) else _own(error))
    else:
        future.set_result(None)

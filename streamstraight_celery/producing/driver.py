"""Runs a user's generator and hands its chunks to the writer; stoppable while it waits.

A stop has to reach a generator that is blocked in a read from the LLM. How that is done depends on
where it runs:

- in the process' main thread (prefork, solo): a signal whose handler raises `StreamStopped`, only
  while the driver is inside `next()`;
- in a greenlet (gevent, eventlet): the same is thrown into it;
- on the event loop thread (async generators, in any pool): the task is cancelled;
- in another thread (threads): Python cannot interrupt a read. So it runs on a thread that is left
  behind: the pool's thread is free at once, the socket that the generator reads from is shut down.

A soft time limit is carried out in the same way, in every pool: clients that retry on any
`Exception` take Celery's for a broken connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from ..errors import StreamClosedError, StreamStopped
from ..os_threads import Mailbox, loop_thread
from ..relays.end_reasons import EndReason
from . import threads
from .generators import aclose_generator, close_generator, has_ended, mentions
from .interrupts import INTERRUPT, LIMIT, Ending, Interruptible, celery_limit_handler, ignore
from .loop_watch import LoopWatch
from .sending import FULL_INTERVAL, Sending
from .writer import StreamWriter

log = logging.getLogger(__name__)

Wire = Callable[[Any], str]
LastWords = Callable[[BaseException], tuple[EndReason, str] | None]

# How long readers wait for the clean-up of a generator that was interrupted or has failed.
CLEANUP_GRACE = 1.0
# After this the log names the generator, and an async one is left behind.
CLEANUP_TIMEOUT = 10.0
# How much later than Celery's signal the driver itself sees to a time limit.
LIMIT_DELAY = 0.5
# What a generator raises to end its process or coroutine, where it is in none of its own. (Not all
# that is no Exception: terminating a task in a greenlet throws such into it.)
OF_A_PROCESS = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
# Names by which a generator's code shows that it sends.
SENDING = ("send", "asend", "stream", "current_stream")
# How often a generator in the main thread is interrupted until it ends.
INTERRUPT_INTERVAL = 0.02


class Driver(Interruptible):
    """Drives one generator into one writer.

    Args:
        encode: chunk to one-line JSON text, `""` for no chunk.
        on_check: called in a signal handler when the signal is `CHECK_STOPS`.
        detached: makes the context in which a sync generator runs that has to run on a thread of
            its own to be stoppable; None: it must not leave this thread.
        name: of the generator, for the log.
        time_limit: seconds after which it is interrupted.
        last_words: the end reason, and the error for readers, when the clean-up after that error
            takes long; None: readers have to wait, because the task may be retried.
        sends: it also sends chunks itself.
        why_terminated: asked why its process or greenlet is terminated.
    """

    def __init__(
        self,
        encode: Wire,
        on_check: Callable[[], None],
        *,
        detached: Callable[[], AbstractContextManager[object]] | None = None,
        name: str = "a generator",
        time_limit: float | None = None,
        last_words: LastWords | None = None,
        sends: bool = False,
        why_terminated: Callable[[], Ending] = lambda: "terminated",
    ) -> None:
        self._encode = encode
        self._on_check = on_check
        self.name = name
        self._time_limit = time_limit
        self._last_words = last_words
        super().__init__(why_terminated)
        # Readers of one that was left behind wait a moment for what it may send at last.
        self.sends = sends
        self._handling = False
        self._main = self._green is None and threading.current_thread() is threading.main_thread()
        self._detached = None if self._main or self._green else detached
        self._on_celery_limit = celery_limit_handler()
        # In a process of the prefork pool.
        self._celery_signals_limits = (
            self._main and LIMIT is not None and signal.getsignal(LIMIT) is self._on_celery_limit
        )
        self.sending: Sending | None = None
        self._left: Future[Any] | None = None
        self._cancel: Callable[[], None] | None = None
        self._left_behind = False
        self._abandon: Callable[[], None] | None = None
        self._watched = False
        self._ended = threading.Event()

    def interrupt(self) -> None:
        """Stop the generator, also while it waits. Called from the sender thread."""
        self._stopping = True
        self._reach()
        if self._writer is not None:
            self._watch()

    def run(self, chunks: Iterator[Any] | AsyncIterator[Any], writer: StreamWriter) -> Any:
        """Drive to the end and return what the generator returns (None for an async one).

        Raises:
            StreamStopped: it was interrupted; the generator is closed.
            SoftTimeLimitExceeded: so it was, by its time limit.
            Exception: whatever the generator, the codec or the writer raised.
        """
        self._writer = writer
        self.sending = Sending(self, self._encode, writer)
        self._wants_limit = mentions(chunks, SoftTimeLimitExceeded.__name__)
        self.sends = self.sends or any(mentions(chunks, name) for name in SENDING)
        if self._time_limit is not None:
            threads.start_thread("stream-limit", self._await_limit)
        try:
            value = self._run(chunks, writer)
            if self._failure is not None:
                raise self._failure
            if self.interrupted:
                # It has caught that, or a thread of its own has heard of it: what looks like its
                # end need not be that of the answer.
                raise StreamStopped
            return value
        except (StreamStopped, StreamClosedError):
            if self._failure is not None:
                raise self._failure from None
            if self._limited and not self._stopping:
                raise SoftTimeLimitExceeded from None
            raise
        finally:
            self._ended.set()
            self.sending.close()

    def _run(self, chunks: Iterator[Any] | AsyncIterator[Any], writer: StreamWriter) -> Any:
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
                raise threads.own_error(error) from error
            except Exception as error:
                self._clean_up_after(error, chunks)
                raise
            finally:
                close_generator(chunks)

    # -- interrupting

    def refuse(self, error: Exception) -> None:
        """A chunk cannot be sent: the attempt fails with that error, whoever catches it."""
        self._failure = self._failure or error
        self._stopping = True
        if not self.runs_here():
            self._reach()
            self._watch()

    def _reach(self) -> None:
        """Interrupt the generator, wherever it is."""
        if self._cancel is not None:
            self._cancel()
        elif self._green is not None:
            self._green.soon(self._throw)
        elif self._left is not None:
            self._leave(self._left)

    def _await_limit(self) -> None:
        limit = self._time_limit or 0.0
        delay = LIMIT_DELAY if self._celery_signals_limits else 0.0
        if not self._ended.wait(limit + delay):
            self._limited = True
            self._reach()
            self._watch()

    def _clean_up_after(self, error: BaseException, chunks: object) -> None:
        """The generator is about to be closed because of that error."""
        if not has_ended(chunks):
            self._failure = error
            self._watch()

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            threads.start_thread("stream-stop", self._see_to_the_end)

    def _see_to_the_end(self) -> None:
        """Interrupt the generator until it ends; readers need not wait for its clean-up."""
        # Once is not enough: a signal that comes when the main thread is about to enter a blocking
        # call, but has not, does not interrupt that call, and Python sees it only afterwards.
        main = threading.main_thread().ident or 0
        since, told = time.monotonic(), False
        while not self._ended.wait(INTERRUPT_INTERVAL):
            if self._handling and self._waiting and INTERRUPT is not None:
                signal.pthread_kill(main, INTERRUPT)
            if self.sending is not None:
                self.sending.interrupt_helpers()
            passed = time.monotonic() - since
            if passed >= CLEANUP_TIMEOUT:
                break
            if passed >= CLEANUP_GRACE and not told:
                told = True
                self._tell_readers()
        else:
            return
        self._give_up()

    def _tell_readers(self) -> None:
        """End the stream while the generator still cleans up."""
        writer, error = self._writer, self._failure
        if error is None and self._limited and not self._stopping:
            if self._wants_limit:
                return
            error = SoftTimeLimitExceeded()
        if self._left is not None:
            threads.settle(self._left, error or StreamStopped())
        elif writer is not None and error is not None:
            if self._last_words and (words := self._last_words(error)):
                writer.end_early(*words)
        elif writer is not None and writer.stop_asked:
            writer.end_early("stopped")

    def _give_up(self) -> None:
        """The clean-up takes very long: say whose it is, and free what can be freed."""
        frame = None if self._cancel else threads.place_of(self._green, self._thread)
        log.warning(
            "%s was told to end %.0f s ago, but its clean-up still runs%s. Does it wait for "
            "threads, such as `with ThreadPoolExecutor()`?",
            self.name, CLEANUP_TIMEOUT, f" ({frame}) and holds its slot" if frame else "",
        )  # fmt: skip
        if self._wants_limit and not self._stopping:
            # It had its time; from now on it is interrupted like any other.
            self._wants_limit = self._watched = False
            self._reach()
            self._watch()
        elif self._abandon is not None:
            self._abandon()

    # -- sync

    def _consume(self, chunks: Iterator[Any], writer: StreamWriter) -> Any:
        encode, write = self._encode, self._write
        while True:
            # In this order: a stop between the two lines is seen by one of them.
            self._waiting = True
            try:
                chunk = next(chunks) if not self.interrupted else self._thrown_into(chunks)
            except StopIteration as end:
                return end.value
            finally:
                self._waiting = False
            if self._stopping:
                raise self.interruption()
            text = encode(chunk)
            if text:
                write(text, writer)

    def _thrown_into(self, chunks: Iterator[Any]) -> Any:
        """What the generator makes of an interrupt that comes between two chunks."""
        error = self.interruption()
        throw: Callable[[BaseException], Any] | None = getattr(chunks, "throw", None)
        if isinstance(error, SoftTimeLimitExceeded) and throw is not None:
            return throw(error)
        raise error

    def _throw(self) -> None:
        # Runs between the greenlets, so what it sees does not change meanwhile.
        if self._waiting and self.interrupted and self._green is not None:
            self._green.throw(self.interruption())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle the interrupt signal while the generator runs."""
        if not self._main or INTERRUPT is None:
            yield
            return
        before = signal.signal(INTERRUPT, self._on_signal)
        if self._celery_signals_limits:
            signal.signal(LIMIT, self._on_limit)
        # Before the generator looks for a stop: one that came earlier has interrupted nobody.
        self._handling = True
        try:
            yield
        finally:
            self._handling = False
            if self._celery_signals_limits:
                signal.signal(LIMIT, self._on_celery_limit)
            # Never back to the default action, which ends the process: one may be on its way.
            signal.signal(INTERRUPT, before if callable(before) else ignore)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not (self._stopping or self._limited):
            self._on_check()
        elif self._waiting and self.interrupted:
            raise self.interruption()

    def _on_limit(self, number: int, frame: FrameType | None) -> None:
        if self._limited:
            return
        self._limited = True
        if self._cancel is not None:
            self._cancel()
        elif self._waiting:
            raise self.interruption()
        elif not self._undisturbed:
            # In the encoder, for example.
            self._told = True
            self._on_celery_limit(number, frame)

    # -- sync, on a thread of its own

    def _run_detached(
        self,
        chunks: Iterator[Any],
        writer: StreamWriter,
        context: Callable[[], AbstractContextManager[object]],
    ) -> Any:
        outcome: Future[Any] = Future()

        def run() -> None:
            self._thread = threading.get_ident()
            try:
                with context():
                    try:
                        value = self._consume_gated(chunks, writer)
                    except Exception as error:
                        self._clean_up_after(error, chunks)
                        raise
                    finally:
                        close_generator(chunks)
            except (Exception, StreamStopped) as error:
                # What it makes of a socket that was shut down is no news.
                threads.settle(outcome, StreamStopped() if self._left_behind else error)
            except BaseException as error:
                threads.settle(outcome, threads.own_error(error))
            else:
                threads.settle(outcome, StreamStopped() if self._left_behind else None, value)

        self._left = outcome
        if self._stopping:
            raise StreamStopped
        threads.start_thread("stream-generator", run)
        return outcome.result()

    def _consume_gated(self, chunks: Iterator[Any], writer: StreamWriter) -> Any:
        """As `_consume`; a generator that was left behind while it waited writes nothing more."""
        encode, write = self._encode, writer.write
        while True:
            with self._gate:
                self._waiting = True
            try:
                chunk = next(chunks) if not self.interrupted else self._thrown_into(chunks)
            except StopIteration as end:
                return end.value
            finally:
                with self._gate:
                    self._waiting = False
            if self._stopping or (self._left is not None and self._left.done()):
                raise self.interruption()
            text = encode(chunk)
            if text:
                write(text)

    def _leave(self, outcome: Future[Any]) -> None:
        with self._gate:
            # One that does not wait sees by itself that it is to stop.
            if not self._waiting:
                return
            self.heard = self._left_behind = True
            self._waiting = False
            if not self.sends or self._wants_limit:
                threads.settle(outcome, StreamStopped())
            # Its clean-up, on the thread that is left behind, need not wait for the next byte.
            threads.hang_up(self._thread, StreamStopped)

    # -- async

    def _run_async(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        loop = loop_thread()
        finished: Future[None] = Future()
        # Calls for this thread, which has nothing to do meanwhile; None at the end.
        calls: Mailbox[Callable[[], None] | None] = Mailbox()

        def start() -> None:
            task = self._task = loop.create_task(self._consume_async(chunks, writer))
            task.add_done_callback(end)

        def end(task: asyncio.Task[None]) -> None:
            threads.copy_outcome(task, finished)
            calls.put(None)

        if (tell := writer.on_first_chunk) is not None:
            # All async generators of the process share the loop: receivers must not hold it up.
            writer.on_first_chunk = functools.partial(calls.put, tell)

        def cancel() -> None:
            loop.call_soon_threadsafe(cancel_once)

        def cancel_once() -> None:
            # A second time would cancel its clean-up.
            if self._task is not None and not self.heard:
                self.heard = True
                self._task.cancel()

        def leave() -> None:
            raise StreamStopped

        loop.call_soon_threadsafe(start)
        self._cancel = cancel
        self._abandon = functools.partial(calls.put, leave)
        with self._signals():
            try:
                if self._stopping or self._limited:
                    cancel()
                threads.carry_out(calls)
                finished.result()
            except asyncio.CancelledError as error:
                if not (self._stopping or self._limited):
                    raise threads.own_error(error) from error
                raise StreamStopped from None
            except BaseException as error:
                # A time limit or termination of this thread, or the generator's own error.
                if not finished.done():
                    self._terminated = not isinstance(error, Exception)
                    cancel()
                    with contextlib.suppress(BaseException):
                        threads.carry_out(calls, CLEANUP_TIMEOUT)
                raise

    async def run_here(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        """As `run`, for an async generator on the running event loop."""
        self._writer = writer
        self.sending = Sending(self, self._encode, writer)
        loop = asyncio.get_running_loop()
        # A task of its own: a stop must not cancel who waits for it.
        task = self._task = loop.create_task(self._consume_async(chunks, writer))

        def cancel() -> None:
            self.heard = True
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
        finally:
            self._ended.set()
            self.sending.close()

    async def _consume_async(self, chunks: AsyncIterator[Any], writer: StreamWriter) -> None:
        encode = self._encode
        watch = LoopWatch.enter(Driver._consume_async.__code__)
        try:
            async for chunk in chunks:
                text = "" if self.interrupted else encode(chunk)
                if text:
                    writer.add(text)
                    while writer.full():
                        # Not in an executor: its threads are few, and a stop cannot end the wait.
                        await asyncio.sleep(FULL_INTERVAL)
                        writer.check()
                if self.interrupted:
                    self.heard = True
                    raise asyncio.CancelledError
        except Exception as error:
            self._clean_up_after(error, chunks)
            raise
        finally:
            await aclose_generator(chunks)
            watch.leave()

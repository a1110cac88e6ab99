"""A generator that this process runs into a stream, outside of any task: see `background`."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

from celery import Celery
from celery.utils import uuid

from ..codecs import Codec, wire_encoder
from ..enqueue.announcing import announce, withdrawn_on_error
from ..enqueue.handle import StreamLink
from ..errors import StreamClosedError, StreamError, StreamStopped
from ..offsets import new_nonce
from ..producing.driver import Driver
from ..producing.failures import describe_error
from ..producing.threads import start_thread
from ..producing.writer import LAST_WORDS_TIMEOUT, StreamWriter
from ..relays.about import UNKNOWN, About
from ..relays.end_reasons import EndReason, error_json
from ..relays.requests import Conclude, Create, Stop
from ..runtime import Runtime
from .turn import Turn

log = logging.getLogger(__name__)

Chunks = Iterator[Any] | AsyncIterator[Any]

SERVER_STOPPED = error_json("server-stopped", "The server was stopped.")
NOT_BEGUN = error_json("not-begun", "The answer was never begun.")


class Publication(StreamLink):
    """A generator that this process runs into a stream.

    It is announced when it is made, so `ref()` is good at once, and produced by `run`, `arun` or
    `start`, once. When it is forgotten before that, the stream ends as `producer-error`.

    Args:
        chunks: a sync or async generator (or any iterator).
        runtime: of the Celery app.
        stream_id: name of the stream.
        codec: what encodes the chunks.
        turn: in which conversation it is.
        on_end: name of the task that is told of its end, or "".
        about: what it is found by.

    Raises:
        TypeError: not an iterator.
        StreamActiveError: the conversation has an active stream.
        StreamExistsError: there is a stream of that name.
        RelayUnavailableError: the relay does not answer.
    """

    def __init__(
        self,
        chunks: Chunks,
        app: Celery,
        runtime: Runtime,
        stream_id: str,
        codec: Codec,
        turn: Turn | None = None,
        on_end: str = "",
        about: About = UNKNOWN,
    ) -> None:
        if not isinstance(chunks, (Iterator, AsyncIterator)):
            raise TypeError(
                f"{chunks!r} is not a generator: call the generator function and pass its result"
            )
        super().__init__(app, runtime, stream_id)
        self._chunks = chunks
        self._codec = codec
        self._on_end = on_end
        self._owner = uuid()
        self._pid = os.getpid()
        self._driver: Driver | None = None
        self._writer: StreamWriter | None = None
        self._given_up = False
        self._begun = threading.Lock()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._about = about
        conversation = turn.conversation.name if turn else ""
        request = Create(
            stream_id, self._owner, codec.kind, conversation=conversation, on_end=on_end,
            about=about,
        )  # fmt: skip
        announce(app, runtime, request)
        if turn is not None:
            with withdrawn_on_error(runtime, stream_id):
                turn.take(stream_id)
        named = stream_id, self._owner, self._pid
        tells = self._tells = bool(on_end) or turn is not None

        def ask(request: Conclude) -> None:
            asked = runtime.request_queue.ask(request)
            if tells:
                asked.add_done_callback(lambda _: runtime.tell_end_soon(app, stream_id))

        def ask_at_exit(request: Conclude) -> None:
            runtime.relay.call(request)
            if tells:
                runtime.tell_end(stream_id)

        self._end_unbegun = functools.partial(_end_unbegun, ask, *named)
        # A failed response silently skips its background tasks.
        self._forgotten = weakref.finalize(self, self._end_unbegun)
        self._forgotten.atexit = False  # no thread can be started then: `end_publications`
        _unbegun[self._owner] = functools.partial(_end_unbegun, ask_at_exit, *named)

    def _stop(self) -> bool:
        # Unlike a task's: no worker has to be told, only this process.
        answer = self._runtime.relay.call(Stop(self.id))
        self._runtime.sender.check_stops()
        if answer.kind == "ended":
            self.tell_end()
        return answer.kind in ("asked", "ended")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the generator has ended; False when it has not within `timeout` seconds.

        Raises:
            Exception: what the generator, the codec or the writer raised.
        """
        if not self._done.wait(timeout):
            return False
        if self._error is not None:
            raise self._error
        return True

    # -- producing

    def start(self) -> None:
        """Produce in a separate thread. Errors are logged, and raised by `wait`."""
        start_thread(f"stream-{self.id}", self._logged)

    def run(self) -> None:
        """Produce here and now; returns at the end of the stream, also when it was stopped.

        Raises:
            Exception: what the generator, the codec or the writer raised; the stream has ended.
            RuntimeError: it was produced before.
        """
        with self._producing(self.tell_end):
            driver = self._open()
            if driver is None:
                return
            try:
                driver.run(self._source(), self._held())
            except StreamStopped:
                self._stopped()
            else:
                self._held().finish("completed")

    async def arun(self) -> None:
        """As `run`, on the running event loop; a sync generator runs in a thread.

        Raises:
            Exception: as `run`.
            asyncio.CancelledError: the caller was cancelled; the stream has ended.
        """
        if not isinstance(self._chunks, AsyncIterator):
            await self._run_beside()
            return
        # An event loop must not wait for the broker.
        with self._producing(functools.partial(self._runtime.tell_end_soon, self._app, self.id)):
            driver = await asyncio.to_thread(self._open)
            if driver is None:
                return
            source = self._source()
            assert isinstance(source, AsyncIterator)
            try:
                await driver.run_here(source, self._held())
            except StreamStopped:
                await asyncio.to_thread(self._stopped)
            except Exception as error:
                # Not only in `_producing`: the event loop must not wait for the relay.
                await asyncio.to_thread(self._fail, error)
                raise
            else:
                await asyncio.to_thread(self._held().finish, "completed")

    async def _run_beside(self) -> None:
        """`run` in a separate thread: the event loop's executor has few, shared by all."""
        outcome: Future[None] = Future()
        outcome.set_running_or_notify_cancel()

        def run() -> None:
            try:
                self.run()
            except BaseException as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(None)

        start_thread(f"stream-{self.id}", run)
        try:
            await asyncio.wrap_future(outcome)
        except asyncio.CancelledError:
            self._give_up()
            raise

    def abandon(self, timeout: float = LAST_WORDS_TIMEOUT) -> None:
        """End the stream as `producer-error`, code `server-stopped`: the process goes down."""
        self._end("producer-error", SERVER_STOPPED, timeout)

    def tell_end(self) -> None:
        """Tell `on_end` and the conversation of the end, if there is one and they were not told."""
        if self._tells:
            self._runtime.tell_end(self.id)

    def _give_up(self) -> None:
        """Stop waiting: the generator ends at its next chunk at the latest."""
        self._given_up = True
        if self._driver is not None:
            self._driver.interrupt()
        self.abandon()

    @property
    def ours(self) -> bool:
        """Whether this process produces it, and not the one it was forked from."""
        return self._pid == os.getpid()

    def _source(self) -> Chunks:
        """The generator; `tee` looks at what passes."""
        return self._chunks

    def _ended(self, error: BaseException | None) -> None:
        """Called when it is over; `tee` tells its reader."""

    def _logged(self) -> None:
        try:
            self.run()
        except BaseException:
            log.exception("stream %s failed", self.id, extra={"stream_id": self.id})

    @contextlib.contextmanager
    def _producing(self, tell: Callable[[], None]) -> Iterator[None]:
        """Wrap production so that the stream ends in any case, and `tell` that it has."""
        if not self._begun.acquire(blocking=False):
            raise RuntimeError(f"stream {self.id} was produced before: a generator runs once")
        self._forgotten.detach()
        _unbegun.pop(self._owner, None)
        self._pid = os.getpid()
        _running.add(self)
        error: BaseException | None = None
        try:
            yield
        except asyncio.CancelledError:
            # The event loop is about to close.
            error = StreamError("the event loop was closed")
            self._give_up()
            raise
        except BaseException as raised:
            error = raised
            self._fail(raised)
            raise
        finally:
            _running.discard(self)
            self._error = error
            self._done.set()
            self._ended(error)
            # Last: a broker that does not answer holds it up.
            if self._tells:
                tell()

    def _open(self) -> Driver | None:
        """Claim the stream; None when it was stopped before it began."""
        runtime = self._runtime
        driver = self._driver = Driver(
            wire_encoder(self._codec, runtime.settings.nan), runtime.sender.check_stops,
            name=f"stream {self.id}", last_words=_last_words,
        )  # fmt: skip
        try:
            self._writer = runtime.sender.open(
                self.id, owner=self._owner, kind=self._codec.kind, on_interrupt=driver.interrupt,
                on_end=self._on_end, about=self._about,
            )  # fmt: skip
        except StreamClosedError as closed:
            if closed.reason != "stopped":
                raise
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
            return None
        if self._writer.stop_asked:
            driver.interrupt()
        if self._given_up:
            # Cancelled while the relay was asked. `_give_up` sees the writer, or this sees that.
            self._give_up()
        return driver

    def _held(self) -> StreamWriter:
        assert self._writer is not None
        return self._writer

    def _stopped(self) -> None:
        writer = self._held()
        if not writer.stop_asked:
            # Interrupted because writing has become impossible; the writer knows why.
            writer.check()
        if not writer.done:
            writer.finish("stopped")

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, StreamClosedError):
            return
        if self._writer is None:
            self._end_unbegun()
        elif isinstance(error, Exception):
            self._end(*describe_error(error))
        else:
            self.abandon()

    def _end(self, reason: EndReason, error: str, timeout: float | None = None) -> None:
        writer = self._writer
        if writer is None or writer.done:
            return
        try:
            writer.finish(reason, error, timeout=timeout)
        except StreamError as problem:
            # The error on its way to the caller matters more.
            about = {"stream_id": self.id}
            log.warning(
                "stream %s: its end could not be written: %s", self.id, problem, extra=about
            )


def _last_words(error: BaseException) -> tuple[EndReason, str] | None:
    return describe_error(error) if isinstance(error, Exception) else None


def _end_unbegun(ask: Callable[[Conclude], object], stream_id: str, owner: str, pid: int) -> None:
    """End a stream that was announced and will not be produced.

    Also called by the garbage collector, anywhere: then `ask` only tells a thread to do it.
    """
    _unbegun.pop(owner, None)
    if pid == os.getpid():
        ask(Conclude(stream_id, owner, new_nonce(), "producer-error", NOT_BEGUN))


_running: set[Publication] = set()
# Functions that end announced streams that have not started, by owner.
_unbegun: dict[str, Callable[[], None]] = {}


def end_publications() -> None:
    """End all streams that this process produces, or has announced, as `producer-error`.

    The process goes down.

    Runs by itself when Python exits in an orderly way. Servers that end by signal skip that: call
    this in their shutdown hook, or readers learn of the end when the lease is over.
    """
    # One after the other: Python starts no thread any more when it exits.
    deadline = time.monotonic() + LAST_WORDS_TIMEOUT
    for publication in [each for each in list(_running) if each.ours]:
        publication.abandon(max(0.0, deadline - time.monotonic()))
        if time.monotonic() < deadline:
            publication.tell_end()
    with contextlib.suppress(StreamError):  # one that does not answer is not asked again
        for end in list(_unbegun.values()):
            if time.monotonic() < deadline:
                end()


atexit.register(end_publications)

"""What `read_stream` and `aread_stream` return: an iterable over a source and its inbox."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from ..cancellation import cancelled
from .inbox import Inbox
from .options import IDLE, Status

T = TypeVar("T")


class Steps(Protocol):
    """Where the chunks come from, for the sync reader."""

    def advance(self) -> None:
        """Do one step of reading: it may bring something, or nothing."""

    def wake(self) -> None:
        """From another thread: have the step under way return soon."""

    def stop(self) -> None:
        """Ask for the task to be stopped."""

    def close(self) -> None:
        """Give up connections."""


class AsyncSteps(Protocol):
    """Where the chunks come from, for the async reader; its steps may be cancelled."""

    async def advance(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


class _Reader(Generic[T]):
    """What both kinds of readers show."""

    def __init__(self, inbox: Inbox[T]) -> None:
        self._inbox = inbox

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.stream_id} {self.status}>"

    @property
    def stream_id(self) -> str:
        """The stream's id."""
        return self._inbox.stream_id

    @property
    def status(self) -> Status:
        """The connection: `connecting`, `open`, `reconnecting` or `closed`.

        `connecting` until its first answer or failure, `reconnecting` when it is tried again.
        """
        return self._inbox.status

    @property
    def offset(self) -> str:
        """The position after the last chunk handed out, to go on from later with `offset=`.

        Opaque: between two chunks of one frame it is more than an offset of the relay's.
        """
        return self._inbox.offset

    @property
    def end_reason(self) -> str | None:
        """Why the stream ended: `completed`, `stopped`, `producer-error`, ...; None: not yet."""
        return self._inbox.end_reason

    @property
    def error(self) -> BaseException | None:
        """What ended the reading, when that was no good end."""
        return self._inbox.error


class StreamReader(_Reader[T]):
    """Iterates over a stream's chunks, once and in order, over any number of connections.

    For one consumer. `stop` and `close` may be called from other threads.
    """

    def __init__(self, inbox: Inbox[T], steps: Steps) -> None:
        super().__init__(inbox)
        self._steps = steps
        self._stepping = threading.Lock()
        self._closed = False

    def __iter__(self) -> StreamReader[T]:
        return self

    def __next__(self) -> T:
        """Wait for the next chunk.

        Raises:
            StreamFailedError: the stream ended badly.
            StreamResetError: a new attempt began.
            StreamError: it cannot be read on; the subclass and `code` say why.
        """
        inbox = self._inbox
        while True:
            taken = inbox.take()
            if taken is not None:
                return taken[0]
            if inbox.over:
                self.close()
                raise inbox.outcome() or StopIteration
            if inbox.idle():
                idle: T = IDLE
                return idle
            with self._stepping:
                if not inbox.over:
                    self._steps.advance()

    def stop(self) -> None:
        """Ask for the task to be stopped. Reading goes on until the relay confirms: `stopped`.

        Raises:
            StreamError: the relay refuses, or does not answer.
        """
        if self.end_reason is None:
            self._steps.stop()

    def close(self) -> None:
        """Close the connection and end the iteration; the task goes on."""
        self._inbox.close()
        if self._stepping.acquire(blocking=False):
            try:
                if not self._closed:
                    self._closed = True
                    self._steps.close()
            finally:
                self._stepping.release()
        else:
            # A step is under way, here (in a callback) or in another thread, which closes then.
            self._steps.wake()

    def __enter__(self) -> StreamReader[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncStreamReader(_Reader[T]):
    """As `StreamReader`, for an asyncio event loop. For one consumer; `close` from any task."""

    def __init__(self, inbox: Inbox[T], steps: AsyncSteps) -> None:
        super().__init__(inbox)
        self._steps = steps
        self._step: asyncio.Task[None] | None = None
        self._closed = False

    def __aiter__(self) -> AsyncStreamReader[T]:
        return self

    async def __anext__(self) -> T:
        """Wait for the next chunk; errors as `StreamReader.__next__`. It may be cancelled."""
        inbox = self._inbox
        while True:
            taken = inbox.take()
            if taken is not None:
                return taken[0]
            if inbox.over:
                await self.close()
                raise inbox.outcome() or StopAsyncIteration
            if inbox.idle():
                idle: T = IDLE
                return idle
            await self._advance()

    async def stop(self) -> None:
        """Ask for the task to be stopped. Reading goes on until the relay confirms: `stopped`.

        Raises:
            StreamError: the relay refuses, or does not answer.
        """
        if self.end_reason is None:
            await self._steps.stop()

    async def close(self) -> None:
        """Close the connection and end the iteration; the task goes on."""
        self._inbox.close()
        step = self._step
        if step is not None:
            if step is asyncio.current_task():
                return  # in get_token: whoever waits for the step closes
            await cancelled(step)
        if not self._closed:
            self._closed = True
            await self._steps.close()

    async def __aenter__(self) -> AsyncStreamReader[T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _advance(self) -> None:
        """One step, as a task of its own: `close` can end it, whoever waits for it."""
        step = self._step = asyncio.ensure_future(self._steps.advance())
        try:
            await asyncio.wait([step])
        except asyncio.CancelledError:
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await step
            raise
        finally:
            self._step = None
        if not step.cancelled():
            step.result()
        elif not self._inbox.over:
            raise asyncio.CancelledError

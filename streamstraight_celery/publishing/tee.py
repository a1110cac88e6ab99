"""`tee` and `atee`: one generator into the HTTP response and into a stream at once.

The generator runs outside the response (see `publish`), so the stream still finishes when the
client leaves or reads slowly, and can be read again from the relay server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..os_threads import Mailbox
from ..producing.generators import aclose_generator, close_generator
from .publication import Chunks, Publication
from .publish import PublishOptions, amake, begin, make

if TYPE_CHECKING:
    from typing_extensions import Unpack

Put = Callable[[Any], None]


class _Over(NamedTuple):
    """The last item of a queue: the generator has ended, by itself or by this error."""

    error: BaseException | None


class _Teed(Publication):
    """Hands what passes to `_put`, until the response wants no more."""

    _put: Put | None = None
    _taken = False

    def _source(self) -> Chunks:
        chunks = self._chunks
        if isinstance(chunks, AsyncIterator):
            return self._apassing(chunks)
        return self._passing(chunks)

    def _passing(self, chunks: Iterator[Any]) -> Iterator[Any]:
        try:
            for chunk in chunks:
                self._show(chunk)
                yield chunk
        finally:
            close_generator(chunks)

    async def _apassing(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for chunk in chunks:
                self._show(chunk)
                yield chunk
        finally:
            await aclose_generator(chunks)

    def _ended(self, error: BaseException | None) -> None:
        self._show(_Over(error))

    def _show(self, item: Any) -> None:
        put = self._put
        if put is not None:
            put(item)

    def take(self) -> None:
        """A response begins to take chunks.

        Raises:
            RuntimeError: another iterator already took the chunks.
        """
        if self._taken:
            raise RuntimeError(
                f"the tee of stream {self.id} was iterated before, and gives each chunk once: "
                "give another reader the stream's ref()"
            )
        self._taken = True

    def leave(self) -> None:
        """The response takes no more chunks; the stream continues."""
        self._put = None


class Tee(_Teed):
    """Iterate it in the response: the generator's chunks as they come, and its error."""

    def __init__(self, *args: Any) -> None:
        self._queue: Mailbox[Any] = Mailbox()
        self._put = self._queue.put
        super().__init__(*args)

    def __iter__(self) -> Generator[Any, None, None]:
        self.take()
        try:
            while not isinstance(item := self._queue.get(), _Over):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self.leave()


class AsyncTee(_Teed):
    """Iterate it in the response: the generator's chunks as they come, and its error."""

    def attach(self) -> None:
        """Make it readable on the running event loop."""
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        loop, put = asyncio.get_running_loop(), self._queue.put_nowait

        def over(item: Any) -> None:
            # A sync generator runs in a thread, and may outlive the loop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(put, item)

        self._put = over

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        self.take()
        try:
            while not isinstance(item := await self._queue.get(), _Over):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self.leave()


def tee(chunks: Chunks, **options: Unpack[PublishOptions]) -> Tee:
    """Feed a streaming response and the relay at once; return what the response iterates.

    The generator runs in a separate thread, to its end even if the client leaves. Chunks that a
    slow client has not taken yet are kept in memory. Options and errors as `prepare`.
    """
    teed = make(Tee, chunks, options)
    teed.start()
    return teed


async def atee(chunks: Chunks, **options: Unpack[PublishOptions]) -> AsyncTee:
    """As `tee`, for an async response (ASGI): the generator runs in a task of the event loop."""
    teed = await amake(AsyncTee, chunks, options)
    teed.attach()
    begin(teed)
    return teed

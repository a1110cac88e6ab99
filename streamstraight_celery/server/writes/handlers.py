"""Writing streams over HTTP: bodies in, requests to the relay, replies out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from ...errors import RelayUnavailableError
from ...offsets import segment_of
from ...relays.base import AsyncRelay, Page
from ...relays.requests import Answer, Delete, Fork, Open, Read, Write
from ...settings import StreamSettings
from ..content import content_of
from ..counters import Tally
from ..http import Receive, Refused, Reply, Request, not_found, read_body
from ..live.feed import MAX_LIMIT
from ..live.window import Window
from .durable_writes import Limits, delete_reply, open_reply, parse_open, parse_write, write_reply
from .forks import ForkCall, fork_of, parse_fork

BODY_CHUNKS = 4  # largest body, in chunks of the largest size
# Larger bodies are parsed on a thread: millions of small messages take seconds, and readers wait.
PARSED_HERE = 64 * 1024

T = TypeVar("T")

_large: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Writing:
    """Answers writes of streams that the caller was allowed to write.

    Args:
        relay: where the streams are.
        settings: sizes, and the address that a created stream is told.
        tally: the ends that are written are counted there.
    """

    def __init__(self, relay: AsyncRelay, settings: StreamSettings, tally: Tally) -> None:
        self._relay = relay
        self._tally = tally
        chunk = min(settings.max_chunk_bytes, settings.max_bytes)
        self._limits = Limits(chunk, chunk * BODY_CHUNKS)
        self._base = settings.public_url

    async def answer(
        self,
        stream_id: str,
        request: Request,
        receive: Receive,
        check_readable: Callable[[str], object],
    ) -> Reply:
        """Answer a PUT, POST or DELETE.

        Args:
            stream_id: the stream to write.
            request: its body is still to be received.
            receive: ASGI's.
            check_readable: raises `Refused` when the caller may not read the stream it forks.

        Raises:
            Refused: it is malformed, too large or in conflict with the stream.
            RelayUnavailableError: the relay does not answer; a write without producer headers may
                have happened.
        """
        if request.method == "DELETE":
            answer = await self._execute(Delete(stream_id))
            await self._count_out(answer.source)
            return delete_reply(answer)
        body = await read_body(receive, self._limits.body)
        if request.method == "POST":
            writing = await parsed(
                body, lambda: parse_write(stream_id, request, body, self._limits)
            )
            return write_reply(writing, await self._execute(writing))
        location = f"{self._base}{request.path}"
        fork = parse_fork(request)
        if fork is None:
            opening = await parsed(body, lambda: parse_open(stream_id, request, body, self._limits))
            return open_reply(opening, await self._execute(opening), location)
        check_readable(fork.source)

        def open_as(media_type: str) -> Open:
            return parse_open(stream_id, request, body, self._limits, default=media_type)

        opening, answer = await self._fork(fork, body, open_as)
        return open_reply(opening, answer, location)

    async def _fork(
        self, call: ForkCall, body: bytes, open_as: Callable[[str], Open]
    ) -> tuple[Open, Answer]:
        """Create a fork. It is counted in first, so that the source cannot vanish meanwhile."""
        source = call.source
        counted = await self._execute(Fork(source, 1))
        if counted.kind == "unknown":
            raise not_found()
        if counted.kind == "deleted":
            raise Refused(409, "conflict", "the stream to fork was deleted")
        created = False
        try:
            page = await self._read(source)
            content = content_of(page.state.kind, page.state.content_type)
            opened = await parsed(body, lambda: open_as(content.media_type))
            opening = fork_of(opened, call, page.state, page.entries)
            answer = await self._execute(opening)
            created = answer.kind == "ok"
        finally:
            if not created:
                await self._count_out(source)
        return opening, answer

    async def _count_out(self, source: str) -> None:
        """One fork less of `source`; when it is gone with that, one less of its own source."""
        while source:
            source = (await self._execute(Fork(source, -1))).source

    async def _read(self, stream_id: str) -> Page:
        """The state and the whole log of a stream, as of one attempt.

        Raises:
            Refused: 404, there is none, or it is being replaced.
            RelayUnavailableError: the relay does not answer, or its log is not complete.
        """
        first = (await self._relay.read([Read(stream_id, 0, 0, MAX_LIMIT)]))[0]
        window, page = Window(), first
        while page is not None and window.extend(page.entries):
            if window.last >= page.state.last:
                break
            attempt = segment_of(page.state.segments, window.last).attempt
            page = (await self._relay.read([Read(stream_id, attempt, window.last, MAX_LIMIT)]))[0]
        if first is None or page is None or page.state.nonce != first.state.nonce:
            raise not_found()
        if window.last < page.state.last:
            raise RelayUnavailableError(f"the stream store has lost a part of {stream_id!r}")
        return Page(page.state, tuple(window.entries))

    async def _execute(self, request: Open | Write | Delete | Fork) -> Answer:
        answer = (await self._relay.execute([request]))[0]
        if answer.kind == "error":
            raise RelayUnavailableError(f"the stream store refused to write: {answer.message}")
        if answer.kind == "ok" and isinstance(request, (Open, Write)) and request.end:
            self._tally.closed[request.end] += 1
        return answer


async def parsed(body: bytes, parse: Callable[[], T]) -> T:
    """What `parse` makes of a body; of large ones, one at a time."""
    if len(body) <= PARSED_HERE:
        return parse()
    async with _large.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        return await asyncio.to_thread(parse)

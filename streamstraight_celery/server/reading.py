"""The ways to read a stream: state, catch-up, long-poll, SSE."""

from __future__ import annotations

import asyncio
import random
import time

from ..errors import StreamNotFoundError
from ..offsets import NOW, Offset, Verdict
from ..relays.base import Entry, Page, Read, StreamState
from ..settings import StreamSettings
from . import durable
from .connection import SseConnection
from .durable import Batch, ReadCall, Reply
from .feed import FIRST_LIMIT, Feed, page_limit
from .frames import DurableFrames
from .hub import Hub
from .position import Position, offset_at, segment_of
from .readers import Reader
from .window import Window
from .wire import Wire

# The largest body of one catch-up or long-poll response, about; the rest is for the next request.
BODY_BYTES = 4 * 1024 * 1024


class Reading:
    """Answers reads of streams that the caller was allowed to read.

    Args:
        hub: where live streams are.
        settings: intervals and time-outs.
        max_age: seconds after which a streaming response is closed.
    """

    def __init__(self, hub: Hub, settings: StreamSettings, max_age: float) -> None:
        self._hub = hub
        self._settings = settings
        self._max_age = max_age
        self._door = DurableFrames(lambda: durable.cursor_for("", time.time(), 0))
        self._draining = False
        # One for the process, so that readers that need an own cursor share frames all the same.
        self._jitter = random.uniform(20, 3600)

    async def head(self, stream_id: str) -> Reply:
        """Answer HEAD."""
        return durable.head_reply((await self._page(Read(stream_id))).state)

    async def catch_up(self, stream_id: str, call: ReadCall) -> Reply:
        """Answer a read of what is there now, up to about `BODY_BYTES`."""
        asked = call.asked
        attempt, seq = (asked.attempt, asked.seq) if isinstance(asked, Offset) else (0, 0)
        page = await self._page(Read(stream_id, attempt, seq, 0 if asked == NOW else FIRST_LIMIT))
        state = page.state
        place = durable.position_of(call, state)
        window = Window(place.seq)
        if place.ahead is None and asked != NOW:
            window.extend(page.entries)
            following = await self._fill(window, stream_id, state)
            if following is None:
                return await self.catch_up(stream_id, call)
            state = following
        batch = durable.batch_of(place, state, window.entries)
        return durable.catch_up_reply(call, batch, self._cursor(call))

    async def _fill(self, window: Window, stream_id: str, state: StreamState) -> StreamState | None:
        """Read the rest of the log, up to about `BODY_BYTES`; None: another attempt has begun."""
        while window.last < state.last and window.size < BODY_BYTES:
            attempt = segment_of(state.segments, window.last).attempt if window.last else 0
            limit = page_limit(window.entries)
            page = await self._page(Read(stream_id, attempt, window.last, limit))
            if (page.state.attempt, page.state.nonce) != (state.attempt, state.nonce):
                return None
            state = page.state
            if not window.extend(page.entries):
                if state.end and window.last < state.last:
                    raise durable.refused_position(Verdict.GONE, state.attempt)
                break
        return state

    async def long_poll(self, stream_id: str, call: ReadCall) -> Reply:
        """Answer a read that waits until there is something."""
        feed = await self._hub.open(stream_id)
        reader = Reader(feed, self._place(feed, call), None)
        self._hub.join(reader)
        over = False

        def stop_waiting() -> None:
            nonlocal over
            over = True
            reader.wake()

        timer = asyncio.get_running_loop().call_later(
            self._settings.long_poll_timeout, stop_waiting
        )
        try:
            start = reader.seq
            while True:
                entries = await self._pending(reader)
                if reader.verdict is not Verdict.VALID:
                    raise durable.refused_position(reader.verdict, feed.attempt)
                if entries or feed.over or over or self._draining:
                    return self._poll_reply(call, reader, start, entries)
                await reader.wait()
        finally:
            timer.cancel()
            self._hub.leave(reader)

    async def stream(
        self, stream_id: str, call: ReadCall, lifetime: float, wire: Wire | None
    ) -> SseConnection | Reply:
        """Answer by server-sent events, for at most `lifetime` seconds.

        The caller is to `serve` the connection without awaiting anything before.
        """
        feed = await self._hub.open(stream_id)
        place = self._place(feed, call)
        if call.reconnects and feed.end and place.seq >= feed.last:
            return durable.closed_reply(str(feed.offset(place.seq)), feed.end)
        age = min(lifetime, self._max_age * random.uniform(0.9, 1.1))
        connection = SseConnection(
            feed,
            place,
            self._door,
            self._own_cursor(call),
            hub=self._hub,
            deadline=self._hub.now() + age,
            ping_interval=self._settings.ping_interval,
            send_timeout=self._settings.send_timeout,
            wire=wire,
        )
        connection.closing = self._draining
        self._hub.join(connection)
        return connection

    async def drain(self, seconds: float) -> None:
        """Close all streaming responses, and wait for that at most `seconds`."""
        self._draining = True
        tasks = set()
        for feed in self._hub.feeds.values():
            for reader in list(feed.readers):
                if isinstance(reader, SseConnection):
                    reader.close()
                    if reader.task is not None:
                        tasks.add(reader.task)
                else:
                    reader.wake()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _page(self, read: Read) -> Page:
        page = (await self._hub.relay.read([read]))[0]
        if page is None:
            raise StreamNotFoundError(f"no stream {read.stream_id!r}")
        return page

    def _place(self, feed: Feed, call: ReadCall) -> Position:
        place = feed.locate(call.asked)
        if isinstance(place, Verdict):
            raise durable.refused_position(place, feed.attempt)
        return place

    async def _pending(self, reader: Reader) -> list[Entry]:
        """What a long-poll reader has not had yet."""
        feed = reader.feed
        window = feed.window
        if reader.ahead is not None or reader.seq >= window.last:
            return []
        if reader.seq < window.base:
            backlog = await self._hub.backlog(feed, reader.seq)
            if backlog is None:
                if feed.over:
                    reader.verdict = Verdict.GONE
                return []
            window = backlog
        return list(window.after(reader.seq, BODY_BYTES))

    def _poll_reply(
        self, call: ReadCall, reader: Reader, start: int, entries: list[Entry]
    ) -> Reply:
        feed = reader.feed
        seq = entries[-1].last if entries else start
        begin = str(reader.ahead or offset_at(feed.segments, start))
        following = str(offset_at(feed.segments, seq)) if entries else begin
        done = reader.ahead is not None or seq >= feed.tail
        batch = Batch(begin, entries, following, done, feed.end if done else "")
        return durable.long_poll_reply(batch, self._cursor(call))

    def _cursor(self, call: ReadCall) -> str:
        return durable.cursor_for(call.cursor, time.time(), self._jitter)

    def _own_cursor(self, call: ReadCall) -> str:
        """A cursor of this reader's own, when the one that all readers share would go backwards."""
        shared = durable.cursor_for("", time.time(), 0)
        own = self._cursor(call)
        return "" if own == shared else own

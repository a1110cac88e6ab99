"""The ways to read a stream: state, catch-up, long-poll, SSE (protocol.md, sections 4 to 7)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ...cancellation import cancelled
from ...errors import StreamNotFoundError
from ...offsets import NOW, Offset, Verdict, offset_at, segment_of
from ...relays.base import Page, StreamState
from ...relays.requests import Entry, Read
from ...settings import StreamSettings
from ..content import Content
from ..counters import CATCH_UP, LONG_POLL
from ..fast_path import Wire
from ..http import Receive, Reply, deleted, disconnected
from ..live.feed import FIRST_LIMIT, Feed, page_limit
from ..live.hub import Hub
from ..live.position import Asked, Position
from ..live.reader import FrameWriter, Reader
from ..live.window import Window
from . import durable
from . import plain_sse as sse
from .durable import Batch, ReadCall
from .durable_frames import DurableFrames, EnvelopedFrames
from .envelopes import Envelope
from .plain_sse import PlainCall
from .plain_text import TextFrames
from .sse_response import SseConnection

# The largest body of one catch-up or long-poll response, about; the rest is for the next request.
BODY_BYTES = 4 * 1024 * 1024
MAX_DOORS = 64  # content types, of which writers may name any
LOOK_AGAIN = 0.3  # seconds, at most, between two looks for a stream that is not there
LOOK_OFTEN = 10.0  # seconds for which that holds
LOOK_SELDOM = 1.0  # afterwards

EXPIRY_MARGIN = 2.0  # seconds

T = TypeVar("T")


class Reading:
    """Answers reads of streams that the caller was allowed to read.

    Args:
        hub: where live streams are.
        settings: intervals and time-outs.
    """

    def __init__(self, hub: Hub, settings: StreamSettings) -> None:
        self._hub = hub
        self._settings = settings
        self._frames_by_content: dict[tuple[Content, bool], DurableFrames] = {}
        self._plain_frames: dict[tuple[str, Envelope | None], sse.PlainFrames] = {}
        self._text_frames = TextFrames()
        self._messages_frames = sse.MessagesFrames()
        self._draining = False
        # One for the process, so that readers that need an own cursor share frames all the same.
        self._jitter = random.uniform(20, 3600)

    async def until_there(self, stream_id: str, wait: float, receive: Receive) -> None:
        """Return when the stream is there; it is waited for `wait` seconds, by a client that stays.

        Raises:
            StreamNotFoundError: it is not there, or the client is gone.
        """
        if not wait:
            return
        looking = asyncio.ensure_future(self._find(Read(stream_id), wait))
        leaving = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait((looking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                raise StreamNotFoundError("the client is gone")
            looking.result()
        finally:
            await cancelled(looking, leaving)

    async def head(self, stream_id: str) -> Reply:
        """Answer HEAD."""
        return durable.head_reply((await self._find(Read(stream_id))).state)

    async def catch_up(self, stream_id: str, call: ReadCall) -> Reply:
        """Answer a read of what is there now, up to about `BODY_BYTES`."""
        asked = call.asked
        attempt, seq = (asked.attempt, asked.seq) if isinstance(asked, Offset) else (0, 0)
        limit = 0 if asked == NOW or isinstance(asked, int) else FIRST_LIMIT
        page = await self._find(Read(stream_id, attempt, seq, limit, touch=True))
        state = page.state
        position = durable.position_of(call, state)
        window = Window(position.seq)
        if position.ahead is None and asked != NOW:
            window.extend(page.entries)
            following = await self._fill(window, stream_id, state)
            if following is None:
                return await self.catch_up(stream_id, call)
            state = following
        # Entries may be large: what the first page has of them is more than a body, perhaps.
        entries = list(window.after(position.seq, BODY_BYTES))
        batch = durable.batch_of(position, state, entries)
        reply = durable.catch_up_reply(call, batch, self._cursor(call))
        worth_it = len(reply.body) >= durable.DEFLATED_FROM and batch.content.kind != "bytes"
        if call.deflate and worth_it:
            # Not on the event loop: a body of 4 MiB takes 40 ms.
            reply = await asyncio.to_thread(durable.deflated, reply)
        return self._counted(CATCH_UP, call.asked, reply, batch.entries)

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

    async def long_poll(
        self, stream_id: str, call: ReadCall, lifetime: float, receive: Receive
    ) -> Reply:
        """Answer a read that waits until there is something, for at most `lifetime` seconds, or
        until the client is gone.
        """
        feed = await self._open(stream_id, call)
        reader = Reader(feed, self._position(feed, call), None)
        self._hub.join(reader)
        over = False

        def stop_waiting(*_: object) -> None:
            nonlocal over
            over = True
            reader.wake()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(min(self._settings.long_poll_timeout, lifetime), stop_waiting)
        leaving = loop.create_task(disconnected(receive))
        leaving.add_done_callback(stop_waiting)
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
            leaving.cancel()
            self._hub.leave(reader)

    async def stream(
        self,
        stream_id: str,
        call: ReadCall,
        lifetime: float,
        wire: Wire | None,
        *,
        counts_as: str = "",
        envelope: Envelope | None = None,
        ping: float | None = None,
    ) -> SseConnection | Reply:
        """Answer by server-sent events, for at most `lifetime` seconds.

        The caller is to `serve` the connection without awaiting anything before. It is counted
        under the frame writer's name unless it `counts_as` another.
        """
        feed = await self._open(stream_id, call)
        position = self._position(feed, call)
        if call.reconnects and feed.end and position.seq >= feed.last:
            return durable.closed_reply(str(feed.offset(position.seq)), feed.end)
        age = min(lifetime, self._settings.max_age * random.uniform(0.9, 1.1))
        cursor = self._own_cursor(call)
        if envelope is None:
            frames = self._frames_of(feed.content, call.as_chunks)
        else:
            frames = EnvelopedFrames(_shared_cursor, envelope)
        self._hub.tally.began(counts_as or frames.name, call.asked)
        return self._connect(
            feed, position, frames, age, wire,
            cursor=cursor, counts_as=counts_as, ping=ping,
            greets=call.asked == NOW or isinstance(call.asked, int),
        )  # fmt: skip

    async def plain(
        self,
        stream_id: str,
        call: PlainCall,
        lifetime: float,
        wire: Wire | None,
        has_body: bool,
        *,
        as_text: bool = False,
        envelope: Envelope | None = None,
        ping: float | None = None,
    ) -> SseConnection | Reply:
        """Answer by plain server-sent events, or by the text in them (protocol.md, section 7), as
        `stream`.

        Not for `max_age`: its readers may not be able to come back.
        """
        if call.mark:
            return sse.had_all_reply(call)
        feed = await self._patiently(lambda: self._hub.open(stream_id))
        position = feed.locate(call.asked)
        if position is Verdict.SUPERSEDED and call.reconnects:
            self._hub.tally.resets += 1
            return sse.reset_reply(call)
        if isinstance(position, Verdict):
            raise durable.refused_position(position, feed.attempt)
        frames: sse.PlainFrames | TextFrames = self._plain_frames_of(call.event, envelope)
        if as_text:
            frames = self._text_frames
        elif call.messages:
            frames = self._messages_frames
        self._hub.tally.began(frames.name, call.asked)
        # The reader is told of its token's expiry while that still holds.
        age = lifetime - min(EXPIRY_MARGIN, lifetime / 10)
        return self._connect(feed, position, frames, age, wire, has_body=has_body, ping=ping)

    async def socket(
        self, stream_id: str, asked: Asked, lifetime: float, frames: FrameWriter
    ) -> SseConnection:
        """Answer on a WebSocket, as `stream`; what is sent is `frames`'."""
        feed = await self._patiently(lambda: self._hub.open(stream_id))
        position = feed.locate(asked)
        if isinstance(position, Verdict):
            raise durable.refused_position(position, feed.attempt)
        return self._connect(feed, position, frames, lifetime, None)

    def _connect(
        self,
        feed: Feed,
        position: Position,
        frames: FrameWriter,
        age: float,
        wire: Wire | None,
        *,
        cursor: str = "",
        has_body: bool = False,
        counts_as: str = "",
        greets: bool = False,
        ping: float | None = None,
    ) -> SseConnection:
        connection = SseConnection(
            feed,
            position,
            frames,
            cursor,
            hub=self._hub,
            deadline=self._hub.now() + age,
            ping_interval=ping or self._settings.ping_interval,
            send_timeout=self._settings.send_timeout,
            wire=wire,
            has_body=has_body,
            counts_as=counts_as,
            greets=greets,
        )
        connection.closing = self._draining
        self._hub.join(connection)
        return connection

    async def drain(self, seconds: float) -> None:
        """Close all streaming responses, and wait for that at most `seconds`."""
        self._draining = True
        tasks = set()
        for feed in self._hub.every_feed():
            for reader in list(feed.readers):
                if isinstance(reader, SseConnection):
                    reader.close()
                    if reader.task is not None:
                        tasks.add(reader.task)
                else:
                    reader.wake()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _find(self, read: Read, wait: float = 0.0) -> Page:
        return await self._patiently(lambda: self._page(read), wait)

    async def _patiently(self, look: Callable[[], Awaitable[T]], wait: float = 0.0) -> T:
        """What `look` finds; a stream that is not there is waited for a little, or `wait` seconds.

        Whoever may read it has a token, which is issued once there is the stream: Redis may just
        have lost it.

        Raises:
            StreamNotFoundError: it is not there, and nobody has created it again.
        """
        now = asyncio.get_running_loop().time
        began = now()
        until = began + max(wait, self._hub.options.settle)
        while True:
            try:
                return await look()
            except StreamNotFoundError:
                if now() >= until or self._draining:
                    raise
            pause = LOOK_AGAIN if now() - began < LOOK_OFTEN else LOOK_SELDOM
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause)

    async def _page(self, read: Read) -> Page:
        page = (await self._hub.relay.read([read]))[0]
        if page is None:
            raise StreamNotFoundError(f"no stream {read.stream_id!r}")
        if page.state.deleted:
            raise deleted()
        return page

    async def _open(self, stream_id: str, call: ReadCall) -> Feed:
        """The feed to join, without awaiting anything in between.

        Raises:
            Refused: 410, the offset is ahead of a log that nobody sends again.
        """
        feed = await self._patiently(lambda: self._hub.open(stream_id), call.wait)
        asked = call.asked
        if (
            feed.http_written
            and isinstance(asked, Offset)
            and (asked.attempt, asked.seq) > feed.reach
        ):
            # Or the feed is a little behind the log, which alone decides.
            durable.position_of(call, (await self._page(Read(stream_id))).state)
            feed = await self._hub.open(stream_id)
        return feed

    def _position(self, feed: Feed, call: ReadCall) -> Position:
        position = feed.locate(call.asked)
        if isinstance(position, Verdict):
            raise durable.refused_position(position, feed.attempt)
        return position

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
        end = feed.end if done else ""
        batch = Batch(begin, entries, following, done, end, feed.content)
        reply = durable.long_poll_reply(batch, self._cursor(call))
        return self._counted(LONG_POLL, call.asked, reply, entries)

    def _counted(self, door: str, asked: Asked, reply: Reply, entries: Sequence[Entry]) -> Reply:
        self._hub.tally.began(door, asked)
        if reply.body and entries:
            self._hub.tally.delivered(
                door, entries[-1].last - entries[0].first + 1, len(reply.body)
            )
        return reply

    def _frames_of(self, content: Content, as_chunks: bool) -> DurableFrames:
        """The one frame writer of all readers of such streams that ask for the same frames."""
        key = content, as_chunks
        frames = self._frames_by_content.get(key)
        if frames is None:
            if len(self._frames_by_content) >= MAX_DOORS:
                self._frames_by_content.clear()  # readers under way keep theirs
            frames = DurableFrames(_shared_cursor, content, as_chunks)
            self._frames_by_content[key] = frames
        return frames

    def _plain_frames_of(self, event: str, envelope: Envelope | None) -> sse.PlainFrames:
        """As `_frames_of`; fields are named by whoever asks, so only so many are kept."""
        key = event, envelope
        frames = self._plain_frames.get(key)
        if frames is None:
            if len(self._plain_frames) >= MAX_DOORS:
                self._plain_frames.clear()
            frames = self._plain_frames[key] = sse.PlainFrames(event, envelope)
        return frames

    def _cursor(self, call: ReadCall) -> str:
        return durable.cursor_for(call.cursor, time.time(), self._jitter)

    def _own_cursor(self, call: ReadCall) -> str:
        """A cursor of this reader's own, when the one that all readers share would go backwards."""
        own = self._cursor(call)
        return "" if own == _shared_cursor() else own


def _shared_cursor() -> str:
    return durable.cursor_for("", time.time(), 0)

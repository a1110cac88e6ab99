"""One streaming response: bare ASGI, a cursor into the feed, whatever is pending in one send.

How it ends: protocol.md, sections 6.3 and 7.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextvars import Context, copy_context
from typing import Any

from ...offsets import Verdict
from ..fast_path import Wire
from ..http import Message, Receive, Send, disconnected
from ..live.feed import RUNNING, Feed
from ..live.hub import Hub
from ..live.position import Position
from ..live.reader import FrameWriter, Reader
from ..live.window import Window
from ..logs import expect_cut
from .eager import begin

logger = logging.getLogger(__name__)

# How long a reader who was told of a failure may take to leave by itself; seconds.
LINGER = 1.0


class SseConnection(Reader):
    """A reader behind an SSE response. It is joined to the hub by whoever makes it.

    Args:
        feed, position, frames, cursor: as `Reader`.
        hub: where to page from, and to leave at the end.
        deadline: when to close the response (the reader comes back), in the hub's time.
        ping_interval: seconds of quiet after which a comment is sent.
        send_timeout: seconds that one send may take.
        wire: the server's shortcut, if it has one.
        has_body: the request has a body, which is read and ignored.
        counts_as: as `Reader`.
        greets: the offset comes before the first chunk: the reader does not know it yet.
    """

    __slots__ = (
        "_context",
        "_expired",
        "_greeted",
        "_has_body",
        "_hub",
        "_note",
        "_ping_interval",
        "_quiet_since",
        "_send",
        "_send_timeout",
        "_sending_since",
        "_sent",
        "_status",
        "_unfinished",
        "_wire",
        "closing",
        "deadline",
        "left",
        "task",
    )

    frames: FrameWriter

    def __init__(
        self,
        feed: Feed,
        position: Position,
        frames: FrameWriter,
        cursor: str,
        *,
        hub: Hub,
        deadline: float,
        ping_interval: float,
        send_timeout: float,
        wire: Wire | None = None,
        has_body: bool = False,
        counts_as: str = "",
        greets: bool = False,
    ) -> None:
        super().__init__(feed, position, frames, cursor, counts_as=counts_as)
        self._greeted = not greets
        self._hub = hub
        self._wire = wire
        self._has_body = has_body
        self._ping_interval = ping_interval
        self._send_timeout = send_timeout
        self._note = b""
        self._status = RUNNING  # as the reader knows it
        self._sent = True
        self._quiet_since = 0.0
        # None: no send is under way; 0: one is, since the last tick.
        self._sending_since: float | None = None
        self._send: Send
        # A send that was begun at once and waits now.
        self._unfinished: Awaitable[None] | None = None
        self._context: Context
        self.task: asyncio.Task[Any] | None = asyncio.current_task()
        self.deadline = deadline
        self.closing = self._expired = False
        self.left = False

    async def serve(self, head: Message, receive: Receive, send: Send) -> None:
        """Send the response, beginning with `head`, until its end."""
        self._send = send
        self._context = copy_context()
        watching: asyncio.Task[None] | None = None
        if self._wire is not None:
            self._wire.on_lost = self._leave
            self.left = self._wire.lost  # while the stream was looked up, perhaps
        if self._wire is None or self._has_body:
            watching = asyncio.get_running_loop().create_task(self._watch(receive))
        try:
            await self._sending(head)
            del head
            await self._run()
        except OSError:
            pass  # some servers raise when the client is gone
        except asyncio.CancelledError:
            if not self.left:
                raise
        finally:
            self._hub.leave(self)
            if self._wire is not None:
                self._wire.on_lost = None
            if watching is not None:
                watching.cancel()

    async def _run(self) -> None:
        """Send until the stream ends, the reader leaves, or the deadline."""
        feed = self.feed
        page: Window | None = None
        greeted = ended = False
        while not (self.left or self.closing) and self.verdict is Verdict.VALID:
            window = feed.window
            if self._unfinished is not None:
                await self._finish()
            elif not self._greeted and not feed.ended_at(self.seq):
                self._greeted = greeted = True
                await self._hello()
            elif self.ahead is None and self.seq < window.last:
                if self.seq < window.base:
                    if page is None or self.seq >= page.last:
                        page = await self._hub.backlog_of(self)
                        continue
                    window = page
                data = feed.take(self, window)
                ended = feed.ended_at(self.seq)
                await self._write(data)
                if self.seq < feed.window.last:
                    # A reader that is far behind and fast would never let others have a turn.
                    await asyncio.sleep(0)
                greeted = True
                if ended:
                    break
            elif feed.end:
                await self._write(feed.end_frame(self.frames))
                ended = True
                break
            elif not greeted or self._status != feed.status:
                greeted = True
                await self._hello()
            elif self._note:
                note, self._note = self._note, b""
                await self._write(note)
            else:
                page = None
                await self.wait()
        if not self.left:
            await self._finish()
        await self._part(feed.end if ended else "")

    async def _finish(self) -> None:
        """Wait for a send that was begun by `push`."""
        if (rest := self._unfinished) is not None:
            self._unfinished = None
            await rest
            self._sending_since, self._sent = None, True

    async def _hello(self) -> None:
        """Tell where the reader stands, and what its producer does."""
        offset = str(self.ahead or self.feed.offset(self.seq))
        self._status = self.feed.status
        await self._write(self.frames.hello(offset, self.cursor, self._status))

    async def _part(self, reason: str) -> None:
        """End the response, or break it off: to the reader that is an error."""
        if self.left:
            return
        if self.frames.completes(reason):
            await self._sending({"type": "http.response.body", "body": b"", "more_body": False})
            return
        told = bool(reason)
        if not told:
            offset = str(self.ahead or self.feed.offset(self.seq))
            valid = self.verdict is Verdict.VALID
            words = self.frames.farewell(offset, self.verdict)
            if self._expired and valid:
                words = self.frames.expiry(offset)
            if words:
                await self._write(words)
                told = True
        if told:
            await self._linger()
        if self._wire is not None and not self.left:
            self._sending_since = 0.0
            self._wire.hang_up()
            while not self.left:
                await self.wait()
        elif not self.left:
            # A server breaks off what an application leaves without its last part.
            expect_cut()

    async def _linger(self) -> None:
        """Let the reader leave by itself: browsers drop what a cut overtakes."""
        clock = asyncio.get_running_loop().time
        until = clock() + LINGER
        while not self.left and (self._expired or not self.closing) and clock() < until:
            await asyncio.wait([self.wait()], timeout=until - clock())

    def close(self) -> None:
        """End the response cleanly; the reader comes back, here or elsewhere."""
        self.closing = True
        self.wake()

    def taken(self) -> None:
        """The reader takes something, although what is sent now may have to wait for its turn."""
        if self._sending_since is not None:
            self._sending_since = 0.0

    def push(self) -> bool:
        wire, feed = self._wire, self.feed
        window = feed.window
        if (
            self._unfinished is not None
            or not window.base <= self.seq < window.last
            or feed.end
            or self.verdict is not Verdict.VALID
            or self.closing
            or self.left
            or self.ahead is not None
            or self._status != feed.status
            or self.task is None
            or (wire is not None and not wire.writable)
        ):
            return False
        if wire is not None:
            wire.write(feed.take(self, window, chunked=True))
            self._sent = True
            return True
        data = feed.take(self, window)
        message: Message = {"type": "http.response.body", "body": data, "more_body": True}
        self._unfinished = begin(self._send(message), self.task, self._context)
        if self._unfinished is None:
            self._sent = True
            return True
        self._sending_since = 0.0
        return False

    def tick(self, now: float) -> None:
        if now >= self.deadline and not self.closing:
            self._expired = True
            self.close()
        if self._sending_since is not None:
            if not self._sending_since:
                self._sending_since = now
            elif now - self._sending_since > self._send_timeout:
                self._give_up()
        elif self._sent:
            self._sent = False
            self._quiet_since = now
        elif now - self._quiet_since >= self._ping_interval:
            self._note = self._note or self.frames.ping
            self.wake()

    async def _write(self, data: bytes) -> None:
        await self._sending({"type": "http.response.body", "body": data, "more_body": True})
        self._sent = True

    async def _sending(self, message: Message) -> None:
        """Send, under the eyes of `tick`: what is still unsent may hold up any message."""
        self._sending_since = 0.0
        await self._send(message)
        self._sending_since = None

    async def _watch(self, receive: Receive) -> None:
        """Notice that the client is gone."""
        await disconnected(receive)
        self._leave()

    def _leave(self) -> None:
        self.left = True
        self.wake()

    def _give_up(self) -> None:
        """The reader takes nothing any more: close it. It may resume."""
        self.feed.tally.dropped += 1
        feed = self.feed
        about = {"stream_id": feed.stream_id, "attempt": feed.attempt}
        logger.info("stream %s: a reader takes nothing; closed", feed.stream_id, extra=about)
        self.left = True
        if self._wire is not None:
            self._wire.abort()
        elif self.task is not None:
            self.task.cancel()

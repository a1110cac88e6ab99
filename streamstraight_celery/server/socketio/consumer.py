"""One connected consumer: the stream from its start, then live, one event per chunk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ...errors import RelayUnavailableError, StreamNotFoundError
from ...offsets import Verdict, segment_of
from ..counters import SOCKET_IO
from ..live.feed import Feed
from ..live.hub import Hub
from ..live.position import Position
from ..live.reader import Reader
from ..live.window import SEND_BYTES, Window
from ..reads.durable_frames import shown_error
from .protocol import DEPLOYMENT, from_line

Emit = Callable[[str, Mapping[str, object]], Awaitable[None]]


class Consumer:
    """Hands one stream out.

    Args:
        hub: where live streams are.
        stream_id: the stream.
        emit: send an event to the connection; returns when that takes more.
    """

    def __init__(self, hub: Hub, stream_id: str, emit: Emit) -> None:
        self._hub = hub
        self._stream_id = stream_id
        self._emit = emit

    async def run(self) -> None:
        """Send the stream until its end, or until it cannot be gone on with."""
        try:
            feed = await self._hub.open(self._stream_id)
        except StreamNotFoundError:
            await self._emit("stream:end", {"reason": "not-found", "lastSeq": -1, "redisId": None})
            return
        except RelayUnavailableError:
            await self._error("the stream store does not answer", "unavailable", 1000)
            return
        reader = Reader(feed, Position(0), None, counts_as=SOCKET_IO)
        self._hub.join(reader)
        try:
            await self._emit("stream:info", self._info(feed))
            await self._follow(reader)
        finally:
            self._hub.leave(reader)

    async def _follow(self, reader: Reader) -> None:
        feed = reader.feed
        while reader.verdict is Verdict.VALID:
            window: Window | None = feed.window
            if reader.ahead is None and reader.seq < feed.window.last:
                if reader.seq < feed.window.base:
                    window = await self._hub.backlog_of(reader)
                if window is not None:
                    await self._send(reader, window)
            elif feed.end:
                await self._end(feed)
                return
            elif feed.gone:
                reader.verdict = Verdict.GONE
            else:
                await reader.wait()
        if reader.verdict is Verdict.SUPERSEDED:
            feed.tally.resets += 1
            # The chunks sent were replaced: a new connection gets the new attempt from its start.
            await self._error("a new attempt began: connect again", "superseded", 0)
        else:
            feed.tally.gone += 1
            await self._error("the stream's chunks are lost", "gone", None)

    async def _send(self, reader: Reader, window: Window) -> None:
        feed = reader.feed
        attempt = feed.attempt
        for entry in list(window.after(reader.seq, SEND_BYTES)):
            for number, line in enumerate(entry.data.split(b"\n"), entry.first):
                if reader.verdict is not Verdict.VALID or feed.attempt != attempt:
                    return
                reader.seq = number
                feed.tally.delivered(SOCKET_IO, 1, len(line))
                data = from_line(line, feed.kind)
                await self._emit(
                    "stream:chunk", {"seq": number - 1, "data": data, "redisId": _id(feed, number)}
                )

    async def _end(self, feed: Feed) -> None:
        last = feed.last
        end: dict[str, object] = {
            "reason": feed.end,
            "lastSeq": last - 1,
            "redisId": _id(feed, last),
        }
        if (error := shown_error(feed.end, feed.error)) is not None:
            end["error"] = error
        await self._emit("stream:end", end)

    async def _error(self, message: str, code: str, retry: int | None) -> None:
        await self._emit("stream:error", {"message": message, "code": code, "retryInMs": retry})

    def _info(self, feed: Feed) -> dict[str, object]:
        return {
            "streamId": self._stream_id,
            "deploymentId": DEPLOYMENT,
            "lastSeq": feed.tail - 1 if feed.tail else None,
            "ended": bool(feed.end),
        }


def _id(feed: Feed, number: int) -> str:
    return f"{segment_of(feed.segments, number).attempt}-{number}"

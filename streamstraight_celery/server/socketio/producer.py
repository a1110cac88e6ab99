"""One connected producer: its messages become appends to its attempt, and are acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...backoff import Backoff
from ...errors import RelayUnavailableError
from ...relays.base import AsyncRelay
from ...relays.end_reasons import error_json
from ...relays.requests import Answer, Append, Release, Renew
from ...settings import StreamSettings
from .protocol import DEPLOYMENT, Denied, End, Handshake, parse_chunk, parse_end, to_line

logger = logging.getLogger(__name__)

FLUSH_CHUNKS = 512
FLUSH_BYTES = 256 * 1024
# An acknowledgement costs as much as a chunk; clients that wait for one allow thousands of chunks.
ACKNOWLEDGE_AFTER = 0.1
FIRST_BACKOFF = 0.02
MAX_BACKOFF = 1.0

Emit = Callable[[str, Mapping[str, object]], Awaitable[None]]
Drop = Callable[[], Awaitable[None]]


class Producer:
    """An attempt on a stream, held by one connection.

    Its chunks are numbered from 0 in each connection (the SDK), or through all connections of the
    attempt (our workers), which can then repeat unacknowledged chunks.

    Args:
        relay: where the log is.
        settings: limits and time-outs.
        handshake: what the connection introduced itself with.
        nonce: of the attempt.
        claimed: the relay's answer to the claim.
        emit, drop: send an event to the connection; end it.
        now: the loop's time, seconds.

    Attributes:
        heard_at: when the producer last sent something.
        over: nothing is taken any more: it has ended, was refused, or another one took over.
    """

    def __init__(
        self,
        relay: AsyncRelay,
        settings: StreamSettings,
        handshake: Handshake,
        nonce: str,
        claimed: Answer,
        *,
        emit: Emit,
        drop: Drop,
        now: float,
    ) -> None:
        self.stream_id = handshake.stream_id
        self.nonce = nonce
        self.attempt = claimed.attempt
        self.heard_at = now
        self.over = False
        self._relay = relay
        self._settings = settings
        self._handshake = handshake
        self._emit = emit
        self._drop = drop
        self._received = self._flushed = claimed.continues
        self._base = 0 if handshake.ours else self._received
        self._stop_told = False
        self._stop_asked = claimed.stop
        self._end: End | None = None
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._flushing: asyncio.Task[None] | None = None
        self._acknowledging: asyncio.Task[None] | None = None

    @property
    def info(self) -> dict[str, object]:
        """The payload of `stream:info`; its last three fields are for our own workers."""
        return {
            "streamId": self.stream_id,
            "deploymentId": DEPLOYMENT,
            "lastSeq": self._flushed - 1 if self._flushed else None,
            "ended": False,
            "attempt": self.attempt,
            "nonce": self.nonce,
            "stopAsked": self._stop_asked,
        }

    async def chunk(self, payload: Any, now: float) -> None:
        """Take a `producer:chunk`. Waits while too much is on its way to the log."""
        if self.over:
            return
        self.heard_at = now
        try:
            chunk = parse_chunk(payload)
            number = self._base + chunk.seq + 1
            if number <= self._received:
                self._acknowledge()
                return
            if number > self._received + 1:
                expected = self._received - self._base
                raise Denied("gap", f"chunk {chunk.seq} came where {expected} was expected")
            line = to_line(chunk.data, self._handshake.kind)
        except Denied as denied:
            await self.deny(denied)
            return
        if len(line) > self._settings.max_chunk_bytes:
            await self._too_large(len(line))
            return
        self._received = number
        self._pending.append(line)
        self._pending_bytes += len(line)
        self._flush()
        # TCP then slows the producer down.
        while self._pending_bytes > self._settings.buffer_bytes and self._flushing is not None:
            await asyncio.wait([self._flushing], return_when=asyncio.FIRST_COMPLETED, timeout=0.05)

    async def end(self, payload: Any, now: float) -> dict[str, object]:
        """Take a `producer:end`; returns its acknowledgement."""
        self.heard_at = now
        try:
            end = parse_end(payload, self._handshake)
            if self._end is not None and self._end.reason == end.reason:
                return self._ended()
            if self.over:
                raise Denied("closed", "the stream has ended")
            count = self._received - self._base
            # The SDK sends 0 for a stream without chunks as well.
            if end.last + 1 != count and (count or end.last not in (0, -1)):
                raise Denied("gap", f"{end.last + 1} chunks were sent, {count} have come")
        except Denied as denied:
            return {"success": False, "error": str(denied)}
        await self.flushed()
        if self.over:
            return {"success": False, "error": "the stream could not be written to its end"}
        answer = await self._append(b"", 0, end.reason, end.error or _error(end.reason))
        if answer.kind not in ("ok", "duplicate"):
            await self._refused(answer)
            return {"success": False, "error": f"the stream is not open: {answer.end_reason}"}
        self._end, self.over = end, True
        return self._ended()

    async def silent(self) -> bool:
        """End the stream of a producer that has been silent for too long; whether this did."""
        await self.flushed()
        if self.over:
            return False
        reason = "inactivity-timeout"
        answer = await self._append(b"", 0, reason, _error(reason))
        seconds = self._settings.inactivity_timeout
        await self.deny(Denied(reason, f"nothing was heard of the producer for {seconds:g} s"))
        return answer.kind == "ok"

    async def vanished(self) -> bool:
        """Release the stream of a lost connection. True: it was neither taken over nor ended.

        Also after a refusal, which leaves the stream open: a gap, say.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        await self.flushed()
        if self._end is not None:
            return False
        self.over = True
        release = Release(self.stream_id, self.attempt, self.nonce, 0)
        answer = (await self._relay.execute([release]))[0]
        return answer.kind == "ok" and not answer.end_reason

    @property
    def renewal(self) -> Renew:
        """The request that keeps the lease."""
        return Renew(self.stream_id, self.attempt, self.nonce)

    async def renewed(self, answer: Answer) -> None:
        """Take the answer to the renewal."""
        if not self.over:
            await self._heed(answer)

    async def deny(self, denied: Denied) -> None:
        """Take nothing more of this connection, and say why."""
        if self.over:
            return
        self.over = True
        self._pending.clear()
        self._pending_bytes = 0
        await self._emit("stream:error", {"message": str(denied), **denied.data})
        await self._drop()

    async def flushed(self) -> None:
        """Return when everything that has come is in the log, or nothing more is taken."""
        while self._flushing is not None and self._flushing is not asyncio.current_task():
            await asyncio.wait([self._flushing])

    def _flush(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._write())
            self._flushing.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._flushing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            about = {"stream_id": self.stream_id}
            logger.error("stream %s: writing failed", self.stream_id, exc_info=error, extra=about)
        elif self._pending and not self.over:
            self._flush()

    async def _write(self) -> None:
        """Append pending chunks until none are left."""
        while self._pending and not self.over:
            lines: list[bytes] = []
            size = 0
            while self._pending and len(lines) < FLUSH_CHUNKS and size < FLUSH_BYTES:
                lines.append(self._pending.popleft())
                size += len(lines[-1])
            answer = await self._append(b"\n".join(lines), len(lines))
            self._pending_bytes -= size
            if answer.kind in ("ok", "duplicate"):
                self._flushed += len(lines)
                self._acknowledge()
            await self._heed(answer)

    async def _append(self, data: bytes, count: int, end: str = "", error: str = "") -> Answer:
        """Append to the log; repeated while the store does not answer."""
        request = Append(
            self.stream_id, self.attempt, self.nonce, self._flushed + 1, count, data, end, error
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.relay_timeout
        backoff = Backoff(FIRST_BACKOFF, MAX_BACKOFF)
        while True:
            try:
                answer = (await self._relay.execute([request]))[0]
                if answer.kind != "error":
                    return answer
                reason = answer.message
            except RelayUnavailableError as unavailable:
                reason = str(unavailable)
            if self.over or loop.time() >= deadline:
                about = {"stream_id": self.stream_id}
                logger.warning("stream %s: %s", self.stream_id, reason, extra=about)
                return Answer("error", reason="the stream store does not answer")
            await asyncio.sleep(backoff.next())

    async def _heed(self, answer: Answer) -> None:
        """React to an answer of the relay."""
        if answer.kind not in ("ok", "duplicate"):
            await self._refused(answer)
        elif answer.stop and not self._stop_told:
            self._stop_told = self._stop_asked = True
            if self._handshake.ours:
                await self._emit("stream:info", self.info)
            else:
                await self._stop()

    async def _stop(self) -> None:
        """The SDK knows no stop: end the stream here, and its producer fails at its next chunk."""
        await self._append(b"", 0, "stopped")
        await self.deny(Denied("stopped", "the stream was stopped"))

    async def _refused(self, answer: Answer) -> None:
        match answer.kind:
            case "gap" | "unknown" if self._handshake.ours:
                # The log has lost chunks. Our worker reconnects and re-sends them.
                self.over = True
                await self._drop()
            case "gap" | "unknown":
                await self.deny(Denied("lost", "the stream store has lost chunks of this stream"))
            case "fenced":
                await self.deny(Denied("fenced", "another producer has taken over"))
            case "too-large":
                limit = self._settings.max_bytes
                await self.deny(Denied("too-large", f"the stream is larger than {limit} bytes"))
            case "error":
                await self.deny(Denied("unavailable", answer.message))
            case _:
                ended = f"the stream has ended ({answer.end_reason})"
                await self.deny(Denied("closed", ended, reason=answer.end_reason))

    async def _too_large(self, size: int) -> None:
        await self.flushed()
        if not self.over:
            await self._append(b"", 0, "too-large")
            limit = self._settings.max_chunk_bytes
            message = f"a chunk of {size} bytes is larger than allowed ({limit})"
            await self.deny(Denied("too-large", message))

    def _acknowledge(self) -> None:
        """Acknowledge everything that is in the log, soon: one acknowledgement counts for all."""
        if self._acknowledging is None:
            loop = asyncio.get_running_loop()
            self._acknowledging = loop.create_task(self._acknowledge_soon())

    async def _acknowledge_soon(self) -> None:
        await asyncio.sleep(ACKNOWLEDGE_AFTER)
        self._acknowledging = None
        seq = self._flushed - self._base - 1
        if seq >= 0 and not self.over:
            redis_id = f"{self.attempt}-{self._flushed}"
            await self._emit("producer:ack", {"seq": seq, "redisId": redis_id})

    def _ended(self) -> dict[str, object]:
        return {"success": True, "endRedisId": f"{self.attempt}-{self._flushed}"}


_MESSAGES = {
    "not-found": "The producer did not find what this stream was to hold.",
    "ignore-ended": "The producer ended this stream without a reason.",
}


def _error(reason: str) -> str:
    """The readers' error for end reasons that only the SDK has."""
    if reason not in _MESSAGES:
        return ""
    return error_json(reason, _MESSAGES[reason])

"""What a worker asks of the relay in memory besides writing: conclude, checkpoint, ..."""

from __future__ import annotations

from typing import Any

from .base import RelayOptions
from .requests import Answer, Checkpoint, Conclude, Expect, Recall


class MemoryAttempts:
    """A part of `MemoryStore`. Each method mirrors the script of the same name, line for line."""

    options: RelayOptions
    now: Any
    get: Any
    _held: Any
    keep: Any
    _end: Any

    def execute_other(self, request: Conclude | Checkpoint | Recall | Expect) -> Answer:
        """Carry out one request."""
        match request:
            case Conclude():
                return self._conclude(request)
            case Checkpoint():
                return self._checkpoint(request)
            case Recall():
                return self._recall(request)
            case Expect():
                return self._expect(request)

    def _conclude(self, request: Conclude) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", stream.last, stream.stop, stream.end)
        if not stream.attempt or stream.nonce != request.nonce:
            if stream.owner != request.owner:
                return Answer("fenced", stream.attempt, stream.stop)
            left = stream.lease - self.now()
            if stream.attempt and (request.begun or (not stream.released and left > 0)):
                return Answer("busy", left, stream.stop)
        end, error, wait = request.end, request.error, request.wait
        if stream.stop:
            end, error = "stopped", ""
        elif end == "producer-disconnected" and stream.expected > self.now():
            end, wait = "", stream.expected - self.now()
        if not end:
            stream.released, stream.lease = True, self.now() + wait
            self.keep(stream, wait)
            return Answer("ok", stream.attempt, stream.stop)
        answer: Answer = self._end(request.stream_id, stream, end, error, stream.stop)
        return answer

    def _checkpoint(self, request: Checkpoint) -> Answer:
        stream = self._held(request)
        if isinstance(stream, Answer):
            return stream
        if stream.end:
            return Answer("closed", stream.last, stream.stop, stream.end)
        if request.seq > stream.last:
            return Answer("gap", stream.last + 1, stream.stop)
        stream.checkpoint = stream.attempt, request.seq, request.value
        stream.lease = self.now() + self.options.lease
        return Answer("ok", stream.last, stream.stop)

    def _recall(self, request: Recall) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        attempt, seq, value = stream.checkpoint
        known = attempt in (stream.attempt, *(segment.attempt for segment in stream.lineage))
        return Answer("ok", seq, False, value) if known and seq <= stream.last else Answer("ok")

    def _expect(self, request: Expect) -> Answer:
        stream = self.get(request.stream_id)
        if stream is None:
            return Answer("unknown")
        if stream.end:
            return Answer("closed", reason=stream.end)
        if stream.owner != request.owner:
            return Answer("fenced")
        stream.expected = self.now() + request.wait
        return Answer("ok")

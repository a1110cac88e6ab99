"""Writes streams with the relay's own requests, as a worker would."""

from __future__ import annotations

import json
from itertools import count

from streamstraight_celery.offsets import Offset, new_nonce
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.end_reasons import EndReason
from streamstraight_celery.relays.requests import Answer, Append, Claim, Create, Release

_names = count(1)


class Producer:
    """One stream and its one producer.

    Attributes:
        chunks: every chunk that the current attempt appended, as JSON texts.
    """

    def __init__(self, relay: Relay, stream_id: str = "", kind: str = "json") -> None:
        self.relay = relay
        self.stream_id = stream_id or f"stream-{next(_names)}"
        self.kind = kind
        self.attempt = 0
        self.nonce = ""
        self.chunks: list[str] = []

    def create(self) -> Producer:
        self.relay.call(Create(self.stream_id, "task", self.kind))
        return self

    def claim(self, *, nonce: str = "", attempt: int = 0, resume: bool = False) -> Producer:
        """Begin an attempt."""
        nonce = nonce or new_nonce()
        answer = self.relay.call(Claim(self.stream_id, nonce, "task", self.kind, attempt, resume))
        assert answer.kind == "ok", answer
        if not resume and nonce != self.nonce:
            self.chunks = []
        self.attempt, self.nonce = answer.number, nonce
        return self

    def append(self, *chunks: object, end: EndReason | str = "", error: str = "") -> Answer:
        """Write one entry."""
        first = len(self.chunks) + 1
        self.chunks += [json.dumps(chunk, separators=(",", ":")) for chunk in chunks]
        return self.send(first, len(self.chunks), end=end, error=error)

    def send(self, first: int, last: int, *, end: str = "", error: str = "") -> Answer:
        """Write chunks `first` to `last` of what was appended, perhaps again."""
        data = "\n".join(self.chunks[first - 1 : last]).encode()
        return self.relay.call(
            Append(
                self.stream_id, self.attempt, self.nonce, first, last - first + 1, data, end, error
            )
        )

    def release(self) -> Producer:
        """Give the attempt up: the next one may begin."""
        self.relay.call(Release(self.stream_id, self.attempt, self.nonce, 0))
        return self

    def end(self, reason: EndReason = "completed", error: str = "") -> Answer:
        return self.append(end=reason, error=error)

    def offset(self, seq: int) -> str:
        return str(Offset(self.attempt, seq, self.nonce))

    def values(self, after: int = 0) -> list[object]:
        """The chunks behind number `after`."""
        return [json.loads(chunk) for chunk in self.chunks[after:]]

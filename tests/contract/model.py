"""A stream as plain data: what the heads of the scripts say, without Redis, keys or clocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamstraight_celery.offsets import Segment
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Claim,
    Create,
    Reap,
    Release,
    Renew,
    Request,
    Seal,
    Stop,
)

LEASE, REAP_AFTER = 100_000, 100_000


@dataclass(frozen=True)
class Model:
    """One stream, or none (`exists`). Times are milliseconds of a clock that the test moves."""

    exists: bool = False
    owner: str = ""
    attempt: int = 0
    nonce: str = ""
    chunks: tuple[str, ...] = ()
    lineage: tuple[Segment, ...] = ()
    end: str = ""
    stop: bool = False
    released: bool = False
    sealed: bool = False
    lease: int = 0
    noted: int = 0

    @property
    def last(self) -> int:
        return len(self.chunks)

    def carry_out(self, request: Request, now: int, never: int) -> tuple[Model, Answer]:
        """The stream after a request, and the answer; `never`: a lease that does not end."""
        match request:
            case Create():
                return self._create(request, never)
            case Claim():
                return self._claim(request, now)
            case Append() | Renew() | Release():
                return self._held(request, now)
            case Stop():
                return self._stop(now)
            case Reap():
                return self._reap(now)
            case Seal():
                return self._seal(request)

    def _create(self, request: Create, never: int) -> tuple[Model, Answer]:
        if not self.exists:
            return Model(exists=True, owner=request.owner, lease=never), Answer("ok", 1)
        if self.owner and self.owner == request.owner:
            return self, Answer("ok")
        return self, Answer("exists", reason=self.end)

    def _claim(self, request: Claim, now: int) -> tuple[Model, Answer]:
        lost = self.end == "producer-disconnected" and self.owner == request.owner
        if lost and request.after_loss:
            return replace(self, end="", released=True)._claim(request, now)
        if self.end:
            return self, Answer("closed", 0, self.stop, self.end)
        if self.attempt and self.nonce == request.nonce:
            again = replace(self, lease=now + LEASE, released=False)
            return again, Answer("ok", self.attempt, self.stop, str(self.last))
        kept = False
        if request.attempt:
            if self.exists and self.attempt >= request.attempt:
                return self, Answer("fenced", self.attempt, self.stop)
            attempt = request.attempt
        else:
            if self.attempt and not self.released and self.lease > now:
                return self, Answer("busy", self.lease - now, self.stop)
            attempt = self.attempt + 1
            kept = request.resume and self.attempt > 0
        granted = replace(
            self, exists=True, owner=self.owner or request.owner, attempt=attempt,
            nonce=request.nonce, chunks=self.chunks if kept else (), released=False,
            lineage=(*self.lineage, Segment(self.attempt, self.nonce, self.last)) if kept else (),
            lease=now + LEASE,
        )  # fmt: skip
        return granted, Answer("ok", attempt, self.stop, str(granted.last))

    def _held(self, request: Append | Renew | Release, now: int) -> tuple[Model, Answer]:
        if not self.exists or self.attempt < request.attempt:
            return self, Answer("unknown")
        if (self.attempt, self.nonce) != (request.attempt, request.nonce):
            return self, Answer("fenced", self.attempt)
        if isinstance(request, Append):
            return self._append(request, now)
        if self.end:
            number = self.last if isinstance(request, Renew) else 0
            return self, Answer("closed", number, self.stop, self.end)
        if isinstance(request, Renew):
            return replace(self, lease=now + LEASE), Answer("ok", self.last, self.stop)
        if self.stop:
            return replace(self, end="stopped"), Answer("ok", self.attempt, True, "stopped")
        if self.released:
            return self, Answer("ok", self.attempt, self.stop)
        released = replace(self, released=True, lease=now + request.wait)
        return released, Answer("ok", self.attempt, self.stop)

    def _append(self, request: Append, now: int) -> tuple[Model, Answer]:
        last = request.first + request.count - 1
        if self.end:
            if self.end == request.end and last <= self.last:
                return self, Answer("duplicate", self.last, self.stop, self.end)
            return self, Answer("closed", self.last, self.stop, self.end)
        if request.first > self.last + 1:
            return self, Answer("gap", self.last + 1, self.stop)
        texts = request.data.decode().split("\n") if request.count else []
        new = tuple(texts[self.last - request.first + 1 :])
        after = replace(self, chunks=self.chunks + new, end=request.end, lease=now + LEASE)
        kind = "duplicate" if request.count and not new else "ok"
        return after, Answer(kind, after.last, self.stop, request.end)  # type: ignore[arg-type]

    def _stop(self, now: int) -> tuple[Model, Answer]:
        if not self.exists:
            return self, Answer("unknown")
        if self.end:
            return self, Answer("closed", self.last, True, self.end)
        asked = replace(self, stop=True)
        if self.attempt and not self.released and self.lease > now:
            return asked, Answer("asked", self.attempt, True)
        return replace(asked, end="stopped"), Answer("ended", 0, True, "stopped")

    def _reap(self, now: int) -> tuple[Model, Answer]:
        if not self.exists:
            return self, Answer("unknown")
        if self.end:
            return self, Answer("closed", self.last, False, self.end)
        due = self.lease + REAP_AFTER
        if self.lease > now:
            return self, Answer("alive", due - now)
        noted = self.noted if self.noted >= self.lease else now
        due = max(due, noted + min(LEASE, REAP_AFTER))
        if due > now:
            return replace(self, noted=noted), Answer("alive", due - now)
        reason = "producer-disconnected" if self.attempt else "expired"
        return replace(self, end=reason), Answer("ended", self.last, False, reason)

    def _seal(self, request: Seal) -> tuple[Model, Answer]:
        """It changes how the chunks are kept, and so nothing."""
        if not self.exists:
            return self, Answer("unknown")
        asked = (request.attempt, request.nonce, request.last)
        if not self.end or asked != (self.attempt, self.nonce, self.last):
            return self, Answer("fenced", self.attempt)
        return replace(self, sealed=True), Answer("duplicate" if self.sealed else "ok")

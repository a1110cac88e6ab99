"""What comes out of the two ways to read, over HTTP and from the log: chunks, and steps to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import (
    StreamError,
    StreamFailedError,
    StreamGoneError,
    StreamNotFoundError,
    StreamReadError,
    TokenError,
)
from ..relays.end_reasons import GOOD_ENDS


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong; `code` is the relay's own where it gave one.

    Else it is an end reason, or: retried: `network`, `timeout`, `disconnected`, `unavailable`,
    `token`; fatal: `unauthorized`, `not-found`, `gone`, `bad-request`, `bad-response`, `bad-frame`.
    """

    code: str
    message: str
    status: int = 0
    end_reason: str = ""
    cause: BaseException | None = None

    def error(self, stream_id: str) -> StreamError:
        """The exception to raise for it."""
        error = self._error(stream_id)
        error.__cause__ = self.cause
        return error

    def _error(self, stream_id: str) -> StreamError:
        if self.end_reason:
            return StreamFailedError(stream_id, self.end_reason, self.code, self.message)
        message = f"stream {stream_id!r}: {self.message}"
        if self.status == 401:
            return TokenError(self.code, message)
        if self.status in (403, 404):
            missing = StreamNotFoundError(message)
            missing.code = self.code
            return missing
        kind = StreamGoneError if self.status == 410 else StreamReadError
        return kind(self.code, message, status=self.status)


class Arrival(NamedTuple):
    """A chunk, its JSON text (`""` for bytes, which have none), and the position after it."""

    value: Any
    text: str
    position: str


class Connect(NamedTuple):
    """Go on with a new connection after `delay` seconds."""

    delay: float = 0.0
    failure: Failure | None = None


class NewToken(NamedTuple):
    """Ask for another token, then go on."""


class Reset(NamedTuple):
    """A new attempt began (0: its number is not known); go on from the start after `delay`."""

    attempt: int
    delay: float = 0.0


class End(NamedTuple):
    """The stream has ended, or cannot be read on."""

    reason: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds before the next step."""

    seconds: float


Move = Connect | NewToken | Reset | End


def ended(reason: str, code: str = "", message: str = "") -> End:
    """The end for that reason, with the relay's words for it, if it had any."""
    if reason in GOOD_ENDS:
        return End(reason)
    words = message or f"the stream ended: {reason}"
    return End(reason, Failure(code or reason, words, end_reason=reason))

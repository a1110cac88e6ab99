"""The Durable Streams protocol, reading side, without I/O: a request and the log's state in, a
response out. Sections are those of the protocol's draft 1.0, or of our `docs/protocol.md`.

Ours beyond the standard: `Last-Event-ID`, the header `Stream-End-Reason`, and 410 with the code
`superseded` for an offset of an attempt that a newer one replaced.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ...errors import MalformedOffsetError
from ...offsets import NO_NONCE, NOW, Offset, Verdict, offset_at
from ...relays.base import StreamState
from ...relays.requests import Entry
from ..content import JSON_CONTENT, Content, content_of
from ..http import Headers, Refused, Reply, Request, accepts, matches, query_fields
from ..live.position import Asked, Position, locate, parse_asked

MAX_WAIT = 300
# A body's coding, for clients that take it, and from how many bytes on it pays.
DEFLATE = "deflate"
DEFLATED_FROM = 1024
STREAM_PATH = "/v1/stream/"
EVENT_STREAM = "text/event-stream"
# Section 10.1: intervals of 20 s since 9 October 2024.
CURSOR_EPOCH = 1728432000
CURSOR_INTERVAL = 20

# Writers name the content type: a document of theirs gets no script run under the relay's origin.
_SANDBOX = ("content-security-policy", "sandbox")


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A read of a stream: `live` is `""` (catch-up), `long-poll` or `sse`."""

    live: str
    asked: Asked
    cursor: str = ""
    if_none_match: str = ""
    reconnects: bool = False  # an EventSource that comes back
    as_chunks: bool = False  # frames are JSON arrays of chunks, whatever the content type
    wait: float = 0.0  # seconds to wait for a stream that is not there
    deflate: bool = False  # the client takes a deflated body


def refused_position(verdict: Verdict, attempt: int) -> Refused:
    """The answer to an offset that is no longer in the log (protocol.md, 3.2).

    `startOffset` is where to read again from. Unlike -1 it never gets the superseded chunks, also
    from a relay process that has not heard of the newer attempt yet.
    """
    start = str(Offset(attempt, 0, NO_NONCE))
    if verdict is Verdict.SUPERSEDED:
        message = "a newer attempt replaced these chunks: read again from the start"
    else:
        message = "the chunks behind this offset are lost"
    return Refused(410, verdict.value, message, attempt=attempt, startOffset=start)


def parse_read(request: Request) -> ReadCall:
    """Read what a GET or HEAD asks for (sections 5.6 to 5.8; protocol.md, 4 to 6).

    Raises:
        Refused: 400, the request is malformed.
    """
    fields = query_fields(request.query)
    live = fields.get("live")
    if live not in (None, "long-poll", "sse"):
        raise Refused(400, "bad-request", "live is 'long-poll' or 'sse'")
    offset = fields.get("offset")
    last_event_id = request.headers.get("last-event-id") if live == "sse" else None
    # An EventSource repeats its first URL: what it got since then is newer.
    text = last_event_id or offset
    if text is None:
        if live is not None:
            raise Refused(400, "bad-request", f"live={live} needs an offset; -1 is the start")
        text = "-1"
    try:
        asked = parse_asked(text)
    except MalformedOffsetError as error:
        raise Refused(400, error.code, str(error)) from None
    return ReadCall(
        live or "",
        asked,
        fields.get("cursor", ""),
        request.headers.get("if-none-match", ""),
        bool(last_event_id),
        fields.get("frames") == "json",
        wait_of(fields),
        accepts(request.headers.get("accept-encoding", ""), DEFLATE),
    )


def wait_of(fields: Mapping[str, str]) -> float:
    """How long a stream that is not there yet is to be waited for (protocol.md, 2.4), seconds.

    Raises:
        Refused: 400, not a number from 0 to `MAX_WAIT`.
    """
    text = fields.get("wait", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MAX_WAIT):
        raise Refused(400, "bad-request", f"wait is a number of seconds from 0 to {MAX_WAIT}")
    return float(text)


def position_of(call: ReadCall, state: StreamState) -> Position:
    """Where the reader begins.

    Raises:
        Refused: 410, it may not.
    """
    # What others wrote, nobody sends again: an offset ahead of the log stays ahead for ever.
    final = bool(state.end) or state.http_written
    position = locate(call.asked, state.segments, final)
    if isinstance(position, Position):
        return position
    raise refused_position(position, state.attempt)


def cursor_for(asked: str, now: float, jitter: float) -> str:
    """The cursor to hand out (section 10.1; protocol.md, 5.3).

    Args:
        asked: the one the request echoed.
        now: seconds since the epoch.
        jitter: seconds, 1 to 3600, to go beyond a cursor that is not over yet.
    """
    current = int(now - CURSOR_EPOCH) // CURSOR_INTERVAL
    if asked.isascii() and asked.isdigit() and len(asked) <= 15 and int(asked) >= current:
        return str(int(asked) + max(1, int(jitter) // CURSOR_INTERVAL))
    return str(current)


def head_reply(state: StreamState) -> Reply:
    """The answer to HEAD (section 5.5; protocol.md, 4)."""
    headers = [
        ("content-type", content_of(state.kind, state.content_type).media_type),
        ("cache-control", "no-store"),
        ("stream-next-offset", str(offset_at(state.segments, state.last))),
    ]
    if state.ttl is not None:
        headers.append(("stream-ttl", str(state.ttl // 1000)))
    if state.expires_at is not None:
        headers.append(("stream-expires-at", timestamp(state.expires_at)))
    return Reply(200, (*headers, *closing(state.end)))


def timestamp(ms: int) -> str:
    """A time in ms since the epoch as RFC 3339, UTC."""
    seconds, rest = divmod(ms, 1000)
    moment = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{rest:03d}Z"


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks behind `start`, and what the log was like when they were read."""

    start: str
    entries: Sequence[Entry]
    next_offset: str
    up_to_date: bool
    end: str  # the end reason; "" while the stream is open
    content: Content = JSON_CONTENT


def batch_of(position: Position, state: StreamState, entries: Sequence[Entry]) -> Batch:
    """What a read found behind `position`; without entries there is nothing more for now."""
    seq = entries[-1].last if entries else position.seq
    start = str(position.ahead or offset_at(state.segments, position.seq))
    following = str(offset_at(state.segments, seq)) if entries else start
    at_end = position.ahead is None and seq >= state.last
    end = state.end if at_end else ""
    content = content_of(state.kind, state.content_type)
    return Batch(start, entries, following, at_end or not entries, end, content)


def catch_up_reply(call: ReadCall, batch: Batch, cursor: str) -> Reply:
    """The answer to a catch-up read (section 5.6; protocol.md, 5.1)."""
    moves = call.asked == NOW or isinstance(call.asked, int)
    headers = [
        ("content-type", batch.content.media_type),
        _SANDBOX,
        ("cache-control", "no-store" if moves else "private, no-cache"),
        ("stream-next-offset", batch.next_offset),
        ("stream-cursor", cursor),
        ("vary", "Accept-Encoding"),
    ]
    if batch.up_to_date:
        headers.append(("stream-up-to-date", "true"))
    headers.extend(closing(batch.end))
    if not moves:
        form = f"{':c' if batch.end else ''}{':z' if call.deflate else ''}"
        etag = f'"{batch.start}:{batch.next_offset}{form}"'
        headers.append(("etag", etag))
        if matches(call.if_none_match, etag):
            return Reply(304, tuple(headers[1:]))
    return Reply(200, tuple(headers), batch.content.body(batch.entries))


def deflated(reply: Reply) -> Reply:
    """The reply with its body deflated."""
    headers = (*reply.headers, ("content-encoding", DEFLATE))
    return Reply(reply.status, headers, zlib.compress(reply.body, 1))


def long_poll_reply(batch: Batch, cursor: str) -> Reply:
    """The answer to a long-poll read (section 5.7; protocol.md, 5.2)."""
    headers = [
        ("cache-control", "no-store"),
        ("stream-next-offset", batch.next_offset),
        ("stream-cursor", cursor),
    ]
    if batch.up_to_date:
        headers.append(("stream-up-to-date", "true"))
    headers.extend(closing(batch.end))
    if not batch.entries:
        return Reply(204, tuple(headers))
    media_type = ("content-type", batch.content.media_type)
    return Reply(200, (media_type, _SANDBOX, *headers), batch.content.body(batch.entries))


def sse_headers(content: Content = JSON_CONTENT, media_type: str = EVENT_STREAM) -> Headers:
    """The head of an SSE response (section 5.8; protocol.md, 6.1), or of one like it."""
    headers: Headers = (
        ("content-type", media_type),
        ("cache-control", "no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
        # Compressing middlewares leave alone what has an encoding: Django's would make each part a
        # gzip member (browsers read the first one), Starlette's holds parts back.
        ("content-encoding", "identity"),
    )
    return (*headers, ("stream-sse-data-encoding", "base64")) if content.in_base64 else headers


def closed_reply(offset: str, end: str) -> Reply:
    """What ends an EventSource, which would come back for ever (protocol.md, 6.1): 204."""
    headers = [("cache-control", "no-store"), ("stream-next-offset", offset)]
    return Reply(204, (*headers, ("stream-up-to-date", "true"), *closing(end)))


def closing(end: str) -> Headers:
    """The headers that tell of the end, if there is one (protocol.md, 3.3)."""
    if not end:
        return ()
    # Whoever writes the log names the reason, so it may be no text for a header.
    shown = end if end.isascii() and end.isprintable() else "unknown"
    return (("stream-closed", "true"), ("stream-end-reason", shown))

"""Server-sent events of the Durable Streams protocol (protocol.md, section 6.2). No I/O.

Beyond the standard: `id:` lines (for `Last-Event-ID`), and `endReason` and `error` beside
`streamClosed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ...offsets import Verdict
from ...relays.end_reasons import end_of
from ...relays.requests import Entry
from ..content import JSON_CONTENT, Content
from ..live.reader import Log
from .durable import EVENT_STREAM
from .envelopes import Envelope, enveloped_array


class DurableFrames:
    """Frames of `GET /v1/stream/<id>?live=sse`.

    Args:
        shared_cursor: gives the cursor of readers that have none of their own.
        content: what the stream consists of.
        as_chunks: frames are JSON arrays of chunks, whatever that is; a header tells what it is.
    """

    name = "sse"
    media_type = EVENT_STREAM
    ping = b": ping\n\n"

    def __init__(
        self,
        shared_cursor: Callable[[], str],
        content: Content = JSON_CONTENT,
        as_chunks: bool = False,
    ) -> None:
        self._shared_cursor = shared_cursor
        self.content = content.as_chunks if as_chunks else content
        self.headers: tuple[tuple[str, str], ...] = ()
        if as_chunks:
            self.headers = (("stream-content-type", content.media_type),)

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """One `data` event with all chunks of `entry`."""
        return b"event: data\nid: %b\n%b\n" % (offset.encode(), self.content.event(entry))

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """The `control` event after each `data` event."""
        following = self._next(offset.encode(), cursor)
        caught_up = b',"upToDate":true' if up_to_date else b""
        return b"event: control\ndata:{%b%b}\n\n" % (following, caught_up)

    def hello(self, offset: str, cursor: str, status: str) -> bytes:
        """The first event of a reader for whom there is nothing yet, or a change of status."""
        position = offset.encode()
        return b'event: control\nid: %b\ndata:{%b,"upToDate":true,"status":"%b"}\n\n' % (
            position,
            self._next(position, cursor),
            status.encode(),
        )

    def end(self, offset: str, reason: str, error: str) -> bytes:
        """The last event, in place of `control`. `error` is the stream's error as JSON, or `""`."""
        control: dict[str, object] = {
            "streamNextOffset": offset,
            "upToDate": True,
            "streamClosed": True,
            "endReason": reason,
        }
        if (shown := shown_error(reason, error)) is not None:
            control["error"] = shown
        # In ASCII, because an error may hold half of a split emoji.
        text = json.dumps(control, separators=(",", ":"))
        return f"event: control\nid: {offset}\ndata:{text}\n\n".encode()

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        """Nothing: the reader comes back, and is told then."""
        return b""

    def expiry(self, offset: str) -> bytes:
        """Nothing: the reader comes back, with a new token if it needs one."""
        return b""

    def completes(self, reason: str) -> bool:
        """Always: the end is in the `control` event."""
        return True

    def _next(self, position: bytes, cursor: str) -> bytes:
        raw = (cursor or self._shared_cursor()).encode()
        return b'"streamNextOffset":"%b","streamCursor":"%b"' % (position, raw)


class EnvelopedFrames(DurableFrames):
    """As `DurableFrames`, with JSON arrays of what an application sends for its chunks."""

    def __init__(self, shared_cursor: Callable[[], str], envelope: Envelope) -> None:
        super().__init__(shared_cursor, as_chunks=True)
        self._envelope = envelope

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """One `data` event for the chunks of `entry`, also when all of them are left out."""
        array = enveloped_array(entry.data, log, self._envelope)
        return b"event: data\nid: %b\ndata:%b\n\n" % (offset.encode(), array)


def shown_error(reason: str, error: str) -> object:
    """What readers may know of a stream that did not end well; None when it did."""
    if error:
        try:
            shown: object = json.loads(error)
        except ValueError:
            shown = None
        if isinstance(shown, dict):
            return shown
    if (end := end_of(reason)) is not None and not end.good:
        return {"code": reason, "message": end.message}
    return None

"""A stream on a WebSocket of the application's: one text message a chunk, and one for the end.

Without an envelope a chunk is `{"type": "chunk", "id": offset, "data": chunk}`. The last message is
`{"type": "end", "id", "reason"}` after a good end; otherwise `{"type": "failed", "id", "error"}`,
or `{"type": "reset", "error"}` when a newer attempt replaced chunks that were sent.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from ...errors import (
    ConfigurationError,
    MalformedOffsetError,
    RelayUnavailableError,
    StreamNotFoundError,
)
from ...ids import check_stream_id
from ...offsets import Verdict
from ...relays.end_reasons import GOOD_ENDS
from ...relays.requests import Entry
from ..content import JSON, JSON_CONTENT
from ..http import Headers, Message, Receive, Refused, query_fields
from ..live.position import parse_asked
from ..live.reader import Log
from ..reads.durable_frames import shown_error
from ..reads.envelopes import Envelope, enveloped, value_of
from ..reads.hubs import Hubs
from ..reads.plain_sse import REPLACED
from .options import Wanted

SendText = Callable[[str], Awaitable[object]]

# Close codes (RFC 6455, 7.4): 4000 and up are ours.
GOOD, FAILED, RESTARTS, LATER = 1000, 1011, 1012, 1013
MALFORMED, NOT_FOUND, SUPERSEDED = 4400, 4404, 4410


class SocketFrames:
    """Messages as lines, each a JSON string: what one send carries may be several of them."""

    name = "websocket"
    media_type = JSON
    content = JSON_CONTENT
    headers: Headers = ()
    ping = b""  # the server's own, which the protocol has

    def __init__(self, envelope: Envelope | None) -> None:
        self._envelope = envelope

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """One message a chunk."""
        texts = []
        for seq, raw in enumerate(entry.data.split(b"\n"), entry.first):
            if self._envelope is not None:
                text = enveloped(value_of(raw, log), self._envelope)
            else:
                value = raw.decode() if log.kind != "bytes" else _plain(value_of(raw, log), raw)
                text = f'{{"type":"chunk","id":"{log.offset(seq)}","data":{value}}}'
            if text is not None:
                texts.append(text)
        return b"".join([_line(text) for text in texts])

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """Nothing: every message has its offset."""
        return b""

    def hello(self, offset: str, cursor: str, status: str) -> bytes:
        """Nothing: the socket was accepted before."""
        return b""

    def end(self, offset: str, reason: str, error: str) -> bytes:
        """The last message."""
        if reason in GOOD_ENDS:
            return _line(_text(type="end", id=offset, reason=reason))
        return _line(_text(type="failed", id=offset, error=shown_error(reason, error)))

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        """Nothing: `serve_socket` tells."""
        return b""

    def expiry(self, offset: str) -> bytes:
        """Nothing: the application decides how long its sockets last."""
        return b""

    def completes(self, reason: str) -> bool:
        """Nothing is cut off: the close code tells."""
        return True


async def serve_socket(
    hubs: Hubs, stream_id: str, query: str, wanted: Wanted, receive: Receive, send_text: SendText
) -> tuple[int, str]:
    """Send a stream's messages until its end, or until the client is gone.

    Args:
        query: of the socket's URL; `offset` in it is where to begin.
        receive: gives `http.disconnect` when the client is gone.

    Returns:
        The close code, and the end reason or code; `(0, "")`: the client is gone.
    """

    async def tell(code: int, name: str, **error: object) -> tuple[int, str]:
        kind = "reset" if code == SUPERSEDED else "failed"
        await send_text(_text(type=kind, error={"code": name, **error}))
        return code, name

    reading = hubs.here().reading
    frames = SocketFrames(wanted.envelope) if wanted.envelope else _PLAIN
    try:
        check_stream_id(stream_id)
        asked = parse_asked(query_fields(query).get("offset", wanted.offset))
        connection = await reading.socket(stream_id, asked, inf, frames)
    except (ConfigurationError, StreamNotFoundError):
        return await tell(NOT_FOUND, "not-found", message="no such stream")
    except MalformedOffsetError as error:
        return await tell(MALFORMED, error.code, message=str(error))
    except Refused as refused:
        if refused.code == Verdict.SUPERSEDED.value:
            return await tell(SUPERSEDED, refused.code, message=REPLACED)
        return await tell(FAILED, refused.code, message=str(refused))
    except RelayUnavailableError as error:
        return await tell(LATER, error.code, message="the stream store does not answer")

    async def send(message: Message) -> None:
        for line in message.get("body", b"").splitlines():
            await send_text(json.loads(line))

    await connection.serve({"type": "http.response.start"}, receive, send)
    feed = connection.feed
    if connection.left:
        return 0, ""
    if connection.verdict is Verdict.SUPERSEDED:
        return await tell(SUPERSEDED, Verdict.SUPERSEDED.value, message=REPLACED)
    if connection.verdict is Verdict.GONE:
        return await tell(FAILED, "gone", message="This stream is lost.")
    if not feed.ended_at(connection.seq):
        return RESTARTS, "closing"
    return (GOOD if feed.end in GOOD_ENDS else FAILED), feed.end


_PLAIN = SocketFrames(None)  # one, so that its readers share what is encoded


def _plain(value: Any, raw: bytes) -> str:
    """Bytes: text as it is, everything else in base64, as it is stored."""
    return json.dumps(value) if isinstance(value, str) else raw.decode()


def _text(**fields: object) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _line(text: str) -> bytes:
    # In ASCII: a line break within would end the line.
    return json.dumps(text).encode() + b"\n"

"""Plain server-sent events: `/v1/sse/<id>`, one event a chunk (protocol.md, section 7). No I/O.

Three kinds of readers take these bytes as they are: `EventSource`, the AI SDK's `useChat` and the
OpenAI clients. What one of them cannot bear is left out for all:

- `useChat` takes every `data:` for a part of the message, whatever its event's name, but `[DONE]`.
- The OpenAI clients stop at `[DONE]`, raise at an object with an `error`, and once there was an
  `id:` they take a blank line behind a comment for an event: comments stand alone.
- To both a response that ends cleanly is an answer that is complete. So only an end that is good
  is a clean one; everything else breaks off, which to all of them is an error.
- An `EventSource` comes back in any case, and says which event it had last.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...errors import MalformedOffsetError
from ...offsets import START, Offset, Verdict
from ...relays.end_reasons import GOOD_ENDS
from ...relays.requests import Entry
from ..content import JSON_CONTENT
from ..http import Headers, Refused, Reply, Request, bad_request, query_fields
from ..live.position import Asked, parse_asked
from ..live.reader import Log
from .durable import EVENT_STREAM, wait_of
from .durable_frames import shown_error
from .envelopes import EXPIRED, RESET, Envelope, enveloped, event_line, value_of

METHODS = ("GET", "POST")
# What the clients of OpenAI and of Anthropic put behind their `base_url`.
MESSAGES = "/v1/messages"
ENDPOINTS = ("/responses", "/chat/completions", MESSAGES)
MAX_FIELD = 64
REPLACED = "A newer attempt replaced this text: read again from the start."
HEADERS: Headers = (("x-vercel-ai-ui-message-stream", "v1"),)

_MARK = re.compile(r"[a-z][a-z-]{0,39}\Z", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class PlainFrames:
    """Frames of `/v1/sse/<id>` (protocol.md, sections 7.2 to 7.4).

    Args:
        event: the field of a chunk that names its event; `""`: events have no names.
        envelope: returns what to send for a chunk; None: the chunk itself.
    """

    name = "plain"
    media_type = EVENT_STREAM
    content = JSON_CONTENT
    headers: Headers = HEADERS
    ping = b": ping\n"

    def __init__(self, event: str = "", envelope: Envelope | None = None) -> None:
        self._event = event
        self._envelope = envelope

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """One event a chunk, each with its own offset as `id`."""
        fields = json_field
        if log.kind == "text":
            fields = text_fields
        elif log.kind == "bytes":
            fields = base64_field if log.content.in_base64 else decoded_fields
        if self._event or self._envelope is not None:
            return self._composed(entry, log, fields)
        return b"".join(
            [
                b"id: %b\n%b\n" % (str(log.offset(seq)).encode(), fields(chunk))
                for seq, chunk in enumerate(entry.data.split(b"\n"), entry.first)
            ]
        )

    def _composed(self, entry: Entry, log: Log, fields_of: Callable[[bytes], bytes]) -> bytes:
        events = []
        for seq, raw in enumerate(entry.data.split(b"\n"), entry.first):
            value = value_of(raw, log)
            if self._envelope is None:
                fields = fields_of(raw)
            else:
                text = enveloped(value, self._envelope)
                if text is None:
                    continue
                fields = _fields_of(text)
            name = event_line(value, self._event)
            events.append(b"%bid: %b\n%b\n" % (name, str(log.offset(seq)).encode(), fields))
        return b"".join(events)

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """Nothing: every event has its offset."""
        return b""

    def hello(self, offset: str, cursor: str, status: str) -> bytes:
        """A comment, which also makes the head of the response reach its reader."""
        return b": %b\n" % status.encode()

    def end(self, offset: str, reason: str, error: str) -> bytes:
        """The last event: `end`, or `failed` with what readers may know."""
        mark = f"{offset}.{reason if _MARK.match(reason) else 'unknown'}"
        if reason in GOOD_ENDS:
            return f"event: end\nid: {mark}\ndata: [DONE]\n\n".encode()
        shown = shown_error(reason, error)
        return _failure("failed", mark, shown if isinstance(shown, dict) else {})

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        """What a reader is told whose response breaks off before the stream's end."""
        if verdict is Verdict.GONE:
            error = {"code": "gone", "message": "This stream is lost."}
            return _failure("failed", f"{offset}.gone", error)
        if verdict is Verdict.SUPERSEDED:
            return _reset(offset)
        return b""

    def expiry(self, offset: str) -> bytes:
        """Tells an `EventSource` to continue from `offset` with a new token: it would come back
        with the old one, be refused, and give up without a word.
        """
        error = {"code": "expired-token", "message": "The permission to read has expired."}
        return _failure(EXPIRED, offset, error)

    def completes(self, reason: str) -> bool:
        """Only a good end is a clean end; `reason` is `""` before the stream's end."""
        return reason in GOOD_ENDS


class MessagesFrames(PlainFrames):
    """As `PlainFrames`, for Anthropic's clients: they read events that have a name alone, take each
    for a part of the message, and raise at `error`.
    """

    def __init__(self) -> None:
        super().__init__("type")

    def end(self, offset: str, reason: str, error: str) -> bytes:
        return _for_messages(super().end(offset, reason, error))

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        return _for_messages(super().farewell(offset, verdict))

    def expiry(self, offset: str) -> bytes:
        return _for_messages(super().expiry(offset))


def _for_messages(last: bytes) -> bytes:
    """A last event: a good end without a name, any other as `error`."""
    name, _, rest = last.partition(b"\n")
    return rest if name in (b"event: end", b"") else b"event: error\n" + rest


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A read of `/v1/sse/<id>`.

    Attributes:
        asked: where to begin.
        mark: how the stream ended for a reader who has all of it; `""` for others.
        reconnects: `asked` is what an EventSource had last.
        event: the field of a chunk that names its event.
        wait: seconds to wait for a stream that is not there.
        messages: Anthropic's clients ask.
    """

    asked: Asked
    mark: str = ""
    reconnects: bool = False
    event: str = ""
    wait: float = 0.0
    messages: bool = False


def target_of(path: str) -> str:
    """The path without what an OpenAI client puts behind its base URL."""
    for endpoint in ENDPOINTS:
        if path.endswith(endpoint) and path != f"/v1/sse{endpoint}":  # a stream's own name
            return path[: -len(endpoint)]
    return path


def with_bearer(request: Request) -> Request:
    """The request, with the key of Anthropic's clients where others have theirs."""
    key = request.headers.get("x-api-key")
    if not key or not request.path.endswith(MESSAGES) or "authorization" in request.headers:
        return request
    return replace(request, headers={**request.headers, "authorization": f"Bearer {key}"})


def parse_plain(request: Request, start: str = START) -> PlainCall:
    """Read where a request begins (protocol.md, section 7.1).

    Args:
        request: it.
        start: the offset of a request that names none.

    Raises:
        Refused: 400, the request is malformed.
    """
    fields = query_fields(request.query)
    last_event_id = request.headers.get("last-event-id", "")
    # An EventSource repeats its first URL: what it got since then is newer.
    text, dot, mark = (last_event_id or fields.get("offset", start)).partition(".")
    try:
        asked = parse_asked(text)
    except MalformedOffsetError as error:
        raise Refused(400, error.code, str(error)) from None
    if dot and not (isinstance(asked, Offset) and _MARK.match(mark)):
        raise Refused(400, MalformedOffsetError.code, "malformed mark behind the offset")
    event = fields.get("event", "")
    if len(event) > MAX_FIELD:
        raise bad_request(f"event names a field, in at most {MAX_FIELD} characters")
    messages = request.path.endswith(MESSAGES)
    return PlainCall(asked, mark, bool(last_event_id), event, wait_of(fields), messages)


def had_all_reply(call: PlainCall) -> Reply:
    """The answer to a reader who had the last event: 204, so that it stays away."""
    return Reply(204, (("cache-control", "no-store"), ("stream-end-reason", call.mark)))


def reset_reply(call: PlainCall) -> Reply:
    """The answer to an EventSource whose chunks a newer attempt replaced."""
    head = (("content-type", EVENT_STREAM), ("cache-control", "no-store, no-transform"))
    return Reply(200, (*head, *HEADERS), _reset(call.asked))


def json_field(chunk: bytes) -> bytes:
    """A chunk of kind `json`: its JSON text, which is one line."""
    return b"data: %b\n" % chunk


def text_fields(chunk: bytes) -> bytes:
    """A chunk of any other string: its lines. Readers get them joined by line feeds."""
    text: str = json.loads(chunk)
    return _fields_of(text)


def _fields_of(text: str) -> bytes:
    try:
        return _lines(text)
    except UnicodeEncodeError:  # half of a split emoji can stand in JSON, but not in UTF-8
        return _lines(_SURROGATES.sub("\ufffd", text))


def base64_field(chunk: bytes) -> bytes:
    """A piece of bytes: in base64, as it is stored."""
    return b"data: %b\n" % chunk[1:-1]


def decoded_fields(chunk: bytes) -> bytes:
    """A piece of a text that is kept as bytes: as `text_fields`."""
    return _lines(b64decode(chunk[1:-1]).decode("utf-8", "replace"))


def _lines(text: str) -> bytes:
    return "".join([f"data: {line}\n" for line in _LINE_BREAK.split(text)]).encode()


def _reset(offset: object) -> bytes:
    error = {
        "code": Verdict.SUPERSEDED.value,
        "message": REPLACED,
    }
    return _failure(RESET, f"{offset}.{RESET}", error)


def _failure(event: str, mark: str, error: Mapping[str, object]) -> bytes:
    """An event that `useChat` and the OpenAI clients take for an error."""
    code = str(error.get("code") or "unknown")
    message = str(error.get("message") or "This stream did not end well.")
    part = {"type": "error", "errorText": message, "error": {"code": code, "message": message}}
    # In ASCII, because an error may hold half of a split emoji.
    text = json.dumps(part, separators=(",", ":"))
    return f"event: {event}\nid: {mark}\ndata: {text}\n\n".encode()

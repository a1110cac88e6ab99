"""What a stream consists of, by its content type (the protocol's sections 5.8 and 9). No I/O.

Chunks are JSON texts in the log, whatever the content: those of a JSON stream are its messages,
those of any other are pieces of its bytes, as strings in base64.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ..codecs.json_array import after_space, array_elements
from ..relays.requests import Entry

JSON = "application/json"
BYTES = "application/octet-stream"
# Of one body: a message costs far more than its bytes, in the stream store and for each reader.
MAX_MESSAGES = 200_000
MAX_VALUES = 500_000
PIECE_BYTES = 192 * 1024  # of a body in one chunk; a byte stream has no boundaries to keep

_LINE_END = re.compile(rb"\r\n|\r|\n")
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+\Z", re.ASCII)


class MalformedContentError(ValueError):
    """A body is not what its content type says."""


class TooManyValuesError(MalformedContentError):
    """A body is small in bytes and large in all that it would become."""


@dataclass(frozen=True, slots=True)
class Content:
    """A stream's content: `kind` is `json` (or `text`, a codec's strings) or `bytes`."""

    kind: str
    media_type: str

    @property
    def as_chunks(self) -> Content:
        """The same content as the JSON texts in the log: no piece is joined, split or decoded."""
        return Content("json", self.media_type)

    @property
    def in_base64(self) -> bool:
        """Server-sent events carry it in base64."""
        return self.kind == "bytes" and not self.media_type.startswith("text/")

    def body(self, entries: Iterable[Entry]) -> bytes:
        """All chunks as one response body."""
        if self.kind != "bytes":
            return b"[%b]" % b",".join([entry.data.replace(b"\n", b",") for entry in entries])
        return b"".join([_joined(entry) for entry in entries])

    def event(self, entry: Entry) -> bytes:
        """The chunks of one entry as `data:` lines."""
        if self.kind != "bytes":
            return b"data:[%b]\n" % entry.data.replace(b"\n", b",")
        data = _joined(entry)
        if self.in_base64:
            return b"data:%b\n" % b64encode(data)
        # A piece may end within a character; events are UTF-8, so its halves cannot be shown.
        data = data.decode("utf-8", "replace").encode()
        return b"".join([b"data:%b\n" % _guarded(line) for line in _LINE_END.split(data)])


JSON_CONTENT = Content("json", JSON)


def content_of(kind: str, content_type: str) -> Content:
    """The content of a stream as the relay describes it."""
    if kind == "bytes":
        return Content(kind, content_type or BYTES)
    return Content(kind, content_type) if content_type else JSON_CONTENT


def media_type_of(header: str) -> str:
    """A `Content-Type` header without its parameters, in lower case.

    Raises:
        MalformedContentError: it is no media type.
    """
    media_type = header.partition(";")[0].strip().lower()
    if not _MEDIA_TYPE.match(media_type):
        raise MalformedContentError("Content-Type is no media type")
    return media_type


def pieces_of(body: bytes) -> list[bytes]:
    """The chunks of a body that is not JSON, as JSON texts."""
    return [
        b'"%b"' % b64encode(body[start : start + PIECE_BYTES])
        for start in range(0, len(body), PIECE_BYTES)
    ]


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a JSON body, one line each: one level of array is taken off.

    Raises:
        MalformedContentError: it is not JSON in UTF-8.
        TooManyValuesError: parsing it would cost too much.
    """
    # Before anything is parsed, and a little too many: marks within strings count too.
    if sum(body.count(mark) for mark in b",[{") > MAX_VALUES:
        raise TooManyValuesError(f"a body holds at most {MAX_VALUES} JSON values: send several")
    try:
        text = body.decode("utf-8")
        start = after_space(text, 0)
        if text[start : start + 1] == "[":
            elements = islice(array_elements(text, _DECODER), MAX_MESSAGES + 1)
            spans = [span for _, span in elements]
        else:
            _, end = _DECODER.raw_decode(text, start)
            if after_space(text, end) != len(text):
                raise ValueError("more than one value")
            spans = [text[start:end]]
    except (ValueError, RecursionError):
        raise MalformedContentError("the body is not one JSON value in UTF-8") from None
    if len(spans) > MAX_MESSAGES:
        raise TooManyValuesError(f"a body holds at most {MAX_MESSAGES} messages: send several")
    # In valid JSON a raw line break is white space between tokens.
    return [span.replace("\r", " ").replace("\n", " ").encode() for span in spans]


def _refuse(name: str) -> object:
    raise ValueError(name)


# Numbers of more digits than Python reads are refused here, not when they are read; NaN and
# Infinity are not JSON.
_DECODER = json.JSONDecoder(parse_float=str, parse_constant=_refuse)


def _joined(entry: Entry) -> bytes:
    return b"".join([b64decode(line[1:-1]) for line in entry.data.split(b"\n")])


def _guarded(line: bytes) -> bytes:
    """A line that keeps its first space: readers take one away."""
    return b" " + line if line.startswith(b" ") else line

"""Server-sent events: bytes in, frames out, however the bytes are cut. No I/O.

After the HTML standard, 9.2.6 (interpreting an event stream): lines end at CRLF, LF or CR and at
nothing else (not at U+2028, as `str.splitlines` would have it), and an event that is not finished
by an empty line does not exist. Unlike in browsers an id counts for its own event only.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\r|\n")


class Frame(NamedTuple):
    """One event; `id` and `event` are `""` when it has none."""

    event: str
    id: str
    data: str


class FrameParser:
    """Parses one response."""

    def __init__(self) -> None:
        # Like browsers: a byte order mark is skipped, what is not UTF-8 becomes U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._pieces: list[str] = []  # of a line that is not complete
        self._after_cr = False
        self._event = ""
        self._id = ""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[Frame]:
        """Return the frames that are complete now."""
        text = self._decoder.decode(received)
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if not text:
            return []
        self._after_cr = text.endswith("\r")
        # Only what is new is searched: a chunk of megabytes comes in many pieces.
        first, *rest = _LINE_END.split(text)
        self._pieces.append(first)
        if not rest:
            return []
        lines = ["".join(self._pieces), *rest]
        self._pieces = [lines.pop()]
        return [frame for line in lines if (frame := self._line(line)) is not None]

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            self._id = "" if "\0" in value else value
        return None

    def _dispatch(self) -> Frame | None:
        frame = Frame(self._event, self._id, "\n".join(self._data)) if self._data else None
        self._event = self._id = ""
        self._data = []
        return frame

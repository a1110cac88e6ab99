"""What a stream's chunks are, by its content type. No I/O.

Chunks of a JSON stream are its JSON values. Those of any other are pieces of its bytes: text for
`text/*` (in UTF-8; a character may be cut between two pieces), bytes for everything else.
"""

from __future__ import annotations

import codecs
import json
from base64 import b64decode
from typing import Any

JSON = "application/json"
BYTES = "application/octet-stream"


class Content:
    """Makes chunks of what a log or a frame holds.

    Args:
        media_type: the stream's content type, without parameters and in lower case.
    """

    def __init__(self, media_type: str) -> None:
        self.is_json = media_type == JSON
        self.is_text = media_type.startswith("text/")
        self._text = codecs.getincrementaldecoder("utf-8")("replace") if self.is_text else None

    def chunk(self, value: Any, text: str) -> tuple[Any, str]:
        """A chunk and its JSON text, of what the log holds: a JSON value, or base64.

        The text is `""` for bytes, which have none; chunk and text are empty where a piece ends
        within its first character.

        Raises:
            ValueError: it is not base64.
        """
        if self.is_json:
            return value, text
        if not isinstance(value, str):
            raise ValueError("a chunk of this stream is not a string in base64")
        data = b64decode(value, validate=True)
        if self._text is None:
            return data, ""
        decoded = self._text.decode(data)
        return decoded, json_text(decoded)

    def rest(self) -> str:
        """What is left at the end: half of a character, shown as U+FFFD."""
        return "" if self._text is None else self._text.decode(b"", final=True)

    def reset(self) -> None:
        """The next piece is the first one."""
        if self._text is not None:
            self._text.reset()


def json_text(value: str | bytes) -> str:
    """The JSON text of a piece of text; `""` for an empty one and for bytes."""
    return json.dumps(value) if value and isinstance(value, str) else ""


def media_type_of(header: str | None) -> str:
    """A `Content-Type` header without its parameters, in lower case."""
    return (header or "").partition(";")[0].strip().lower()

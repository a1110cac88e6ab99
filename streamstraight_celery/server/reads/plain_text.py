"""Plain text: `/v1/text/<id>`, a stream's words alone (protocol.md, section 7.6). No I/O.

For readers that know nothing but a body of text: `TextStreamChatTransport`, `useCompletion` and
`useObject` of the AI SDK, `curl`. They can't be told of an error in words, so a stream that didn't
end well breaks off.
"""

from __future__ import annotations

import json
from base64 import b64decode

from ...codecs.words import words_of
from ...offsets import Verdict
from ...relays.end_reasons import GOOD_ENDS
from ...relays.requests import Entry
from ..content import JSON_CONTENT
from ..http import Headers
from ..live.reader import Log

TEXT = "/v1/text/"
MEDIA_TYPE = "text/plain; charset=utf-8"


class TextFrames:
    """The frames of `/v1/text/<id>`: no frames at all, only text."""

    name = "plain"
    media_type = MEDIA_TYPE
    content = JSON_CONTENT
    headers: Headers = ()
    ping = b""

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """The text of the chunks."""
        pieces = [json.loads(chunk) for chunk in entry.data.split(b"\n")]
        if log.kind == "bytes":
            return b"".join(map(b64decode, pieces))
        text = "".join(map(words_of, pieces))
        # Two halves of an emoji may come in two chunks; a half alone can't be sent.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """Nothing, as all that follows."""
        return b""

    def hello(self, offset: str, cursor: str, status: str) -> bytes:
        return b""

    def end(self, offset: str, reason: str, error: str) -> bytes:
        return b""

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        return b""

    def expiry(self, offset: str) -> bytes:
        return b""

    def completes(self, reason: str) -> bool:
        """Only a good end is a clean end; `reason` is `""` before the stream's end."""
        return reason in GOOD_ENDS

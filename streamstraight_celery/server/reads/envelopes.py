"""What is sent for a chunk: its event's name, and an application's envelope around it. No I/O."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from ..live.reader import Log

# Returns what to send for a chunk: a string as it is, None for nothing, anything else as JSON.
Envelope = Callable[[Any], object]

RESET = "reset"
EXPIRED = "token-expired"
# Names of last events: a chunk never has one of them, or it would look like the stream's end.
LAST_EVENTS = frozenset({"end", "failed", RESET, EXPIRED})

_NAME = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?\Z", re.ASCII)


def value_of(raw: bytes, log: Log) -> Any:
    """A chunk as its producer yielded it: a JSON value, a string, or bytes."""
    value = json.loads(raw)
    if log.kind != "bytes":
        return value
    piece = b64decode(value)
    return piece if log.content.in_base64 else piece.decode("utf-8", "replace")


def event_line(value: Any, field: str) -> bytes:
    """The `event:` line that `field` of a chunk gives; `b""` if that can't name an event."""
    name = value.get(field) if field and isinstance(value, dict) else None
    if not isinstance(name, str) or name in LAST_EVENTS or not _NAME.match(name):
        return b""
    return f"event: {name}\n".encode()


def enveloped(value: Any, envelope: Envelope) -> str | None:
    """The text that is sent for a chunk; None: it is left out."""
    sent = envelope(value)
    return sent if sent is None or isinstance(sent, str) else _json(sent)


def enveloped_array(raw: bytes, log: Log, envelope: Envelope) -> bytes:
    """What is sent for the chunks of an entry, one a line, as a JSON array."""
    values = [envelope(value_of(line, log)) for line in raw.split(b"\n")]
    return _json([value for value in values if value is not None]).encode()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)

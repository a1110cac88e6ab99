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
    if sent is None or isinstance(sent, str):
        return sent
    return json.dumps(sent, separators=(",", ":"))

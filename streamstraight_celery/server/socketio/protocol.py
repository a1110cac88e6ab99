"""The `stream-v1` protocol as the relay speaks it. No I/O.

A chunk's `data` is any string. In the log it is JSON text: unchanged if it already is JSON on one
line; any other string as a JSON string after a space, which is how the two are told apart, so
that a consumer gets exactly what the producer sent. Streams of our own workers' text codecs (kind
`text`) have JSON strings only, without the space, and so have those of bytes, which are base64.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as json_string
from typing import Any, TypeGuard

from ...codecs import utf8
from ...errors import ConfigurationError, StreamError
from ...ids import check_stream_id
from ...relays.end_reasons import ENDS

VERSION = "stream-v1"
MAX_COUNT = 2**31 - 1
MAX_ERROR = 64 * 1024
# What `stream:info` calls this deployment, and a worker's `sdkVersion` says of its codec.
DEPLOYMENT = "streamstraight-celery"
OURS = "+celery."

# Kinds of streams whose chunks are JSON strings in the log.
STRINGS = ("text", "bytes")

# What a producer may end a stream with; the relay itself adds the other reasons.
SDK_REASONS = frozenset(
    {
        "completed", "producer-error", "producer-disconnected", "inactivity-timeout", "not-found",
        "ignore-ended",
    }
)  # fmt: skip
OUR_REASONS = frozenset(ENDS) - SDK_REASONS


class Denied(StreamError):
    """A connection or an event that is refused; `code` says why, `data` more of it."""

    def __init__(self, code: str, message: str, **data: object) -> None:
        super().__init__(message)
        self.code = code
        self.data = {"code": code, **data}


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a connection introduces itself with.

    Attributes:
        role: `producer` or `consumer`.
        overwrite: start the stream over, whatever its state.
        ours: a worker of this package, which numbers chunks through all of its connections.
        kind: of the chunks: `text` when they are strings of an encoder and not JSON text, `bytes`
            when they are base64.
        nonce, attempt: the attempt that our worker continues after a lost connection.
        token: what a consumer may read.
    """

    role: str
    stream_id: str
    overwrite: bool = False
    ours: bool = False
    kind: str = "json"
    nonce: str = ""
    attempt: int = 0
    token: str = ""


def parse_handshake(auth: Any) -> Handshake:
    """Read the auth of a CONNECT packet.

    Raises:
        Denied: it is malformed, or of another version.
    """
    if not isinstance(auth, Mapping):
        raise Denied("bad-request", "connect with auth: role, streamId and version")
    if auth.get("version") != VERSION:
        shown = str(auth.get("version"))[:40]
        raise Denied("wrong-version", f"this relay speaks {VERSION}, not {shown!r}")
    role = auth.get("role")
    if role not in ("producer", "consumer"):
        raise Denied("bad-request", "role is 'producer' or 'consumer'")
    try:
        stream_id = check_stream_id(auth.get("streamId") or "")
    except ConfigurationError as error:
        raise Denied("bad-request", str(error)) from None
    sdk = str(auth.get("sdkVersion") or "")
    nonce, attempt = auth.get("nonce"), auth.get("attempt")
    return Handshake(
        role,
        stream_id,
        overwrite=auth.get("overwriteExistingStream") is True,
        ours=OURS in sdk,
        kind=next((each for each in STRINGS if sdk.endswith(OURS + each)), "json"),
        nonce=nonce if isinstance(nonce, str) else "",
        attempt=attempt if _is_count(attempt) else 0,
        token=str(auth.get("token") or ""),
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    seq: int
    data: str


def parse_chunk(payload: Any) -> Chunk:
    """Read a `producer:chunk`.

    Raises:
        Denied: it is malformed.
    """
    if isinstance(payload, Mapping):
        seq, data = payload.get("seq"), payload.get("data")
        if _is_count(seq) and isinstance(data, str):
            return Chunk(seq, data)
    raise Denied("bad-chunk", "a chunk is {seq, data}: a number from 0 and a string")


@dataclass(frozen=True, slots=True)
class End:
    reason: str
    last: int
    error: str


def parse_end(payload: Any, handshake: Handshake) -> End:
    """Read a `producer:end`.

    Raises:
        Denied: it is malformed, or the reason is unknown.
    """
    last = payload.get("lastSeq") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not (last == -1 or _is_count(last)):
        raise Denied("bad-end", "an end is {reason, lastSeq}")
    reason = payload.get("reason")
    known = SDK_REASONS | OUR_REASONS if handshake.ours else SDK_REASONS
    if not isinstance(reason, str) or reason not in known:
        raise Denied("bad-end", f"unknown end reason {str(reason)[:40]!r}")
    error = payload.get("error") if handshake.ours else ""
    return End(reason, payload["lastSeq"], error if _is_error(error) else "")


def _is_count(number: Any) -> TypeGuard[int]:
    """A number as the stream store and JavaScript can count."""
    return type(number) is int and 0 <= number <= MAX_COUNT


def _is_error(text: Any) -> TypeGuard[str]:
    """What `PublicError` makes for readers: a JSON object, as text."""
    if not isinstance(text, str) or len(text) > MAX_ERROR:
        return False
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def to_line(data: str, kind: str) -> bytes:
    """A chunk's data as it stands in the log.

    Raises:
        Denied: it is not base64 though the stream is of bytes; no reader could read it.
    """
    if kind == "bytes" and not _is_base64(data):
        raise Denied("bad-chunk", "a chunk of a stream of bytes is base64")
    if kind in STRINGS:
        return utf8(json_string(data))
    if data[:1] != " " and "\n" not in data and "\r" not in data and _is_json(data):
        return utf8(data)
    return utf8(f" {json_string(data)}")


def from_line(line: bytes, kind: str) -> str:
    """A chunk's data as its producer sent it."""
    if kind in STRINGS or line[:1] == b" ":
        string = json.loads(line)
        if isinstance(string, str):
            return string
    return line.decode()


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""Writing a stream over the Durable Streams protocol: requests in, replies out. No I/O.

Section numbers are those of the draft 1.0; protocol.md, 9, describes all of it. Ours: the header
`Stream-End-Reason` with `Stream-Closed`, so that a job that failed can say so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ...offsets import new_nonce
from ...relays.end_reasons import WRITTEN_OVER_HTTP
from ...relays.requests import Answer, Open, Write
from ..content import (
    BYTES,
    JSON,
    MalformedContentError,
    TooManyValuesError,
    media_type_of,
    messages_of,
    pieces_of,
)
from ..http import Headers, Refused, Reply, Request, bad_request, deleted, not_found, number_of
from ..reads.durable import closing

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
MAX_TTL = 10 * 365 * 24 * 3600
MAX_NAME = 256  # characters of a producer's name or a sequence

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes."""

    chunk: int
    body: int


def parse_open(
    stream_id: str, request: Request, body: bytes, limits: Limits, *, default: str = BYTES
) -> Open:
    """Read a PUT (section 5.1); `default` is the content type if it names none.

    Raises:
        Refused: 400, it is malformed; 413, a chunk is too large.
    """
    headers = request.headers
    media_type = _media_type(headers.get("content-type") or default)
    ttl, expires_at = _lifetime(headers)
    chunks = _chunks(media_type, body, limits) if body else []
    return Open(
        stream_id=stream_id,
        config=json.dumps([media_type, ttl, expires_at]),
        nonce=new_nonce(),
        kind="json" if media_type == JSON else "bytes",
        content_type=media_type,
        ttl=ttl,
        expires_at=expires_at,
        end=_end(headers),
        count=len(chunks),
        data=b"\n".join(chunks),
    )


def parse_write(stream_id: str, request: Request, body: bytes, limits: Limits) -> Write:
    """Read a POST (sections 5.2, 5.2.1 and 5.3).

    Raises:
        Refused: 400, it is malformed; 413, a chunk is too large.
    """
    headers = request.headers
    end = _end(headers)
    media_type, chunks = "", []
    if body:
        if not headers.get("content-type"):
            raise bad_request("a body needs the Content-Type of the stream")
        media_type = _media_type(headers["content-type"])
        chunks = _chunks(media_type, body, limits)
        if not chunks:
            raise bad_request("an empty array adds nothing")
    elif not end:
        raise bad_request("an empty body adds nothing; Stream-Closed: true closes the stream")
    producer, epoch, number = _producer(headers)
    return Write(
        stream_id=stream_id,
        content_type=media_type,
        count=len(chunks),
        data=b"\n".join(chunks),
        end=end,
        sequence=_name(headers, "stream-seq"),
        producer=producer,
        epoch=epoch,
        number=number,
    )


def open_reply(call: Open, answer: Answer, location: str) -> Reply:
    """The answer to a PUT (section 5.1)."""
    if answer.kind in ("ok", "duplicate"):
        headers = (("content-type", call.content_type), *_position(answer))
        if answer.kind == "ok":
            return Reply(201, (("location", location), *headers))
        return Reply(200, headers)
    if answer.kind == "too-large":
        raise _too_large()
    raise Refused(409, "exists", "there is a stream of that name with another configuration")


def write_reply(call: Write, answer: Answer) -> Reply:
    """The answer to a POST (sections 5.2, 5.2.1 and 5.3)."""
    if answer.kind in ("ok", "duplicate"):
        headers = _position(answer)
        if not call.producer:
            return Reply(204, headers)
        numbers = (("producer-epoch", str(call.epoch)), ("producer-seq", str(answer.producer_seq)))
        added = answer.kind == "ok" and call.count
        return Reply(200 if added else 204, (*headers, *numbers))
    raise _write_refused(call, answer)


def _write_refused(call: Write, answer: Answer) -> Refused:
    if answer.kind == "unknown":
        return not_found()
    if answer.kind == "deleted":
        return deleted()
    if answer.kind == "too-large":
        return _too_large()
    if answer.kind == "epoch":
        return bad_request("a new Producer-Epoch begins with Producer-Seq 0")
    if answer.kind == "fenced":
        return Refused(
            403, "fenced", "a newer epoch of this producer writes",
            (("producer-epoch", str(answer.epoch)),),
        )  # fmt: skip
    if answer.kind == "gap":
        return Refused(
            409, "gap", "requests of this producer are missing in between",
            (
                ("producer-expected-seq", str(answer.expected_seq)),
                ("producer-received-seq", str(call.number)),
            ),
        )  # fmt: skip
    if answer.kind == "closed":
        return Refused(409, "closed", "the stream has ended", _position(answer))
    message = {
        "type": f"the stream's Content-Type is {answer.content_type}",
        "sequence": "Stream-Seq does not increase",
        "held": "a worker writes this stream",
    }[answer.kind]
    return Refused(409, "conflict", message)


def delete_reply(answer: Answer) -> Reply:
    """The answer to a DELETE (section 5.4)."""
    if answer.kind == "unknown":
        raise not_found()
    if answer.kind == "deleted":
        raise deleted()
    if answer.kind == "held":
        raise Refused(409, "conflict", "a worker writes this stream: stop it first")
    return Reply(204)


def _position(answer: Answer) -> Headers:
    offset, end = answer.position
    return (("stream-next-offset", offset), *closing(end))


def _too_large() -> Refused:
    return Refused(413, "too-large", "the stream would be larger than allowed")


def _media_type(header: str) -> str:
    try:
        return media_type_of(header)
    except MalformedContentError as error:
        raise bad_request(str(error)) from None


def _chunks(media_type: str, body: bytes, limits: Limits) -> list[bytes]:
    if media_type != JSON:
        return pieces_of(body)
    try:
        chunks = messages_of(body)
    except TooManyValuesError as error:
        raise Refused(413, "too-large", str(error)) from None
    except MalformedContentError as error:
        raise bad_request(str(error)) from None
    if any(len(chunk) > limits.chunk for chunk in chunks):
        raise Refused(413, "too-large", f"a message is larger than {limits.chunk} bytes")
    return chunks


def _end(headers: dict[str, str]) -> str:
    """The end reason, if the request closes the stream."""
    if headers.get("stream-closed", "").strip().lower() != "true":
        return ""
    reason = headers.get("stream-end-reason", "completed")
    if reason not in WRITTEN_OVER_HTTP:
        raise bad_request(f"Stream-End-Reason is one of {', '.join(WRITTEN_OVER_HTTP)}")
    return reason


def _lifetime(headers: dict[str, str]) -> tuple[int | None, int | None]:
    """Time to live and end of life, both in ms."""
    ttl, expires_at = headers.get("stream-ttl"), headers.get("stream-expires-at")
    if ttl is not None and expires_at is not None:
        raise bad_request("Stream-TTL and Stream-Expires-At exclude each other")
    if ttl is not None:
        seconds = number_of("Stream-TTL", ttl)
        if seconds > MAX_TTL:
            raise bad_request(f"Stream-TTL is at most {MAX_TTL} seconds")
        return seconds * 1000, None
    if expires_at is not None:
        return None, _instant(expires_at)
    return None, None


def _instant(text: str) -> int:
    """An RFC 3339 timestamp in ms since the epoch."""
    match = _RFC3339.match(text)
    try:
        if match is None:
            raise ValueError(text)
        day, clock, fraction, sign, hours, minutes = match.groups()
        moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=timezone.utc)
        if sign:
            ahead = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment - ahead if sign == "+" else moment + ahead
        return max(0, int(moment.timestamp())) * 1000 + int(f"{fraction or 0:0<3}"[:3])
    except (ValueError, OverflowError):
        raise bad_request("Stream-Expires-At is a timestamp like 2030-01-31T12:00:00Z") from None


def _producer(headers: dict[str, str]) -> tuple[str, int, int]:
    """The producer's name, epoch and number; `""`, 0, 0 without one."""
    given = [headers.get(f"producer-{part}") for part in ("id", "epoch", "seq")]
    if given == [None, None, None]:
        return "", 0, 0
    producer, epoch, number = given
    if not producer or epoch is None or number is None:
        raise bad_request("Producer-Id, Producer-Epoch and Producer-Seq belong together")
    return (
        _name(headers, "producer-id"),
        number_of("Producer-Epoch", epoch),
        number_of("Producer-Seq", number),
    )


def _name(headers: dict[str, str], header: str) -> str:
    text = headers.get(header, "")
    if len(text) > MAX_NAME:
        raise bad_request(f"{header} is longer than {MAX_NAME} characters")
    return text

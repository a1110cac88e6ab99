"""What the relay's answers and frames say, read with care. No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from ...codecs.json_array import array_elements
from ...offsets import START
from ..content import media_type_of
from ..events import Failure

# A relay cannot put a reader off for longer; finished streams are not kept longer either.
RETRY_AFTER_CAP = 3600.0
EVENT_STREAM = "text/event-stream"
CODES = {
    400: "bad-request",
    401: "unauthorized",
    # Expired or unknown, and perhaps only for this reader.
    403: "not-found",
    404: "not-found",
    410: "gone",
}


class Answer(NamedTuple):
    """The head of a response, names in lower case, and its body when it is a refusal."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none (NaN is not).
    """
    try:
        return _JSON.decode(text)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None


def parse_chunks(text: str) -> list[tuple[Any, str]]:
    """The elements of a JSON array, each with its own text.

    Raises:
        ValueError: it is no JSON array.
    """
    try:
        return array_elements(text, _JSON)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None


class Control(NamedTuple):
    """What a control frame says; `""` for what it does not say."""

    offset: str = ""
    cursor: str = ""
    closed: bool = False
    reason: str = ""
    code: str = ""
    message: str = ""


def parse_control(text: str) -> Control:
    """Read a control frame.

    Raises:
        ValueError: it is no JSON object.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return Control(
        string(value.get("streamNextOffset")),
        string(value.get("streamCursor")),
        bool(value.get("streamClosed")),
        string(value.get("endReason")),
        *words(value.get("error")),
    )


def words(error: Any) -> tuple[str, str]:
    """Code and message of an error as the relay writes it; `""` for what is not there."""
    if not isinstance(error, dict):
        return "", ""
    return string(error.get("code")), string(error.get("message"))


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def refusal(answer: Answer) -> tuple[Failure, int, str]:
    """What the relay said about a refusal, or what its status says; the attempt that it names, and
    that attempt's start.
    """
    status = answer.status
    try:
        body = parse_json(answer.body.decode())
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    code, message = words(said.get("error"))
    attempt = said.get("attempt")
    default = CODES.get(status) or ("unavailable" if is_passing(status) else "bad-response")
    kind = f" with {answer.headers.get('content-type')}" if status == 200 else ""
    failure = Failure(code or default, message or f"the relay answered {status}{kind}", status)
    start = string(said.get("startOffset")) or START
    return failure, attempt if isinstance(attempt, int) else 0, start


def is_stream(answer: Answer) -> bool:
    """The answer is an event stream to read."""
    kind = media_type_of(answer.headers.get("content-type"))
    return answer.status == 200 and kind == EVENT_STREAM


def is_done(answer: Answer) -> bool:
    """A stop was heard: a login page, for example, has not heard it."""
    kind = media_type_of(answer.headers.get("content-type"))
    return 200 <= answer.status < 300 and kind != "text/html"


def is_passing(status: int) -> bool:
    """A refusal that may be another one next time, or none."""
    return (status >= 500 and status != 501) or status in (204, 408, 425, 429)


def retry_after(value: str | None, time: float) -> float:
    """`Retry-After`, in seconds or as a date, as seconds from `time` (seconds since the epoch)."""
    if not value:
        return 0.0
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = parsedate_to_datetime(value).timestamp() - time
        except ValueError:
            return 0.0
    return min(max(wait, 0.0), RETRY_AFTER_CAP) if math.isfinite(wait) else 0.0

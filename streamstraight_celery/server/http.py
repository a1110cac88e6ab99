"""The server's words of HTTP: requests, replies and refusals, and ASGI's messages for them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from ..errors import ConfigurationError
from ..ids import check_stream_id
from .content import JSON

Scope = Any
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[str, str], ...]

READ_METHODS = ("GET", "HEAD")
MAX_QUERY_FIELDS = 32
MAX_NUMBER = 2**53 - 1  # what JavaScript counts exactly (section 5.2.1)
# How long a body may take, and how many bytes of it buy a second more: a slow client gets a large
# one through, and one that sends next to nothing does not hold its place for ever.
BODY_SECONDS = 10.0
SLOWEST = 32 * 1024

_NO_WEIGHT = re.compile(r"q\s*=\s*0(\.0*)?\Z")
_NUMBER = re.compile(r"(0|[1-9]\d{0,15})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """What the protocol looks at; header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"
    client: str = ""  # its address, where the server tells


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class Refused(Exception):
    """A request that is answered by an error: `{"error": {"code", "message"}}`."""

    def __init__(
        self, status: int, code: str, message: str, headers: Headers = (), **extra: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers
        self.extra = extra

    def reply(self) -> Reply:
        error = {"error": {"code": self.code, "message": str(self)}, **self.extra}
        return json_reply(self.status, error, self.headers)


def json_reply(status: int, value: object, headers: Headers = ()) -> Reply:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, (("content-type", JSON), ("cache-control", "no-store"), *headers), body)


def not_found() -> Refused:
    """The one answer for a stream that is not there and for one that is not the reader's."""
    return Refused(404, "not-found", "no such stream, or the token is not for it")


def nothing_here() -> Refused:
    """The answer to a path that leads nowhere."""
    return Refused(404, "not-found", "there is nothing here")


def deleted() -> Refused:
    """The answer for a stream that was deleted while there are forks of it."""
    return Refused(410, "deleted", "the stream was deleted")


def method_not_allowed(allowed: Sequence[str]) -> Refused:
    return Refused(
        405, "method-not-allowed", "this method is not allowed here",
        (("allow", ", ".join((*allowed, "OPTIONS"))),),
    )  # fmt: skip


def bad_request(message: str) -> Refused:
    return Refused(400, "bad-request", message)


def number_of(name: str, text: str) -> int:
    """A header's whole number.

    Raises:
        Refused: 400, it is none.
    """
    if not _NUMBER.match(text) or int(text) > MAX_NUMBER:
        raise bad_request(f"{name} is a whole number, at most {MAX_NUMBER}")
    return int(text)


def request_of(scope: Scope) -> Request:
    """The request that a scope describes, its path relative to where the application is mounted."""
    path = path_of(scope)
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            # RFC 9110, 5.3; and HTTP/2 may bring each cookie by itself (RFC 9113, 8.2.3).
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    query = scope.get("query_string", b"").decode("latin-1")
    client = (scope.get("client") or ("",))[0]
    return Request(scope["method"], path, query, headers, scope.get("scheme", "http"), client)


def path_of(scope: Scope) -> str:
    """The scope's path, relative to where the application is mounted."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    # Behind a proxy that strips a prefix, `FastAPI(root_path=...)` adds it to the root alone.
    mount = root.removeprefix(scope.get("app_root_path", "").rstrip("/"))
    for prefix in (root, mount):
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            return path[len(prefix) :] or "/"
    return path


def stream_id_of(request: Request, prefix: str) -> str:
    try:
        return check_stream_id(request.path[len(prefix) :])
    except ConfigurationError:
        raise not_found() from None


def start_message(status: int, headers: Headers) -> Message:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": raw}


def complete_headers(reply: Reply, common: Headers, method: str) -> Headers:
    """A reply's headers, and those that all replies have unless it says otherwise."""
    headers = list(reply.headers)
    if reply.status not in (204, 304) and method != "HEAD":
        headers.append(("content-length", str(len(reply.body))))
    said = {name for name, _ in headers}
    return (*headers, *(item for item in common if item[0] not in said))


def query_fields(query: str) -> dict[str, str]:
    """The query's fields.

    Raises:
        Refused: a field stands in it twice, or there are too many.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise Refused(400, "bad-request", "the query has too many fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise Refused(400, "bad-request", f"{name[:64]!r} stands twice in the query")
        fields[name] = value
    return fields


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether the client has this version (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or "*" in tags


def accepts(accept_encoding: str, coding: str) -> bool:
    """Tell whether the client names a coding and takes it (RFC 9110, 12.5.3)."""
    for each in accept_encoding.lower().split(","):
        name, *weights = (part.strip() for part in each.split(";"))
        if name == coding:
            return not any(_NO_WEIGHT.match(weight) for weight in weights)
    return False


async def read_body(receive: Receive, limit: int) -> bytes:
    """Receive a request's whole body.

    Raises:
        Refused: 413, it is larger than `limit` bytes; 408, it does not arrive; 400, the client went
            away in the middle.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    parts: list[bytes] = []
    size = 0
    while True:
        left = began + BODY_SECONDS + size / SLOWEST - clock()
        try:
            message = await asyncio.wait_for(receive(), left)
        except asyncio.TimeoutError:
            raise Refused(408, "timeout", "the request's body did not arrive") from None
        if message["type"] == "http.disconnect":
            raise Refused(400, "bad-request", "the body is incomplete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refused(413, "too-large", f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def disconnected(receive: Receive) -> None:
    """Return when the client is gone; what it sends is ignored."""
    while (await receive())["type"] != "http.disconnect":
        continue

"""Between ASGI's messages and the requests and replies of the protocol. No I/O."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..ids import check_stream_id
from .reads import durable
from .reads.durable import Headers, Reply, Request
from .reads.sse_response import Message

Scope = Any


def request_of(scope: Scope) -> Request:
    """The request that a scope describes, its path relative to where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :] or "/"
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


def stream_id_of(request: Request, prefix: str) -> str:
    try:
        return check_stream_id(request.path[len(prefix) :])
    except ConfigurationError:
        raise durable.not_found() from None


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

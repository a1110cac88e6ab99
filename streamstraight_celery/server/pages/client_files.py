"""The browser client, served next to the streams."""

from __future__ import annotations

import hashlib
from importlib import resources

from ..http import Reply, Request, matches

_FILES = {
    f"/{name}{suffix}": (content_type, f"{name}{suffix}")
    for name in ("client", "shared", "react", "ai-sdk", "ag-ui")
    for suffix, content_type in (
        (".js", "text/javascript; charset=utf-8"),
        (".d.ts", "text/plain; charset=utf-8"),
    )
}
_HOME = (
    b"This is a relay of streamstraight-celery: streams are read at /v1/stream/<id>, with a token."
    b"\n"
)


def static_file(request: Request) -> Reply | None:
    """The answer to a GET of a file, None if there is no such file."""
    if request.path == "/":
        return Reply(200, (("content-type", "text/plain; charset=utf-8"),), _HOME)
    if request.path not in _FILES:
        return None
    content_type, name = _FILES[request.path]
    file = resources.files("streamstraight_celery") / "static" / "streamstraight_celery" / name
    try:
        body = file.read_bytes()
    except OSError:
        return None
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = (
        ("content-type", content_type),
        ("cache-control", "public, max-age=300"),
        ("etag", etag),
        # A module script of another origin is fetched with CORS, and it contains no secret.
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
    )
    if matches(request.headers.get("if-none-match", ""), etag):
        return Reply(304, headers[1:])
    return Reply(200, headers, body)

"""The browser's client, served by the relay."""

from __future__ import annotations

from importlib import resources

import pytest

from streamstraight_celery.server.http import Request
from streamstraight_celery.server.pages.client_files import static_file

FILES = resources.files("streamstraight_celery") / "static" / "streamstraight_celery"


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/client.js", "client.js", "text/javascript; charset=utf-8"),
        ("/client.d.ts", "client.d.ts", "text/plain; charset=utf-8"),
        ("/shared.js", "shared.js", "text/javascript; charset=utf-8"),
        ("/react.js", "react.js", "text/javascript; charset=utf-8"),
        ("/ai-sdk.js", "ai-sdk.js", "text/javascript; charset=utf-8"),
        ("/ag-ui.js", "ag-ui.js", "text/javascript; charset=utf-8"),
    ],
)
def test_files_are_served_and_cached(path: str, name: str, content_type: str) -> None:
    reply = static_file(Request("GET", path))
    assert reply is not None
    headers = dict(reply.headers)
    assert (reply.status, headers["content-type"]) == (200, content_type)
    assert reply.body == (FILES / name).read_bytes()
    assert "max-age" in headers["cache-control"]
    assert headers["access-control-allow-origin"] == "*"
    again = static_file(Request("GET", path, headers={"if-none-match": headers["etag"]}))
    assert again is not None
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/client.css", "/client.licenses.txt", "/../client.js", "/x"])
def test_nothing_else_is_served(path: str) -> None:
    assert static_file(Request("GET", path)) is None

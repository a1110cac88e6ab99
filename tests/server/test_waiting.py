"""`?wait=`: readers that come before the stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.waiting import PATIENCE

from .conftest import Site


@pytest.mark.parametrize(
    "path",
    ["/v1/stream/{}?offset=-1", "/v1/stream/{}?offset=-1&live=sse",
     "/v1/stream/{}?offset=-1&live=long-poll", "/v1/sse/{}?", "/v1/text/{}?"],
)  # fmt: skip
async def test_nobody_waits_for_a_client_that_has_left(site: Site, path: str) -> None:
    location, _, query = path.format("never").partition("?")
    token, _ = site.tokens.issue("never")
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {
        "type": "http", "method": "GET", "path": location, "scheme": "http", "root_path": "",
        "query_string": f"{query}&wait=300&token={token}".encode(), "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 50000),
    }  # fmt: skip
    await asyncio.wait_for(site.app(scope, receive, send), PATIENCE)
    assert statuses == [404]

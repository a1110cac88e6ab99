"""Middlewares that compress leave streaming responses alone: each part comes at once, as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Site


@pytest.mark.parametrize("path", ["/v1/stream/{}?live=sse&offset=-1", "/v1/sse/{}"])
async def test_starlettes_gzip(site: Site, path: str) -> None:
    from starlette.middleware.gzip import GZipMiddleware

    producer = site.producer()
    token, _ = site.tokens.issue(producer.stream_id)
    location, _, query = path.format(producer.stream_id).partition("?")
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.put_nowait(message)

    scope = {
        "type": "http", "method": "GET", "path": location, "query_string": query.encode(),
        "headers": [
            (b"host", b"127.0.0.1"), (b"accept-encoding", b"gzip"),
            (b"authorization", f"Bearer {token}".encode()),
        ],
        "scheme": "http", "root_path": "", "http_version": "1.1",
        "client": ("127.0.0.1", 50000),
    }  # fmt: skip
    served = asyncio.ensure_future(GZipMiddleware(site.app, minimum_size=0)(scope, receive, send))
    try:
        for number in range(3):
            producer.append({"n": number})
            text = f'{{"n":{number}}}'.encode()
            while text not in (await asyncio.wait_for(sent.get(), 20)).get("body", b""):
                pass
    finally:
        left.set()
        await asyncio.wait([served])

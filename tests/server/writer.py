"""A client that writes: the small HTTP client, with bodies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from .client import TIMEOUT, Answer, Client, Stream, read_body, read_chunk, read_head
from .conftest import Site

JSON = "application/json"


class Writer(Client):
    """Requests that write one stream.

    Args:
        site: the server.
        stream_id: the stream.
        scopes: of its token.
    """

    def __init__(
        self, site: Site, stream_id: str = "s", scopes: tuple[str, ...] = ("read", "write", "stop")
    ) -> None:
        super().__init__(site.port, site.tokens.issue(stream_id, scopes=scopes)[0])
        self.stream_id = stream_id
        site.clients.append(self)

    async def put(
        self, body: bytes | str = b"", content_type: str = JSON, **headers: str
    ) -> Answer:
        return await self.send("PUT", body, content_type, **headers)

    async def post(
        self, body: bytes | str = b"", content_type: str = JSON, **headers: str
    ) -> Answer:
        return await self.send("POST", body, content_type, **headers)

    async def delete(self, **headers: str) -> Answer:
        return await self.send("DELETE", b"", "", **headers)

    async def close_stream(self, body: str = "", **headers: str) -> Answer:
        return await self.post(body, **{"Stream_Closed": "true", **headers})

    async def send(
        self, method: str, body: bytes | str, content_type: str = JSON, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Content-Type": content_type, **named}
        return await self.exchange(method, f"/v1/stream/{self.stream_id}", body, given)

    async def exchange(
        self, method: str, path: str, body: bytes | str, headers: Mapping[str, str]
    ) -> Answer:
        """Send a request with a body, and read the whole answer."""
        raw = body.encode() if isinstance(body, str) else body
        given: dict[str, Any] = {"Connection": "close", **headers}
        if "Transfer-Encoding" not in given:
            given["Content-Length"] = str(len(raw))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._request(method, path, given) + raw)
            status, answered = await asyncio.wait_for(read_head(reader), TIMEOUT)
            content = await asyncio.wait_for(read_body(reader, answered), TIMEOUT)
            return Answer(status, answered, content)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def here(self, query: str = "", **headers: str) -> Answer:
        """Read the stream."""
        return await self.read(self.stream_id, query, **headers)

    async def live(self, offset: str = "-1") -> Stream:
        """Read it by SSE; for JSON."""
        return await self.sse(self.stream_id, offset)

    async def raw_events(self, offset: str = "-1") -> list[tuple[str, list[str]]]:
        """All events up to the end of an SSE response, as names and `data:` lines."""
        stream = await self.sse(self.stream_id, offset)
        assert stream.status == 200
        text = b""
        while piece := await asyncio.wait_for(read_chunk(stream.reader), TIMEOUT):
            text += piece
        events = []
        for block in text.decode().split("\n\n"):
            pairs = [line.partition(":")[::2] for line in block.split("\n") if line]
            name = [value.strip() for field, value in pairs if field == "event"]
            data = [value.removeprefix(" ") for field, value in pairs if field == "data"]
            if name:
                events.append((name[0], data))
        return events

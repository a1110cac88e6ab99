"""A small HTTP client that shows everything: heads, events, comments, and how a response ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 10.0


@dataclass
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"]["code"])


@dataclass
class Event:
    name: str
    id: str
    data: Any


@dataclass
class Stream:
    """A streaming response, read as server-sent events.

    Attributes:
        chunks: of all `data` events.
        offsets: the id of each `data` event.
        comments: without the colon.
        complete: the response ended as it should, not by a cut connection.
    """

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    events: list[Event] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    offsets: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    complete: bool = False
    _text: str = ""

    async def more(self) -> bool:
        """Read a piece; False at the end."""
        piece = await asyncio.wait_for(read_chunk(self.reader), TIMEOUT)
        if not piece:
            self.complete = piece is not None
            return False
        self._text += piece.decode()
        *blocks, self._text = self._text.split("\n\n")
        for block in blocks:
            self._take(block)
        return True

    async def until_chunks(self, number: int) -> list[Any]:
        """Read until there are so many chunks."""
        while len(self.chunks) < number:
            assert await self.more(), f"ended with {len(self.chunks)} of {number} chunks"
        return self.chunks

    async def until_event(self, name: str) -> Event:
        """Read until an event of that name has come."""
        while not self.events or self.events[-1].name != name:
            assert await self.more(), f"ended without {name}"
        return self.events[-1]

    async def until_status(self, status: str) -> None:
        """Read until the producer is told to be so."""
        while not self.statuses or self.statuses[-1] != status:
            assert await self.more(), f"ended without {status}"

    async def until_comment(self, text: str) -> None:
        while text not in self.comments:
            assert await self.more(), f"ended without {text}"

    async def until_end(self) -> Stream:
        """Read all of it."""
        while await self.more():
            continue
        return self

    @property
    def statuses(self) -> list[str]:
        """What was told of the producer, in order."""
        return [e.data["status"] for e in self.events if "status" in e.data]

    @property
    def control(self) -> dict[str, Any]:
        """The last control event's data."""
        return next(e.data for e in reversed(self.events) if e.name == "control")

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def _take(self, block: str) -> None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        if "data" in fields:
            event = Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            self.events.append(event)
            if event.name == "data":
                self.chunks += event.data
                self.offsets.append(event.id)


class Client:
    """Requests to one server, with one token."""

    def __init__(self, port: int, token: str = "", root: str = "") -> None:
        self.port = port
        self.token = token
        self.root = root
        self._streams: list[Stream] = []

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask, and read the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._request(method, path, {"Connection": "close", **(headers or {})}))
            status, given = await asyncio.wait_for(read_head(reader), TIMEOUT)
            return Answer(status, given, await asyncio.wait_for(read_body(reader, given), TIMEOUT))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", path, headers)

    async def read(self, stream_id: str, query: str = "", **headers: str) -> Answer:
        return await self.get(f"/v1/stream/{stream_id}?{query}", _named(headers))

    async def sse(self, stream_id: str, offset: str | None = "-1", **headers: str) -> Stream:
        """Begin to read by SSE."""
        query = "live=sse" if offset is None else f"live=sse&offset={offset}"
        return await self.open(f"/v1/stream/{stream_id}?{query}", _named(headers))

    async def open(self, path: str, headers: Mapping[str, str] | None = None) -> Stream:
        """Ask, and read only the head of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._request("GET", path, headers or {}))
        status, given = await asyncio.wait_for(read_head(reader), TIMEOUT)
        stream = Stream(status, given, reader, writer)
        self._streams.append(stream)
        return stream

    async def close(self) -> None:
        """Hang up everywhere."""
        for stream in self._streams:
            await stream.close()

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        given = {"Host": f"127.0.0.1:{self.port}", **headers}
        if self.token and "Authorization" not in given:
            given["Authorization"] = f"Bearer {self.token}"
        lines = [f"{method} {self.root}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items() if value]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"{name} stands twice"
        headers[name.lower()] = value.strip()
    return int(lines[0].split(" ")[1]), headers


async def read_chunk(reader: asyncio.StreamReader) -> bytes | None:
    """One piece of a chunked body; b"" at its proper end, None when the connection was cut."""
    try:
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        return (await reader.readexactly(size + 2))[:-2]
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while piece := await read_chunk(reader):
            body += piece
        return body
    if (length := headers.get("content-length")) is not None:
        return await reader.readexactly(int(length))
    return await reader.read()

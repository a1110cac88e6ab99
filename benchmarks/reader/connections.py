"""Feeds that are pushed: server-sent events, and the Socket.IO of the hosted service."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from benchmarks.reader.sinks import Sink

OPEN_AT_ONCE = 50
OPEN_SECONDS = 60.0


class ReaderError(Exception):
    """The server did not answer as the feed promised."""


class SseConnection(asyncio.Protocol):
    """One HTTP request, and every byte after it into the sink."""

    def __init__(self, feed: dict[str, Any], sink: Sink, filled: Callable[[], None]) -> None:
        self.feed = feed
        self.sink = sink
        self.filled = filled
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened_ns = 0
        self.head = b""
        self.received = 0
        self.mark = feed["ready"].encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.opened_ns = time.monotonic_ns()
        self.transport.write(self.request())

    def request(self) -> bytes:
        lines = [f"GET {self.feed['path']} HTTP/1.1", f"Host: 127.0.0.1:{self.feed['port']}"]
        lines += [f"{name}: {value}" for name, value in self.feed.get("headers", {}).items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not self.ready.done():
            data = self.opening(data)
        self.sink.take(data)
        if self.sink.full:
            self.filled()

    def opening(self, data: bytes) -> bytes:
        """Wait for the feed's sign of readiness; what follows it belongs to the sink."""
        self.head += data
        if b"\r\n\r\n" in self.head and not self.head.startswith(self.status):
            self.fail(ReaderError(self.head[:300].decode(errors="replace")))
            return b""
        at = self.head.find(self.mark)
        if at < 0:
            return b""
        self.ready.set_result(None)
        return self.head[at + len(self.mark) :]

    status = b"HTTP/1.1 200"

    def fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ReaderError("closed before it was ready"))


class PostConnection(SseConnection):
    """The same, asked for by a body."""

    def request(self) -> bytes:
        body = self.feed["body"].encode()
        self.feed["headers"] = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        return super().request().replace(b"GET", b"POST", 1) + body


class WebSocketConnection(SseConnection):
    """A WebSocket, just enough to read. Server frames are not masked, so the sink sees their
    payload as it is."""

    status = b"HTTP/1.1 101"

    def request(self) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        self.feed["headers"] = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        return super().request()

    def opening(self, data: bytes) -> bytes:
        rest = super().opening(data)
        if self.ready.done():
            self.send(self.feed["body"])
        return rest

    def send(self, text: str) -> None:
        """A masked text frame with a mask of zeros, which leaves the payload as it is."""
        payload = text.encode()
        size = len(payload)
        short = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(b"\x81" + short + b"\0\0\0\0" + payload)


class SocketIoConnection(WebSocketConnection):
    """Engine.IO 4 over WebSocket, just enough to be a consumer."""

    def request(self) -> bytes:
        self.greeted = False
        return super().request()

    def opening(self, data: bytes) -> bytes:
        rest = SseConnection.opening(self, data)
        if not self.greeted and b'0{"sid"' in self.head:
            self.greeted = True
            self.send("40" + json.dumps(self.feed["auth"]))
        if self.ready.done():
            self.send('42["consumer:ready",{}]')
        return rest


KINDS: dict[str, type[SseConnection]] = {
    "sse": SseConnection,
    "post": PostConnection,
    "websocket": WebSocketConnection,
    "socketio": SocketIoConnection,
}


class SinkFor(Protocol):
    def __call__(self) -> Sink: ...


async def open_all(
    feeds: list[dict[str, Any]], sink_for: SinkFor, filled: Callable[[], None]
) -> list[SseConnection]:
    """Open every feed, a few at a time, and return once all are ready."""
    loop = asyncio.get_running_loop()
    turns = asyncio.Semaphore(OPEN_AT_ONCE)

    async def open_one(feed: dict[str, Any]) -> SseConnection:
        async with turns:
            made = KINDS[feed["how"]]
            _, connection = await loop.create_connection(
                lambda: made(feed, sink_for(), filled), "127.0.0.1", feed["port"]
            )
            await connection.ready
            return connection

    return await asyncio.wait_for(
        asyncio.gather(*(open_one(dict(feed)) for feed in feeds)), OPEN_SECONDS
    )

"""A client that keeps to nothing: bytes as they are, in the segments that it is given."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import AsyncIterator

PATIENCE = 20.0


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""

    async def send(self, *segments: bytes) -> None:
        """Send each as a segment of its own, as far as the server takes it."""
        for segment in segments:
            with contextlib.suppress(ConnectionError):
                self.writer.write(segment)
                await self.writer.drain()
            await asyncio.sleep(0.02)

    async def until_closed(self, seconds: float = PATIENCE) -> bytes:
        """Everything up to the end of the connection."""
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.wait_for(self.reader.read(65536), seconds):
                self.received += data
        return self.received

    async def until(self, text: bytes, seconds: float = PATIENCE) -> bytes:
        """Everything, once that has come."""
        while text not in self.received:
            data = await asyncio.wait_for(self.reader.read(65536), seconds)
            assert data, f"closed after {self.received[-300:]!r}"
            self.received += data
        return self.received

    async def ask(self, path: str = "/healthz") -> None:
        """A last ordinary request, after whose answer the server closes."""
        await self.send(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())


@contextlib.asynccontextmanager
async def connected(port: int, *, narrow: bool = False) -> AsyncIterator[Raw]:
    """A connection; `narrow`: the system takes little that is not read."""
    connecting = socket.socket()
    if narrow:
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connecting.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connecting, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connecting, limit=4096 if narrow else 2**16)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def answers(received: bytes) -> list[int]:
    """The status codes of all responses in what a connection received."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode(),
)
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"


async def upgraded(port_of: Raw) -> Raw:
    """Make a WebSocket of it, up to Engine.IO's greeting."""
    await port_of.send(head("GET", SOCKET_IO, *HANDSHAKE))
    await port_of.until(b'"sid"')
    return port_of


def frame(data: bytes | str = b"", opcode: int = 1, *, fin: bool = True) -> bytes:
    """A client's frame."""
    payload = data.encode() if isinstance(data, str) else data
    size = len(payload)
    first = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return first + length + mask + masked


async def longest_healthz(port: int, until: asyncio.Future[object]) -> float:
    """Seconds that the slowest of the /healthz took, asked one after another until then."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    while not until.done():
        began = loop.time()
        async with connected(port) as raw:
            await raw.ask()
            assert answers(await raw.until_closed()) == [200]
        longest = max(longest, loop.time() - began)
    return longest

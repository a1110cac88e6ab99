"""A reader that comes back until it is told the end, and remembers everything it was given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.server.client import read_body, read_chunk, read_head

Door = Literal["sse", "long-poll"]
PATIENCE = 3.0  # seconds without a byte after which a reader tries anew
LONGEST_WAIT = 0.4  # between two tries

# Ends of our own words: told that the chunks, or the stream, are not there (any more).
GONE, NOT_FOUND = "gone", "not-found"


@dataclass
class Life:
    """What was given between two resets."""

    chunks: list[Any] = field(default_factory=list)
    offset: str = "-1"


@dataclass
class ReaderRecord:
    """What one reader got.

    Attributes:
        lives: the last is the one that counts; those before ended with a reset.
        end: the end reason, `gone` or `not-found`; empty while it was not told.
        statuses: of all responses.
        problems: whatever a client would stumble over.
    """

    stream: str
    began: float
    lives: list[Life] = field(default_factory=lambda: [Life()])
    end: str = ""
    ended: float = 0.0
    statuses: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def resets(self) -> int:
        return len(self.lives) - 1


class ResumingReader:
    """Reads one stream through any of several relay servers.

    Args:
        ports: of the relay servers; each connection takes one at random.
        token: for the stream.
        door: how to read.
        rng: chooses.
    """

    def __init__(
        self, ports: Sequence[int], stream: str, token: str, rng: random.Random, door: Door = "sse"
    ) -> None:
        self.record = ReaderRecord(stream, time.monotonic())
        self._ports = ports
        self._token = token
        self._door = door
        self._rng = rng
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self.record.end:
            wait = 0.0
            try:
                wait = await self._connect(self._rng.choice(self._ports))
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                wait = 0.1
            if not self.record.end:
                await asyncio.sleep(min(wait, LONGEST_WAIT) * self._rng.uniform(0.5, 1.0))
        self.record.ended = time.monotonic()

    async def _connect(self, port: int) -> float:
        """Read until the connection ends; how long to wait before the next one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            path = f"/v1/stream/{self.record.stream}?live={self._door}"
            head = f"GET {path}&offset={self.record.life.offset} HTTP/1.1\r\nHost: x\r\n"
            writer.write(f"{head}Authorization: Bearer {self._token}\r\n\r\n".encode())
            status, headers = await asyncio.wait_for(read_head(reader), 2 * PATIENCE)
            self.record.statuses.append(status)
            if self._door == "sse" and status == 200:
                await self._events(reader)
                return 0.05
            body = b""
            if status not in (204, 304):
                size = headers.get("content-length")
                body = await (reader.readexactly(int(size)) if size else read_body(reader, headers))
            return self._take(status, headers, body)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _take(self, status: int, headers: dict[str, str], body: bytes) -> float:
        """Take a whole response; how long to wait before the next request."""
        record = self.record
        if status in (200, 204) and self._door == "long-poll":
            record.life.chunks += json.loads(body) if body else []
            record.life.offset = headers["stream-next-offset"]
            if "stream-closed" in headers:
                record.end = headers["stream-end-reason"]
            return 0.0
        told = json.loads(body) if body else {"error": {"code": ""}}
        code = told["error"]["code"]
        if status == 410 and code == "superseded":
            record.lives.append(Life(offset=told["startOffset"]))
            return 0.0
        if status == 410:
            record.end = GONE
        elif status == 404:
            record.end = NOT_FOUND
        elif status == 503:
            return float(headers["retry-after"])
        else:
            record.problems.append(f"answer {status} {code}")
            record.end = "refused"
        return 0.0

    async def _events(self, reader: asyncio.StreamReader) -> None:
        text = ""
        while piece := await asyncio.wait_for(read_chunk(reader), PATIENCE):
            *blocks, text = (text + piece.decode()).split("\n\n")
            for block in blocks:
                self._event(block)

    def _event(self, block: str) -> None:
        fields = dict(
            line.split(":", 1) for line in block.split("\n") if line and not line.startswith(":")
        )
        life = self.record.life
        if fields.get("event", "").strip() == "data":
            life.chunks += json.loads(fields["data"])
            life.offset = fields["id"].strip()
        elif fields.get("event", "").strip() == "control":
            control = json.loads(fields["data"])
            life.offset = control.get("streamNextOffset", life.offset)
            if control.get("streamClosed"):
                self.record.end = control["endReason"]

"""Reads a stream from the relay as a browser does: SSE, and again from where it was cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx

CHUNK_SECONDS = 60.0  # how long the next chunk may take
Json = dict[str, Any]


class ReadFailed(Exception):
    """The stream could not be read to its end."""


@dataclass
class Reading:
    """The chunks read. Times are from `time.perf_counter`."""

    chunks: list[Json] = field(default_factory=list)
    end_reason: str = ""
    error: str = ""
    connections: int = 0
    first_at: float = 0.0
    last_at: float = field(default_factory=time.perf_counter)

    @property
    def text(self) -> str:
        """The answer, put together from its pieces."""
        return "".join(map(words_of, self.chunks))

    @property
    def sent_text(self) -> str:
        """The answer as the model repeats it, in one piece, at its end."""
        done = [chunk for chunk in self.chunks if chunk.get("type") == "response.completed"]
        items = done[-1]["response"]["output"] if done else []
        parts = [part for item in items for part in item.get("content") or []]
        return "".join(part.get("text", "") for part in parts)

    def add(self, chunks: list[Json]) -> None:
        self.last_at = time.perf_counter()
        self.first_at = self.first_at or self.last_at
        self.chunks += chunks


@dataclass
class Event:
    """A server-sent event."""

    name: str
    id: str
    data: Any


def words_of(chunk: Json) -> str:
    """What an event of the Responses API adds to the answer."""
    return str(chunk["delta"]) if chunk.get("type") == "response.output_text.delta" else ""


def read_live(
    ref: Json,
    *,
    on_chunk: Callable[[Json], None],
    cut_after: int | None = None,
    on_cut: Callable[[Reading], None] = lambda _: None,
) -> Reading:
    """Read while it is written. After `cut_after` chunks drop the connection, once, and resume.

    Raises:
        ReadFailed: the relay refused, or no chunk came for long.
    """
    reading = Reading()
    offset = "-1"
    while not reading.end_reason:
        reading.connections += 1
        cut = False
        with closing(events(ref, offset, reading)) as arriving:
            for event in arriving:
                # Both or neither, as in any client: an event's chunks, and the position after it.
                offset = event.id or offset
                take(event, reading, on_chunk)
                cut = cut_after is not None and len(reading.chunks) >= cut_after
                if cut or reading.end_reason:
                    break
        if cut:
            cut_after = None
            on_cut(reading)
    return reading


def take(event: Event, reading: Reading, on_chunk: Callable[[Json], None]) -> None:
    if event.name == "data":
        reading.add(event.data)
        for chunk in event.data:
            on_chunk(chunk)
    elif event.data.get("streamClosed"):
        reading.end_reason = event.data["endReason"]
        reading.error = (event.data.get("error") or {}).get("message", "")


def events(ref: Json, offset: str, reading: Reading) -> Generator[Event, None, None]:
    """The events of one connection; closing the generator closes it."""
    asked = {"live": "sse", "offset": offset}
    with (
        client(ref) as http,
        http.stream("GET", ref["url"], params=asked) as response,
    ):
        if response.status_code != 200:
            raise ReadFailed(f"the relay answered {response.status_code}: {response.read()!r}")
        held = b""
        for received in response.iter_bytes():
            *blocks, held = (held + received).split(b"\n\n")
            for block in blocks:
                fields = dict(line.partition(":")[::2] for line in block.decode().split("\n"))
                if "event" in fields:
                    name, data = fields["event"].strip(), json.loads(fields["data"])
                    yield Event(name, fields.get("id", "").strip(), data)
            if time.perf_counter() - reading.last_at > CHUNK_SECONDS:
                raise ReadFailed(f"no chunk came for {CHUNK_SECONDS:.0f} s")


def replay(ref: Json) -> Reading:
    """Read again from the start, by plain requests, as a later visitor does.

    Raises:
        ReadFailed: the relay refused.
    """
    reading = Reading()
    offset = "-1"
    with client(ref) as http:
        while not reading.end_reason:
            response = http.get(ref["url"], params={"offset": offset})
            if response.status_code != 200:
                raise ReadFailed(f"the relay answered {response.status_code}: {response.text}")
            reading.connections += 1
            reading.add(response.json())
            offset = response.headers["stream-next-offset"]
            reading.end_reason = response.headers.get("stream-end-reason", "")
            if "stream-up-to-date" in response.headers:
                break
    return reading


def client(ref: Json) -> httpx.Client:
    headers = {"authorization": f"Bearer {ref['token']}"}
    return httpx.Client(headers=headers, timeout=30.0, trust_env=False)

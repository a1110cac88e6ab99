"""A plain reader over HTTP that lets go again and again, as browsers on trains do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Reading:
    """What a reader has got: chunks, how often it connected, and how the stream ended."""

    chunks: list[Any] = field(default_factory=list)
    connections: int = 0
    end: dict[str, Any] | None = None


def frames(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """(event, id, data) of each frame of an event stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if fields:
                yield fields.get("event", ""), fields.get("id", ""), fields.get("data", "")
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


def read_dropping(
    client: httpx.Client, ref: dict[str, Any], every: int, *, by: str = "offset"
) -> Reading:
    """Read a stream to its end; drop the connection after every so many chunks, then resume.

    Args:
        by: resume by the `offset` query or by the `Last-Event-ID` header.
    """
    reading = Reading()
    offset = "-1"
    while reading.end is None:
        reading.connections += 1
        headers = {"Authorization": f"Bearer {ref['token']}"}
        query = {"live": "sse", "offset": offset}
        if by == "header" and offset != "-1":
            headers["Last-Event-ID"] = offset
            query = {"live": "sse"}
        got = 0
        with client.stream("GET", ref["url"], params=query, headers=headers) as response:
            if response.status_code == 204 and by == "header":
                # How an EventSource is told that there is nothing to come back for.
                reading.end = {"endReason": response.headers["Stream-End-Reason"]}
                break
            assert response.status_code == 200, response.read()
            for event, name, data in frames(response.iter_lines()):
                if event == "data":
                    chunks = json.loads(data)
                    reading.chunks += chunks
                    got += len(chunks)
                    offset = name
                    if got >= every:
                        break
                elif json.loads(data).get("streamClosed"):
                    reading.end = json.loads(data)
    return reading

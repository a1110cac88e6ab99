"""A reader of plain server-sent events, strict as the standard is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamstraight_celery.offsets import Offset, Segment, offset_at
from streamstraight_celery.server.content import JSON_CONTENT, Content

from .client import TIMEOUT, Client, Event, Stream, read_chunk, read_head

_LINE = re.compile(r"\r\n|\r|\n")


@dataclass
class Plain(Stream):
    """A response of `/v1/sse/<id>`; `data` of its events is text, unnamed ones are `message`."""

    last_id: str = ""
    _fields: dict[str, list[str]] = field(default_factory=dict)

    async def more(self) -> bool:
        piece = await asyncio.wait_for(read_chunk(self.reader), TIMEOUT)
        if not piece:
            self.complete = piece is not None
            return False
        *lines, self._text = _LINE.split(self._text + piece.decode())
        for line in lines:
            self.take_line(line)
        return True

    def take_line(self, line: str) -> None:
        if line.startswith(":"):
            self.comments.append(line[1:].strip())
        elif line:
            name, _, value = line.partition(":")
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
        else:
            fields, self._fields = self._fields, {}
            self.last_id = fields.get("id", [self.last_id])[-1]
            if "data" in fields:
                name = fields.get("event", ["message"])[-1]
                self.events.append(Event(name, self.last_id, "\n".join(fields["data"])))

    @property
    def messages(self) -> list[str]:
        """The data of the events without a name: the chunks."""
        return [event.data for event in self.events if event.name == "message"]

    async def until_messages(self, number: int) -> list[str]:
        while len(self.messages) < number:
            assert await self.more(), f"ended with {len(self.messages)} of {number} messages"
        return self.messages

    async def read(self) -> Plain:
        """Read all of it."""
        while await self.more():
            continue
        return self


async def read_plain(
    client: Client,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
    door: str = "sse",
) -> Plain:
    """Ask for `/v1/<door>/<path>`, and read only the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    given = dict(headers or {})
    if body:
        given["Content-Length"] = str(len(body))
    writer.write(client._request(method, f"/v1/{door}/{path}", given) + body)
    status, head = await asyncio.wait_for(read_head(reader), TIMEOUT)
    stream = Plain(status, head, reader, writer)
    client._streams.append(stream)
    return stream


def parse_plain_text(raw: bytes) -> Plain:
    """What a reader makes of these bytes."""
    plain = Plain(200, {}, None, None)  # type: ignore[arg-type]
    *lines, rest = _LINE.split(raw.decode())
    assert rest == ""
    for line in lines:
        plain.take_line(line)
    return plain


@dataclass
class FakeLog:
    """A log that two attempts wrote: chunks 1 and 2, and what follows."""

    kind: str = "json"
    content: Content = JSON_CONTENT
    segments: tuple[Segment, ...] = (Segment(1, "aaaaaaaa", 2), Segment(2, "bbbbbbbb", 4))

    def offset(self, seq: int) -> Offset:
        return offset_at(self.segments, seq)

"""Both clients at every server: the same chunks arrive, in order, each once."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from streamstraight_server import streamstraight_server

from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.relays.end_reasons import EndReason
from tests.conftest import eventually
from tests.streamstraight.servers import KEY, Ours, Server
from tests.support.providers import RECORDINGS, recorded_events

MakeClient = Callable[..., Any]
REASONS: list[EndReason] = [
    "completed", "producer-error", "producer-disconnected", "inactivity-timeout",
]  # fmt: skip


@pytest.fixture(params=["our client", "the SDK"])
def write(request: pytest.FixtureRequest, client: MakeClient) -> Callable[..., None]:
    """Writes strings as a stream's chunks, and ends it."""

    def ours(server: Server, name: str, strings: list[str], reason: Any = "completed") -> None:
        codec = get_codec(encoder=str)
        encode = wire_encoder(codec)
        writer = client(server.url).open(name, kind=codec.kind)
        for string in strings:
            writer.write(encode(string))
        writer.finish(reason)

    def theirs(server: Server, name: str, strings: list[str], reason: Any = "completed") -> None:
        async def run() -> None:
            sdk: Any = await streamstraight_server(
                {"api_key": KEY, "base_url": server.url}, {"stream_id": name, "encoder": str}
            )
            async with sdk.stream_writer() as writer:
                for string in strings:
                    await writer.send(string)
                await writer.close(reason=reason)

        asyncio.run(run())

    return ours if request.param == "our client" else theirs


@pytest.fixture
def name() -> str:
    return f"stream-{uuid.uuid4().hex}"


@pytest.mark.parametrize("reason", REASONS)
def test_every_end(server: Server, write: Any, name: str, reason: str) -> None:
    write(server, name, ["one", '{"two":2}', "3"], reason)
    eventually(lambda: server.log(name)[1])
    assert server.log(name) == (["one", '{"two":2}', "3"], reason)


def test_a_stream_without_chunks(server: Server, write: Any, name: str) -> None:
    write(server, name, [])
    assert server.log(name) == ([], "completed")


def test_odd_strings(server: Server, write: Any, name: str) -> None:
    strings = ["a\nb\r\n", "\u2028", '"', " 1", "\U0001f600", "\x00", "{" * 2000]
    write(server, name, strings)
    assert server.log(name) == (strings, "completed")


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_large_chunks(server: Server, write: Any, name: str, size: int) -> None:
    strings = [f"{number}:" + 'x"\n' * (size // 3) for number in range(4)]
    write(server, name, strings)
    assert server.log(name) == (strings, "completed")


def test_many_chunks_in_order(server: Server, write: Any, name: str) -> None:
    strings = [str(number) for number in range(3000)]
    write(server, name, strings)
    assert server.log(name) == (strings, "completed")


FILES = sorted(RECORDINGS.glob("openai-responses-*long.sse"))


@pytest.mark.skipif(not FILES, reason="the recordings are not here")
def test_a_recorded_stream_byte_by_byte(server: Server, write: Any, name: str) -> None:
    events = recorded_events(FILES[0])
    assert len(events) > 500
    write(server, name, events)
    assert server.log(name) == (events, "completed")


def test_json_chunks_of_our_client(server: Server, client: MakeClient, name: str) -> None:
    encode = wire_encoder(get_codec())
    chunks = [{"a": [1, None]}, "text", 3.5, ["\n"]]
    writer = client(server.url).open(name)
    for chunk in chunks:
        writer.write(encode(chunk))
    writer.finish("completed")
    texts, _ = server.log(name)
    assert [json.loads(text) for text in texts] == chunks


def test_many_streams_at_once(server: Server, client: MakeClient, name: str) -> None:
    shared = client(server.url)
    writers = [shared.open(f"{name}-{number}") for number in range(30)]
    for round_ in range(40):
        for number, writer in enumerate(writers):
            writer.write(f"{round_ * 100 + number}")
    for writer in writers:
        writer.finish("completed")
    for number in range(30):
        expected = [str(round_ * 100 + number) for round_ in range(40)]
        assert server.log(f"{name}-{number}") == (expected, "completed")


def test_bytes_of_our_client(server: Server, client: MakeClient, name: str) -> None:
    codec = get_codec("bytes")
    pieces = [b"\xff\x00", b"a\nb", bytes(range(256)) * 300]
    writer = client(server.url).open(name, kind=codec.kind)
    for piece in pieces:
        writer.write(wire_encoder(codec)(piece))
    writer.finish("completed")
    texts, _ = server.log(name)
    assert [codec.decode(text) for text in texts] == pieces


def test_bytes_are_read_as_bytes(ours: Ours, client: MakeClient, name: str) -> None:
    """Also from our relay server: as `application/octet-stream`, one stream of bytes."""
    codec = get_codec("bytes")
    writer = client(ours.url).open(name, kind=codec.kind)
    for piece in (b"\xff\x00", b"a\nb"):
        writer.write(wire_encoder(codec)(piece))
    writer.finish("completed")
    asked = urllib.request.Request(
        f"{ours.url}/v1/stream/{name}", headers={"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.read() == b"\xff\x00a\nb"

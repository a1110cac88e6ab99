"""What a request brings besides its body is bounded, and nothing of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import pytest

from streamstraight_celery.server import http_protocol
from tests.server import serving
from tests.server.conftest import Site
from tests.server.writer import Writer
from tests.support.waiting import eventually_async as eventually

from .raw import Raw, answers, connected, head

MEGABYTES = 12
PIECE = 64 * 1024


async def flood(raw: Raw, begin: bytes, piece: bytes) -> int:
    """Send it again and again, up to `MEGABYTES`; how much was taken."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        raw.writer.write(begin)
        while sent < MEGABYTES * 1024 * 1024:
            raw.writer.write(piece)
            await raw.writer.drain()
            sent += len(piece)
    return sent


CHUNKED = head("POST", "/v1/streams", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a:\r\n" * (PIECE // 4)),
        (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"x" * PIECE),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x" * PIECE),
        (CHUNKED + b"2;", b"a=b;" * (PIECE // 4)),
        (CHUNKED, b"1;" + b"a" * PIECE + b"\r\nx\r\n"),
        (CHUNKED, b"0" * PIECE),
        (head("GET", "/healthz")[:-2] + b"a: ", b"x" * PIECE),
        (head("GET", "/healthz")[:-2], b"a:\r\n" * (PIECE // 4)),
        (b"GET /", b"x" * PIECE),
        (b"", b"\r\n" * (PIECE // 2)),
        (head("GET", "/v1/sse/s", "Content-Length: 0"), head("GET", "/healthz") * 500),
    ],
    ids=[
        "trailers", "a trailer's value", "a trailer's name", "chunk extensions",
        "an extension a chunk", "a chunk's size", "a header's value", "headers", "a target",
        "empty lines", "a pipeline",
    ],
)  # fmt: skip
async def test_an_endless_one_is_cut_off(site: Site, begin: bytes, piece: bytes) -> None:
    async with connected(site.port) as raw:
        flooding = asyncio.ensure_future(flood(raw, begin, piece))
        await raw.until_closed()
        # What the systems' buffers hold is not the server's.
        assert await flooding < MEGABYTES * 1024 * 1024
    await eventually(lambda: not serving.connections[site.port])


async def test_a_body_in_small_chunks_is_taken(site: Site) -> None:
    writer = Writer(site)
    await writer.put()
    text = ('["' + "x" * 600_000 + '"]').encode()
    body = b"".join(b"%x\r\n%b\r\n" % (len(text[i : i + 5]), text[i : i + 5])
                    for i in range(0, len(text), 5))  # fmt: skip
    answer = await writer.exchange(
        "POST", f"/v1/stream/{writer.stream_id}", body + b"0\r\nX-Checksum: 1\r\n\r\n",
        {"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
    )  # fmt: skip
    assert answer.status == 204
    assert (await writer.here()).json == ["x" * 600_000]


async def test_trailers_are_no_headers(site: Site) -> None:
    """A token in a trailer would get past a proxy that checks heads."""
    writer = Writer(site)
    await writer.put()
    begin = head("POST", f"/v1/stream/{writer.stream_id}", "Content-Type: application/json",
                 "Transfer-Encoding: chunked")  # fmt: skip
    trailer = f"Authorization: Bearer {writer.token}".encode()
    async with connected(site.port) as raw:
        await raw.send(begin + b"3\r\n[1]\r\n0\r\n" + trailer + b"\r\n\r\n")
        await raw.ask()
        assert answers(await raw.until_closed()) == [401, 200]


async def test_a_lost_connection_is_freed_at_once(site: Site) -> None:
    producer = site.producer()
    gc.collect()
    gc.disable()
    try:
        async with connected(site.port) as raw:
            token = site.tokens.issue(producer.stream_id)[0]
            await raw.send(
                head("GET", f"/v1/sse/{producer.stream_id}", f"Authorization: Bearer {token}")
            )
            await raw.until(b"200 OK")
            (connection,) = serving.connections[site.port]
            known = weakref.ref(connection)
            del connection
        await eventually(lambda: known() is None)
    finally:
        gc.enable()


async def test_the_rest_of_a_refused_body_is_not_read_for_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LEFTOVER_SECONDS", 60.0)  # the bytes alone are enough
    async with connected(site.port) as raw:
        begin = head("POST", "/v1/stream/s", f"Content-Length: {10**9}")
        flooding = asyncio.ensure_future(flood(raw, begin, b"x" * PIECE))
        assert answers(await raw.until_closed()) == [401]
        assert await flooding < MEGABYTES * 1024 * 1024

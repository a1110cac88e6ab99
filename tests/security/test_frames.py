"""What a WebSocket may send, before and after it is known whose it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest

from streamstraight_celery.server.frame_guard import (
    MAX_FRAGMENTS,
    Allowance,
    Bucket,
    FrameWalk,
)
from streamstraight_celery.server.socketio import backpressure
from tests.server import serving
from tests.server.conftest import Site
from tests.server.socketio import KEY, VERSION
from tests.support.waiting import eventually_async as eventually

from .raw import HANDSHAKE, SOCKET_IO, Raw, connected, frame, head, longest_healthz, upgraded

PING, PONG, TEXT, BINARY, CONTINUATION = 9, 10, 1, 2, 0
MEGABYTES = 8


async def flood(raw: Raw, piece: bytes) -> int:
    """Send it again and again, reading nothing; how much was taken until no more is."""
    sent = 0
    with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
        while sent < MEGABYTES * 1024 * 1024:
            raw.writer.write(piece)
            await asyncio.wait_for(raw.writer.drain(), 3)
            sent += len(piece)
    return sent


async def producer(raw: Raw, stream_id: str) -> None:
    """Make a producer of it."""
    await raw.send(head("GET", SOCKET_IO, *HANDSHAKE, f"Authorization: Bearer {KEY}"))
    await raw.until(b'"sid"')
    auth = {"role": "producer", "streamId": stream_id, "version": VERSION}
    await raw.send(frame(f"40{json.dumps(auth)}"))
    await raw.until(b"stream:info")


@pytest.mark.parametrize(
    "piece",
    [
        frame(opcode=PING) * 5000,
        frame("x" * 125, opcode=PING) * 500,
        frame(opcode=PONG) * 5000,
        frame("3") * 5000,
        frame("2") * 5000,
        frame("6") * 5000,
        frame('420["x"]') * 1000,
        frame('42["x",' + "[" * 20_000 + "]" * 20_000 + "]") * 3,
        frame(opcode=BINARY) * 5000,
        frame("x", fin=False) + frame(opcode=CONTINUATION, fin=False) * 5000,
        frame("4" + "x" * 100_000),
    ],
    ids=[
        "pings", "large pings", "pongs", "Engine.IO pongs", "Engine.IO pings", "noops", "events",
        "nested events", "binary", "continuations", "a large message",
    ],
)  # fmt: skip
async def test_a_stranger_is_dropped(site: Site, piece: bytes) -> None:
    async with connected(site.port) as raw:
        await upgraded(raw)
        flooding = asyncio.ensure_future(flood(raw, piece))
        assert await longest_healthz(site.port, flooding) < 2
        assert await flooding < MEGABYTES * 1024 * 1024
        await eventually(lambda: not serving.connections[site.port])


async def test_a_large_frame_is_refused_by_its_header(site: Site) -> None:
    async with connected(site.port) as raw:
        await upgraded(raw)
        await raw.send(frame("x" * 200_000)[:14])
        await raw.until_closed()


async def test_text_that_is_none_is_no_error_of_ours(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(site.port) as raw:
        await upgraded(raw)
        await raw.send(frame(b"4\xff\xfe"))
        await raw.until_closed()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("farewell", ["1", "41"])
async def test_who_says_goodbye_may_not_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch, farewell: str
) -> None:
    monkeypatch.setattr(backpressure, "HANDSHAKE_SECONDS", 0.5)
    async with connected(site.port) as raw:
        await producer(raw, "s")
        await raw.send(frame(farewell))
        await raw.until_closed()
    await eventually(lambda: not serving.connections[site.port])


async def test_a_producers_pings_are_bounded_too(site: Site) -> None:
    async with connected(site.port) as raw:
        await producer(raw, "s")
        assert await flood(raw, frame(opcode=PING) * 5000) < MEGABYTES * 1024 * 1024


async def test_answers_that_a_producer_does_not_read_stop_what_it_sends(
    narrow_site: Site,
) -> None:
    site = narrow_site
    async with connected(site.port, narrow=True) as raw:
        await producer(raw, "s")
        door = site.app.start().socketio
        assert door is not None
        (socket,) = door._server.eio.sockets.values()
        event = frame('421["producer:end",{}]') * 2000
        for _ in range(40):
            raw.writer.write(event)
        # As many as fit into the systems' buffers are sent, and few wait for them in our memory.
        for _ in range(30):
            await asyncio.sleep(0.1)
            assert socket.queue.qsize() < 200


async def test_many_small_chunks_of_a_producer_pass(site: Site) -> None:
    async with connected(site.port) as raw:
        await producer(raw, "s")
        chunks = [frame(f'42["producer:chunk",{{"seq":{n},"data":"{n}"}}]') for n in range(3000)]
        sending = asyncio.ensure_future(raw.send(b"".join(chunks)))
        assert await longest_healthz(site.port, sending) < 2
        await raw.send(frame('429["producer:end",{"reason":"completed","lastSeq":2999}]'))
        await raw.until(b"endRedisId")
    assert (await site.client("s").read("s")).json == list(range(3000))


def test_a_bucket_fills_again() -> None:
    bucket = Bucket(2, 1, now=0)
    assert [bucket.take(1, 0), bucket.take(1, 0), bucket.take(1, 0)] == [True, True, False]
    assert not bucket.take(1, 1)
    assert bucket.take(1, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_frames_are_counted_however_they_are_cut(size: int) -> None:
    frames = [frame("x" * n, opcode=TEXT) for n in (0, 1, 125, 126, 127, 65535, 65536)]
    data = b"".join(frames) + frame("x", fin=False) + frame(opcode=PING) * 30
    allowance = Allowance()
    allowance.trusted = True
    walk = FrameWalk(allowance, 0)
    assert all(walk.allows(data[at : at + size], 0) for at in range(0, len(data), size))
    assert walk.allows(frame(opcode=PING) * 30, 0)
    assert not walk.allows(frame(opcode=PING), 0)
    assert walk.allows(frame(opcode=PING), 10)


def test_a_message_has_so_many_fragments() -> None:
    allowance = Allowance()
    allowance.trusted = True
    part = frame("x", opcode=CONTINUATION, fin=False)
    walk = FrameWalk(allowance, 0)
    assert walk.allows(part * MAX_FRAGMENTS, 0)
    assert not walk.allows(part, 0)

"""What our own server process bears of whoever connects."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streamstraight_celery.server import http_protocol as wire
from tests.support.waiting import eventually_async as eventually

from . import serving
from .client import read_body, read_head
from .conftest import MakeSite, Site
from .serving import listen_narrow


async def test_a_head_without_end_is_refused(redis_site: Site) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", redis_site.port)

    async def write() -> None:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for number in range(1000):
            writer.write(b"X-%d: %b\r\n" % (number, b"y" * 10_000))
            await writer.drain()

    with pytest.raises(ConnectionError):
        await write()
    writer.close()


async def test_a_large_head_is_taken(redis_site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_site.port)
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: %b\r\n\r\n" % (b"c" * 32_000))
        status, headers = await read_head(reader)
        assert status == 200
        await reader.readexactly(int(headers["content-length"]))
    writer.close()


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    redis_site: Site, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_site.port)
    writer.write(begun)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    # Nor is that of a second request, and a body that takes its time is none.
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_site.port)
    writer.write(b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    await asyncio.sleep(1)
    writer.write(b"{}")
    status, headers = await read_head(reader)
    assert status == 400
    await reader.readexactly(int(headers["content-length"]))
    writer.write(b"GET /healthz")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_whoever_takes_nothing_of_a_whole_answer_is_cut_off(
    make_site: MakeSite, redis_url: str, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "REST_SECONDS", 1)
    monkeypatch.setattr(serving, "listen", listen_narrow)
    site = await make_site(redis_url)
    producer = site.producer()
    for _ in range(4):
        producer.append("x" * 1_000_000)
    client = site.client(producer)
    request = client._request("GET", f"/v1/stream/{producer.stream_id}", {"Connection": connection})
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", site.port))
        stuck.send(request)
        await eventually(lambda: serving.connections[site.port])
        await eventually(lambda: not serving.connections[site.port])
    # One that takes it slowly gets all of it.
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=2**16)
    writer.write(request)
    status, headers = await read_head(reader)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += await reader.read(400_000)
        await asyncio.sleep(0.05)
    assert (status, len(body)) == (200, int(headers["content-length"]))
    writer.close()
    assert await read_body(reader, {}) == b""

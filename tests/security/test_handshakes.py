"""Between an upgrade and its handshake nobody waits, and nothing is gathered."""

from __future__ import annotations

import asyncio

import pytest

from streamstraight_celery.server import frame_guard
from tests.server import serving
from tests.server.conftest import Site
from tests.support.waiting import eventually_async as eventually

from .raw import HANDSHAKE, SOCKET_IO, answers, connected, head, upgraded

HEADERS = [f"X-{number}: y" for number in range(130)]


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        ([*HANDSHAKE, "Content-Length: 1"], [400]),
        ([*HANDSHAKE, "Transfer-Encoding: chunked"], [400]),
        ([*HANDSHAKE, *HEADERS], [400]),
        ([*HANDSHAKE, "X: " + "y" * 8190], [400]),
        ([*HANDSHAKE, "Content-Length: 0", "X" * 9000 + ": y"], [400]),
        ([*HANDSHAKE, "X: " + "y" * 70_000], [400]),
        (HANDSHAKE[:2], [400, 426]),
        ([*HANDSHAKE[:2], HANDSHAKE[2]], [400]),
        ([*HANDSHAKE[:3], "Sec-WebSocket-Key: x"], [400]),
        ([*HANDSHAKE[:3], "Sec-WebSocket-Key: " + "é" * 24], [400]),
        ([*HANDSHAKE, HANDSHAKE[3]], [400]),
        ([*HANDSHAKE[:2], "Sec-WebSocket-Version: 8", HANDSHAKE[3]], [400, 426]),
    ],
)  # fmt: skip
async def test_a_handshake_that_cannot_be_is_refused_at_once(
    site: Site, lines: list[str], statuses: list[int]
) -> None:
    async with connected(site.port) as raw:
        await raw.send(head("GET", SOCKET_IO, *lines))
        received = await raw.until_closed()
    assert len(answers(received)) == 1
    assert answers(received)[0] in statuses
    await eventually(lambda: not serving.connections[site.port])


@pytest.mark.parametrize(
    "path", [SOCKET_IO + "&" + "x" * 8200, "http://h" + SOCKET_IO, "//socket.io/"]
)
async def test_neither_does_an_odd_path_wait(site: Site, path: str) -> None:
    async with connected(site.port) as raw:
        await raw.send(head("GET", path, *HANDSHAKE))
        await raw.ask()
        assert answers(await raw.until_closed())[0] in (400, 403, 404)
    await eventually(lambda: not serving.connections[site.port])


async def test_an_application_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_guard, "HANDSHAKE_SECONDS", 0.3)

    async def silent(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(60)

    async with serving.serving(silent, ws="auto", lifespan="off") as port:
        async with connected(port) as raw:
            await raw.send(head("GET", SOCKET_IO, *HANDSHAKE))
            assert await raw.until_closed() == b""
        for task in asyncio.all_tasks():
            if "silent" in repr(task.get_coro()) or "run_asgi" in repr(task.get_coro()):
                task.cancel()


async def test_a_sound_handshake_is_taken(site: Site) -> None:
    async with connected(site.port) as raw:
        await upgraded(raw)
        assert answers(raw.received) == [101]

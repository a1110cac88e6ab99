"""Requests whose bodies do not come, or slowly."""

from __future__ import annotations

import asyncio

import pytest

from streamstraight_celery.server import http
from streamstraight_celery.server import http_protocol as wire

from . import serving
from .client import read_body, read_head
from .conftest import MakeSite, Site
from .writer import Writer

API_KEY = "an api key of these tests, long enough"
PATIENCE = 0.5  # where the server's own is patched

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def site(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, writing=True, api_keys=(API_KEY,))


async def begin(site: Site, method: str, path: str, length: int = 100) -> Connection:
    """Send a request up to its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    headers = {"Content-Type": "application/json", "Content-Length": str(length)}
    writer.write(Writer(site)._request(method, path, headers))
    return reader, writer


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/streams"), ("PUT", "/v1/stream/s"), ("POST", "/v1/stream/s")],
)
@pytest.mark.parametrize("part", [b"", b"[1"])
async def test_a_body_that_does_not_arrive_is_not_waited_for(
    site: Site, method: str, path: str, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", PATIENCE)
    reader, writer = await begin(site, method, path)
    writer.write(part)
    status, headers = await asyncio.wait_for(read_head(reader), 5)
    assert (status, b"timeout" in await read_body(reader, headers)) == (408, True)
    writer.close()


async def test_a_slow_body_arrives(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", PATIENCE)
    monkeypatch.setattr(http, "SLOWEST", 10)
    reader, writer = await begin(site, "PUT", "/v1/stream/s", 62)
    for part in [b"[" + b" " * 29, b" " * 30, b"1]"]:
        writer.write(part)
        await asyncio.sleep(PATIENCE)
    assert (await asyncio.wait_for(read_head(reader), 5))[0] == 201
    writer.close()


# Path, and what GET, HEAD and DELETE of it come to.
DOORS = [
    ("/", 200, 200, 405),
    ("/nothing", 404, 404, 405),
    ("/healthz", 200, 200, 405),
    ("/readyz", 200, 200, 405),
    ("/metrics", 404, 404, 405),
    ("/client.js", 200, 200, 405),
    ("/streams", 200, 200, 405),
    ("/v1/overview", 401, 401, 405),
    ("/v1/stream/s", 200, 200, 204),
    ("/v1/sse/s", 200, 405, 405),
    ("/v1/stop/s", 405, 405, 405),
    ("/v1/streams", 405, 405, 405),
    ("/v1/token", 405, 405, 405),
    ("/socket.io/?EIO=4&transport=polling", 426, 426, 426),
    ("/socket.io/?EIO=4&transport=websocket", 426, 426, 426),
]


@pytest.mark.parametrize(("path", "get", "head", "delete"), DOORS, ids=[each[0] for each in DOORS])
async def test_an_answer_that_needs_no_body_does_not_wait_for_it(
    site: Site, path: str, get: int, head: int, delete: int
) -> None:
    await Writer(site).put("[1]")
    for method, status in {"OPTIONS": 204, "GET": get, "HEAD": head, "DELETE": delete}.items():
        reader, writer = await begin(site, method, path)
        answered, headers = await asyncio.wait_for(read_head(reader), 5)
        assert answered == status, method
        if status == 405:
            allowed = headers["allow"].split(", ")
            assert method not in allowed
            assert "OPTIONS" in allowed
        writer.close()


async def test_the_shared_door_takes_posts_only(site: Site) -> None:
    answer = await Writer(site).request("PUT", "/v1/streams")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_the_door_of_websockets_says_so(site: Site) -> None:
    answer = await Writer(site).request("GET", "/socket.io/?EIO=4&transport=polling")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in answer.json["error"]["message"]


@pytest.mark.parametrize("rest", [b"", b"x"], ids=["nothing", "a part"])
async def test_the_rest_of_a_body_is_not_waited_for_after_the_answer(
    site: Site, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LEFTOVER_SECONDS", PATIENCE)
    reader, writer = await begin(site, "GET", "/healthz")
    _, headers = await read_head(reader)
    await reader.readexactly(int(headers["content-length"]))
    writer.write(rest)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_a_body_that_comes_after_the_answer_is_followed_by_the_next_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LEFTOVER_SECONDS", PATIENCE)
    reader, writer = await begin(site, "GET", "/healthz", 200_000)
    await reader.readexactly(int((await read_head(reader))[1]["content-length"]))
    writer.write(b"x" * 200_000)
    await asyncio.sleep(2 * PATIENCE)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await read_head(reader))[0] == 200
    writer.close()


async def test_whoever_sends_nothing_after_such_a_body_is_hung_up_on(site: Site) -> None:
    reader, writer = await begin(site, "GET", "/healthz", 1)
    await reader.readexactly(int((await read_head(reader))[1]["content-length"]))
    (connection,) = serving.connections[site.port]
    connection.timeout_keep_alive = 1
    writer.write(b"x")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()

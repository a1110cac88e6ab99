"""An upgrade that is not taken does not split a request (RFC 9110, 7.8)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import pytest

from tests.server.conftest import MakeSite, Site
from tests.server.socketio import KEY
from tests.server.writer import Writer

from .raw import HANDSHAKE, answers, connected, head

SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
UPGRADES = ["foo", "h2c", "websocket", "WebSocket, foo"]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("keys", [(KEY,), ()], ids=["WebSockets", "no WebSockets"])
@pytest.mark.parametrize("segments", [1, 2], ids=["one segment", "two segments"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_body_is_never_a_request(
    make_site: MakeSite, upgrade: str, keys: tuple[str, ...], segments: int, method: str
) -> None:
    site = await make_site("memory://", writing=True, api_keys=keys)
    begin = head(
        method, "/v1/streams", "Connection: Upgrade", f"Upgrade: {upgrade}",
        f"Content-Length: {len(SMUGGLED)}",
    )  # fmt: skip
    async with connected(site.port) as raw:
        await raw.send(*([begin + SMUGGLED] if segments == 1 else [begin, SMUGGLED]))
        await raw.ask("/readyz?last")
        received = await raw.until_closed()
    first, *others = answers(received)
    assert first in (400, 404, 405)
    assert others == [200]  # the last one's


async def test_a_chunked_body_is_never_a_request(site: Site) -> None:
    begin = head("POST", "/v1/streams", *HANDSHAKE, "Transfer-Encoding: chunked")
    async with connected(site.port) as raw:
        await raw.send(begin, b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))
        await raw.ask()
        assert answers(await raw.until_closed()) == [400, 200]


async def test_what_follows_an_ignored_upgrade_is_answered_in_order(site: Site) -> None:
    one = head("GET", "/healthz", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAA")
    async with connected(site.port) as raw:
        await raw.send(one + head("GET", "/nothing") + one)
        await raw.ask()
        assert answers(await raw.until_closed()) == [200, 404, 200, 200]


@pytest.mark.parametrize("body", [b"", SMUGGLED])
async def test_connect_is_refused_and_closed(site: Site, body: bytes) -> None:
    async with connected(site.port) as raw:
        await raw.send(head("CONNECT", "x:80", f"Content-Length: {len(body)}"), body)
        assert len(answers(await raw.until_closed())) == 1
        assert answers(raw.received) == [400]


async def test_an_upgrade_of_another_path_is_an_ordinary_request(site: Site) -> None:
    async with connected(site.port) as raw:
        await raw.send(head("GET", "/healthz", *HANDSHAKE))
        await raw.ask()
        assert answers(await raw.until_closed()) == [200, 200]


async def test_curl_that_offers_http2_writes_what_it_sends(site: Site) -> None:
    curl = shutil.which("curl")
    assert curl, "needs curl"
    writer = Writer(site)
    url = f"http://127.0.0.1:{site.port}/v1/stream/{writer.stream_id}"
    for method, body in [("PUT", "[1]"), ("POST", "[2, 3]")]:
        command = [
            curl, "--http2", "-sS", "-f", "-X", method, "-d", body, url,
            "-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {writer.token}",
        ]  # fmt: skip
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=30)
    assert (await writer.here()).json == [1, 2, 3]


async def test_a_body_that_comes_late_is_still_the_body(site: Site) -> None:
    """Java's HttpClient offers HTTP/2 with each request, and sends bodies by themselves."""
    writer = Writer(site)
    await writer.put()
    begin = head(
        "POST", f"/v1/stream/{writer.stream_id}", "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Content-Type: application/json", f"Authorization: Bearer {writer.token}",
        "Stream-Closed: true", "Content-Length: 8",
    )  # fmt: skip
    async with connected(site.port) as raw:
        await raw.send(begin, b'["last', b'"]')
        await raw.ask()
        assert answers(await raw.until_closed()) == [204, 200]
    assert (await writer.here()).json == ["last"]


async def test_expect_100_continue_survives_an_upgrade(site: Site) -> None:
    writer = Writer(site)
    await writer.put()
    begin = head(
        "POST", f"/v1/stream/{writer.stream_id}", "Connection: Upgrade", "Upgrade: h2c",
        "Content-Type: application/json", f"Authorization: Bearer {writer.token}",
        "Expect: 100-continue", "Content-Length: 3",
    )  # fmt: skip
    async with connected(site.port) as raw:
        await raw.send(begin)
        await raw.until(b"100 Continue")
        await raw.send(b"[1]")
        await raw.ask()
        assert answers(await raw.until_closed()) == [100, 204, 200]

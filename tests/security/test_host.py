"""Which hosts, origins and clients a relay server answers at all."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from streamstraight_celery.server import create_app
from streamstraight_celery.settings import StreamSettings
from tests.server.conftest import MakeSite, Site

from .raw import HANDSHAKE, SOCKET_IO, answers, connected

ROUTES = ["/healthz", "/v1/stream/s", "/v1/streams", "/v1/stop/s", "/v1/sse/s", "/streams", "/x"]


@pytest.mark.parametrize("route", [*ROUTES, SOCKET_IO])
@pytest.mark.parametrize("hosts", [[], ["a", "a"], ["a", "b"]], ids=str)
async def test_a_request_has_one_host(site: Site, route: str, hosts: list[str]) -> None:
    lines = [f"GET {route} HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close"]
    if route == SOCKET_IO:
        lines = [*lines[:-1], *HANDSHAKE]
    async with connected(site.port) as raw:
        await raw.send("\r\n".join([*lines, "", ""]).encode())
        assert answers(await raw.until_closed())[0] in (400, 403)


async def ask(
    app: Any, route: str, *, client: Any = ("127.0.0.1", 1), method: str = "GET", **headers: str
) -> int:
    """The status that an application answers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": route, "headers": raw,
        "query_string": b"", "client": client, "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.fixture
def mounted() -> Any:
    return create_app(StreamSettings(relay_url="memory://mounted"))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("client", [("192.0.2.7", 1), None, ("", 0), ("::2", 1)])
async def test_a_mounted_server_without_a_secret_serves_its_machine_only(
    mounted: Any, caplog: pytest.LogCaptureFixture, route: str, client: Any
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await ask(mounted, route, client=client, host="localhost:8000") == 403
    assert caplog.text.count("stream_secret is not set") == 1
    assert await ask(mounted, "/healthz", host="localhost:8000") == 200
    assert await ask(mounted, "/healthz", client=("testclient", 1), host="testserver") == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "[::2]", "a b"],
)
async def test_nor_under_another_name(mounted: Any, route: str, host: str) -> None:
    assert await ask(mounted, route, host=host) == 403


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://[", "http://localhost.x"]
)
async def test_nor_pages_of_other_sites(mounted: Any, route: str, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        assert await ask(mounted, route, host="localhost", origin=origin, method=method) == 403


async def test_pages_of_this_machine_are_served(mounted: Any) -> None:
    for origin in ("http://localhost:3000", "http://127.0.0.1:8000", "http://[::1]"):
        assert await ask(mounted, "/healthz", host="localhost", origin=origin) == 200


async def test_with_a_secret_tokens_decide(make_site: MakeSite) -> None:
    app = create_app(StreamSettings(relay_url="memory://mounted", secret=("hard to guess it",)))
    assert await ask(app, "/healthz", client=("192.0.2.7", 1), host="relay.example") == 200

"""No visitor gets what another one sent, through nginx as the documentation sets it up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.acceptance.test_nginx import Nginx
from tests.server.background import BackgroundRelay

from .raw import HANDSHAKE, head

SMUGGLED = b"GET /v1/stream/stolen HTTP/1.1\r\nHost: x\r\nX-Rest: "


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with closing(BackgroundRelay(keyed=True)) as relay:
        nginx = Nginx(tmp_path_factory.mktemp("attacked"), relay.port)
        yield nginx
        nginx.stop()


@pytest.mark.parametrize("path", ["/socket.io/", "/v1/streams", "/relay/v1/streams"])
@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "foo", "WebSocket"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_no_visitor_gets_anothers_answer(
    nginx: Nginx, path: str, upgrade: str, method: str
) -> None:
    port = int(nginx.url.rpartition(":")[2])
    lines = [*HANDSHAKE[2:], "Connection: Upgrade", f"Upgrade: {upgrade}"]
    begin = head(method, path, *lines, f"Content-Length: {len(SMUGGLED)}")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as attacker:
            attacker.sendall(begin)
            attacker.sendall(SMUGGLED)
            attacker.recv(1000)
        with httpx.Client(trust_env=False, timeout=20) as visitor:
            answers = [visitor.get(f"{nginx.url}/healthz") for _ in range(3)]
        assert [(answer.status_code, answer.json()) for answer in answers] == [
            (200, {"status": "ok"})
        ] * 3


def test_only_the_upgrade_to_a_websocket_is_passed_on() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "nginx.md").read_text()
    assert "proxy_set_header Upgrade $websocket;" in page
    for name in ("how-to/nginx.md", "how-to/deploy.md", "streamstraight.md"):
        text = (Path(__file__).parents[2] / "docs" / name).read_text()
        assert "proxy_set_header Upgrade $http_upgrade;" not in text

"""Odd requests to the routes of each framework: no 5xx, no traceback, and our limits hold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import httpx
import pytest

from streamstraight_celery.tokens import Tokens
from tests.integrations.conftest import Server
from tests.integrations.sites.sources import SECRET
from tests.security.attack import BODIES, LINES
from tests.security.raw import answers, connected

NAMES = ["s", "%00", "%ff", "%2e%2e", "..", "a" * 3000, "{x}", "%ED%A0%80", "%0d%0a", "x%3Fy"]
ROUTES = [
    *(f"/streams/{name}/{what}" for name in NAMES for what in ("token", "stop")),
    *(f"/chat/{name}/stream" for name in NAMES),
    *(f"/chat/s/stream?have={name}" for name in NAMES),
]
MOUNTED = [f"/v1/{door}/{name}" for door in ("stream", "sse", "stop") for name in NAMES]
OTHERS = ["/v1/streams", "/v1/token", "/v1/overview", "/streams", "/metrics", "/socket.io/?EIO=4"]
SITES = {
    "flask-gunicorn-threads": "",
    "django-gunicorn": "/streams",
    "django-uvicorn": "/streams",
    "fastapi-uvicorn": "/relay",
}
ORIGINS = [
    "Origin: http://[",
    "Origin: http://[::1",
    "Origin: //",
    "Origin: \u00ff",
    "Origin: null",
]
REQUESTS = 100


def a_request(chance: random.Random, routes: list[str], token: str) -> bytes:
    lines = [f"Host: {chance.choice(['127.0.0.1', 'localhost', '[', 'a b', ''])}"]
    lines += [chance.choice(ORIGINS), *chance.sample(LINES, chance.randint(0, 4))]
    if chance.random() < 0.3:
        lines.append(f"Authorization: Bearer {token}")
    if chance.random() < 0.3:
        lines.append("Cookie: session=" + chance.choice(["x", "\u00ff", "e30.e30.e30", "a" * 3000]))
    method = chance.choice(["GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "X"])
    text = "\r\n".join([f"{method} {chance.choice(routes)} HTTP/1.1", *lines, "Connection: close"])
    return f"{text}\r\n\r\n".encode("latin-1") + chance.choice(BODIES)


async def sent(port: int, data: bytes) -> list[int]:
    async with connected(port) as raw:
        raw.writer.write(data)
        try:
            return answers(await raw.until_closed(1))
        except asyncio.TimeoutError:  # it waits for a body that the request has promised
            return answers(raw.received)


@pytest.mark.parametrize("name", SITES)
async def test_no_request_makes_a_server_error(site: Callable[[str], Server], name: str) -> None:
    server = await asyncio.to_thread(site, name)
    chance, token = random.Random(name), Tokens([SECRET]).issue("s", scopes=["read", "write"])[0]
    mounted = [SITES[name] + path for path in MOUNTED + OTHERS] if SITES[name] else []
    allowed = {501} if name == "django-gunicorn" else set()  # WSGI cannot serve the relay server
    answered = 0
    begun = len(await asyncio.to_thread(server.log_file.read_text))
    for _ in range(REQUESTS // 10):
        asked = [a_request(chance, ROUTES + mounted, token) for _ in range(10)]
        for data, found in zip(
            asked, await asyncio.gather(*(sent(server.port, data) for data in asked)), strict=True
        ):
            answered += len(found)
            assert not [status for status in found if status >= 500 and status not in allowed], data
    assert answered > REQUESTS // 2, "hardly any request was answered"
    said = (await asyncio.to_thread(server.log_file.read_text))[begun:]
    assert "Traceback" not in said, said[-3000:]


@pytest.mark.parametrize("name", ["django-uvicorn", "fastapi-uvicorn"])
def test_the_limit_of_a_body_is_ours(site: Callable[[str], Server], name: str) -> None:
    """Django's own, DATA_UPLOAD_MAX_MEMORY_SIZE, is 2.5 MB."""
    url = f"{site(name).url}{SITES[name]}/v1/stream/large-{name}"
    token = Tokens([SECRET]).issue(f"large-{name}", scopes=["read", "write"])[0]
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as writer:
        json = {"Content-Type": "application/json"}
        assert writer.put(url, headers=json).status_code == 201
        part = '"' + "x" * 900_000 + '"'
        assert writer.post(url, content=f"[{part},{part},{part}]", headers=json).status_code == 204
        assert [len(each) for each in writer.get(url).json()] == [900_000] * 3
        refused = writer.post(url, content=f"[{','.join([part] * 6)}]", headers=json)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too-large")

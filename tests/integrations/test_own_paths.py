"""FastAPI: an application's own route at any path, and what its Celery app keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from celery import Celery
from fastapi import FastAPI, Request, WebSocket

from streamstraight_celery.integrations.fastapi import Streams, respond, respond_websocket
from streamstraight_celery.integrations.hubs import hubs_of
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Create
from streamstraight_celery.runtime import Runtime

NONCE = "aaaaaaaa"
SECRET = "a-secret-of-these-tests"


class Site:
    """A FastAPI application with a route of its own."""

    def __init__(self, url: str) -> None:
        self.celery = Celery("cut", broker=url, set_as_current=False)
        self.celery.conf.update(stream_secret=SECRET)
        streams = Streams(self.celery)
        self.api = FastAPI(lifespan=streams.lifespan)

        @self.api.get("/{stream_id}/v1/messages")
        async def own(stream_id: str, request: Request) -> Any:
            return respond(stream_id, request, app=self.celery, envelope=lambda chunk: f"<{chunk}>")

        self.api.mount("/relay", streams.relay)

    @property
    def relay(self) -> Relay:
        return Runtime.of(self.celery).relay

    def begin(self) -> None:
        self.relay.call(Create("s", "task-1"))
        self.relay.call(Claim("s", NONCE, "task-1"))
        self.relay.call(Append("s", 1, NONCE, 1, 1, b'"half"'))

    def end(self, reason: str, seq: int = 2) -> None:
        self.relay.call(Append("s", 1, NONCE, seq, 0, b"", reason))


@pytest.fixture
def site(redis_url: str) -> Any:
    site = Site(redis_url)
    site.begin()
    yield site
    Runtime.of(site.celery).close()


async def test_a_route_of_any_path_keeps_its_envelope(site: Site) -> None:
    site.end("completed")
    transport = httpx.ASGITransport(site.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        answer = await client.get("/s/v1/messages")
    assert "data: <half>\n" in answer.text


def test_an_app_s_hubs_go_with_it(site: Site) -> None:
    assert hubs_of(site.celery) is hubs_of(site.celery)
    assert hubs_of(site.celery) in site.celery.__dict__.values()


async def test_a_socket_whose_client_has_gone_is_left_alone(site: Site) -> None:
    site.relay.call(Append("s", 1, NONCE, 2, 1, b'"and half"'))
    site.end("completed", 3)
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            raise OSError("the client has gone")

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await websocket.accept()
    assert await respond_websocket("s", websocket, app=site.celery) == ""
    assert sent == ["websocket.accept", "websocket.send"]

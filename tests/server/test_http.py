"""The HTTP surface on a real socket: errors, methods, CORS, other routes, mounting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from celery import Celery
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Create
from streamstraight_celery.server import create_app, relay_app
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens
from tests.support.waiting import eventually_async as eventually

from .client import Client
from .conftest import SECRET, MakeSite, Site
from .producer import Producer
from .serving import serving

APP = "https://app.example"


async def test_an_unknown_stream_and_anothers_look_the_same(site: Site) -> None:
    other = site.producer()
    other.append("secret")
    client = site.client("mine")
    answers = [
        await client.get(path + query)
        for path in ("/v1/stream/mine", f"/v1/stream/{other.stream_id}")
        for query in ("", "?live=sse&offset=-1", "?live=long-poll&offset=-1")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize("stream_id", ["", "a/b", "a%20b", "x" * 300, "..", "%00", "a}b"])
async def test_no_stream_has_such_a_name(redis_site: Site, stream_id: str) -> None:
    answer = await redis_site.client("a").get(f"/v1/stream/{stream_id}")
    assert (answer.status, answer.code) == (404, "not-found")


@pytest.mark.parametrize("query", ["", "live=sse&offset=-1", "live=long-poll&offset=-1"])
async def test_a_token_is_needed(redis_site: Site, query: str) -> None:
    producer = redis_site.producer()
    client = redis_site.client(producer)
    client.token = ""
    answer = await client.read(producer.stream_id, query, Origin="http://localhost:3000")
    assert (answer.status, answer.code) == (401, "missing-token")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    token = redis_site.tokens.issue(producer.stream_id, ttl=-1)[0]
    answer = await client.read(producer.stream_id, f"{query}&token={token}".strip("&"))
    assert (answer.status, answer.code) == (401, "expired-token")


async def test_a_token_in_the_query_is_enough(redis_site: Site) -> None:
    producer = redis_site.producer()
    producer.append(1, end="completed")
    client = redis_site.client(producer)
    token, client.token = client.token, ""
    assert (await client.read(producer.stream_id, f"token={token}")).json == [1]
    stream = await client.open(f"/v1/stream/{producer.stream_id}?live=sse&offset=-1&token={token}")
    assert (await stream.until_end()).chunks == [1]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
async def test_streams_cannot_be_written_yet(redis_site: Site, method: str) -> None:
    producer = redis_site.producer()
    answer = await redis_site.client(producer).request(method, f"/v1/stream/{producer.stream_id}")
    assert (answer.status, answer.code) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "query",
    [
        "offset=nonsense",
        "live=sse",
        "live=never&offset=-1",
        "offset=-1&offset=-1",
        "live=sse&offset=",
    ],
)
async def test_malformed_requests_are_refused(redis_site: Site, query: str) -> None:
    producer = redis_site.producer()
    answer = await redis_site.client(producer).read(producer.stream_id, query)
    assert answer.status == 400
    assert answer.json["error"]["message"]


async def test_answers_to_allowed_origins_can_be_read(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, allowed_origins=(APP,))
    producer = site.producer()
    producer.append(1, end="completed")
    client = site.client(producer)
    stream = await client.sse(producer.stream_id, Origin=APP)
    assert stream.headers["access-control-allow-origin"] == APP
    assert stream.headers["vary"] == "Origin"
    assert stream.headers["x-content-type-options"] == "nosniff"
    for query in ("offset=-1", "offset=nonsense"):
        answer = await client.read(producer.stream_id, query, Origin=APP)
        assert answer.headers["access-control-allow-origin"] == APP
        other = await client.read(producer.stream_id, query, Origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers


async def test_preflight(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, allowed_origins=(APP,))
    client = Client(site.port)
    asks = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    answer = await client.request("OPTIONS", "/v1/stream/x", asks)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == APP
    refused = await client.request("OPTIONS", "/v1/stream/x", {**asks, "Origin": "https://other"})
    assert "access-control-allow-origin" not in refused.headers


async def test_a_cookie_of_an_allowed_page_is_enough(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, allowed_origins=(APP,))
    producer = site.producer()
    client = site.client(producer)
    cookie, client.token = f"streamstraight_token={client.token}", ""
    good = await client.read(producer.stream_id, Origin=APP, Cookie=cookie)
    assert good.status == 200
    bad = await client.read(producer.stream_id, Origin="https://evil.example", Cookie=cookie)
    assert bad.status == 401


async def test_stop_of_a_living_producer_is_asked(make_site: MakeSite, redis_url: str) -> None:
    told: list[str] = []
    site = await make_site(redis_url, app_options={"on_stop": told.append})
    producer = site.producer()
    client = site.client(producer)
    answer = await client.request("POST", f"/v1/stop/{producer.stream_id}")
    assert (answer.status, answer.json) == (202, {"status": "asked"})
    await eventually(lambda: told == [producer.stream_id])
    assert producer.append(1).stop
    producer.end("stopped")
    answer = await client.request("POST", f"/v1/stop/{producer.stream_id}")
    assert (answer.status, answer.json["endReason"]) == (200, "stopped")


async def test_a_stop_that_workers_cannot_be_told_of_is_asked_all_the_same(
    make_site: MakeSite, redis_url: str
) -> None:
    tried: list[str] = []

    def fail(stream_id: str) -> None:
        tried.append(stream_id)
        raise OSError("the broker is down")

    site = await make_site(redis_url, app_options={"on_stop": fail})
    producer = site.producer()
    answer = await site.client(producer).request("POST", f"/v1/stop/{producer.stream_id}")
    assert answer.status == 202
    await eventually(lambda: tried)


async def test_stop_of_a_queued_stream_ends_it(site: Site) -> None:
    site.relay.call(Create("queued", "task"))
    client = site.client("queued")
    stream = await client.sse("queued")
    await stream.until_event("control")
    answer = await client.request("POST", "/v1/stop/queued")
    assert (answer.status, answer.json) == (200, {"status": "ended", "endReason": "stopped"})
    await stream.until_end()
    assert stream.control["endReason"] == "stopped"


async def test_stop_needs_its_scope_and_method(site: Site) -> None:
    producer = site.producer()
    reader = site.client(producer, scopes=["read"])
    refused = await reader.request("POST", f"/v1/stop/{producer.stream_id}")
    unknown = await site.client("nothing").request("POST", "/v1/stop/nothing")
    assert (refused.status, refused.body) == (404, unknown.body)
    assert not producer.append(1).stop
    answer = await reader.get(f"/v1/stop/{producer.stream_id}")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_other_routes(redis_site: Site) -> None:
    client = Client(redis_site.port)
    home = await client.get("/")
    assert home.status == 200
    assert "streamstraight-celery" in home.body.decode()
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path)).json == {"status": "ok"}
        assert (await client.request("HEAD", path)).body == b""
        assert (await client.request("POST", path)).status == 405
    for path in ("/nothing", "/v1", "/v1/streams/x", "/../etc/passwd", "/client.js/x"):
        answer = await client.get(path)
        assert (answer.status, answer.code) == (404, "not-found")


async def test_an_unforeseen_failure_shows_nothing(
    redis_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(redis_site.app.start().relay, "read", fail)
    client = redis_site.client("any")
    for query in ("", "live=sse&offset=-1", "live=long-poll&offset=-1"):
        answer = await client.read("any", query)
        assert (answer.status, answer.code) == (500, "internal")
        assert "hunter2" not in answer.body.decode()
    assert "hunter2" in caplog.text
    assert client.token not in caplog.text


async def test_a_redis_that_is_down(make_site: MakeSite, unused_tcp_port: int) -> None:
    site = await make_site(f"redis://user:hunter2@127.0.0.1:{unused_tcp_port}/0")
    client = site.client("any")
    for query in ("", "live=sse&offset=-1", "live=long-poll&offset=-1"):
        answer = await client.read("any", query)
        assert (answer.status, answer.code) == (503, "relay-unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert "hunter2" not in answer.body.decode()
    assert (await client.request("POST", "/v1/stop/any")).status == 503
    assert (await client.get("/readyz")).status == 503
    assert (await client.get("/healthz")).status == 200


@contextlib.asynccontextmanager
async def mounted(kind: str, url: str) -> AsyncIterator[tuple[Client, Producer]]:
    """The relay under /streams of an application of that kind."""
    settings = StreamSettings(relay_url=url, secret=(SECRET,))
    producer = Producer(open_relay(settings)).create().claim()
    relay = create_app(settings)
    middleware = [Middleware(BaseHTTPMiddleware, dispatch=lambda request, next_: next_(request))]
    if kind == "fastapi":
        app: Any = FastAPI()
        app.mount("/streams", relay)
    elif kind == "starlette with middleware":
        app = Starlette(routes=[Mount("/streams", relay)], middleware=middleware)
    else:
        app = Dispatcher(relay)
    token = Tokens([SECRET]).issue(producer.stream_id)[0]
    async with serving(app, wired=False) as port:
        client = Client(port, token, "/streams")
        yield client, producer
        await relay.close()
        await client.close()
    producer.relay.close()


class Dispatcher:
    """Routes by prefix, as people do around Django's ASGI application; delivers no lifespan."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await self._relay({**scope, "root_path": "/streams"}, receive, send)


@pytest.mark.parametrize("kind", ["fastapi", "starlette with middleware", "dispatcher"])
async def test_it_can_be_mounted(kind: str, redis_url: str) -> None:
    async with mounted(kind, redis_url) as (client, producer):
        producer.append(1)
        stream = await client.sse(producer.stream_id)
        await stream.until_chunks(1)
        producer.append(2)
        await stream.until_chunks(2)
        producer.end()
        assert (await stream.until_end()).chunks == [1, 2]
        assert (await client.read(producer.stream_id)).json == [1, 2]
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/nothing")).status == 404


async def test_a_celery_app_is_enough(redis_url: str) -> None:
    app = Celery(broker=redis_url)
    app.conf.stream_secret = SECRET
    relay = relay_app(app)
    async with serving(relay) as port:
        assert (await Client(port).get("/readyz")).status == 200


def test_settings_are_checked_when_the_app_is_made() -> None:
    app = Celery(broker="redis://localhost")
    app.conf.stream_public_url = "https://relay.example"
    with pytest.raises(ConfigurationError, match="stream_secret is not set"):
        relay_app(app)
    app.conf.stream_secrets = "typo"
    with pytest.raises(ConfigurationError, match="did you mean stream_secret"):
        relay_app(app)


def test_each_event_loop_has_its_own_connections(redis_url: str) -> None:
    relay = create_app(StreamSettings(relay_url=redis_url, secret=(SECRET,)))

    async def ready() -> int:
        async with serving(relay) as port:
            return (await Client(port).get("/readyz")).status

    assert [asyncio.run(ready()) for _ in range(2)] == [200, 200]

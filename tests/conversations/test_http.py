"""Conversations over the relay server's doors: what a token opens, and messages sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from celery import Celery

from streamstraight_celery import get_conversation
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim
from streamstraight_celery.server import relay_app
from tests.conversations.project import answer
from tests.conversations.test_log import events

NONCE = "0" * 8


@pytest.fixture
async def site(app: Celery) -> AsyncIterator[httpx.AsyncClient]:
    server = relay_app(app)
    transport = httpx.ASGITransport(server)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    await server.close()


def bearer(app: Celery, *scopes: str, name: str = "chat-42") -> dict[str, str]:
    token = get_conversation(name, app=app).token(scopes=scopes or ("read", "send", "stop"))
    return {"authorization": f"Bearer {token}"}


SEND = "/v1/send/conversation:chat-42"


async def test_a_message_is_sent_once(app: Celery, site: httpx.AsyncClient) -> None:
    headers = bearer(app, "send")
    message = {"id": "one", "value": {"approved": True}}
    first = await site.post(SEND, json=message, headers=headers)
    assert (first.status_code, first.json()) == (200, {"status": "sent", "id": "one", "seq": 1})
    again = await site.post(SEND, json=message, headers=headers)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert events(app) == [{"type": "input", **message}]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"1", b"[]", b'{"id": "a"}', b'{"value": 1}', b'{"id": 1, "value": 1}',
        b'{"id": "", "value": 1}', b'{"id": "stream:x", "value": 1}', b'{"id": "a", "value": NaN}',
    ],
)  # fmt: skip
async def test_malformed_messages(app: Celery, site: httpx.AsyncClient, body: bytes) -> None:
    answer = await site.post(SEND, content=body, headers=bearer(app))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad-request")


async def test_scopes(app: Celery, site: httpx.AsyncClient) -> None:
    message: Any = {"id": "one", "value": 1}
    for headers in (bearer(app, "read", "stop"), bearer(app, name="another")):
        assert (await site.post(SEND, json=message, headers=headers)).status_code == 404
    assert (await site.post(SEND, json=message)).status_code == 401
    assert (await site.get(SEND, headers=bearer(app))).status_code == 405
    log = SEND.replace("send", "stream")
    assert (await site.get(log, headers=bearer(app, "send"))).status_code == 404
    assert (await site.get(log, headers=bearer(app, "read"))).json() == []
    assert (await site.post(SEND.replace("send", "stop"), headers=bearer(app))).status_code == 404


async def test_its_token_opens_its_streams(
    app: Celery, site: httpx.AsyncClient, relay: Relay
) -> None:
    chat = get_conversation("chat-42", app=app)
    stream, other = chat.stream(answer, "hi"), answer.stream("hi")
    attempt = relay.call(Claim(stream.id, NONCE)).number
    relay.call(Append(stream.id, attempt, NONCE, 1, 1, b'"hi"'))
    read = await site.get(f"/v1/stream/{stream.id}", headers=bearer(app, "read"))
    assert read.json() == ["hi"]
    for stream_id, headers in (
        (stream.id, bearer(app, "send")),
        (stream.id, bearer(app, name="another")),
        (other.id, bearer(app)),
    ):
        assert (await site.get(f"/v1/stream/{stream_id}", headers=headers)).status_code == 404
    assert (await site.post(f"/v1/stop/{stream.id}", headers=bearer(app))).status_code == 202
    stopped = await site.post(f"/v1/stop/{other.id}", headers=bearer(app))
    assert stopped.status_code == 404
    relay.call(Append(stream.id, attempt, NONCE, 2, 0, b"", "stopped"))
    ids = (stream.id, other.id, "conversation:nothing")
    parts = [{"id": each, "token": chat.token()} for each in ids]
    shared = await site.post("/v1/streams", json={"streams": parts})
    assert shared.text.count('"status":404') == 2
    assert "hi" in shared.text

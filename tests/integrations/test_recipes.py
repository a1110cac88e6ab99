"""Each recipe for routes of the application's own, as it stands in docs/how-to, with a worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import RedisServer
from tests.integrations.conftest import Server
from tests.server.plain import parse_plain_text
from tests.support.processes import start_celery, stop

WORDS = [{"type": "text-delta", "text": word} for word in ("one", "two", "three")]
ADA = {"Authorization": "Bearer ada"}
PROMPT = {"prompt": "one two three"}


@pytest.fixture(scope="module")
def database(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With a worker of the recipes' tasks."""
    url, log = redis_server.new_database(), tmp_path_factory.mktemp("worker") / "worker.log"
    worker = start_celery(
        "tests.integrations.sites.recipes:celery_app", log, "worker",
        "--without-mingle", "--without-gossip", env={**os.environ, "SITE_REDIS": url},
    )  # fmt: skip
    yield url
    stop(worker)


def served(name: str, database: str, folder: Path) -> Iterator[httpx.Client]:
    server = Server(name, database, folder)
    try:
        server.wait()
        with httpx.Client(base_url=server.url, timeout=240) as client:
            yield client
    finally:
        server.end()


@pytest.fixture(scope="module")
def client(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from served("recipes-uvicorn", database, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def channels(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from served("recipes-channels", database, tmp_path_factory.mktemp("channels"))


def events(answered: httpx.Response) -> list[Any]:
    return parse_plain_text(answered.content).events


def values(answered: httpx.Response) -> list[Any]:
    plain = parse_plain_text(answered.content)
    assert plain.events[-1].name == "end"
    return [json.loads(text) for text in plain.messages]


def test_own_routes(client: httpx.Client) -> None:
    begun = client.post("/own/chat", json=PROMPT, headers=ADA)
    assert values(begun) == WORDS
    stream_id = begun.headers["x-stream-id"]
    assert events(client.get(f"/own/chat/{stream_id}", headers=ADA)) == events(begun)
    other = client.get(f"/own/chat/{stream_id}", headers={"Authorization": "Bearer bob"})
    assert other.status_code == 404
    url = str(client.base_url).rstrip("/").replace("http", "ws", 1)
    with connect(f"{url}/own/chat/{stream_id}") as socket:
        messages = [json.loads(socket.recv(60)) for _ in range(4)]
    assert [message.get("data") for message in messages] == [*WORDS, None]
    assert messages[-1]["reason"] == "completed"


def test_from_redis_pubsub(client: httpx.Client) -> None:
    chat_id = client.post("/pubsub/chat", json=PROMPT).json()["chat_id"]
    got = values(client.get(f"/pubsub/chat/{chat_id}"))
    assert got == [{"type": "token", "data": word} for word in WORDS]


def test_from_redis_streams(client: httpx.Client) -> None:
    run_id = client.post("/streams/runs", json=PROMPT).json()["run_id"]
    whole = client.get(f"/streams/runs/{run_id}")
    assert values(whole) == WORDS
    cursor = parse_plain_text(whole.content).events[0].id
    assert values(client.get(f"/streams/runs/{run_id}", params={"cursor": cursor})) == WORDS[1:]
    failed = client.post("/streams/runs", json={"prompt": "one fail"}).json()["run_id"]
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/streams/runs/{failed}")


def test_channels(channels: httpx.Client) -> None:
    url = str(channels.base_url).rstrip("/").replace("http", "ws", 1)
    with connect(f"{url}/socket") as socket:
        for _ in range(2):  # the same socket, for one prompt after the other
            socket.send(json.dumps(PROMPT))
            shown = [socket.recv(60) for _ in range(4)]
            assert shown[:3] == [f"<b>{word['text']}</b>" for word in WORDS]
            assert json.loads(shown[3])["reason"] == "completed"
    own = channels.post("/own/chat", data=PROMPT)
    assert values(own) == WORDS
    stream_id = own.headers["x-stream-id"]
    assert events(channels.get(f"/own/chat/{stream_id}")) == events(own)
    assert channels.get("/own/chat/another").status_code == 404

"""FastAPI: mistakes, overridden dependencies, a lifespan again, responses that fail."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery, current_app
from fastapi import BackgroundTasks, FastAPI
from fastapi.testclient import TestClient

from streamstraight_celery import publish
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.integrations.fastapi import Streams
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.server import relay_app
from tests.conftest import eventually
from tests.tasks.log import ended_log, state_of


@pytest.mark.parametrize("made", [Streams, relay_app])
@pytest.mark.parametrize("given", [FastAPI(), "proj"])
def test_what_is_no_celery_app(made: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="is not a Celery app: pass the one that has the tasks"):
        made(given)


def test_celerys_proxy_for_the_current_app_is_one() -> None:
    assert Streams(current_app).router.routes


@pytest.mark.parametrize(("secret", "message"), [("", "is not set"), ("short", "is too short")])
def test_a_bad_secret_is_told_at_once(secret: str, message: str) -> None:
    app = Celery("fastapi", broker="memory://", set_as_current=False)
    app.conf.update(stream_public_url="/relay", stream_secret=secret)
    with pytest.raises(ConfigurationError, match=f"stream_secret {message}"):
        Streams(app)


def may_have(stream_id: str) -> bool:
    return False


async def words() -> AsyncIterator[str]:
    yield "a"
    yield "b"


@pytest.fixture
def celery_app(redis_url: str) -> Iterator[Celery]:
    app = Celery("fastapi", broker=redis_url, set_as_current=False)
    app.conf.update(stream_public_url="/relay", stream_secret="a-secret-of-these-tests")
    yield app
    Runtime.of(app).close()


@pytest.fixture
def api(celery_app: Celery) -> FastAPI:
    streams = Streams(celery_app, permission=may_have)
    api = FastAPI(lifespan=streams.lifespan)
    api.include_router(streams.router, prefix="/streams")
    api.mount("/relay", streams.relay)

    def fails() -> None:
        raise LookupError("an earlier background task")

    @api.post("/chat")
    async def chat(background: BackgroundTasks, then: str = "") -> dict[str, Any]:
        if then == "task-fails":
            background.add_task(fails)
        stream = await streams.publish_after(background, words(), stream_id=f"chat-{then}")
        if then == "route-fails":
            raise LookupError("the route")
        return dict(stream.ref())

    return api


def test_an_application_may_start_again(api: FastAPI) -> None:
    for number in range(2):
        with TestClient(api) as client:
            ref = client.post("/chat", params={"then": number}).json()
            headers = {"Authorization": f"Bearer {ref['token']}"}
            assert client.get(ref["url"], headers=headers).json() == ["a", "b"]


def test_a_permission_may_be_overridden(api: FastAPI) -> None:
    with TestClient(api) as client:
        client.post("/chat")
        assert client.get("/streams/chat-/token").status_code == 404
        api.dependency_overrides[may_have] = lambda: True
        assert client.get("/streams/chat-/token").json()["stream_id"] == "chat-"


@pytest.mark.parametrize("then", ["task-fails", "route-fails"])
def test_readers_are_told_when_the_background_task_never_runs(
    api: FastAPI, celery_app: Celery, then: str
) -> None:
    with TestClient(api, raise_server_exceptions=False) as client:
        client.post("/chat", params={"then": then})

        def has_ended() -> bool:
            gc.collect()  # an error's traceback is a cycle, and may still be on its way
            return bool(state_of(celery_app, f"chat-{then}").end)

        eventually(has_ended)
        assert ended_log(celery_app, f"chat-{then}").error["code"] == "not-begun"


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("proxy", ["strips", "passes"])
@pytest.mark.parametrize("mount", ["/relay", "/v1/stream"])
def test_a_mounted_relay_behind_a_prefix(celery_app: Celery, mount: str, proxy: str) -> None:
    streams = Streams(celery_app, permission=may_have)
    api = FastAPI(root_path="/api", lifespan=streams.lifespan)
    api.mount(mount, streams.relay)
    stream = publish(iter(["a", "b"]), app=celery_app)
    assert stream.wait(60)  # it is produced on a thread
    headers = {"Authorization": f"Bearer {stream.token()}"}
    relay = f"{mount}/v1" if proxy == "strips" else f"/api{mount}/v1"
    with TestClient(api) as client:
        read = client.get(f"{relay}/stream/{stream.id}", headers=headers)
        assert (read.status_code, read.json()) == (200, ["a", "b"])
        assert client.post(f"{relay}/stop/{stream.id}", headers=headers).status_code == 200

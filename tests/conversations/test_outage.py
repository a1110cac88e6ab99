"""Tasks that wait for a message while the stream store is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import get_conversation
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.tasks import task_conversation
from tests.conftest import eventually
from tests.conversations.project import alisten, ask, listen, make_app
from tests.conversations.test_inputs import chunks, of_type
from tests.support.proxy import Proxy
from tests.support.workers import worker_here


@pytest.fixture
def apps(redis_url: str) -> Iterator[tuple[Celery, Celery, Proxy]]:
    """An app at the store, one whose store is behind a proxy, and the proxy."""
    port = redis_url.partition("127.0.0.1:")[2].partition("/")[0]
    with Proxy(int(port)) as proxy:
        direct = make_app(redis_url, redis_url)
        behind = make_app(redis_url, redis_url.replace(f":{port}/", f":{proxy.port}/"))
        for app in (direct, behind):
            app.conf.stream_lease = 30
        behind.set_current()
        yield direct, behind, proxy
        for app in (direct, behind):
            Runtime.of(app).close()


@pytest.mark.parametrize("task", [listen, alisten, ask])
def test_it_goes_on_waiting(
    apps: tuple[Celery, Celery, Proxy], task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_conversation, "LOOK_EVERY", 0.05)
    direct, behind, proxy = apps
    chat, relay = get_conversation("chat-42", app=direct), Runtime.of(direct).relay
    with worker_here(behind, pool="threads", concurrency=2):
        arguments = [] if task is ask else [1]
        stream = get_conversation("chat-42", app=behind).stream(task, *arguments)
        eventually(lambda: chunks(relay, stream) == ["ready"])
        if task is ask:
            (question,) = eventually(lambda: of_type(direct, "question"))
        proxy.refuse()
        eventually(lambda: proxy.refused > 10, "looks for a message fail")
        if task is ask:
            chat.send({"approved": True}, answers=question["id"])
        else:
            chat.send("hello")
        proxy.accept()
        eventually(lambda: relay.state(stream.id).end == "completed")
    assert chunks(relay, stream) == ["ready", True if task is ask else "hello"]

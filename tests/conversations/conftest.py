"""One app in memory and one on Redis, for the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from celery import Celery
from celery.signals import before_task_publish

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.runtime import Runtime
from tests.conversations.project import make_app

_stores = count()


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Celery]:
    url = "memory://"
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    relay = f"memory://conversations-{next(_stores)}" if url == "memory://" else url
    app = make_app(url, relay)
    app.set_current()
    yield app
    Runtime.of(app).close()


@pytest.fixture
def relay(app: Celery) -> Relay:
    return Runtime.of(app).relay


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The ids of all tasks enqueued."""
    ids: list[str] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        ids.append(headers["id"])

    before_task_publish.connect(note)
    yield ids
    before_task_publish.disconnect(note)

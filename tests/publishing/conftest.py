"""A Celery app without a worker, on a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from streamstraight_celery.runtime import Runtime


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = Celery("background", broker=redis_url)
    app.conf.update(stream_secret="a-secret-of-these-tests")
    app.set_current()
    yield app
    Runtime.of(app).close()

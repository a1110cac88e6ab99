"""A Flask app's Celery app and tasks that need its context, for a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from celery import Task
from flask import Flask, current_app

from streamstraight_celery import StreamTask, stream_task
from streamstraight_celery.integrations.flask import celery_init_app
from tests.integrations.sites.sources import settings

flask_app = Flask("a_flask_app")
flask_app.config["CELERY"] = {**settings(), "worker_pool": "solo"}
celery_app = celery_init_app(flask_app)


class Wrapping(Task):  # type: ignore[misc]
    """Another way in which users write it."""

    tenant = "of the task class"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with flask_app.app_context():
            return super().__call__(*args, **kwargs)


@stream_task
def shared() -> Iterator[str]:
    yield current_app.name


@celery_app.task(base=StreamTask)
def of_the_app() -> Iterator[str]:
    yield current_app.name


@stream_task
async def asynchronous() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    yield current_app.name


@stream_task(bind=True)
def bound(self: StreamTask[Any]) -> Iterator[str]:
    yield self.stream_id
    yield current_app.name


@celery_app.task(base=type("Both", (StreamTask, Wrapping), {"abstract": True}), bind=True)
def inherited(self: Any) -> Iterator[str]:
    yield current_app.name
    yield self.tenant


@celery_app.task
def plain() -> str:
    return current_app.name

"""The Celery application the peers' tasks belong to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery

from benchmarks.stack import BROKER_DB, RedisServer

BROKER_VARIABLE = "BENCH_BROKER"
DATA_VARIABLE = "BENCH_DATA"


def new_app(name: str) -> Celery:
    """An app whose broker is known in the worker from the start, in the run from `use`."""
    app = Celery(name, broker=os.environ.get(BROKER_VARIABLE))
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )
    return app


def task(app: Celery, name: str, function: Callable[..., Any]) -> Any:
    return app.task(name=name)(function)


def use(app: Celery, server: RedisServer) -> None:
    app.conf.broker_url = server.url(BROKER_DB)

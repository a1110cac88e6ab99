"""A Celery app for `celery -A tests.cli.app streams ...`, set up by the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from celery import Celery

from streamstraight_celery import StreamTask


def make_app(broker: str, conf: dict[str, Any]) -> Celery:
    """An app with one stream task."""
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.update(conf)

    @app.task(base=StreamTask, acks_late=True, shared=False)
    def answer(prompt: str) -> Iterator[str]:
        yield prompt

    return app


if "BROKER" in os.environ:
    app = make_app(os.environ["BROKER"], json.loads(os.environ.get("CONF", "{}")))

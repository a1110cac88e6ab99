"""A Celery app for `celery -A tests.cli.app streams ...`, set up by the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from celery import Celery

from streamstraight_celery import stream_task

app = Celery("shop", broker=os.environ["BROKER"], set_as_current=False)
app.conf.update(json.loads(os.environ.get("CONF", "{}")))


@stream_task(app=app, acks_late=True)
def answer(prompt: str) -> Iterator[str]:
    yield prompt

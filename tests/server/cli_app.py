"""A Celery app for `celery -A tests.server.cli_app streams relay`, set up by the environment."""

from __future__ import annotations

import json
import os

from celery import Celery

app = Celery("cli", broker=os.environ.get("BROKER", "redis://127.0.0.1:1/0"))
app.conf.update(json.loads(os.environ.get("CONF", "{}")))

"""A task's message that is kept in a conversation until it may be sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from kombu import serialization as _serialization

from ..settings import task_serializer

serialization: Any = _serialization  # not typed


def pack(
    app: Celery,
    task: str,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> str:
    """The message as text, in the app's own serializer.

    Raises:
        kombu.exceptions.EncodeError: the arguments cannot be serialized.
    """
    body = {
        "task": task, "args": list(args or ()), "kwargs": dict(kwargs or {}),
        "options": dict(options),
    }  # fmt: skip
    serializer = options.get("serializer") or task_serializer(app)
    kind, encoding, data = serialization.dumps(body, serializer=serializer)
    raw = data.encode() if isinstance(data, str) else data
    return json.dumps([kind, encoding, base64.b64encode(raw).decode()])


def send(app: Celery, packed: str) -> None:
    """Send the message.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    kind, encoding, text = json.loads(packed)
    # Only what this app has put there: the store is as trusted as the broker.
    body = serialization.loads(base64.b64decode(text), kind, encoding, accept=[kind])
    task: Any = app.tasks.get(body["task"])
    options = body["options"]
    if task is None:
        app.send_task(body["task"], body["args"], body["kwargs"], **options)
    else:
        task.apply_async(body["args"], body["kwargs"], stream_announced=True, **options)

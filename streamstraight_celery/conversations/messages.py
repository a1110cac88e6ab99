"""A task's message that is kept in a conversation until it may be sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from celery import Celery
from kombu import serialization as _serialization

from ..errors import ConfigurationError
from ..settings import accepted_content, task_serializer

serialization: Any = _serialization  # not typed


class Message(TypedDict):
    """A task and how it is enqueued."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


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
        ConfigurationError: this app does not read what that serializer writes.
    """
    body: Message = {
        "task": task, "args": list(args or ()), "kwargs": dict(kwargs or {}),
        "options": dict(options),
    }  # fmt: skip
    serializer = options.get("serializer") or task_serializer(app)
    kind, encoding, data = serialization.dumps(body, serializer=serializer)
    if kind not in accepted_content(app):
        raise ConfigurationError(
            f"serializer {serializer!r} is not in accept_content: a task that waits for its turn "
            "or for an input is sent on by any process of its app"
        )
    raw = data.encode() if isinstance(data, str) else data
    return json.dumps([kind, encoding, base64.b64encode(raw).decode()])


def unpack(app: Celery, packed: str) -> Message:
    """What `pack` was given.

    Raises:
        kombu.exceptions.ContentDisallowed: the app does not read that (`accept_content`).
    """
    kind, encoding, text = json.loads(packed)
    message: Message = serialization.loads(
        base64.b64decode(text), kind, encoding, accept=accepted_content(app)
    )
    return message


def send(app: Celery, body: Message, connection: Any = None) -> None:
    """Send the message.

    Args:
        app: whose broker is used.
        body: the message.
        connection: to the broker; default: one of the app's pool.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    task: Any = app.tasks.get(body["task"])
    options = body["options"]
    if connection is not None:
        options = {**options, "connection": connection}
    if task is None:
        app.send_task(body["task"], body["args"], body["kwargs"], **options)
    else:
        try:
            task.apply_async(body["args"], body["kwargs"], stream_announced=True, **options)
        except TypeError:
            # Arguments that the task no longer takes: it fails in the worker, where it is seen.
            app.send_task(body["task"], body["args"], body["kwargs"], **options)

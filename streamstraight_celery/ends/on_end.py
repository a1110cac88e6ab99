"""The option `on_end=`: which task is told of a stream's end, and what it is told."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

from celery import Celery, Task
from celery.local import Proxy

from ..errors import ConfigurationError
from ..relays import STREAMSTRAIGHT
from ..relays.base import StreamState
from ..settings import StreamSettings

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    # pydantic, and so a task with `pydantic=True`, takes no other.
    from typing_extensions import TypedDict

# One end, one id: two messages of the same end are the same task.
_TASK_IDS = uuid.UUID("6f0e6a6c-5b86-4f2b-9b4c-2d8f0a1c7e55")


class EndError(TypedDict):
    """What readers were told of a bad end."""

    code: str
    message: str


class StreamEnd(TypedDict):
    """The argument of the task that `on_end=` names.

    Attributes:
        stream_id: the stream; `read_stream` reads its chunks.
        reason: why it ended: `completed`, `stopped`, `producer-error`, ...
        error: what readers were told of a bad end; else None.
        attempt: the attempt that readers have; 0 when none began.
        chunks: how many readers have.
        bytes: sum of their encoded sizes.
        task_id: of the task that produced it; "" if there was none.
        conversation: the one that it belongs to, or None.
    """

    stream_id: str
    reason: str
    error: EndError | None
    attempt: int
    chunks: int
    bytes: int
    task_id: str
    conversation: str | None


def check_on_end(value: object) -> None:
    """Check the option.

    Raises:
        ConfigurationError: neither a Celery task nor the name of one, or that has a space.
    """
    # Not `isinstance`, which would evaluate the proxy of a shared task before there is an app.
    if type(value) is str and " " in value:
        raise ConfigurationError(f"on_end={value!r}: the name of a task has no spaces here")
    if value is None or issubclass(type(value), Proxy) or isinstance(value, (str, Task)):
        return
    raise ConfigurationError(
        f"on_end={value!r}: use a Celery task (decorate the function with @shared_task) or the "
        "name of one"
    )


def on_end_name(app: Celery | None, settings: StreamSettings, on_end: Any) -> str:
    """The name of the task that is told of a stream's end; "" for none.

    Behind it stands the queue that the task says itself, if it does: the process that tells the end
    may not have imported the task.

    Args:
        app: knows tasks by their names.
        settings: of the app.
        on_end: the task's option; None: `stream_on_end`, and "": nobody.

    Raises:
        ConfigurationError: the relay is `streamstraight://`, which does not keep it.
    """
    chosen = settings.on_end if on_end is None else on_end
    name = chosen if isinstance(chosen, str) else str(chosen.name)
    if not name:
        return ""
    check_on_end(name)  # a task's own name, or the setting
    if settings.relay_url.partition(":")[0] in STREAMSTRAIGHT:
        raise ConfigurationError(
            "on_end= needs a stream store on Redis, and stream_relay_url is streamstraight://"
        )
    task = app.tasks.get(name) if app is not None else None
    queue = getattr(task, "queue", None)
    return f"{name} {queue}" if queue else name


def end_of_stream(stream_id: str, state: StreamState) -> StreamEnd:
    """What the application is told of a stream that has ended."""
    return {
        "stream_id": stream_id,
        "reason": state.end,
        "error": json.loads(state.error) if state.error else None,
        "attempt": state.attempt,
        "chunks": state.last,
        "bytes": state.size,
        "task_id": state.owner,
        "conversation": state.conversation or None,
    }


def send(app: Celery, stream_id: str, state: StreamState, connection: Any = None) -> None:
    """Enqueue the task that is told of the end.

    Raises:
        Exception: whatever Celery raises, such as kombu's OperationalError.
    """
    task_id = str(uuid.uuid5(_TASK_IDS, f"{stream_id} {state.attempt} {state.ended}"))
    options: dict[str, Any] = {"task_id": task_id}
    if connection is not None:
        options["connection"] = connection
    args = (end_of_stream(stream_id, state),)
    name, _, queue = state.on_end.partition(" ")
    task = app.tasks.get(name)
    if task is not None:
        # Its own queue and serializer count, and eager mode.
        task.apply_async(args, **options)
        return
    if queue:
        options["queue"] = queue
    app.send_task(name, args, **options)

"""Find streams by their labels, task and state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery

from ..relays.base import StreamState
from ..relays.index import Query
from ..runtime import Runtime
from ..settings import this_app
from .handle import StreamHandle


class ListedStream(StreamHandle):
    """A stream that was found, as a handle.

    Attributes:
        seen: its state when it was found; `state()` asks again.
    """

    def __init__(self, app: Celery, runtime: Runtime, stream_id: str, seen: StreamState) -> None:
        super().__init__(app, runtime, stream_id, app.AsyncResult(seen.owner or stream_id))
        self.seen = seen

    @property
    def status(self) -> str:
        """What it was doing: `queued`, `streaming`, ... or `ended`."""
        return self.seen.status

    @property
    def task(self) -> str:
        """The name of its task; `""` without one."""
        return self.seen.task

    @property
    def labels(self) -> Mapping[str, str]:
        """What it was labelled with."""
        return self.seen.labels


def list_streams(
    *,
    app: Celery | None = None,
    labels: Mapping[str, str] | None = None,
    task: Any = None,
    state: str | Iterable[str] = (),
    limit: int = 100,
) -> list[ListedStream]:
    """Find the streams that are kept, newest first.

        for stream in list_streams(labels={"user": "42"}, state="active"):
            stream.stop()

    Args:
        app: the Celery app; default: the current one.
        labels: what they were labelled with (`apply_stream(labels=...)`), all of it.
        task: their task, or its name.
        state: `active`, a status (`queued`, `streaming`, `stalled`, `retrying`, `open`, `ended`)
            or an end reason (`completed`, `stopped`, `producer-error`, ...) or `failed`, every bad
            one; of several one.
        limit: how many at most.

    Raises:
        ConfigurationError: there is no such state or label, or the relay is `streamstraight://`.
        RelayUnavailableError: the relay does not answer.
    """
    found = this_app(app)
    runtime = Runtime.of(found)
    name = getattr(task, "name", task) or ""
    query = Query.of(labels=labels, task=name, state=state, limit=limit)
    streams = runtime.relay.find(query).streams
    return [ListedStream(found, runtime, stream_id, seen) for stream_id, seen in streams]


async def alist_streams(
    *,
    app: Celery | None = None,
    labels: Mapping[str, str] | None = None,
    task: Any = None,
    state: str | Iterable[str] = (),
    limit: int = 100,
) -> list[ListedStream]:
    """As `list_streams`, without blocking the event loop."""
    return await asyncio.to_thread(
        list_streams, app=this_app(app), labels=labels, task=task, state=state, limit=limit
    )

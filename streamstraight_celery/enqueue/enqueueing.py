"""Enqueueing in steps: announce the stream, make it its conversation's, then send the message.

`StreamTask.apply_async` announces and sends in one step; this module is for tasks that belong to a
conversation or wait for a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

from celery.utils import uuid

from ..ids import STREAM_ID_HEADER, check_stream_id
from ..relays.requests import Create
from ..runtime import Runtime
from .conversations import Conversation, IfActive, check_policy
from .handle import StreamHandle, announce, awaited, withdraw
from .on_commit import at_commit

if TYPE_CHECKING:
    from ..tasks.task import StreamTask

P = ParamSpec("P")


class InConversation(Generic[P]):
    """A stream task in one conversation: `answer.conversation("chat-42").stream("Hello")`."""

    def __init__(self, task: StreamTask[P], key: str, if_active: IfActive) -> None:
        self._task = task
        self._key = key
        self._if_active: IfActive = if_active

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """Enqueue, and return a handle at once; it is another stream's when that was joined.

        Raises:
            StreamActiveError: the conversation has an active stream.
            Exception: as `StreamTask.stream`.
        """
        return self._task.apply_stream(args, kwargs, key=self._key, if_active=self._if_active)


def enqueue(
    task: StreamTask[...],
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
    key: str | None,
    if_active: IfActive,
    on_commit: bool | str,
) -> StreamHandle:
    """Announce the stream and enqueue its task, now or at commit; see `StreamTask.apply_stream`."""
    check_policy(if_active)
    app = task._get_app()
    runtime = Runtime.of(app)
    conversation = None if key is None else Conversation(app, key)
    if task.typing:
        # Before anything is announced or stopped.
        task.__header__(*(args or ()), **(kwargs or {}))
    if conversation and if_active == "join" and (active := conversation.active()):
        return active
    task_id = options.setdefault("task_id", uuid())
    name = check_stream_id(options["headers"].get(STREAM_ID_HEADER) or task_id)
    wait = awaited(task, options, runtime.settings.ttl)
    announce(runtime, Create(name, task_id, task.codec_in(runtime).kind, wait))

    def drop() -> None:
        withdraw(runtime, name)

    def send() -> None:
        try:
            task.apply_async(args, kwargs, **options)
        except BaseException:
            drop()
            raise

    try:
        if conversation and (joined := conversation.take(name, if_active)):
            return joined
        if on_commit:
            at_commit(send, drop, on_commit)
        else:
            send()
    except BaseException:
        drop()
        raise
    return StreamHandle(app, runtime, name, app.AsyncResult(task_id))

"""Enqueueing in steps: announce the stream, make it its conversation's, then send the message.

`StreamTask.apply_async` announces and sends in one step; this module is for tasks that belong to a
conversation or wait for a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol

from celery import Celery
from celery.utils import uuid

from ..conversations.membership import began_event, inherit
from ..conversations.messages import pack
from ..conversations.turns import look_again_after
from ..errors import ConfigurationError
from ..ids import (
    CONVERSATION_HEADER,
    PARENT_HEADER,
    QUEUED_HEADER,
    STREAM_ID_HEADER,
    check_own_stream_id,
)
from ..runtime import Runtime
from ..settings import runs_eagerly
from .announcing import Announced, announce_task, withdraw, withdrawn_on_error
from .conversations import Conversation, IfActive, check_policy
from .handle import StreamHandle
from .on_commit import at_commit

P = ParamSpec("P")


class Enqueued(Announced, Protocol):
    """What of a stream task enqueueing it takes."""

    typing: bool
    __header__: Callable[..., Any]

    def apply_stream(self, args: Any, kwargs: Any, **options: Any) -> StreamHandle: ...
    def apply_async(self, args: Any, kwargs: Any, **options: Any) -> Any: ...
    def _get_app(self) -> Any: ...


class InConversation(Generic[P]):
    """A stream task in one conversation: `answer.conversation("chat-42").stream("Hello")`."""

    def __init__(self, task: Enqueued, key: str, if_active: IfActive) -> None:
        self._task = task
        self._key = key
        self._if_active: IfActive = if_active

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """Enqueue, and return a handle at once; it is another stream's when that was joined.

        Raises:
            StreamActiveError: the conversation has an active stream.
            Exception: as `StreamTask.stream`.
        """
        return self._task.apply_stream(
            args, kwargs, conversation=self._key, if_active=self._if_active
        )

    async def astream(self, *args: P.args, **kwargs: P.kwargs) -> StreamHandle:
        """As `stream`, without blocking the event loop."""
        return await asyncio.to_thread(self.stream, *args, **kwargs)


def enqueue(
    task: Enqueued,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
    conversation: Conversation | None,
    if_active: IfActive,
    on_commit: bool | str,
    title: str | None,
) -> StreamHandle:
    """Announce the stream and enqueue its task, now or at commit; see `StreamTask.apply_stream`."""
    check_policy(if_active)
    if if_active == "enqueue" and on_commit:
        raise ConfigurationError(
            "if_active='enqueue' and on_commit= do not go together: call it in on_commit()"
        )
    app = task._get_app()
    runtime = Runtime.of(app)
    if task.typing:
        # Before anything is announced or stopped.
        task.__header__(*(args or ()), **(kwargs or {}))
    if conversation and if_active == "join" and (active := conversation.active_stream()):
        return active
    headers = options["headers"]
    task_id = options.setdefault("task_id", uuid())
    name = check_own_stream_id(headers.get(STREAM_ID_HEADER) or task_id)
    if conversation:
        headers[CONVERSATION_HEADER] = conversation.name
        inherit(headers, name)
    # In a queue it may have to wait for as long as there is a conversation. A child begins at once.
    queued = if_active == "enqueue" and not headers.get(PARENT_HEADER)
    wait = runtime.settings.conversation_ttl if queued else 0.0
    announce_task(task, runtime, name, task_id, options, wait)

    def send() -> None:
        with withdrawn_on_error(runtime, name):
            task.apply_async(args, kwargs, stream_announced=True, **options)

    if conversation:
        event = began_event(name, task, task_id, headers, title)
        with withdrawn_on_error(runtime, name):
            if headers.get(PARENT_HEADER):
                conversation.began(name, event)
            elif if_active == "enqueue":
                given = (app, task.name, args, kwargs, options)

                def look_later(**later: Any) -> None:
                    task.apply_async(args, kwargs, stream_announced=True, **{**options, **later})

                enqueue_in_turn(given, look_later, conversation, name, event)
                return StreamHandle(app, runtime, name, app.AsyncResult(task_id))
            elif joined := conversation.take(name, if_active, event):
                return joined
    if on_commit:
        with withdrawn_on_error(runtime, name):
            at_commit(send, lambda: withdraw(runtime, name), on_commit)
    else:
        send()
    return StreamHandle(app, runtime, name, app.AsyncResult(task_id))


def enqueue_in_turn(
    message: tuple[Celery, str, Sequence[Any] | None, Mapping[str, Any] | None, dict[str, Any]],
    look_later: Callable[..., object],
    conversation: Conversation,
    stream_id: str,
    event: bytes,
) -> None:
    """Keep the message until it is the stream's turn.

    Another one is sent at once, to come when a lost stream would be given up: whoever could have
    seen the end of the one before may be lost with it.

    Args:
        message: app, task, args, kwargs and options.
        look_later: sends it with the options that it is given.
        conversation: whose turn it is to be.
        stream_id: the stream.
        event: tells that it began.
    """
    app, *_, options = message
    settings = Runtime.of(app).settings
    packed = pack(*message)
    if conversation.enqueue(stream_id, packed, event) and not runs_eagerly(app):
        wait = look_again_after(settings.lease, settings.reap_after)
        look_later(headers={**options["headers"], QUEUED_HEADER: True}, countdown=wait)

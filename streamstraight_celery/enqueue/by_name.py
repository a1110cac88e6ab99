"""Stream tasks by their names, for processes that have not got their code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from celery import Celery, Task
from celery.canvas import Signature
from celery.utils import uuid

from ..codecs import Codec, get_codec
from ..conversations.events import stream_began
from ..conversations.membership import inherit
from ..due_times import wait_of
from ..ends.on_end import check_on_end
from ..errors import ConfigurationError
from ..ids import (
    CONVERSATION_HEADER,
    ON_END_HEADER,
    OVERWRITE_HEADER,
    PARENT_HEADER,
    STREAM_ID_HEADER,
    check_conversation_name,
    check_own_stream_id,
)
from ..relays.requests import Create
from ..runtime import Runtime
from ..settings import this_app
from .announcing import about_of, announce, note_options, withdrawn_on_error
from .conversations import Conversation, IfActive, check_policy
from .enqueueing import enqueue_in_turn
from .handle import StreamHandle


class _Unknown(NamedTuple):
    """A task of which only the message is known."""

    app: Celery
    expires: None = None


def last_task_of(signature: Any) -> Any:
    """The signature that gets the id of a canvas; None when it is a task of Celery's own."""
    kind = signature.get("subtask_type")
    if kind == "chord":
        return last_task_of(signature["kwargs"]["body"])
    if kind == "chain":
        tasks = signature["kwargs"]["tasks"]
        return last_task_of(tasks[-1]) if tasks else None
    return None if kind == "group" else signature


def send_stream_task(
    task: str | Signature,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    app: Celery | None = None,
    stream_id: str | None = None,
    replace: bool = False,
    labels: Mapping[str, str] | None = None,
    ttl: float | None = None,
    codec: str | Codec | None = None,
    on_end: Task | str | None = None,
    conversation: str | None = None,
    if_active: IfActive = "reject",
    title: str | None = None,
    **options: Any,
) -> StreamHandle:
    """Enqueue a stream task by its name, as `app.send_task()` does, and return a handle at once.

    For a web service that cannot import the worker's code. The stream is announced first, so it can
    be read and stopped before a worker takes the task.

        stream = send_stream_task("worker.tasks.answer", [prompt], app=app)

    Args:
        task: the task's name; or a signature, also a chain or a chord, whose last task (a chord's
            body) is the stream task.
        args: positional arguments, of a task given by name.
        kwargs: keyword arguments, likewise.
        app: the Celery app; default: the current one.
        stream_id: name of the stream; default: the task's id.
        replace: a stream of that name that has ended makes way for this one.
        labels: what it can be found by (`list_streams`), such as `{"user": "42"}`.
        ttl: seconds that it is kept after its end; default `stream_ttl`.
        codec: the one of the task, if that is not `stream_codec`. The worker's counts in the end.
        on_end: a Celery task, or its name, that is told of the stream's end; default: the task's.
        conversation: name of the one that the stream belongs to; in a stream task, default: its
            own, as a child of its stream.
        if_active: what to do when that has an active stream: see `StreamTask.apply_stream`.
            `enqueue` is for tasks given by name.
        title: what readers of the conversation are shown, such as the agent's role.
        **options: Celery's own, such as `countdown`, `queue`, `task_id`, `headers`.

    Raises:
        StreamExistsError: another task's stream has that name.
        StreamActiveError: the conversation has an active stream.
        RelayUnavailableError: the relay does not answer; nothing was enqueued.
        kombu.exceptions.OperationalError: the broker does not answer; the stream was ended.
        ConfigurationError: the name cannot stand in a URL, or nothing in the signature streams.
    """
    found = this_app(app)
    runtime = Runtime.of(found)
    headers = dict(options.pop("headers", None) or {})
    signature: Any
    if isinstance(task, str):
        signature = found.signature(task, args=tuple(args or ()), kwargs=dict(kwargs or {}))
    elif args or kwargs:
        raise ConfigurationError("args and kwargs: a signature has its own")
    else:
        signature = task.clone()
    last = last_task_of(signature)
    if last is None:
        raise ConfigurationError(f"{task!r}: no single task is its last, and could stream")
    last_options = last["options"]
    # The options' own headers are for the task that streams.
    headers = {**(last_options.get("headers") or {}), **headers}
    task_id = options.pop("task_id", None) or last_options.get("task_id") or uuid()
    name = check_own_stream_id(stream_id or headers.get(STREAM_ID_HEADER) or task_id)
    headers[STREAM_ID_HEADER] = name
    if on_end is not None:
        check_on_end(on_end)
        headers[ON_END_HEADER] = on_end if isinstance(on_end, str) else str(on_end.name)
    told = runtime.on_end_name(headers.get(ON_END_HEADER))
    note_options(headers, replace, labels, ttl)
    last_options.update(headers=headers, task_id=task_id)
    if not runtime.settings.show_arguments:
        last_options.update(argsrepr="()", kwargsrepr=repr({"stream_id": name}))
    times = {**last_options, **options}
    kind = get_codec(codec or runtime.settings.codec).kind
    wait = wait_of(_Unknown(found), times, runtime.settings.ttl)
    about = about_of(last["task"], headers)
    if conversation is not None:
        check_policy(if_active)
        headers[CONVERSATION_HEADER] = check_conversation_name(conversation)
    inherit(headers, name)
    belongs = headers.get(CONVERSATION_HEADER) or ""
    # A child begins at once.
    if if_active == "enqueue" and belongs and not headers.get(PARENT_HEADER):
        if signature is not last:
            raise ConfigurationError("if_active='enqueue' is for tasks given by name")
        wait += round(runtime.settings.conversation_ttl * 1000)
    chat = Conversation(found, belongs) if belongs else None
    if chat and if_active == "join" and (active := chat.active_stream()):
        return active
    request = Create(name, task_id, kind, wait, belongs, on_end=told, about=about)
    announce(found, runtime, request, overwrite=bool(headers.get(OVERWRITE_HEADER)))
    handle = StreamHandle(found, runtime, name, found.AsyncResult(task_id))
    with withdrawn_on_error(runtime, name):
        if chat is not None:
            parent = headers.get(PARENT_HEADER)
            event = stream_began(
                name, task=last["task"], task_id=task_id, title=title, parent=parent
            )
            if parent:
                chat.began(name, event)
            elif if_active == "enqueue":
                given = (found, signature["task"], signature["args"], signature["kwargs"], times)

                def look_later(**later: Any) -> None:
                    signature.apply_async(**{**options, **later})

                enqueue_in_turn(given, look_later, chat, name, event)
                return handle
            elif joined := chat.take(name, if_active, event):
                return joined
        signature.apply_async(**options)
    return handle


async def asend_stream_task(
    task: str | Signature,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    app: Celery | None = None,
    **options: Any,
) -> StreamHandle:
    """As `send_stream_task`, with the same options, without blocking the event loop."""
    given = {"app": this_app(app), **options}
    return await asyncio.to_thread(send_stream_task, task, args, kwargs, **given)

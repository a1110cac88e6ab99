"""Tell a conversation what became of a stream, in the worker that has produced it."""

from __future__ import annotations

from typing import Any

from celery.exceptions import Ignore

from ..conversations.membership import header_of
from ..conversations.turns import look_again_after
from ..ids import CONVERSATION_HEADER, QUEUED_HEADER
from ..producing.writer import StreamWriter
from ..relays.requests import Turn
from ..runtime import Runtime
from .telemetry import RunningTask


def tell_conversation(task: RunningTask) -> None:
    """The attempt is over: tell the conversation, if it has one and the stream has ended.

    If the store does not answer, the next one who looks at the conversation's stream tells it.
    """
    writer: StreamWriter | None = getattr(task.request, "stream_writer", None)
    if writer is not None and header_of(task.request, CONVERSATION_HEADER) is not None:
        Runtime.of(task.app).tell_conversation(writer.stream_id)


def await_turn(task: RunningTask, runtime: Runtime, args: Any, kwargs: Any) -> None:
    """Return when it is the stream's turn in its conversation; else have the message come later.

    Raises:
        celery.exceptions.Ignore: it is not.
    """
    request = task.request
    name = header_of(request, CONVERSATION_HEADER)
    if name is None or header_of(request, QUEUED_HEADER) is None:
        return
    runtime.sender.patiently(lambda: runtime.advance(name))
    about = Turn(name, about=task.stream_id)
    if runtime.sender.patiently(lambda: runtime.relay.call(about)).stop:
        wait = look_again_after(runtime.settings.lease, runtime.settings.reap_after)
        task.signature_from_request(
            request, args, kwargs, countdown=wait, retries=request.retries
        ).apply_async()
        raise Ignore

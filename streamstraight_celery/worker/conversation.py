"""Tell a conversation what became of a stream, in the worker that has produced it."""

from __future__ import annotations

import sys
from typing import Any

from celery.exceptions import Ignore

from ..conversations.membership import header_of
from ..conversations.turns import look_again_after
from ..ids import CONVERSATION_HEADER, QUEUED_HEADER
from ..relays.requests import Turn
from ..runtime import Runtime
from .telemetry import RunningTask


def tell_conversation(task: RunningTask) -> None:
    """The delivery is over: tell the conversation, if it has one and the stream has ended.

    Also when an earlier delivery has ended it, whose process may have died before it told that. A
    process that goes down does not wait for the store: the next one who looks tells it.
    """
    if header_of(task.request, CONVERSATION_HEADER) is None:
        return
    error = sys.exc_info()[1]
    patient = error is None or isinstance(error, Exception)
    Runtime.of(task.app).tell_conversation(task.stream_id, patient=patient)


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

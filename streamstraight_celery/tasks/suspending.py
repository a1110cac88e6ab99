"""Suspend a running task: the message that continues it is kept in its conversation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..conversations.events import check_posted
from ..conversations.messages import pack
from ..errors import ConfigurationError, StreamSuspended, StreamTooLargeError
from ..ids import QUEUED_HEADER, WAKES_HEADER
from ..producing.writer import StreamWriter
from ..relays.conversations import Await
from ..relays.requests import Enlist
from ..runtime import Runtime
from .inputs import Wanted

if TYPE_CHECKING:
    from .task import StreamTask

Timeout = float | timedelta | None
# Options of a message that count from when it was sent.
_ONCE = ("expires", "countdown", "eta")


def seconds_of(timeout: Timeout) -> float | None:
    """A timeout in seconds.

    Raises:
        ConfigurationError: no possible time.
    """
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if timeout is None:
        return None
    known = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not known or not 0 <= timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r}: use seconds, a timedelta, or None")
    return timeout


def suspend(
    task: StreamTask[...], writer: StreamWriter, wanted: Wanted, timeout: float | None
) -> None:
    """End this delivery of the task until what is wanted comes; returns when there is news of it.

    Raises:
        StreamSuspended: the message that continues the task is kept.
        InputTimeoutError: the time is over.
        ConfigurationError: the task cannot resume.
        StreamTooLargeError: too many tasks wait in the conversation.
        RelayUnavailableError: the store does not answer.
    """
    if task.on_redelivery != "resume":
        raise ConfigurationError(
            "a task that is suspended runs again, and goes on: declare it with "
            'on_redelivery="resume"'
        )
    runtime = Runtime.of(task._get_app())
    wait = runtime.settings.conversation_ttl if timeout is None else timeout
    if wait <= 0:
        raise wanted.timed_out(timeout)
    relay, patiently = runtime.relay, runtime.sender.patiently
    # Whatever is lost from now on, the sweep finds it.
    patiently(lambda: relay.call(Enlist(writer.stream_id)))
    request = Await(
        wanted.name, writer.stream_id, writer.attempt, wanted.seen, wanted.question,
        wanted.what(timeout), max(1, round(wait * 1000)), message_of(task, writer),
    )  # fmt: skip
    answer = patiently(lambda: relay.call(request))
    if answer.kind == "gap":
        return
    if answer.kind == "closed":
        raise wanted.timed_out(timeout, suspended=True)
    if answer.kind == "too-large":
        raise StreamTooLargeError(f"too many tasks wait in conversation {wanted.name!r}")
    check_posted(wanted.name, answer)
    driver: Any = getattr(task.request, "stream_driver", None)
    if driver is not None:
        driver.suspended = True
    raise StreamSuspended(answer.number / 1000)


def message_of(task: StreamTask[...], writer: StreamWriter) -> str:
    """The message that begins the next attempt, as this one's was."""
    request = task.request
    signature = task.signature_from_request(request, retries=request.retries)
    options = {name: value for name, value in signature.options.items() if name not in _ONCE}
    given: Mapping[str, Any] = options.get("headers") or {}
    headers = {name: value for name, value in given.items() if name != QUEUED_HEADER}
    options["headers"] = {**headers, WAKES_HEADER: writer.attempt}
    if not Runtime.of(task._get_app()).settings.show_arguments:
        # Who sends it may not know the task, which hides them.
        options["argsrepr"] = "()"
        options["kwargsrepr"] = repr({"stream_id": writer.stream_id})
    if task.serializer:
        options.setdefault("serializer", task.serializer)
    return pack(task._get_app(), task.name, signature.args, signature.kwargs, options)

"""Announce a stream before its task is sent, so that it can be read and stopped at once."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Protocol

from celery import Celery

from ..codecs import Codec
from ..due_times import Expiring, wait_of
from ..ends.telling import tell_application
from ..errors import RelayUnavailableError, StreamError, StreamExistsError
from ..ids import (
    CONVERSATION_HEADER,
    LABELS_HEADER,
    ON_END_HEADER,
    OVERWRITE_HEADER,
    TTL_HEADER,
)
from ..relays.about import RECENT, About, check_labels, check_ttl
from ..relays.index import TIDY_EVERY
from ..relays.requests import Create, Delete, Enlist, Reap, Stop
from ..runtime import Runtime

log = logging.getLogger(__name__)


class Announced(Expiring, Protocol):
    """What of a stream task announcing its stream takes."""

    on_end: Any

    @property
    def name(self) -> str: ...

    def codec_in(self, runtime: Runtime) -> Codec: ...


def announce_task(
    task: Announced,
    runtime: Runtime,
    stream_id: str,
    task_id: str,
    options: Mapping[str, Any],
    in_turn: float = 0.0,
) -> bool:
    """As `announce`, of a task with the options of `apply_async`, sent within `in_turn` seconds."""
    wait = wait_of(task, options, runtime.settings.ttl) + round(in_turn * 1000)
    headers = options.get("headers") or {}
    conversation = headers.get(CONVERSATION_HEADER) or ""
    on_end = runtime.on_end_name(headers.get(ON_END_HEADER, task.on_end))
    request = Create(
        stream_id, task_id, task.codec_in(runtime).kind, wait, conversation, on_end,
        about_of(task.name, headers),
    )  # fmt: skip
    overwrite = bool(headers.get(OVERWRITE_HEADER))
    return announce(task.app, runtime, request, overwrite=overwrite)


def announce(app: Celery, runtime: Runtime, request: Create, *, overwrite: bool = False) -> bool:
    """Tell the relay of a stream whose task is about to be enqueued; True when it is new.

    Args:
        app: the Celery app.
        runtime: of the app.
        request: tells of the stream.
        overwrite: it takes the place of one that has ended.

    Raises:
        StreamExistsError: another task's stream has that name.
        RelayUnavailableError: the relay does not answer.
    """
    if request.on_end:
        # Before it can end. Whoever finds it in the list looks whether it is there at all.
        runtime.relay.call(Enlist(request.stream_id))
    answer = runtime.relay.call(request)
    if answer.kind == "exists" and not answer.end_reason:
        # Its producer may be lost: then it ends, if that is due, and the message says so.
        if runtime.relay.call(Reap(request.stream_id)).kind == "ended":
            runtime.tell_end(request.stream_id)
        answer = runtime.relay.call(request)
    if answer.kind == "exists" and answer.end_reason and overwrite:
        # While it can be read, if nobody has.
        if tell_application(app, runtime.relay, request.stream_id) == "failed":
            raise StreamExistsError(
                f"the stream named {request.stream_id!r} has ended ({answer.end_reason}) and makes "
                "no way yet: its on_end task could not be enqueued; try again"
            )
        runtime.relay.call(Delete(request.stream_id))
        if request.on_end:
            runtime.relay.call(Enlist(request.stream_id))  # what was told is no longer listed
        answer = runtime.relay.call(request)
    if answer.kind == "exists":
        state = f"has ended ({answer.end_reason})" if answer.end_reason else "is active"
        advice = ", or replace=True" if answer.end_reason else ""
        raise StreamExistsError(
            f"a stream named {request.stream_id!r} {state} already: give each its own "
            f"stream_id{advice}"
        )
    if answer.is_new and next(_announced) % TIDY_EVERY == 0:
        tidy(runtime, request.about)
    return answer.is_new


_announced = count(1)


def tidy(runtime: Runtime, about: About) -> None:
    """Drop stale entries of the index, where this stream has added one."""
    terms = [random.choice(about.terms), RECENT]
    try:
        runtime.relay.tidy(terms)
    except StreamError as error:
        # Nobody needs the index to begin a stream, and some relays have none.
        log.debug("the index was not tidied: %s", error)


def note_options(
    headers: dict[str, Any], replace: bool, labels: Mapping[str, str] | None, ttl: float | None
) -> None:
    """Write options of a stream into its message's headers.

    Raises:
        ConfigurationError: labels or a time that cannot be.
    """
    if replace:
        headers[OVERWRITE_HEADER] = True
    if labels is not None:
        headers[LABELS_HEADER] = check_labels(labels)
    if ttl is not None:
        check_ttl(ttl)
        headers[TTL_HEADER] = ttl


def about_of(task: str, headers: Mapping[str, Any]) -> About:
    """What a message's headers say of its stream.

    Raises:
        ConfigurationError: labels or a time that cannot be.
    """
    return About.of(task, headers.get(LABELS_HEADER), headers.get(TTL_HEADER))


@contextlib.contextmanager
def withdrawn_on_error(runtime: Runtime, stream_id: str) -> Iterator[None]:
    """End an announced stream when its task cannot be sent."""
    try:
        yield
    except BaseException:
        withdraw(runtime, stream_id)
        raise


def withdraw(runtime: Runtime, stream_id: str) -> None:
    """End an announced stream whose task was not enqueued; only what prevented that is raised."""
    try:
        runtime.relay.call(Stop(stream_id))
    except RelayUnavailableError as error:
        about = {"stream_id": stream_id}
        log.warning(
            "stream %s was announced and could not be ended: %s", stream_id, error, extra=about
        )
    else:
        runtime.tell_end(stream_id)

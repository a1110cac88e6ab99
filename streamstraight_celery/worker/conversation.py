"""Tell a conversation what became of a stream, in the worker that has produced it."""

from __future__ import annotations

import logging

from ..conversations.ending import tell_end
from ..conversations.membership import header_of
from ..errors import StreamError
from ..ids import CONVERSATION_HEADER
from ..producing.writer import StreamWriter
from ..runtime import Runtime
from .telemetry import RunningTask

log = logging.getLogger(__name__)


def tell_conversation(task: RunningTask) -> None:
    """The attempt is over: tell the conversation, if it has one and the stream has ended.

    If the store does not answer, the next one who looks at the conversation's stream tells it.
    """
    writer: StreamWriter | None = getattr(task.request, "stream_writer", None)
    if writer is not None and header_of(task.request, CONVERSATION_HEADER) is not None:
        tell_quietly(Runtime.of(task.app), writer.stream_id)


def tell_quietly(runtime: Runtime, stream_id: str) -> None:
    """As `tell_end`; what prevents it is only logged."""
    try:
        tell_end(runtime.relay, stream_id)
    except StreamError as error:
        about = {"stream_id": stream_id}
        log.warning(
            "stream %s: its conversation could not be told of its end: %s", stream_id, error,
            extra=about,
        )  # fmt: skip

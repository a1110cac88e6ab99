"""Stream LLM output from Celery tasks to browsers.

from streamstraight_celery import stream_task

@stream_task
def answer(prompt: str):
    with OpenAI().responses.create(model="gpt-5", input=prompt, stream=True) as events:
        yield from events

answer.stream("Hello").ref()   # {"stream_id", "url", "token", "expires_at"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .agent_codecs import to_ag_ui, to_ui_messages
from .codecs import Codec, register_codec
from .enqueue.by_name import asend_stream_task, send_stream_task
from .enqueue.conversations import (
    Conversation,
    ConversationRef,
    aactive_stream,
    active_stream,
    alatest_stream,
    get_conversation,
    latest_stream,
)
from .enqueue.handle import StreamHandle, StreamRef, aget_stream, get_stream, stream_ref
from .enqueue.listing import ListedStream, alist_streams, list_streams
from .errors import (
    PublicError,
    RelayUnavailableError,
    StreamActiveError,
    StreamError,
    StreamFailedError,
    StreamNotFoundError,
)
from .publishing.publish import Publication, apublish, prepare, publish
from .publishing.tee import atee, tee
from .signals import stream_concluded, stream_ended, stream_first_chunk, stream_started
from .tasks.task import StreamTask, stream_task
from .tasks.task_stream import current_stream
from .worker.attempt import StreamSummary

if TYPE_CHECKING:
    from .reader import (
        AsyncStreamReader,
        StreamReader,
        aread_conversation,
        aread_stream,
        read_conversation,
        read_stream,
    )

__version__ = "0.1.0"

__all__ = [
    # tasks
    "stream_task",
    "StreamTask",
    "current_stream",
    "get_stream",
    "aget_stream",
    "send_stream_task",
    "asend_stream_task",
    "get_conversation",
    "Conversation",
    "ConversationRef",
    "active_stream",
    "aactive_stream",
    "latest_stream",
    "alatest_stream",
    "list_streams",
    "alist_streams",
    "ListedStream",
    "stream_ref",
    "StreamHandle",
    "StreamRef",
    "StreamSummary",
    # signals
    "stream_started",
    "stream_first_chunk",
    "stream_ended",
    "stream_concluded",
    # reading in Python
    "read_stream",
    "read_conversation",
    "aread_conversation",
    "aread_stream",
    "StreamReader",
    "AsyncStreamReader",
    # without a worker
    "publish",
    "apublish",
    "prepare",
    "Publication",
    "tee",
    "atee",
    # codecs
    "Codec",
    "register_codec",
    "to_ui_messages",
    "to_ag_ui",
    # errors; the others are in `.errors`
    "StreamError",
    "PublicError",
    "StreamFailedError",
    "StreamNotFoundError",
    "StreamActiveError",
    "RelayUnavailableError",
    "__version__",
]

_READING = (
    "AsyncStreamReader",
    "StreamReader",
    "aread_conversation",
    "aread_stream",
    "read_conversation",
    "read_stream",
)


def __getattr__(name: str) -> Any:
    """Load the reading side when it is used: workers and most web routes never do."""
    if name in _READING:
        from . import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

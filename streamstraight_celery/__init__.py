"""Stream LLM output from Celery tasks to browsers.

from streamstraight_celery import stream_task

@stream_task
def answer(prompt: str):
    yield from OpenAI().responses.create(model="gpt-5", input=prompt, stream=True)

answer.stream("Hello").ref()   # {"stream_id", "url", "token", "expires_at"}
"""

from __future__ import annotations

from .attempt import StreamSummary
from .codecs import Codec, register_codec
from .errors import (
    ChunkTooLargeError,
    ConfigurationError,
    EncodeError,
    MalformedOffsetError,
    MissingDependencyError,
    PublicError,
    RelayUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamExistsError,
    StreamFencedError,
    StreamNotFoundError,
    StreamStopped,
    StreamTooLargeError,
    TokenError,
)
from .handle import StreamHandle, StreamRef, get_stream
from .task import StreamTask, stream_task

__version__ = "0.1.0"

__all__ = [
    # tasks
    "stream_task",
    "StreamTask",
    "get_stream",
    "StreamHandle",
    "StreamRef",
    "StreamSummary",
    # codecs
    "Codec",
    "register_codec",
    # errors
    "StreamError",
    "ChunkTooLargeError",
    "ConfigurationError",
    "EncodeError",
    "MalformedOffsetError",
    "MissingDependencyError",
    "PublicError",
    "RelayUnavailableError",
    "StreamBusyError",
    "StreamClosedError",
    "StreamExistsError",
    "StreamFencedError",
    "StreamNotFoundError",
    "StreamStopped",
    "StreamTooLargeError",
    "TokenError",
    "__version__",
]

"""Every error of the package. Each class has a stable `code` that readers and logs may show."""

from __future__ import annotations


class StreamError(Exception):
    """Base class of all errors of this package."""

    code = "stream-error"


class ConfigurationError(StreamError, ValueError):
    """A setting or argument is wrong; the message says which and what to write instead."""

    code = "configuration"


class MissingDependencyError(StreamError, ImportError):
    """An optional dependency is needed and not installed."""

    code = "missing-dependency"

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} is not installed. "
            f"Install it with: pip install 'streamstraight-celery[{extra}]'"
        )
        self.feature = feature
        self.extra = extra


class EncodeError(StreamError, TypeError):
    """A chunk could not be turned into a string."""

    code = "encode-error"


class ChunkTooLargeError(StreamError, ValueError):
    """One encoded chunk is larger than `stream_max_chunk_bytes`."""

    code = "chunk-too-large"


class StreamTooLargeError(StreamError):
    """The stream's chunks together are larger than `stream_max_bytes`."""

    code = "stream-too-large"


class RelayUnavailableError(StreamError, ConnectionError):
    """The relay did not answer for longer than allowed. Nothing that it acknowledged is lost."""

    code = "relay-unavailable"


class StreamExistsError(StreamError):
    """A stream of that name exists already and belongs to another task."""

    code = "stream-exists"


class StreamBusyError(StreamError):
    """A living producer holds the stream; its lease ends in `retry_after` seconds."""

    code = "stream-busy"

    def __init__(self, stream_id: str, retry_after: float) -> None:
        super().__init__(
            f"stream {stream_id!r} is held by a living producer for another {retry_after:.1f} s"
        )
        self.stream_id = stream_id
        self.retry_after = retry_after


class StreamFencedError(StreamError):
    """A newer attempt writes this stream; this producer's chunks are refused."""

    code = "fenced"


class StreamClosedError(StreamError):
    """The stream has ended; `reason` says how."""

    code = "closed"

    def __init__(self, stream_id: str, reason: str) -> None:
        super().__init__(f"stream {stream_id!r} has ended ({reason})")
        self.stream_id = stream_id
        self.reason = reason


class StreamNotFoundError(StreamError, LookupError):
    """No such stream, or it has expired."""

    code = "not-found"


class MalformedOffsetError(StreamError, ValueError):
    """An offset that this relay did not hand out."""

    code = "malformed-offset"


class TokenError(StreamError):
    """A token is missing, malformed, expired, or not for this stream; `code` says which."""

    code = "invalid-token"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamStopped(BaseException):
    """Raised inside a generator that waits for its next token when the stream is stopped.

    Like `GeneratorExit` it is no `Exception`, so that `except Exception` around an LLM call
    does not swallow it; `finally` and `with` blocks run.
    """


class PublicError(StreamError):
    """Raise this in a generator to end the stream with a message that readers may see.

    The message of any other exception stays with Celery: it may hold prompts or keys.
    """

    code = "producer-error"

    def __init__(self, message: str, *, code: str = "producer-error") -> None:
        super().__init__(message)
        self.code = code

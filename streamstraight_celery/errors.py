"""Every error of the package. Each class has a stable `code` that readers and logs may show.

An error's `args` are its constructor's arguments: pickle and Celery results rebuild it from them.
"""

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
        super().__init__(feature, extra)
        self.feature = feature
        self.extra = extra

    def __str__(self) -> str:
        return (
            f"{self.feature} is not installed. "
            f"Install it with: pip install 'streamstraight-celery[{self.extra}]'"
        )


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
    """The stream store did not answer in time. Chunks it has acknowledged are not lost."""

    code = "relay-unavailable"


class RelayRefusedError(StreamError):
    """The relay refused this stream (wrong key, a limit); the message has its reason."""

    code = "relay-refused"


class StreamExistsError(StreamError):
    """A stream with this id already exists and belongs to another task."""

    code = "stream-exists"


class StreamActiveError(StreamError):
    """The conversation `key` already has an active stream, `stream_id`."""

    code = "stream-active"

    def __init__(self, key: str, stream_id: str) -> None:
        super().__init__(key, stream_id)
        self.key = key
        self.stream_id = stream_id

    def __str__(self) -> str:
        return (
            f"conversation {self.key!r} has the active stream {self.stream_id!r}: wait for its "
            "end, stop it, or give if_active='join' or 'replace'"
        )


class StreamNotEndedError(StreamError, TimeoutError):
    """The stream is still active: it has not ended in time, or cannot be deleted yet."""

    code = "not-ended"


class InputTimeoutError(StreamError, TimeoutError):
    """No message came in the conversation `name` within `timeout` seconds."""

    code = "input-timeout"

    def __init__(self, name: str, timeout: float) -> None:
        super().__init__(name, timeout)
        self.name = name
        self.timeout = timeout

    def __str__(self) -> str:
        return f"nothing was sent to conversation {self.name!r} within {self.timeout:g} s"


class QuestionClosedError(StreamError):
    """The question is answered already, or is no longer waited for."""

    code = "question-closed"

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question

    def __str__(self) -> str:
        return f"question {self.question!r} is answered already, or was given up"


class StreamBusyError(StreamError):
    """A living producer holds the stream; its lease ends in `retry_after` seconds."""

    code = "stream-busy"

    def __init__(self, stream_id: str, retry_after: float) -> None:
        super().__init__(stream_id, retry_after)
        self.stream_id = stream_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return (
            f"stream {self.stream_id!r} is held by a living producer for another "
            f"{self.retry_after:.1f} s"
        )


class StreamWaitingError(StreamError):
    """The stream's task is suspended; the message of an input or its deadline continues it.

    In Celery's state RETRY it is the reason.
    """

    code = "waiting"

    def __init__(self, stream_id: str, seconds: float = 0.0) -> None:
        super().__init__(stream_id, seconds)
        self.stream_id = stream_id
        self.seconds = seconds

    def __str__(self) -> str:
        limit = f", for {self.seconds:.0f} s at most" if self.seconds else ""
        return f"stream {self.stream_id!r} waits for an input{limit}"


class StreamFencedError(StreamError):
    """A newer attempt writes this stream; this producer's chunks are refused."""

    code = "fenced"


class StreamClosedError(StreamError):
    """The stream has ended; `reason` says how."""

    code = "closed"

    def __init__(self, stream_id: str, reason: str) -> None:
        super().__init__(stream_id, reason)
        self.stream_id = stream_id
        self.reason = reason

    def __str__(self) -> str:
        return f"stream {self.stream_id!r} has ended ({self.reason})"


class NoStreamError(StreamError, RuntimeError):
    """There is no stream to send to here: no stream task runs, or not in this thread's context."""

    code = "no-stream"


class StreamNotFoundError(StreamError, LookupError):
    """No such stream, or it has expired."""

    code = "not-found"


class StreamReadError(StreamError):
    """Reading failed; `code` says why, `status` is the HTTP status, or 0."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.status = status

    def __str__(self) -> str:
        return str(self.args[1])


class StreamGoneError(StreamReadError, LookupError):
    """Chunks after the reader's offset are lost for good, or have expired."""


class StreamFailedError(StreamReadError):
    """The stream failed; `end_reason` says how, `message` is the text for readers."""

    def __init__(self, stream_id: str, end_reason: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.args = (stream_id, end_reason, code, message)
        self.stream_id = stream_id
        self.end_reason = end_reason
        self.message = message

    def __str__(self) -> str:
        return f"stream {self.stream_id!r} failed ({self.end_reason}): {self.message}"


class StreamResetError(StreamReadError):
    """A new attempt replaced the chunks read so far, and there is no `on_reset` to drop them.

    `attempt` is the new one, or 0 when it is not known.
    """

    def __init__(self, stream_id: str, attempt: int) -> None:
        super().__init__("superseded", "")
        self.args = (stream_id, attempt)
        self.stream_id = stream_id
        self.attempt = attempt

    def __str__(self) -> str:
        newer = f"attempt {self.attempt}" if self.attempt else "a new attempt"
        return (
            f"stream {self.stream_id!r} was restarted by {newer}: read it from the start, or pass "
            "on_reset= to drop the chunks of the attempt before"
        )


class DecodeError(StreamError, ValueError):
    """A chunk is not of the type that the reader asked for; `seq` is its number, if known."""

    code = "decode-error"

    def __init__(self, stream_id: str, seq: int | None, wanted: str, why: str) -> None:
        super().__init__(stream_id, seq, wanted, why)
        self.stream_id = stream_id
        self.seq = seq

    def __str__(self) -> str:
        place = "a chunk" if self.seq is None else f"chunk {self.seq}"
        *_, wanted, why = self.args
        return f"{place} of stream {self.stream_id!r} is not a {wanted}: {why}"


class MalformedOffsetError(StreamError, ValueError):
    """An offset that was not issued for this stream."""

    code = "malformed-offset"


class TokenError(StreamError):
    """A token is missing, malformed, expired, or not for this stream; `code` says which."""

    code = "invalid-token"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class StreamStopped(BaseException):
    """Raised inside a generator that waits for its next token when the stream is stopped.

    Like `GeneratorExit` it does not derive from `Exception`, so `except Exception` around an LLM
    call does not swallow it; `finally` and `with` blocks run.
    """


class StreamSuspended(StreamStopped):
    """Raised inside a task that is suspended: its clean-up runs, and another attempt continues.

    `seconds`: until the deadline.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class PublicError(StreamError):
    """Raise this in a generator to end the stream with a message that readers may see.

    The message of any other exception stays with Celery: it may hold prompts or keys.

    Args:
        message: for readers.
        code: for programs that read; by default the class's.
    """

    code = "producer-error"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
            # Constructors of subclasses may take something else.
            if type(self).__init__ is PublicError.__init__:
                self.args = (message, code)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class AgentFailedError(PublicError):
    """The agent that produces a chat's stream failed; `__cause__` has the adapter's error.

    Raised by the codecs `ui-messages` and `ag-ui`: `autoretry_for=(AgentFailedError,)` retries.
    """

    code = "agent-failed"

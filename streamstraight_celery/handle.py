"""What a web route gets back: the stream's name, where it is read, and a token for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from celery import Celery, current_app

from .errors import StreamExistsError
from .names import STOP_COMMAND
from .relays.base import Create, Stop, StreamState
from .runtime import Runtime

if TYPE_CHECKING:
    from celery.result import AsyncResult


class StreamRef(TypedDict):
    """What a client needs to read a stream, ready to be sent as JSON."""

    stream_id: str
    url: str
    token: str
    expires_at: int


class StreamHandle:
    """A stream that has been asked for.

    Attributes:
        id: the stream's id.
        task_id: the id of the task that produces it.
        result: the task's `AsyncResult` (its value is the generator's, or the stream's summary).
    """

    def __init__(self, app: Celery, runtime: Runtime, stream_id: str, result: AsyncResult) -> None:
        self.id = stream_id
        self.task_id = str(result.id)
        self.result = result
        self._app = app
        self._runtime = runtime

    def __repr__(self) -> str:
        return f"<StreamHandle {self.id}>"

    @property
    def url(self) -> str:
        """Where the relay serves the stream."""
        return f"{self._runtime.settings.public_url}/v1/stream/{quote(self.id, safe='')}"

    def token(self, *, scopes: Iterable[str] = ("read", "stop"), ttl: float | None = None) -> str:
        """A token for this stream alone.

        Args:
            scopes: what it allows: `read`, `stop`.
            ttl: seconds it is valid; default `stream_token_ttl`.

        Raises:
            ConfigurationError: no `stream_secret` is set, or a scope is unknown.
        """
        return self._runtime.tokens.issue(self.id, scopes=scopes, ttl=ttl)[0]

    def ref(
        self, *, scopes: Iterable[str] = ("read", "stop"), ttl: float | None = None
    ) -> StreamRef:
        """All that a client needs, as JSON: `stream_id`, `url`, `token`, `expires_at` (epoch, s).

        Raises:
            ConfigurationError: no `stream_secret` is set, or a scope is unknown.
        """
        token, expires_at = self._runtime.tokens.issue(self.id, scopes=scopes, ttl=ttl)
        return {"stream_id": self.id, "url": self.url, "token": token, "expires_at": expires_at}

    def state(self) -> StreamState:
        """The stream as the relay has it now.

        Raises:
            StreamNotFoundError: it has expired.
            RelayUnavailableError: the relay does not answer.
        """
        return self._runtime.relay.state(self.id)

    def stop(self) -> bool:
        """Stop the stream: a queued task never starts, a running generator is closed.

        Returns:
            False when it had ended already.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        return stop_stream(self._app, self._runtime, self.id)


def get_stream(stream_id: str, *, app: Celery | None = None) -> StreamHandle:
    """Return the handle of a stream that was asked for earlier: for a fresh token, or to stop it.

    Whether the one who asks may have it is for the caller to decide first.

    Args:
        stream_id: the stream.
        app: the Celery app; default: the current one.

    Raises:
        StreamNotFoundError: there is no such stream, or it has expired.
        RelayUnavailableError: the relay does not answer.
    """
    found: Any = app or current_app._get_current_object()
    runtime = Runtime.of(found)
    owner = runtime.relay.state(stream_id).owner
    return StreamHandle(found, runtime, stream_id, found.AsyncResult(owner))


def stop_stream(app: Celery, runtime: Runtime, stream_id: str) -> bool:
    """Stop a stream by its id; False when it had ended already or there is none."""
    answer = runtime.relay.call(Stop(stream_id))
    if answer.kind == "asked":
        # The relay's answer to the next append says it too; this is for a generator that waits.
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": stream_id})
    return answer.kind in ("asked", "ended")


def announce(runtime: Runtime, request: Create) -> bool:
    """Tell the relay of a stream whose task is about to be enqueued; True when it is new.

    Raises:
        StreamExistsError: another task's stream has that name.
        RelayUnavailableError: the relay does not answer.
    """
    answer = runtime.relay.call(request)
    if answer.kind == "exists":
        state = f"has ended ({answer.reason})" if answer.reason else "is active"
        raise StreamExistsError(
            f"a stream named {request.stream_id!r} {state} already: give each its own stream_id"
        )
    return answer.number == 1

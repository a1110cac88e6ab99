"""The handle that a web route gets: the stream's id, its URL, a token for it, and its state."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from celery import Celery

from ..errors import (
    ConfigurationError,
    StreamNotFoundError,
)
from ..ids import STOP_COMMAND, check_stream_id
from ..relays.base import Access, StreamState
from ..relays.requests import Reap, Stop
from ..runtime import Runtime
from ..settings import this_app

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    # pydantic, and so FastAPI's `-> StreamRef`, takes no other.
    from typing_extensions import TypedDict

if TYPE_CHECKING:
    from celery.result import AsyncResult


USE_REF = "which has its own URLs and tokens; use handle.ref()"


class StreamRef(TypedDict):
    """What a client needs to read a stream, ready to be sent as JSON."""

    stream_id: str
    url: str
    token: str
    expires_at: int


class StreamLink:
    """A stream as web routes hand it out; any process may produce it.

    Attributes:
        id: the stream's id.
    """

    def __init__(self, app: Celery, runtime: Runtime, stream_id: str) -> None:
        self.id = stream_id
        self._app = app
        self._runtime = runtime

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def url(self) -> str:
        """Where the relay serves the stream.

        Raises:
            ConfigurationError: the relay is `streamstraight://`, which tells it in `ref()`.
        """
        self._runtime.check_own_relay("url", USE_REF)
        return self._runtime.settings.stream_url(self.id)

    def token(self, *, scopes: Iterable[str] = ("read", "stop"), ttl: float | None = None) -> str:
        """A token for this stream alone.

        Args:
            scopes: what it allows: `read`, `stop`, `write` (see `stream_writing`).
            ttl: seconds it is valid; default `stream_token_ttl`.

        Raises:
            ConfigurationError: no `stream_secret` is set, or a scope is unknown.
        """
        return self._access(scopes, ttl).token

    def ref(
        self, *, scopes: Iterable[str] = ("read", "stop"), ttl: float | None = None
    ) -> StreamRef:
        """All that a client needs, as JSON: `stream_id`, `url`, `token`, `expires_at` (epoch, s).

        Raises:
            ConfigurationError: no `stream_secret` is set, or a scope is unknown.
        """
        url, token, expires_at = self._access(scopes, ttl)
        return {"stream_id": self.id, "url": url, "token": token, "expires_at": expires_at}

    def _access(self, scopes: Iterable[str], ttl: float | None) -> Access:
        access = self._runtime.relay.access(self.id, scopes, ttl)
        if access is None:
            access = Access(self.url, *self._runtime.tokens.issue(self.id, scopes=scopes, ttl=ttl))
        return access

    @property
    def sse_base_url(self) -> str:
        """Where the stream is as plain server-sent events.

        Also the `base_url` of an OpenAI client, whose `api_key` is then a token for the stream.

        Raises:
            ConfigurationError: the relay is `streamstraight://`; use `ref()`.
        """
        self._runtime.check_own_relay("sse_base_url", USE_REF)
        return f"{self._runtime.settings.public_url}/v1/sse/{quote(self.id, safe='')}"

    def sse_url(self, *, ttl: float | None = None) -> str:
        """`sse_base_url` with a token that only reads.

        For an `EventSource`, and to redirect to (status 303) from a chat's endpoint: the AI SDK's
        `useChat`, and any other client of server-sent events, follows it unchanged.

        Args:
            ttl: seconds the token is valid; default `stream_token_ttl`.

        Raises:
            ConfigurationError: no `stream_secret` is set, or the relay is `streamstraight://`; use
                `ref()`.
        """
        self._runtime.check_own_relay("sse_url()", USE_REF)
        return f"{self.sse_base_url}?token={self.token(scopes=['read'], ttl=ttl)}"

    def state(self) -> StreamState:
        """The stream as it is now: its `status`, chunks, attempt, end and times.

        Ends the stream of a lost producer, when that is due.

        Raises:
            StreamNotFoundError: it has expired.
            RelayUnavailableError: the relay does not answer.
        """
        return state_of(self._runtime, self.id)

    def stop(self) -> bool:
        """Stop the stream: a queued task never starts, a running generator is closed.

        Returns:
            False when it had ended already.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        return stop_stream(self._app, self._runtime, self.id)


class StreamHandle(StreamLink):
    """A stream that a task has been asked for.

    Attributes:
        id: the stream's id.
        task_id: the id of the task that produces it.
        result: the task's `AsyncResult` (its value is the generator's, or the stream's summary).
        joined: it was active already, and nothing was enqueued (`if_active="join"`).
    """

    def __init__(
        self,
        app: Celery,
        runtime: Runtime,
        stream_id: str,
        result: AsyncResult,
        *,
        joined: bool = False,
    ) -> None:
        super().__init__(app, runtime, stream_id)
        self.task_id = str(result.id)
        self.result = result
        self.joined = joined


def get_stream(stream_id: str, *, app: Celery | None = None) -> StreamHandle:
    """Return the handle of a stream that was asked for earlier: for a fresh token, or to stop it.

    Check first that the visitor may have it.

    Args:
        stream_id: the stream.
        app: the Celery app; default: the current one.

    Raises:
        StreamNotFoundError: the stream does not exist or has expired.
        RelayUnavailableError: the relay does not answer.
    """
    found = this_app(app)
    runtime = Runtime.of(found)
    try:
        check_stream_id(stream_id)
    except ConfigurationError as error:
        raise StreamNotFoundError(f"there can be no such stream: {error}") from None
    owner = state_of(runtime, stream_id).owner
    return StreamHandle(found, runtime, stream_id, found.AsyncResult(owner or stream_id))


def stream_ref(
    stream_id: str,
    *,
    scopes: Iterable[str] = ("read", "stop"),
    ttl: float | None = None,
    app: Celery | None = None,
) -> StreamRef:
    """What a client needs for a stream that may not be there yet, as `StreamHandle.ref`.

    For streams that others write (`stream_writing`): `scopes=["write"]` for the job that is to
    create and write it, the default for the browser that reads it. This makes no
    request; check first that the visitor may have it.

    Args:
        stream_id: the stream.
        scopes: what the token allows: `read`, `stop`, `write`.
        ttl: seconds it is valid; default `stream_token_ttl`.
        app: the Celery app; default: the current one.

    Raises:
        ConfigurationError: no `stream_secret` is set, a scope is unknown, no stream can have that
            id, or the relay is `streamstraight://`, which knows no tokens of this app.
    """
    runtime = Runtime.of(this_app(app))
    runtime.check_own_relay("stream_ref()", USE_REF)
    url = runtime.settings.stream_url(check_stream_id(stream_id))
    token, expires_at = runtime.tokens.issue(stream_id, scopes=scopes, ttl=ttl)
    return {"stream_id": stream_id, "url": url, "token": token, "expires_at": expires_at}


def state_of(runtime: Runtime, stream_id: str) -> StreamState:
    """The state of a stream. A relay server ends lost ones for their readers; this does for us."""
    state = runtime.relay.state(stream_id)
    if state.end or state.lease_left >= 0 or runtime.relay.call(Reap(stream_id)).kind == "alive":
        return state
    return runtime.relay.state(stream_id)


def stop_stream(app: Celery, runtime: Runtime, stream_id: str) -> bool:
    """Stop a stream by its id; False when it had ended already or there is none."""
    answer = runtime.relay.call(Stop(stream_id))
    if answer.kind == "asked":
        # The relay's answer to the next append says it too; this is for a generator that waits.
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": stream_id})
    return answer.kind in ("asked", "ended")

"""The handle that a web route gets: the stream's id, its URL, a token for it, and its state."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import quote

from celery import Celery

from ..errors import (
    ConfigurationError,
    StreamNotFoundError,
)
from ..ids import check_own_stream_id, check_stream_id
from ..relays.base import Access, StreamState
from ..runtime import Runtime
from ..settings import this_app
from .ending import check_wait, delete_stream, state_of, stop_stream, wait_for_end
from .family import SETTLE, stop_tree

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    # pydantic, and so FastAPI's `-> StreamRef`, takes no other.
    from typing_extensions import TypedDict

if TYPE_CHECKING:
    from celery.result import AsyncResult
    from typing_extensions import Unpack

    from ..reader import AsyncStreamReader, StreamReader
    from ..reader.options import HandleOptions

T = TypeVar("T")

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
    def app(self) -> Celery:
        """The Celery app whose stream it is."""
        return self._app

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

    def text_url(self, *, ttl: float | None = None) -> str:
        """Where the stream's text is read, with a token that only reads.

        To redirect to (status 303) for the AI SDK's `TextStreamChatTransport`, `useCompletion` and
        `useObject`. The text is chunks that are strings, and the text deltas of those that are
        parts of UI messages or OpenAI events.

        Args:
            ttl: as in `sse_url`.

        Raises:
            ConfigurationError: as in `sse_url`.
        """
        self._runtime.check_own_relay("text_url()", USE_REF)
        url = f"{self._runtime.settings.public_url}/v1/text/{quote(self.id, safe='')}"
        return f"{url}?token={self.token(scopes=['read'], ttl=ttl)}"

    def state(self) -> StreamState:
        """The stream as it is now: its `status`, chunks, attempt, end and times.

        Ends the stream of a lost producer, when that is due.

        Raises:
            StreamNotFoundError: it has expired.
            RelayUnavailableError: the relay does not answer.
        """
        return state_of(self._runtime, self.id)

    async def astate(self) -> StreamState:
        """As `state`, without blocking the event loop."""
        return await asyncio.to_thread(self.state)

    def stop(self, *, wait: float | bool = False, tree: bool = False) -> bool:
        """Stop the stream: a queued task never starts, a running generator is closed.

        Args:
            tree: in a conversation: also the streams that its task has started, and theirs. Looks
                for more until all have ended, for 2 seconds or as long as it waits.
            wait: also wait until the stream has ended, at most so many seconds; True: as long as
                it takes (a lost producer's stream ends after `stream_lease` and
                `stream_reap_after`).

        Returns:
            False when it had ended already; with `tree`, when all of them had.

        Raises:
            StreamNotEndedError: it has not ended after `wait` seconds; it still will.
            RelayUnavailableError: the relay does not answer.
            ConfigurationError: `wait` is negative, or the relay is `streamstraight://`, which does
                not tell when a stream has ended.
        """
        if wait is not False:
            check_wait(self._runtime, wait)
        began = time.monotonic()
        limit = math.inf if wait is True else wait
        family = self._stop_tree(SETTLE if wait is False else limit) if tree else []
        stopped = bool(family) if tree else self._stop()
        if wait is not False:
            for stream_id in dict.fromkeys([self.id, *family]):
                wait_for_end(self._runtime, stream_id, wait, began)
        return stopped

    async def astop(self, *, wait: float | bool = False, tree: bool = False) -> bool:
        """As `stop`, without blocking the event loop."""
        return await asyncio.to_thread(self.stop, wait=wait, tree=tree)

    def _stop_tree(self, settle: float) -> list[str]:
        self._runtime.check_own_relay("stop(tree=)", "which has no conversations")
        try:
            name = state_of(self._runtime, self.id).conversation
        except StreamNotFoundError:
            return []
        return stop_tree(self._app, self._runtime, self.id, name, settle)

    def _stop(self) -> bool:
        return stop_stream(self._app, self._runtime, self.id)

    def delete(self) -> bool:
        """Delete an ended stream with its chunks now, instead of when it expires.

        Its tokens open nothing from then on, and its task does not run again.

        Returns:
            False when there is no such stream.

        Raises:
            StreamNotEndedError: it is active: `stop(wait=10)` it first.
            RelayUnavailableError: the relay does not answer.
            ConfigurationError: the relay is `streamstraight://`, which cannot delete.
        """
        self._runtime.check_own_relay("delete()", "which deletes its streams itself")
        return delete_stream(self._runtime, self.id)

    async def adelete(self) -> bool:
        """As `delete`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete)

    @overload
    def read(
        self, *, type: type[T], decoder: None = None, **options: Unpack[HandleOptions]
    ) -> StreamReader[T]: ...
    @overload
    def read(
        self, *, type: None = None, decoder: Callable[[str], T], **options: Unpack[HandleOptions]
    ) -> StreamReader[T]: ...
    @overload
    def read(
        self, *, type: Any = None, decoder: None = None, **options: Unpack[HandleOptions]
    ) -> StreamReader[Any]: ...
    def read(self, **options: Any) -> StreamReader[Any]:
        """Read the stream straight from the stream store, as `read_stream(handle.id)`.

            for chunk in handle.read(type=Token, offset=-10):
                ...

        Args:
            type, decoder, offset, wait, on_reset, idle, ...: as `read_stream`.
        """
        from ..reader import read_stream

        reader: StreamReader[Any] = read_stream(self.id, app=self._app, **options)
        return reader

    @overload
    def aread(
        self, *, type: type[T], decoder: None = None, **options: Unpack[HandleOptions]
    ) -> AsyncStreamReader[T]: ...
    @overload
    def aread(
        self, *, type: None = None, decoder: Callable[[str], T], **options: Unpack[HandleOptions]
    ) -> AsyncStreamReader[T]: ...
    @overload
    def aread(
        self, *, type: Any = None, decoder: None = None, **options: Unpack[HandleOptions]
    ) -> AsyncStreamReader[Any]: ...
    def aread(self, **options: Any) -> AsyncStreamReader[Any]:
        """As `read`, for `async for` on an asyncio event loop."""
        from ..reader import aread_stream

        reader: AsyncStreamReader[Any] = aread_stream(self.id, app=self._app, **options)
        return reader

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the chunks from the start to the end; errors as `read`."""
        return self.read()

    def __aiter__(self) -> AsyncIterator[Any]:
        """As `__iter__`, on an asyncio event loop."""
        return self.aread()


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

    def get(self, timeout: float | None = None, **options: Any) -> Any:
        """Wait for the task's result: `handle.result.get()`.

        Args:
            timeout: seconds to wait; default: without limit.
            **options: of Celery's `AsyncResult.get`.

        Raises:
            celery.exceptions.TimeoutError: there was no result in time.
            Exception: what the task raised.
        """
        return self.result.get(timeout=timeout, **options)

    async def aget(self, timeout: float | None = None, **options: Any) -> Any:
        """As `get`, without blocking the event loop."""
        return await asyncio.to_thread(self.get, timeout, **options)


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


async def aget_stream(stream_id: str, *, app: Celery | None = None) -> StreamHandle:
    """As `get_stream`, without blocking the event loop."""
    return await asyncio.to_thread(get_stream, stream_id, app=this_app(app))


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
    url = runtime.settings.stream_url(check_own_stream_id(stream_id))
    token, expires_at = runtime.tokens.issue(stream_id, scopes=scopes, ttl=ttl)
    return {"stream_id": stream_id, "url": url, "token": token, "expires_at": expires_at}

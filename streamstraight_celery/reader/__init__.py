"""Read streams in Python: over HTTP with a token, or straight from the stream store.

with read_stream(ref) as stream:
    for chunk in stream:
        ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..errors import ConfigurationError
from ..ids import check_conversation_name, conversation_id
from ..offsets import START
from .opening import (
    Ref,
    from_log,
    from_log_async,
    is_remote,
    many_from_log,
    many_from_log_async,
    over_http,
    over_http_async,
)
from .options import IDLE, HandleOptions, ReadOptions, Status
from .reader import AsyncStreamReader, StreamReader

if TYPE_CHECKING:
    import httpx
    from celery import Celery
    from typing_extensions import Unpack

    from ..errors import StreamError
    from ..relays import AsyncRelay, Relay

__all__ = [
    "IDLE",
    "AsyncStreamReader",
    "Status",
    "StreamReader",
    "aread_conversation",
    "aread_stream",
    "read_conversation",
    "read_stream",
]

T = TypeVar("T")


class Common(HandleOptions, total=False):
    """Options that both functions have; `read_stream` describes them."""

    token: str | None
    app: Celery | None


class SyncOptions(Common, total=False):
    """Options of `read_stream` alone."""

    get_token: Callable[[], str] | None
    client: httpx.Client | None
    relay: Relay | None


class AsyncOptions(Common, total=False):
    """Options of `aread_stream` alone."""

    get_token: Callable[[], Awaitable[str] | str] | None
    client: httpx.AsyncClient | None
    relay: AsyncRelay | None


@overload
def read_stream(
    source: Ref, *, type: type[T], decoder: None = None, **options: Unpack[SyncOptions]
) -> StreamReader[T]: ...
@overload
def read_stream(
    source: Ref, *, type: None = None, decoder: Callable[[str], T], **options: Unpack[SyncOptions]
) -> StreamReader[T]: ...
@overload
def read_stream(
    source: Ref, *, type: Any = None, decoder: None = None, **options: Unpack[SyncOptions]
) -> StreamReader[Any]: ...
def read_stream(
    source: Ref,
    *,
    type: Any = None,
    decoder: Callable[[str], Any] | None = None,
    offset: str | int = START,
    wait: float | None = None,
    token: str | None = None,
    get_token: Callable[[], str] | None = None,
    client: httpx.Client | None = None,
    app: Celery | None = None,
    relay: Relay | None = None,
    on_reset: Callable[[int], object] | None = None,
    on_status: Callable[[Status], object] | None = None,
    on_retry: Callable[[StreamError], object] | None = None,
    raise_on_failure: bool = True,
    give_up_after: float | None = None,
    idle: float | None = None,
) -> StreamReader[Any]:
    """Return an iterable over a stream's chunks: each once and in order, over dropped connections.

    It connects when it is iterated over. The iteration ends when the stream is `completed` or was
    `stopped`, and raises when it failed. Use it in a `with` statement, so that the connection is
    closed when you leave early.

    Args:
        source: a ref (`StreamRef`) or a URL, to read over HTTP; or a stream id (or a ref and
            `app=`), to read straight from the stream store.
        type: what each chunk is, checked: whatever pydantic's `TypeAdapter` takes (a model, a
            dataclass, a TypedDict, a union of them), or a `msgspec.Struct`.
        decoder: turns the string of a custom codec into a value. Without `type` and `decoder` a
            chunk is its JSON value.
        offset: where to go on: what a reader's `.offset` said, which is a string to keep. Default:
            from the start. `now`: only what comes from now on. A negative number: so many chunks
            from the end.
        wait: seconds to wait for a stream that is not there yet; default: none, and
            `StreamNotFoundError` is raised.
        token: the bearer token, when it is not in the ref.
        get_token: asked for a token when there is none, and when the relay refuses the one in use.
            What it raises is retried, but for a `StreamError`.
        client: the `httpx.Client` to use; it stays open.
        app: the Celery app whose relay is read; default for a stream id: the current one.
        relay: the relay to read, looked at 20 times a second.
        on_reset: a new attempt began: drop what came before, it all comes again. Called between two
            chunks with the attempt's number, or 0 when it is not known. Without it the iteration
            raises `StreamResetError`, unless no chunk had been handed out.
        on_status: told each new `.status`.
        on_retry: told of each failure after which the reader goes on by itself.
        raise_on_failure: False: a stream that failed ends the iteration too; `.end_reason` and
            `.error` tell. What keeps the reader from the stream raises all the same.
        give_up_after: seconds of failures in a row after which `RelayUnavailableError` is raised;
            default: go on trying.
        idle: seconds without a chunk after which `IDLE` is yielded, and again after as many more:
            a sync route can then send a ping, and so notice that its client has left. Over HTTP
            it comes with the relay server's next ping at the earliest.

    Raises:
        ConfigurationError: what is given does not go together.
        MalformedOffsetError: `offset` is none.
        MissingDependencyError: httpx (extra `reader`), pydantic (extra `typed`) or hiredis (extra
            `relay`) is needed and not installed.
    """
    options = ReadOptions(
        type=type,
        decoder=decoder,
        offset=offset,
        wait=wait,
        on_reset=on_reset,
        on_status=on_status,
        on_retry=on_retry,
        raise_on_failure=raise_on_failure,
        give_up_after=give_up_after,
        idle=idle,
    )
    if is_remote(source, token=token or get_token or client, local=app or relay):
        return over_http(source, token, get_token, client, options)
    return from_log(source, app, relay, options)


@overload
def aread_stream(
    source: Ref, *, type: type[T], decoder: None = None, **options: Unpack[AsyncOptions]
) -> AsyncStreamReader[T]: ...
@overload
def aread_stream(
    source: Ref, *, type: None = None, decoder: Callable[[str], T], **options: Unpack[AsyncOptions]
) -> AsyncStreamReader[T]: ...
@overload
def aread_stream(
    source: Ref, *, type: Any = None, decoder: None = None, **options: Unpack[AsyncOptions]
) -> AsyncStreamReader[Any]: ...
def aread_stream(
    source: Ref,
    *,
    type: Any = None,
    decoder: Callable[[str], Any] | None = None,
    offset: str | int = START,
    wait: float | None = None,
    token: str | None = None,
    get_token: Callable[[], Awaitable[str] | str] | None = None,
    client: httpx.AsyncClient | None = None,
    app: Celery | None = None,
    relay: AsyncRelay | None = None,
    on_reset: Callable[[int], object] | None = None,
    on_status: Callable[[Status], object] | None = None,
    on_retry: Callable[[StreamError], object] | None = None,
    raise_on_failure: bool = True,
    give_up_after: float | None = None,
    idle: float | None = None,
) -> AsyncStreamReader[Any]:
    """As `read_stream`, for `async with` and `async for` on an asyncio event loop.

    `get_token` may be a coroutine function, `client` is an `httpx.AsyncClient`, `relay` an
    `AsyncRelay`.
    """
    options = ReadOptions(
        type=type,
        decoder=decoder,
        offset=offset,
        wait=wait,
        on_reset=on_reset,
        on_status=on_status,
        on_retry=on_retry,
        raise_on_failure=raise_on_failure,
        give_up_after=give_up_after,
        idle=idle,
    )
    if is_remote(source, token=token or get_token or client, local=app or relay):
        return over_http_async(source, token, get_token, client, options)
    return from_log_async(source, app, relay, options)


def read_conversation(
    source: Ref,
    *,
    streams: bool = False,
    type: Any = None,
    decoder: Callable[[str], Any] | None = None,
    **options: Unpack[SyncOptions],
) -> StreamReader[dict[str, Any]]:
    """Return an iterable over a conversation's events, as they come; it does not end by itself.

        with read_conversation("chat-42", app=app, streams=True) as events:
            for event in events:
                if event["type"] == "chunk":
                    print(event["stream_id"], event["value"])

    Args:
        source: what `Conversation.ref()` returned, or a URL, to read over HTTP; or its name, to
            read straight from the stream store, where it need not have begun.
        streams: also read the streams that begin in it, all at once and over the same connections:
            each chunk is an event `chunk` (`stream_id`, `parent`, `value`), a new attempt one
            `reset` (`stream_id`, `attempt`: drop its chunks). A stream's `ended` comes after its
            last chunk. Straight from the stream store only.
        type: as `read_stream`; with `streams`, of the chunks.
        decoder: as `type`.
        **options: as `read_stream`: `app`, `offset`, `idle`, `get_token`, ... With
            `streams`, those that began before `offset` are left out.

    Raises:
        ConfigurationError: no conversation can have that name.
        Exception: as `read_stream`.
    """
    given: Any = {"type": type, "decoder": decoder, **options}
    if not streams:
        return read_stream(_log_of(source), **given)
    app, relay = given.pop("app", None), given.pop("relay", None)
    _check_local(source, given, app or relay)
    return many_from_log(_log_of(source), app, relay, ReadOptions(**given))


def aread_conversation(
    source: Ref,
    *,
    streams: bool = False,
    type: Any = None,
    decoder: Callable[[str], Any] | None = None,
    **options: Unpack[AsyncOptions],
) -> AsyncStreamReader[dict[str, Any]]:
    """As `read_conversation`, for `async with` and `async for` on an asyncio event loop."""
    given: Any = {"type": type, "decoder": decoder, **options}
    if not streams:
        return aread_stream(_log_of(source), **given)
    app, relay = given.pop("app", None), given.pop("relay", None)
    _check_local(source, given, app or relay)
    return many_from_log_async(_log_of(source), app, relay, ReadOptions(**given))


def _check_local(source: Ref, given: dict[str, Any], local: object) -> None:
    token = [given.pop(name, None) for name in ("token", "get_token", "client")]
    if is_remote(source, token=next(filter(None, token), None), local=local):
        raise ConfigurationError(
            "streams=True reads straight from the stream store: give the conversation's name"
        )


def _log_of(source: Ref) -> Ref:
    if isinstance(source, str) and "://" not in source:
        return conversation_id(check_conversation_name(source))
    return source

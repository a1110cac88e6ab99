"""From what `read_stream` is given to a reader: which source, with which I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from celery import Celery

from ..errors import ConfigurationError
from ..ids import STOP_COMMAND, check_stream_id
from ..offsets import START
from ..relays import AsyncRelay, Relay
from ..settings import StreamSettings, read_settings, this_app
from .http.async_io import AsyncGetToken, AsyncHttp
from .http.session import Session, Source
from .http.sync_io import GetToken, SyncHttp
from .inbox import Inbox
from .log.async_io import AsyncLog, AsyncMany
from .log.many import ManyInbox, Part
from .log.session import LogSession, parse_position
from .log.shared import SharedAsyncRelay, SharedLog, StoreAccess
from .log.sync_io import Bell, SyncLog, SyncMany
from .options import ReadOptions
from .reader import AsyncStreamReader, StreamReader

Ref = Mapping[str, Any] | str

LOOK_EVERY = 1.0  # with notices, some of which may be missed
POLL_EVERY = 0.05  # without
DEFAULTS = StreamSettings()


def is_remote(source: Ref, *, token: object, local: object) -> bool:
    """Whether the stream is read over HTTP, and not straight from the stream store.

    Raises:
        ConfigurationError: what is given does not go together.
    """
    if isinstance(source, str) and "://" not in source:
        if token is not None:
            raise ConfigurationError(
                "token=, get_token= and client= are for reading over HTTP: give a ref or a URL"
            )
        return False
    if local is None:
        return True
    if isinstance(source, str) or token is not None:
        raise ConfigurationError(
            "app= and relay= read straight from the stream store: give a stream id, and no "
            "token=, get_token= or client="
        )
    return False


def over_http(
    source: Ref, token: str | None, get_token: GetToken | None, client: Any, options: ReadOptions
) -> StreamReader[Any]:
    """A reader over HTTP."""
    place = Source.of(source, token)
    inbox: Inbox[Any] = Inbox(place.stream_id, options)
    session = Session(place, inbox, options, can_refresh=get_token is not None)
    return StreamReader(inbox, SyncHttp(place, session, inbox, client, get_token))


def over_http_async(
    source: Ref,
    token: str | None,
    get_token: AsyncGetToken | None,
    client: Any,
    options: ReadOptions,
) -> AsyncStreamReader[Any]:
    """An async reader over HTTP."""
    place = Source.of(source, token)
    inbox: Inbox[Any] = Inbox(place.stream_id, options)
    session = Session(place, inbox, options, can_refresh=get_token is not None)
    return AsyncStreamReader(inbox, AsyncHttp(place, session, inbox, client, get_token))


def from_log(
    source: Ref, app: Celery | None, relay: Relay | None, options: ReadOptions
) -> StreamReader[Any]:
    """A reader of the relay's log: of an app's, listening, or of one at hand, polling."""
    name = _stream_id(source)
    inbox: Inbox[Any] = Inbox(name, options)
    if relay is not None:
        session = _session(name, inbox, options, DEFAULTS, POLL_EVERY)
        return StreamReader(inbox, SyncLog(session, relay, name, Bell(), owned=False))
    found = this_app(app)
    settings = read_settings(found)
    session = _session(name, inbox, options, settings, LOOK_EVERY)
    log, bell = SharedLog(StoreAccess(settings)), Bell()
    try:
        log.subscribe(name, bell.ring)
    except BaseException:
        log.close()
        raise
    steps = SyncLog(session, log, name, bell, owned=True, on_stop=_stopper(found, name))
    return StreamReader(inbox, steps)


def from_log_async(
    source: Ref, app: Celery | None, relay: AsyncRelay | None, options: ReadOptions
) -> AsyncStreamReader[Any]:
    """An async reader of the relay's log."""
    name = _stream_id(source)
    inbox: Inbox[Any] = Inbox(name, options)
    if relay is not None:
        session = _session(name, inbox, options, DEFAULTS, LOOK_EVERY)
        return AsyncStreamReader(inbox, AsyncLog(session, relay, name, owned=False))
    found = this_app(app)
    settings = read_settings(found)
    session = _session(name, inbox, options, settings, LOOK_EVERY)
    opened = SharedAsyncRelay(StoreAccess(settings))
    steps = AsyncLog(session, opened, name, owned=True, on_stop=_stopper(found, name))
    return AsyncStreamReader(inbox, steps)


def many_from_log(
    source: Ref, app: Celery | None, relay: Relay | None, options: ReadOptions
) -> StreamReader[Any]:
    """A reader of a conversation's log and its streams."""
    found = this_app(app)
    settings, look_every = (
        (read_settings(found), LOOK_EVERY) if relay is None else (DEFAULTS, POLL_EVERY)
    )
    log, inbox = _many(_stream_id(source), options, settings, look_every)
    bell = Bell()
    if relay is not None:
        return StreamReader(inbox, SyncMany(log, inbox, relay, bell, owned=False))
    shared = SharedLog(StoreAccess(settings))

    def subscribe(part: Part) -> None:
        def ring() -> None:
            part.news = True
            bell.ring()

        shared.subscribe(part.name, ring)

    steps = SyncMany(
        log, inbox, shared, bell, owned=True, subscribe=subscribe,
        unsubscribe=lambda part: shared.unsubscribe(part.name),
    )  # fmt: skip
    return StreamReader(inbox, steps)


def many_from_log_async(
    source: Ref, app: Celery | None, relay: AsyncRelay | None, options: ReadOptions
) -> AsyncStreamReader[Any]:
    """An async reader of a conversation's log and its streams."""
    settings = read_settings(this_app(app)) if relay is None else DEFAULTS
    log, inbox = _many(_stream_id(source), options, settings, LOOK_EVERY)
    opened = relay or SharedAsyncRelay(StoreAccess(settings))
    return AsyncStreamReader(inbox, AsyncMany(log, inbox, opened, owned=relay is None))


def _many(
    name: str, options: ReadOptions, settings: StreamSettings, look_every: float
) -> tuple[Part, ManyInbox]:
    # What decodes is for the chunks; the events are objects.
    of_chunks = replace(
        options, offset=START, wait=None, raise_on_failure=False, on_status=None, idle=None
    )
    of_events = replace(options, type=None, decoder=None)

    def begin(stream_id: str, on_reset: Callable[[int], object]) -> Part:
        chunks = replace(of_chunks, on_reset=on_reset)
        inbox: Inbox[Any] = Inbox(stream_id, chunks)
        return Part(stream_id, inbox, _session(stream_id, inbox, chunks, settings, look_every))

    events = ManyInbox(name, of_events, begin)
    return Part(name, events, _session(name, events, of_events, settings, look_every)), events


def _session(
    name: str,
    inbox: Inbox[Any],
    options: ReadOptions,
    settings: StreamSettings,
    look_every: float,
) -> LogSession:
    parse_position(options.position)
    return LogSession(
        name,
        inbox,
        options,
        patience=settings.lease + settings.reap_after,
        look_every=min(look_every, options.idle or look_every),
    )


def _stream_id(source: Ref) -> str:
    return check_stream_id(source if isinstance(source, str) else str(source.get("stream_id")))


def _stopper(app: Celery, name: str) -> Any:
    def stop() -> None:
        app.control.broadcast(STOP_COMMAND, arguments={"stream_id": name})

    return stop

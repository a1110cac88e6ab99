"""One active stream a conversation.

The conversation's key names a stream; whether it is active its own state says. A new stream is
announced first, then put in place of one that was found to be over, in one step that only one of
any number of racing requests can make. Each step may be repeated, and both may be on different
nodes of a cluster.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from celery import Celery

from ..errors import ConfigurationError, StreamActiveError
from ..relays.requests import Delete, Hold, Read, Reap, Stop
from ..runtime import Runtime
from ..settings import this_app
from .ending import stop_stream
from .handle import StreamHandle

IfActive = Literal["join", "reject", "replace"]
MAX_KEY_LENGTH = 500


def active_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """Return the conversation's stream if it is queued or running, else None.

    Args:
        key: as given to `apply_stream(key=...)`.
        app: the Celery app; default: the current one.

    Raises:
        ConfigurationError: no possible key, or the relay is `streamstraight://`.
        RelayUnavailableError: the relay does not answer.
    """
    return Conversation(this_app(app), key).active()


async def aactive_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """As `active_stream`, without blocking the event loop."""
    return await asyncio.to_thread(active_stream, key, app=this_app(app))


def latest_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """Return the conversation's latest stream, also when it has ended, or None.

    None: there was none, or the store no longer keeps it. Arguments and errors as `active_stream`.
    """
    return Conversation(this_app(app), key).latest()


async def alatest_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """As `latest_stream`, without blocking the event loop."""
    return await asyncio.to_thread(latest_stream, key, app=this_app(app))


def resume_url(key: str, *, have: str | None = None, app: Celery | None = None) -> str | None:
    """Return the URL, token included, that replays a chat's latest stream and follows it, or None.

    A stream that has ended is replayed as well: a page that lost its connection has only a part.
    The URL is the relay's plain SSE, as `useChat` reads it: answer `GET /<chat>/stream` with a
    redirect (307) to it, or 204. Other arguments and errors as `active_stream`.

    Args:
        have: the id of the stream whose whole answer the page shows, if it says so.

    Raises:
        ConfigurationError: no `stream_secret` is set.
    """
    stream = latest_stream(key, app=app)
    if stream is None or (stream.id == have and active_stream(key, app=app) is None):
        return None
    return stream.sse_url()


class Conversation:
    """A conversation's key, for one Celery app.

    Raises:
        ConfigurationError: no possible key, or the relay is `streamstraight://`.
    """

    def __init__(self, app: Celery, key: str) -> None:
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH:
            raise ConfigurationError(
                f"key={key!r}: name the conversation by a string of 1 to {MAX_KEY_LENGTH} "
                "characters, such as f'chat-{chat.pk}'"
            )
        try:
            key.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(
                f"key={key!r}: half of a surrogate pair is no character"
            ) from None
        self.key = key
        self._app = app
        self._runtime = Runtime.of(app)
        self._runtime.check_own_relay(
            "conversations (key=) need a stream store on Redis", "which has none"
        )

    def active(self) -> StreamHandle | None:
        """The stream that is queued or running."""
        stream_id = self._named()
        owner = self._owner(stream_id) if stream_id else None
        return None if owner is None else self._handle(stream_id, owner)

    def latest(self) -> StreamHandle | None:
        """The stream that was begun last, as long as the store keeps it."""
        stream_id = self._named()
        page = self._runtime.relay.read(Read(stream_id)) if stream_id else None
        if page is None or page.state.deleted:
            return None
        return self._handle(stream_id, page.state.owner)

    def take(self, stream_id: str, if_active: IfActive) -> StreamHandle | None:
        """Make an announced stream the conversation's, or return the active one, to be joined.

        Raises:
            StreamActiveError: there is an active one, and `if_active` is `reject`.
            RelayUnavailableError: the relay does not answer.
        """
        before = ""
        while True:
            answer = self._runtime.relay.call(Hold(self.key, stream_id, before))
            if answer.kind == "ok":
                return None
            # Held by another, or forgotten since we looked.
            before = answer.holder
            owner = self._owner(before) if before else None
            if owner is None:
                continue
            if if_active == "replace":
                # Stopped first: if we die here, the conversation has no two streams.
                stop_stream(self._app, self._runtime, before)
                continue
            self.withdraw(stream_id)
            if if_active == "reject":
                raise StreamActiveError(self.key, before)
            return self._handle(before, owner)

    def withdraw(self, stream_id: str) -> None:
        """Remove an announced stream that was never handed out."""
        self._runtime.relay.execute([Stop(stream_id), Delete(stream_id)])

    def _named(self) -> str:
        return self._runtime.relay.call(Hold(self.key)).holder

    def _owner(self, stream_id: str) -> str | None:
        """The task of an active stream; None when it has ended or is gone."""
        relay = self._runtime.relay
        page = relay.read(Read(stream_id))
        if page is None or page.state.end:
            return None
        if page.state.lease_left < 0 and relay.call(Reap(stream_id)).kind != "alive":
            # Its producer was lost, and no reader has come by since.
            return None
        return page.state.owner

    def _handle(self, stream_id: str, owner: str) -> StreamHandle:
        result = self._app.AsyncResult(owner or stream_id)
        return StreamHandle(self._app, self._runtime, stream_id, result, joined=True)


def check_policy(if_active: str) -> None:
    """Check what to do about an active stream.

    Raises:
        ConfigurationError: none of `join`, `reject`, `replace`.
    """
    if if_active not in ("join", "reject", "replace"):
        raise ConfigurationError(f"if_active={if_active!r}: use 'join', 'reject' or 'replace'")

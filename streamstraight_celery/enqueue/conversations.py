"""Conversations as the application has them: `get_conversation("chat-42")`.

A conversation names its latest stream; whether that is active its own state says. A new stream is
announced first, then put in place of one that was found to be over, in one step that only one of
any number of racing requests can make. Each step may be repeated, and both may be on different
nodes of a cluster.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any, Literal, get_args

from celery import Celery
from celery.utils import uuid

from ..codecs import utf8
from ..conversations.events import (
    check_event_id,
    check_posted,
    check_type,
    event_bytes,
    stream_id_of_event,
    value_text,
)
from ..errors import (
    ChunkTooLargeError,
    ConfigurationError,
    QuestionClosedError,
    StreamActiveError,
)
from ..ids import check_conversation_name, conversation_id
from ..relays.base import StreamState
from ..relays.requests import Delete, Hold, Post, Queue, Read, Reap, Stop, Turn, Watch
from ..runtime import Runtime
from ..settings import this_app
from ..tokens import CONVERSATION_SCOPES
from .ending import stop_stream, wait_for_end
from .family import descendants, stop_tree
from .handle import StreamHandle

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    # pydantic, and so FastAPI's `-> ConversationRef`, takes no other.
    from typing_extensions import TypedDict

IfActive = Literal["join", "reject", "replace", "enqueue"]


class ConversationRef(TypedDict):
    """What a client needs to follow a conversation and its streams, ready to be sent as JSON."""

    conversation: str
    stream_id: str
    url: str
    token: str
    expires_at: int


def active_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """Return the conversation's stream if it is queued or running, else None.

    Args:
        key: as given to `apply_stream(key=...)`.
        app: the Celery app; default: the current one.

    Raises:
        ConfigurationError: no possible key, or the relay is `streamstraight://`.
        RelayUnavailableError: the relay does not answer.
    """
    return get_conversation(key, app=app).active_stream()


async def aactive_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """As `active_stream`, without blocking the event loop."""
    return await asyncio.to_thread(active_stream, key, app=this_app(app))


def latest_stream(key: str, *, app: Celery | None = None) -> StreamHandle | None:
    """Return the conversation's latest stream, also when it has ended, or None.

    None: there was none, or the store no longer keeps it. Arguments and errors as `active_stream`.
    """
    return get_conversation(key, app=app).latest_stream()


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


def get_conversation(name: str, *, app: Celery | None = None) -> Conversation:
    """Return the conversation of that name, which begins with its first event.

    Makes no request. Check first that the visitor may have it.

    Args:
        name: 1 to 500 characters, such as `"chat-42"`.
        app: the Celery app; default: the current one.

    Raises:
        ConfigurationError: a conversation cannot have that name, or the relay is
            `streamstraight://`.
    """
    return Conversation(this_app(app), check_conversation_name(name))


class Conversation:
    """A live log of what happens in one chat or agent run, over many streams.

    Attributes:
        name: as the application gave it.
        id: the id of its log, a stream that is read like any other.
    """

    def __init__(self, app: Celery, name: str) -> None:
        self.name = name
        self.id = conversation_id(name)
        self._app = app
        self._runtime = Runtime.of(app)
        self._runtime.check_own_relay(
            "conversations need a stream store on Redis", "which has none"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    # -- its streams

    def stream(
        self,
        task: Any,
        /,
        *args: Any,
        if_active: IfActive = "reject",
        title: str | None = None,
        **kwargs: Any,
    ) -> StreamHandle:
        """Enqueue a stream task in this conversation, and return a handle at once.

        Args:
            task: a stream task.
            *args: its arguments.
            if_active: what to do when the conversation has an active stream: see `apply_stream`.
            title: what readers are shown of it in the `stream` event.
            **kwargs: its keyword arguments.

        Raises:
            StreamActiveError: the conversation has an active stream.
            Exception: as `StreamTask.stream`.
        """
        handle: StreamHandle = task.apply_stream(
            args, kwargs, conversation=self.name, if_active=if_active, title=title
        )
        return handle

    def active_stream(self) -> StreamHandle | None:
        """The stream that is queued or running, or None.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        self._runtime.advance(self.name)
        stream_id = self._named()
        owner = self._owner(stream_id) if stream_id else None
        return None if owner is None else self._handle(stream_id, owner)

    def latest_stream(self) -> StreamHandle | None:
        """The stream that began last, also when it has ended, as long as the store keeps it.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        stream_id = self._named()
        page = self._runtime.relay.read(Read(stream_id)) if stream_id else None
        if page is None or page.state.deleted:
            return None
        return self._handle(stream_id, page.state.owner)

    def stop(self, *, tree: bool = False) -> bool:
        """Stop the active stream; False when there is none.

        Args:
            tree: also what its task has started, and those have, or else those of the latest one.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        if tree:
            self._runtime.advance(self.name)
            # That one may have ended before those that it has started.
            latest = self._named()
            return bool(latest and stop_tree(self._app, self._runtime, latest, self.name))
        active = self.active_stream()
        return active is not None and active.stop()

    async def astop(self, *, tree: bool = False) -> bool:
        """As `stop`, without blocking the event loop."""
        return await asyncio.to_thread(self.stop, tree=tree)

    def children_of(self, stream_id: str) -> list[str]:
        """The streams that were started by that stream's task, and by theirs, as far as is known.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        return descendants(self._runtime.relay, self.id, stream_id)

    # -- its log

    def send(
        self,
        value: Any,
        *,
        type: str = "input",
        id: str | None = None,
        answers: str | None = None,
        _sender: str | None = None,
    ) -> str:
        """Add a message for the conversation's tasks, or an event of the application's own.

        Args:
            value: what JSON can say, or what the codec `json` encodes (a pydantic model, a
                dataclass, ...).
            type: `input` is what tasks receive; any other name is for those who read.
            id: names the event: of several with one id only the first is added. Give one when you
                may send again what may have been sent.
            answers: the id of the question (of the event `question`) that it answers.

        Returns:
            The id.

        Raises:
            EncodeError: JSON cannot say the value.
            QuestionClosedError: another answer came first, or nobody waits any more.
            StreamTooLargeError: the conversation is full.
            ChunkTooLargeError: the value is larger than `stream_max_chunk_bytes`.
            RelayUnavailableError: the store does not answer; send again, with the same `id`.
        """
        event_id = uuid() if id is None else check_event_id(id)
        text = value_text(value)
        limit = self._runtime.settings.max_chunk_bytes
        if (size := len(utf8(text))) > limit:
            raise ChunkTooLargeError(
                f"a value of {size} bytes is larger than stream_max_chunk_bytes ({limit})"
            )
        fields = {
            "type": check_type(type), "id": event_id, "stream_id": _sender, "answers": answers,
        }  # fmt: skip
        answer = self._runtime.relay.call(
            Post(
                self.name, event_id, event_bytes(fields, text), answers=answers or "",
                wakes=type == "input", sender=_sender or "",
            )
        )  # fmt: skip
        if answer.kind == "closed":
            raise QuestionClosedError(answers or "")
        check_posted(self.name, answer)
        if answer.stop:
            self._runtime.wake(self.name)
        return event_id

    def delete(self) -> None:
        """Delete the log, all its events; streams are kept for as long as any other.

        Stop first the streams that wait for their turn, or suspended for an input, for both are
        kept with it: queued ones would all begin, suspended ones end when their time is over.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        self._runtime.relay.call(Delete(self.id))

    def state(self) -> StreamState | None:
        """The log's state: how many events (`last`), bytes, when it began; None: it has not begun.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        page = self._runtime.relay.read(Read(self.id))
        return None if page is None else page.state

    def watchers(self) -> int:
        """How many readers follow it now, on all relay servers; right within a few seconds.

        Raises:
            RelayUnavailableError: the store does not answer.
        """
        return self._runtime.relay.call(Watch(self.id)).number

    async def awatchers(self) -> int:
        """As `watchers`, without blocking the event loop."""
        return await asyncio.to_thread(self.watchers)

    @property
    def url(self) -> str:
        """Where the relay server serves the log."""
        return self._runtime.settings.stream_url(self.id)

    def token(
        self, *, scopes: Iterable[str] = CONVERSATION_SCOPES, ttl: float | None = None
    ) -> str:
        """A token for the conversation and all its streams.

        Args:
            scopes: what it allows: `read`, `send`, `stop`.
            ttl: seconds it is valid; default `stream_token_ttl`.

        Raises:
            ConfigurationError: no `stream_secret` is set, or a scope is unknown.
            RelayUnavailableError: the store, in which the log is to begin, does not answer.
        """
        return self.ref(scopes=scopes, ttl=ttl)["token"]

    def ref(
        self, *, scopes: Iterable[str] = CONVERSATION_SCOPES, ttl: float | None = None
    ) -> ConversationRef:
        """All that a client needs, as JSON, for `openConversation` or `read_conversation`.

        Arguments and errors as `token`.
        """
        check_scopes(scopes)
        # A page opens it before anything has happened.
        self._post("", b"")
        token, expires_at = self._runtime.tokens.issue(self.id, scopes=scopes, ttl=ttl)
        return {
            "conversation": self.name, "stream_id": self.id, "url": self.url, "token": token,
            "expires_at": expires_at,
        }  # fmt: skip

    # -- for those who enqueue

    def began(self, stream_id: str, event: bytes) -> None:
        """Tell of a stream that is not one at a time.

        Raises:
            StreamTooLargeError: the conversation is full.
            RelayUnavailableError: the store does not answer.
        """
        self._post(stream_id_of_event(stream_id), event)

    def take(self, stream_id: str, if_active: IfActive, event: bytes) -> StreamHandle | None:
        """Make an announced stream the conversation's, or return the active one, to be joined.

        Raises:
            StreamActiveError: there is an active one, and `if_active` is `reject`.
            StreamTooLargeError: the conversation is full.
            RelayUnavailableError: the relay does not answer.
        """
        before = ""
        stopped: set[str] = set()
        while True:
            hold = Hold(self.name, stream_id, before, stream_id_of_event(stream_id), event)
            answer = self._runtime.relay.call(hold)
            check_posted(self.name, answer)
            if answer.kind == "ok":
                return None
            # Held by another, or forgotten since we looked.
            before = answer.holder
            owner = self._owner(before) if before else None
            if owner is None:
                if before:
                    self._runtime.tell_end(before)
                if answer.kind == "waits":
                    self._runtime.advance(self.name)
                    before = ""
                continue
            if if_active == "replace":
                # Stopped first: if we die here, the conversation has no two streams.
                if before not in stopped:
                    stop_stream(self._app, self._runtime, before)
                else:  # those in the queue come when it has ended
                    wait_for_end(self._runtime, before, True)
                stopped.add(before)
                continue
            self.withdraw(stream_id)
            if if_active == "reject":
                raise StreamActiveError(self.name, before)
            return self._handle(before, owner)

    def enqueue(self, stream_id: str, message: str, event: bytes) -> bool:
        """Put an announced stream into the queue; False when it has its turn already.

        Raises:
            StreamTooLargeError: the conversation, or its queue, is full.
            RelayUnavailableError: the store does not answer.
        """
        queue = Queue(self.name, stream_id, message, stream_id_of_event(stream_id), event)
        check_posted(self.name, self._runtime.relay.call(queue))
        self._runtime.advance(self.name)
        return self.waits(stream_id)

    def waits(self, stream_id: str) -> bool:
        """Whether the stream is in the queue."""
        return self._runtime.relay.call(Turn(self.name, about=stream_id)).stop

    def withdraw(self, stream_id: str) -> None:
        """Remove an announced stream that was never handed out."""
        self._runtime.relay.execute([Stop(stream_id), Delete(stream_id)])

    def post(self, post: Post) -> None:
        """Add an event.

        Raises:
            StreamTooLargeError: the conversation is full.
            RelayUnavailableError: the store does not answer.
        """
        check_posted(self.name, self._runtime.relay.call(post))

    def _post(self, event_id: str, event: bytes) -> None:
        self.post(Post(self.name, event_id, event))

    def _named(self) -> str:
        return self._runtime.relay.call(Hold(self.name)).holder

    def _owner(self, stream_id: str) -> str | None:
        """The task of an active stream; None when it has ended or is gone."""
        relay = self._runtime.relay
        page = relay.read(Read(stream_id))
        if page is None or page.state.end:
            return None
        kind = relay.call(Reap(stream_id)).kind if page.state.lease_left < 0 else "alive"
        if kind not in ("alive", "waits"):
            if kind == "ended":  # its producer is lost, and no reader has come by since
                self._runtime.tell_end(stream_id)
            return None
        return page.state.owner

    def _handle(self, stream_id: str, owner: str) -> StreamHandle:
        result = self._app.AsyncResult(owner or stream_id)
        return StreamHandle(self._app, self._runtime, stream_id, result, joined=True)


def conversation_name(conversation: str | None, key: str | None) -> str | None:
    """The one of both options that is given, checked.

    Raises:
        ConfigurationError: both are, or no conversation can have that name.
    """
    if key is None:
        return None if conversation is None else check_conversation_name(conversation)
    if conversation is not None:
        raise ConfigurationError("key= is another name of conversation=: give one of them")
    return check_conversation_name(key, "key")


def check_scopes(scopes: Iterable[str]) -> None:
    """Check what a conversation's token is to allow.

    Raises:
        ConfigurationError: something else than `read`, `send` and `stop`.
    """
    if isinstance(scopes, str) or set(scopes) - set(CONVERSATION_SCOPES):
        raise ConfigurationError(
            f"scopes={scopes!r}: a conversation's token takes a list of 'read', 'send', 'stop'"
        )


def check_policy(if_active: str) -> None:
    """Check what to do about an active stream.

    Raises:
        ConfigurationError: none of `join`, `reject`, `replace`, `enqueue`.
    """
    if if_active not in get_args(IfActive):
        raise ConfigurationError(
            f"if_active={if_active!r}: use 'join', 'reject' or 'replace', or 'enqueue'"
        )

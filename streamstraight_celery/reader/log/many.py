"""Reading a conversation's log and its streams at once, without I/O: what is due, and what came.

Each stream is read by a session of its own; this decides which of them are to act now.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ...relays.requests import Read
from ..events import Pause
from ..inbox import Inbox
from ..options import ReadOptions
from .session import AskReap, Await, LogSession

# A conversation's streams that are read at a time; its log goes on when one of them has ended.
MOST = 100

# Makes the reading of a stream; `on_reset` is told that a new attempt has begun.
Begin = Callable[[str, Callable[[int], object]], "Part"]


class Part:
    """One log that is read.

    Args:
        name: the stream.
        inbox: where its chunks go.
        session: reads it.
    """

    def __init__(self, name: str, inbox: Inbox[Any], session: LogSession) -> None:
        self.name = name
        self.inbox = inbox
        self.session = session
        self.subscribed = False
        self.news = False  # set from other threads
        self.until = 0.0
        self._pauses = False

    def next(self, now: float) -> Read | AskReap | None:
        """What to do now; None: nothing before `until`, or news."""
        if now < self.until and (self._pauses or not self.news):
            return None
        while True:
            self.until = 0.0
            match self.session.next():
                case Pause(seconds):
                    self._pauses, self.until = True, now + seconds
                    return None
                case Await(seconds):
                    if self.news:  # since the last read, perhaps
                        self.news = False
                        continue
                    self._pauses, self.until = False, now + seconds
                    return None
                case Read() | AskReap() as action:
                    return action


class ManyInbox(Inbox[Any]):
    """The inbox of a conversation's log, with the chunks of its streams between the events.

    Chunks are events, too: `{"type": "chunk", "stream_id", "value"}`. A stream's `ended` comes
    after its last chunk.

    Args:
        stream_id: the log.
        options: the consumer's, for the log.
        begin: makes the reading of a stream.

    Attributes:
        streams: those that are read.
        left: those that are read no more, for who does the I/O.
    """

    def __init__(self, stream_id: str, options: ReadOptions, begin: Begin) -> None:
        super().__init__(stream_id, options)
        self.streams: dict[str, Part] = {}
        self.left: list[Part] = []
        self._begin = begin
        self._ready: deque[dict[str, Any]] = deque()
        self._parents: dict[str, str] = {}
        self._ended: dict[str, dict[str, Any]] = {}

    def take(self) -> tuple[Any] | None:
        """The next event, if one is here."""
        while not self._ready:
            self._take_chunk()
            if self._ready:
                break
            taken = super().take() if len(self.streams) < MOST else None
            if taken is None:
                return None
            self._take_event(taken[0])
        return (self._ready.popleft(),)

    def close(self) -> None:
        """The consumer has had enough."""
        for part in self.streams.values():
            part.inbox.close()
        self._ready.clear()
        super().close()

    def _take_event(self, event: dict[str, Any]) -> None:
        kind, name = event.get("type"), event.get("stream_id", "")
        if kind == "ended" and name in self.streams:
            self._ended[name] = event
            return
        self._ready.append(event)
        if kind == "stream" and name not in self.streams:
            self._parents[name] = event.get("parent", "")
            self.streams[name] = self._begin(name, lambda attempt: self._reset(name, attempt))

    def _take_chunk(self) -> None:
        """Make one chunk, or an end that was held back, an event; each stream has its turn."""
        for name, part in list(self.streams.items()):
            taken = part.inbox.take()
            if taken is not None:
                self._event("chunk", name, value=taken[0])
                self.streams[name] = self.streams.pop(name)  # the others first
            elif part.inbox.over:
                self._leave(part)
            if self._ready:
                return

    def _leave(self, part: Part) -> None:
        del self.streams[part.name]
        self.left.append(part)
        self._parents.pop(part.name, None)
        if (ended := self._ended.pop(part.name, None)) is not None:
            self._ready.append(ended)

    def _reset(self, stream_id: str, attempt: int) -> None:
        self._event("reset", stream_id, attempt=attempt)

    def _event(self, kind: str, stream_id: str, **fields: Any) -> None:
        parent = self._parents.get(stream_id)
        about = {"parent": parent} if parent else {}
        self._ready.append({"type": kind, "stream_id": stream_id, **about, **fields})


class Due:
    """Who is to act, for both kinds of I/O.

    Args:
        log: reads the conversation's log.
        inbox: of the log.
        now: seconds, of a clock that only goes forward.
    """

    def __init__(
        self, log: Part, inbox: ManyInbox, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._inbox = inbox
        self._now = now

    def actions(self) -> Iterator[tuple[Part, Read | AskReap]]:
        """What is to be done now."""
        for part in self._reading():
            if (action := part.next(self._now())) is not None:
                yield part, action

    def seconds(self) -> float:
        """How long there is nothing to do, without news."""
        until = min((part.until for part in self._reading()), default=0.0)
        return max(0.0, until - self._now())

    def _reading(self) -> list[Part]:
        return [each for each in (self._log, *self._inbox.streams.values()) if not each.inbox.over]

"""A reader's place in a feed. No I/O."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ..offsets import Segment, Verdict
from ..relays.base import Entry
from .position import Position, locate, offset_at

if TYPE_CHECKING:
    from .feed import Feed


class Door(Protocol):
    """How one kind of HTTP response writes chunks. Frames are shared by all its readers."""

    def data(self, entry: Entry, offset: str) -> bytes:
        """The chunks of `entry`; `offset` is the position after them."""
        ...

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """What follows them while the stream is open, or there are more chunks to come."""
        ...

    def end(self, offset: str, reason: str, error: str) -> bytes:
        """What follows the last of them."""
        ...


class Reader:
    """One reader's place in a feed, and the future it waits on."""

    __slots__ = ("ahead", "cursor", "door", "feed", "future", "seq", "verdict")

    def __init__(self, feed: Feed, position: Position, door: Door | None, cursor: str = "") -> None:
        self.feed = feed
        self.seq = position.seq
        self.ahead = position.ahead
        self.door = door
        self.cursor = cursor  # its own, or "": the one that all readers share
        self.verdict = Verdict.VALID
        self.future: asyncio.Future[None] | None = None

    def wait(self) -> asyncio.Future[None]:
        """A future that is done at the next news of the feed."""
        self.future = asyncio.get_running_loop().create_future()
        self.feed.waiting.add(self)
        return self.future

    def wake(self) -> None:
        """End its waiting, if it waits."""
        self.feed.waiting.discard(self)
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def push(self) -> bool:
        """Send what is pending without ending its waiting, if that is possible."""
        return False

    def tick(self, now: float) -> None:
        """A second has passed."""

    def stalled(self) -> None:
        """The producer has not been heard of for longer than its lease."""

    def rejudge(self, before: tuple[Segment, ...], now: tuple[Segment, ...], ended: bool) -> None:
        """The log consists of other attempts than before: is this place still in it?"""
        place = locate(self.ahead or offset_at(before, self.seq), now, ended)
        if isinstance(place, Position):
            self.seq, self.ahead = place
        else:
            self.verdict = place

"""A reader's position in a feed. No I/O."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from ...offsets import Offset, Segment, Verdict, offset_at
from ...relays.requests import Entry
from ..content import Content
from ..counters import LONG_POLL
from .position import Position, locate

if TYPE_CHECKING:
    from .feed import Feed


class Log(Protocol):
    """What a frame writer may ask about the chunks that it writes."""

    @property
    def kind(self) -> str:
        """`json`, `text` or `bytes`: what the stored JSON texts stand for."""
        ...

    @property
    def content(self) -> Content:
        """What the stream says it consists of."""
        ...

    def offset(self, seq: int) -> Offset:
        """The offset after chunk `seq`."""
        ...


class FrameWriter(Protocol):
    """How one kind of HTTP response writes chunks. Frames are shared by all its readers.

    Attributes:
        media_type: of the whole response.
        content: what it carries.
        headers: added to those of every SSE response.
        ping: bytes for a quiet connection.
    """

    media_type: str
    content: Content
    headers: tuple[tuple[str, str], ...]
    ping: bytes

    def data(self, entry: Entry, offset: str, log: Log) -> bytes:
        """The chunks of `entry`; `offset` is the position after them."""
        ...

    def control(self, offset: str, up_to_date: bool, cursor: str) -> bytes:
        """What follows them while the stream is open, or there are more chunks to come."""
        ...

    def end(self, offset: str, reason: str, error: str) -> bytes:
        """What follows the last of them."""
        ...

    def hello(self, offset: str, cursor: str, status: str) -> bytes:
        """What a reader gets for whom there is nothing yet, or whose producer's status changed."""
        ...

    def farewell(self, offset: str, verdict: Verdict) -> bytes:
        """The last bytes of a response that closes before the stream's end; `""` for none."""
        ...

    def expiry(self, offset: str) -> bytes:
        """The last bytes of a response whose token expires; `""` for none."""
        ...

    def completes(self, reason: str) -> bool:
        """Whether a response that stops now is complete, or breaks off.

        `reason` is the end reason that was sent, `""` before the stream's end.
        """
        ...


class Reader:
    """One reader's position in a feed, and the future it waits on.

    Args:
        feed: the stream to read.
        position: where to start.
        frames: None for a reader that takes the entries as they are.
        cursor: its own, or `""` for the one that all readers share.
        counts_as: the name under which a `Tally` counts it; `""`: by its frame writer's.
    """

    __slots__ = ("ahead", "counts_as", "cursor", "feed", "frames", "future", "seq", "verdict")

    def __init__(
        self,
        feed: Feed,
        position: Position,
        frames: FrameWriter | None,
        cursor: str = "",
        *,
        counts_as: str = "",
    ) -> None:
        self.feed = feed
        self.seq = position.seq
        self.ahead = position.ahead
        self.frames = frames
        self.cursor = cursor
        # The class, because many frame writers may have it, and none has to be kept for it.
        self.counts_as: Any = counts_as or (LONG_POLL if frames is None else type(frames))
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

    def relocate(self, before: tuple[Segment, ...], now: tuple[Segment, ...], ended: bool) -> None:
        """The log consists of other attempts than before: find this position in it."""
        position = locate(self.ahead or offset_at(before, self.seq), now, ended)
        if isinstance(position, Position):
            self.seq, self.ahead = position
        else:
            self.verdict = position

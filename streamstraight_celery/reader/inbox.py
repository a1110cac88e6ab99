"""What has arrived and was not taken yet, and all that the consumer can see. No I/O.

Both kinds of readers, sync and async, and both sources, HTTP and the log, go through it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from ..errors import DecodeError, MalformedOffsetError, StreamError, StreamResetError
from ..offsets import NOW, START, Offset, from_end
from .decoding import name_of
from .events import Arrival, End, Reset
from .options import ReadOptions, Status
from .place import Place

T = TypeVar("T")


class Inbox(Generic[T]):
    """Takes chunks, resets and the end in from a source, and hands out the chunks.

    Args:
        stream_id: for messages.
        options: the consumer's.

    Attributes:
        tail: the position after the last chunk that came in, kept up by the source.
        end_reason: set once the relay said that the stream ended.
        error: what ended the reading, if it did not end well.
        over: nothing more comes in.
    """

    def __init__(self, stream_id: str, options: ReadOptions) -> None:
        self.stream_id = stream_id
        self.tail = options.position
        self.end_reason: str | None = None
        self.error: BaseException | None = None
        self.over = False
        self.status: Status = "connecting"
        self._options = options
        self._decode = options.decode()
        self._items: deque[Arrival | Reset] = deque()
        self._position = options.position
        self._left = False
        self._quiet_since = options.timing.now()
        # The consumer has chunks that a new attempt would double.
        self._handed = options.offset not in (START, NOW) and from_end(options.position) is None

    @property
    def offset(self) -> str:
        """The position after the last chunk handed out."""
        return self._position if self._left or self._items else self.tail

    def put(self, arrival: Arrival) -> None:
        """A chunk came."""
        self._items.append(arrival)

    def reset(self, reset: Reset) -> None:
        """A new attempt began; what came of the old one and was not taken does not count."""
        self._items.clear()
        self._items.append(reset)
        self.tail = START
        if self._handed and self._options.on_reset is None:
            self.fail(StreamResetError(self.stream_id, reset.attempt))

    def end(self, end: End) -> None:
        """The stream has ended, or cannot be read on; what came before is still to be taken."""
        self.end_reason = end.reason or None
        if end.failure is None:
            self._finish()
            return
        self.fail(end.failure.error(self.stream_id))

    def fail(self, error: BaseException) -> None:
        """Nothing more comes, because of `error`."""
        if not self.over:
            self.error = error
            self._finish()

    def close(self) -> None:
        """The consumer has had enough: what it has not taken does not count."""
        # Perhaps on another thread than `take`, which alone removes items.
        self._position = self.offset
        self._left = True
        self._finish()

    def take(self) -> tuple[T] | None:
        """The next chunk, if one is here.

        Raises:
            DecodeError: it is not what was asked for.
            Exception: whatever `on_reset` raises.
        """
        while self._items and not self._left:
            item = self._items[0]
            try:
                if isinstance(item, Reset):
                    self._begin_again(item)
                    continue
                chunk = self._decoded(item)
            except Exception as error:
                self.error = error
                self.close()
                raise
            self._position = item.position
            self._items.popleft()
            self._handed = True
            self._quiet_since = self._options.timing.now()
            return (chunk,)
        return None

    def idle(self) -> bool:
        """Whether the consumer is to be told that nothing has come for `idle` seconds, again."""
        wait, now = self._options.idle, self._options.timing.now()
        if wait is None or now - self._quiet_since < wait:
            return False
        self._quiet_since = now
        return True

    def _begin_again(self, reset: Reset) -> None:
        # Not before the consumer hears of it: a resume from the old place tells it, too.
        self._position = START
        if self._options.on_reset is not None:
            self._options.on_reset(reset.attempt)
        self._handed = False
        self._items.popleft()

    def outcome(self) -> BaseException | None:
        """What to raise at the end; None: the iteration ends."""
        error = self.error
        values = not self._options.raise_on_failure and self.end_reason is not None
        return None if values and isinstance(error, StreamError) else error

    def set_status(self, status: Status) -> None:
        """The connection's state has changed. Closed it stays, whatever a step still brings."""
        if self.status not in (status, "closed"):
            self.status = status
            if self._options.on_status is not None:
                self._options.on_status(status)

    def _decoded(self, item: Arrival) -> Any:
        try:
            return self._decode(item.value, item.text)
        except Exception as error:
            wanted = "value for the decoder"
            if self._options.type is not None:
                wanted = name_of(self._options.type)
            seq = seq_of(item.position)
            raise DecodeError(self.stream_id, seq, wanted, str(error)) from error

    def _finish(self) -> None:
        self.over = True
        self.set_status("closed")


def seq_of(position: str) -> int | None:
    """The number of the chunk before a position, None for offsets of another server's format."""
    offset, skip, _ = Place.parse(position)
    if offset == START:
        return skip
    try:
        return Offset.parse(offset).seq + skip
    except MalformedOffsetError:
        return None

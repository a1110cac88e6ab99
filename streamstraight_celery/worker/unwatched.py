"""Stop a stream that nobody reads (`unwatched=`)."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ..errors import RelayUnavailableError
from ..relays.requests import Stop, Watch
from ..runtime import Runtime

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0  # seconds, at most


class Unwatched:
    """Says when nobody has read for too long. No I/O.

    Args:
        limit: seconds.
        now: seconds, of a clock that only goes forward.
    """

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit
        self._since = now

    def over(self, readers: int | None, now: float) -> bool:
        """Whether it is too long now. None: nobody knows, which counts as being read."""
        if readers is None or readers > 0:
            self._since = now
        return now - self._since >= self._limit


@contextlib.contextmanager
def stopped_unwatched(
    runtime: Runtime,
    stream_id: str,
    limit: float | None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """In this block the stream is stopped once nobody has read it for `limit` seconds.

    Raises:
        ConfigurationError: the relay is `streamstraight://`, which does not tell who reads.
    """
    if limit is None:
        yield
        return
    runtime.check_own_relay("unwatched", "which does not tell who reads")
    over = threading.Event()  # of greenlets, where threads are
    looking = threading.Thread(
        target=_look, args=(runtime, stream_id, limit, over, now), daemon=True,
        name=f"unwatched {stream_id}",
    )  # fmt: skip
    looking.start()
    try:
        yield
    finally:
        over.set()


def _look(
    runtime: Runtime,
    stream_id: str,
    limit: float,
    over: threading.Event,
    now: Callable[[], float],
) -> None:
    unwatched = Unwatched(limit, now())
    while not over.wait(min(LOOK_EVERY, limit / 4)):
        try:
            answer = runtime.relay.call(Watch(stream_id))
            readers = answer.number if answer.kind == "ok" else None
            if unwatched.over(readers, now()):
                log.info(
                    "stream %s: nobody has read it for %g s; stopping it", stream_id, limit,
                    extra={"stream_id": stream_id},
                )  # fmt: skip
                runtime.relay.call(Stop(stream_id))
                runtime.sender.check_stops()
                return
        except RelayUnavailableError:
            # Readers may be there: their servers could not tell.
            unwatched.over(None, now())

"""Everything one relay process knows of the streams that its readers watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ...cancellation import cancelled
from ...errors import RelayUnavailableError, StreamNotFoundError
from ...offsets import Verdict
from ...relays.base import AsyncRelay, Notice, Watcher
from ...relays.requests import Read, Reap
from ...relays.sealing import is_to_be_sealed
from ...settings import StreamSettings
from ..counters import Tally
from .backlog import Backlog
from .feed import Feed
from .presence import Presence
from .reader import Reader
from .sealer import Sealer
from .window import Window

logger = logging.getLogger(__name__)

READS_AT_ONCE = 32  # streams in one pipelined read
PUMPS = 2
LAST_WORDS = 1.0  # seconds for telling that no readers are left here


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How the hub watches. Durations are seconds, sizes bytes.

    Attributes:
        lease, reap_after: as in the settings.
        window_bytes: how much of each watched log's end is kept in memory.
        check_every: a stream without news for so long is looked at.
        keep_idle: how long a stream without readers is still watched.
        settle: how long a stream that is not there is waited for, because Redis may just have lost
            it: its producer, if it lives, notices within that and creates it again.
        interval: how often readers and streams are looked at.
    """

    lease: float = 10.0
    reap_after: float = 30.0
    window_bytes: int = 1024 * 1024
    check_every: float = 1.0
    keep_idle: float = 10.0
    settle: float = 3.0
    interval: float = 1.0

    @classmethod
    def of(cls, settings: StreamSettings) -> HubOptions:
        return cls(lease=settings.lease, reap_after=settings.reap_after)


class Hub:
    """Watches streams for readers: one subscription and one read for all readers of a stream.

    Args:
        relay: where the streams are.
        options: how to watch.
        now: the clock, seconds.
        tally: where to count.
        on_reaped: told the id of each stream that this has ended, or whose deadline is over.
    """

    def __init__(
        self,
        relay: AsyncRelay,
        options: HubOptions | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        tally: Tally | None = None,
        on_reaped: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._on_reaped = on_reaped
        self.relay = relay
        self.options = options or HubOptions()
        self.now = now
        self.tally = tally or Tally()
        self.feeds: dict[str, Feed] = {}
        self._replaced: set[Feed] = set()  # no new readers, but some are left
        self._watcher: Watcher | None = None
        self._wanted: deque[Feed] = deque()
        self._backlog = Backlog(relay)
        self._sealer = Sealer(relay)
        self._presence = Presence(relay, now)
        self._pumps = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._unavailable = False
        self._away_at = now()  # when Redis refused something, or did not answer

    def start(self, *, background: bool = True) -> None:
        """Begin to watch; without `background`, `tick` and `check` are up to the caller."""
        self._watcher = self.relay.watch(self._on_notice, self._on_gap)
        if background:
            self._spawn(self._repeat(self._tick))
            self._spawn(self._repeat(self.check))
            self._spawn(self._repeat(self.tell_presence))

    async def close(self) -> None:
        """Stop watching. Readers that are still there get nothing more."""
        await cancelled(*self._tasks)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._presence.tell(()), LAST_WORDS)
        await self._backlog.close()
        if self._watcher is not None:
            await self._watcher.close()
        self.feeds.clear()

    async def tell_presence(self) -> None:
        """Tell the store how many readers are here."""
        await self._presence.tell(self.every_feed())

    def every_feed(self) -> list[Feed]:
        """The feeds of all readers, including streams deleted or restarted since."""
        return [*self.feeds.values(), *self._replaced]

    async def open(self, stream_id: str) -> Feed:
        """Return the stream's feed, with at least the first page of its log.

        Join it by `join` without awaiting anything in between.

        Raises:
            StreamNotFoundError: the stream does not exist.
            RelayUnavailableError: the relay does not answer.
        """
        feed = self.feeds.get(stream_id)
        if feed is not None and feed.end and not feed.gone and self._is_due(feed):
            if feed.opening is None:
                feed.opening = asyncio.get_running_loop().create_future()
                self._spawn(self._look_again(feed, feed.opening))
            await asyncio.shield(feed.opening)
            feed = self.feeds.get(stream_id)
        if feed is not None and feed.deleted:
            self._forget(feed)  # there may be another stream of that name by now
            feed = None
        if feed is None:
            feed = self.feeds[stream_id] = self._new_feed(stream_id)
            feed.opening = asyncio.get_running_loop().create_future()
            feed.reading = True
            self._spawn(self._load(feed, feed.opening))
        if feed.opening is not None:
            await asyncio.shield(feed.opening)
        return feed

    def join(self, reader: Reader) -> None:
        """Count a reader in."""
        feed = reader.feed
        feed.readers.add(reader)
        if self.feeds.get(feed.stream_id) is not feed:
            self._replaced.add(feed)

    def leave(self, reader: Reader) -> None:
        """Count a reader out."""
        feed = reader.feed
        feed.readers.discard(reader)
        feed.waiting.discard(reader)
        if not feed.readers:
            feed.idle_since = self.now()

    async def backlog(self, feed: Feed, seq: int) -> Window | None:
        """A page of the log behind chunk `seq`, for readers that are before the feed's window.

        None: the log does not have it now; readers waiting on the feed are woken to retry.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        page = await self._backlog.page(feed, seq)
        if page is None and not feed.over:
            feed.starving = True
            self._want(feed)
        return page

    async def backlog_of(self, reader: Reader) -> Window | None:
        """As `backlog`, for a reader that waits while there is none.

        None: look again at how things are; the log may have gone, and its verdict says so.
        """
        feed = reader.feed
        try:
            page = await self.backlog(feed, reader.seq)
        except RelayUnavailableError:
            # Not lost, also when the stream is over: `tick` wakes the reader to ask again.
            feed.starving = True
            await reader.wait()
            return None
        if page is None:
            if feed.over:
                reader.verdict = Verdict.GONE
            else:
                await reader.wait()
        return page

    def tick(self) -> None:
        """Check readers and forget streams without readers; about once a second."""
        now = self.now()
        for feed in self.every_feed():
            feed.tick(now)
            if not feed.readers:
                self._replaced.discard(feed)
            idle = not feed.readers and now - feed.idle_since > self.options.keep_idle
            if idle and feed.opening is None:
                self._forget(feed)

    async def check(self) -> None:
        """Look at streams without news: missed notices, lost producers, vanished streams."""
        now = self.now()
        quiet = [feed for feed in self.feeds.values() if not feed.over and self._is_due(feed)]
        for feed in quiet:
            self._want(feed)
        # After an outage, give live producers one lease period to renew before reaping.
        settled = now > self._away_at + self.options.lease
        lost = [feed for feed in quiet if now > feed.lease_until]
        if lost and settled:
            await self._reap(lost)

    async def _reap(self, feeds: Sequence[Feed]) -> None:
        """End the streams of producers that are lost for good; the relay decides."""
        try:
            answers = await self.relay.execute([Reap(feed.stream_id) for feed in feeds])
        except RelayUnavailableError as error:
            self._is_unavailable(error)
            return
        for feed, answer in zip(feeds, answers, strict=True):
            if answer.kind == "waits" and self._on_reaped is not None:
                self._spawn(self._on_reaped(feed.stream_id))  # its task is to begin again
            if answer.kind == "ended":
                self.tally.reaped += 1
                about = {"stream_id": feed.stream_id, "attempt": feed.attempt}
                logger.info("stream %s: its producer is lost; ended", feed.stream_id, extra=about)
                if self._on_reaped is not None:
                    self._spawn(self._on_reaped(feed.stream_id))
            if answer.kind == "error":
                self._away_at = self.now()
            elif answer.kind != "alive":
                self._want(feed)

    def _on_notice(self, stream_id: str, notice: Notice) -> None:
        feed = self.feeds.get(stream_id)
        if feed is not None and feed.end and notice.attempt > feed.attempt:
            self._forget(feed)  # restarted: new readers get the new stream
        elif feed is not None and feed.hear(notice, self.now()):
            self._want(feed)

    def _on_gap(self) -> None:
        for feed in self.feeds.values():
            if not feed.over:
                self._want(feed)

    def _new_feed(self, stream_id: str) -> Feed:
        options = self.options
        return Feed(
            stream_id,
            self.now(),
            window_bytes=options.window_bytes,
            lease=options.lease,
            patience=options.lease + options.reap_after,
            soon=asyncio.get_running_loop().call_soon,
            tally=self.tally,
        )

    async def _load(self, feed: Feed, opening: asyncio.Future[None]) -> None:
        """Subscribe, then read: later writes arrive as notices."""
        assert self._watcher is not None
        asked = feed.read_after(0)
        try:
            await self._watcher.subscribe(feed.stream_id)
            page = (await self.relay.read([asked]))[0]
            if page is None:
                raise StreamNotFoundError(f"no stream {feed.stream_id!r}")
        except BaseException as error:
            self._forget(feed)
            if isinstance(error, asyncio.CancelledError):
                opening.cancel()
                raise
            opening.set_exception(error)
            opening.exception()  # retrieved, even if no one is waiting
            return
        feed.reading = False
        more = feed.absorb(asked, page, self.now())
        if is_to_be_sealed(page.state):
            self._spawn(self._sealer.seal(feed.stream_id, page))
        feed.opening = None
        feed.idle_since = self.now()  # waiters may join only after the next tick
        opening.set_result(None)
        if more or feed.stale:
            self._want(feed)

    def _is_due(self, feed: Feed) -> bool:
        """There was no news for so long that the log is to be looked at."""
        return self.now() - feed.news_at >= self.options.check_every

    async def _look_again(self, feed: Feed, looked: asyncio.Future[None]) -> None:
        """A stream that has ended has no more news: see whether it is still there, for a reader."""
        asked = Read(feed.stream_id, touch=True)
        try:
            feed.absorb(asked, (await self.relay.read([asked]))[0], self.now())
        except RelayUnavailableError as error:
            self._is_unavailable(error)  # the state of a moment ago is good enough
        finally:
            feed.opening = None
            looked.set_result(None)

    def _forget(self, feed: Feed) -> None:
        if self.feeds.get(feed.stream_id) is feed:
            del self.feeds[feed.stream_id]
            if feed.readers:
                self._replaced.add(feed)
            if self._watcher is not None:
                self._watcher.unsubscribe(feed.stream_id)

    def _want(self, feed: Feed) -> None:
        """Read the log after the feed's last chunk; at most one read per feed at a time."""
        if feed.reading:
            feed.stale = True
            return
        feed.reading = True
        self._wanted.append(feed)
        if self._pumps < PUMPS:
            self._pumps += 1
            self._spawn(self._pump())

    async def _pump(self) -> None:
        try:
            while self._wanted:
                count = min(READS_AT_ONCE, len(self._wanted))
                await self._read([self._wanted.popleft() for _ in range(count)])
        finally:
            self._pumps -= 1

    async def _read(self, feeds: list[Feed]) -> None:
        reads = []
        for feed in feeds:
            feed.stale = False
            reads.append(feed.read_after(feed.last))
        try:
            pages = await self.relay.read_each(reads)
        except RelayUnavailableError as error:
            self._is_unavailable(error)
            return  # check() asks again
        finally:
            for feed in feeds:
                feed.reading = False
        failures = [page for page in pages if isinstance(page, RelayUnavailableError)]
        if failures:
            self._is_unavailable(failures[0])
        else:
            self._unavailable = False
        for feed, asked, page in zip(feeds, reads, pages, strict=True):
            if isinstance(page, RelayUnavailableError):
                continue  # check() asks again
            if feed.absorb(asked, page, self.now()) or feed.stale:
                self._want(feed)

    def _is_unavailable(self, error: RelayUnavailableError) -> None:
        self._away_at = self.now()
        if not self._unavailable:
            self._unavailable = True
            logger.warning("%s", error)

    async def _tick(self) -> None:
        self.tick()

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.options.interval)
            try:
                await work()
            except Exception:
                logger.exception("unexpected error in the hub; continuing")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                logger.error("a task of the hub failed", exc_info=error)

"""Pages of logs, for readers that are before what a feed keeps of its log."""

from __future__ import annotations

import asyncio

from ...cancellation import cancelled
from ...relays.base import AsyncRelay
from .feed import Feed
from .window import Window


class Backlog:
    """Reads pages. Readers at the same position at the same time share one read.

    Args:
        relay: where the streams are.
    """

    def __init__(self, relay: AsyncRelay) -> None:
        self._relay = relay
        self._pages: dict[tuple[str, int, str, int], asyncio.Task[Window | None]] = {}

    async def page(self, feed: Feed, seq: int) -> Window | None:
        """What follows chunk `seq`; None: the log does not have it now.

        Raises:
            RelayUnavailableError: the relay does not answer.
        """
        key = (feed.stream_id, feed.attempt, feed.nonce, seq)
        task = self._pages.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(feed, seq))
            self._pages[key] = task
            task.add_done_callback(lambda _: self._pages.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up all reads."""
        await cancelled(*self._pages.values())

    async def _read(self, feed: Feed, seq: int) -> Window | None:
        wanted = (feed.attempt, feed.nonce)
        page = (await self._relay.read([feed.read_after(seq)]))[0]
        if page is None or (page.state.attempt, page.state.nonce) != wanted:
            return None
        window = Window(seq, page.entries)
        return window if window.last > seq else None

"""Seals streams that have ended and that their producer has not sealed, when they are read.

Their producer was lost or a version without it, had not written all of it, or wrote over HTTP.
"""

from __future__ import annotations

import asyncio
import logging

from ...errors import RelayUnavailableError
from ...offsets import segment_of
from ...relays.base import AsyncRelay, Page
from ...relays.requests import Entry, Read
from ...relays.sealing import seal_requests

logger = logging.getLogger(__name__)

# Larger streams stay as they are: to seal one, all of it is kept in memory for a moment.
MOST_BYTES = 16 * 1024 * 1024
PAGE = 64  # entries
# Streams whose first page is kept in memory until it is their turn.
MOST_WAITING = 16


class Sealer:
    """Seals one stream at a time.

    Args:
        relay: where the streams are.
    """

    def __init__(self, relay: AsyncRelay) -> None:
        self._relay = relay
        self._one = asyncio.Lock()
        self._waiting = 0
        self._useless = False

    async def seal(self, stream_id: str, first: Page) -> None:
        """Seal a stream that is to be sealed; whatever comes of it, it can be read.

        Args:
            first: the first page of its log.
        """
        if self._useless or first.state.size > MOST_BYTES or self._waiting == MOST_WAITING:
            return  # who reads it next may seal it
        self._waiting += 1
        try:
            async with self._one:
                await self._seal(stream_id, first)
        except RelayUnavailableError as error:
            about = {"stream_id": stream_id}
            logger.debug("stream %s is not sealed: %s", stream_id, error, extra=about)
        finally:
            self._waiting -= 1

    async def _seal(self, stream_id: str, first: Page) -> None:
        entries, state = await self._whole(stream_id, first), first.state
        if not entries:
            return
        requests = seal_requests(stream_id, state.attempt, state.nonce, entries)
        # Deflating takes time, and others wait for the event loop.
        while (request := await asyncio.to_thread(next, requests, None)) is not None:
            (answer,) = await self._relay.execute([request])
            self._useless = answer.kind == "refused"  # a relay that keeps streams otherwise
            if answer.kind != "ok":
                return

    async def _whole(self, stream_id: str, first: Page) -> list[Entry]:
        """All entries; none if the log is not complete or is another one by now."""
        found, state = list(first.entries), first.state
        while found and (last := found[-1].last) < state.last:
            attempt = segment_of(state.segments, last).attempt
            page = (await self._relay.read([Read(stream_id, attempt, last, PAGE)]))[0]
            if page is None or page.state.segments != state.segments or not page.entries:
                return []
            if page.state.sealed or page.entries[0].first != last + 1:
                return []
            found += page.entries
        return found

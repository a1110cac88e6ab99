"""What the readers of one process share: for each event loop one hub, and its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ...conversations.ending import atell_end
from ...relays import open_async_relay
from ...relays.base import AsyncRelay
from ...settings import StreamSettings
from ..counters import Tally
from ..live.feed import Feed
from ..live.hub import Hub, HubOptions
from .handlers import Reading

DRAIN_SECONDS = 3.0

OpenRelay = Callable[[StreamSettings], AsyncRelay]
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Loop:
    """What belongs to one event loop."""

    relay: AsyncRelay
    hub: Hub
    reading: Reading


class Hubs:
    """One hub for each event loop, made when it is first asked for.

    A relay server and the application's own routes use the same one.

    Args:
        settings: all of the `stream_*` settings.
        open_relay: makes the relay; for tests.
        options: how the hubs watch streams; default: as the settings say.
        on_input: told the conversation in which messages may be due; must not block.
        on_end: told the id of a stream that was ended here; must not block.

    Attributes:
        tally: counts what all of them deliver.
        send_due: `on_input`.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        open_relay: OpenRelay = open_async_relay,
        options: HubOptions | None = None,
        on_input: Tell = str,
        on_end: Tell = str,
    ) -> None:
        self.settings = settings
        self.tally = Tally()
        self._open_relay = open_relay
        self._options = options or HubOptions.of(settings)
        self.send_due = on_input
        self._on_end = on_end
        self._loops: dict[asyncio.AbstractEventLoop, Loop] = {}

    def here(self) -> Loop:
        """The running event loop's.

        Raises:
            ConfigurationError: the relay URL cannot be used.
        """
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for other in [each for each in self._loops if each.is_closed()]:
                del self._loops[other]
            relay = self._open_relay(self.settings)
            hub = Hub(relay, self._options, tally=self.tally, on_reaped=self.tell_end)
            hub.start()
            found = self._loops[loop] = Loop(relay, hub, Reading(hub, self.settings))
        return found

    async def tell_end(self, stream_id: str) -> None:
        """Tell the application of the end, and the conversation, where it may be another turn."""
        # It sends messages to the broker, which blocks: readers of the conversation do not wait.
        self._on_end(stream_id)
        await atell_end(self.here().relay, stream_id)

    def every_feed(self) -> list[Feed]:
        """The streams that are watched, on all loops."""
        return [feed for found in self._loops.values() for feed in found.hub.every_feed()]

    async def drain(self) -> None:
        """Close the streaming responses of this event loop cleanly; their readers come back."""
        found = self._loops.get(asyncio.get_running_loop())
        if found is not None:
            await found.reading.drain(DRAIN_SECONDS)

    async def close(self) -> None:
        """Drain, and give up the connections of this event loop."""
        await self.drain()
        found = self._loops.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.hub.close()
            await found.relay.close()

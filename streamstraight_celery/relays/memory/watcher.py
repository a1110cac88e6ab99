"""Notices of streams in memory, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..base import Notice, OnNotice, Watcher

Listener = Callable[[str, Notice], None]


class Listened(Protocol):
    """What tells of notices."""

    def listen(self, listener: Listener) -> Callable[[], None]: ...


class MemoryWatcher(Watcher):
    def __init__(self, store: Listened, on_notice: OnNotice) -> None:
        self._on_notice = on_notice
        self._names: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._unlisten = store.listen(self._hear)

    def _hear(self, stream_id: str, notice: Notice) -> None:
        # Called on whichever thread wrote.
        if stream_id not in self._names:
            return
        try:
            self._loop.call_soon_threadsafe(self._on_notice, stream_id, notice)
        except RuntimeError:
            # Its loop was closed, without it: that is not the writer's fault.
            self._unlisten()

    async def subscribe(self, stream_id: str) -> None:
        self._names.add(stream_id)

    def unsubscribe(self, stream_id: str) -> None:
        self._names.discard(stream_id)

    async def close(self) -> None:
        self._unlisten()

"""The relay in this process's memory, for tests and eager mode: the same contract as on Redis."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence

from ..about import ONE_PLACE
from ..base import AsyncRelay, Notice, OnGap, OnNotice, Page, Relay, RelayOptions, Watcher
from ..requests import Answer, Read, Request
from .store import MemoryStore


class MemoryRelay(Relay):
    """A `MemoryStore` as workers and web routes use it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    def read(self, read: Read) -> Page | None:
        return self._store.read(read)

    @property
    def places(self) -> Sequence[str]:
        return ONE_PLACE


class AsyncMemoryRelay(AsyncRelay):
    """A `MemoryStore` as the relay server uses it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        return [self._store.read(read) for read in reads]

    @property
    def places(self) -> Sequence[str]:
        return ONE_PLACE

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        return MemoryWatcher(self._store, on_notice)

    async def ping(self) -> None:
        return None


class MemoryWatcher(Watcher):
    def __init__(self, store: MemoryStore, on_notice: OnNotice) -> None:
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


# memory:// names a store of this process, so a URL finds the same one from the task and the relay.
_STORES: weakref.WeakValueDictionary[str, MemoryStore] = weakref.WeakValueDictionary()


def name_store(url: str, store: MemoryStore) -> None:
    """Register the process's store of that name, for as long as it is referenced."""
    _STORES[url] = store


def store_for(url: str, options: RelayOptions) -> MemoryStore:
    """Return the process's store of that name (`memory://name`), made when there is none."""
    if (store := _STORES.get(url)) is None:
        store = _STORES[url] = MemoryStore(options)
    return store

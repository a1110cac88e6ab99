"""The relay in this process's memory, for tests and eager mode: the same contract as on Redis."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator, Sequence

from ..base import AsyncRelay, OnGap, OnNotice, Page, Relay, RelayOptions, Watcher
from ..requests import Answer, Read, Request
from .store import MemoryStore
from .watcher import MemoryWatcher


class MemoryRelay(Relay):
    """A `MemoryStore` as workers and web routes use it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    def read(self, read: Read) -> Page | None:
        return self._store.read(read)

    def stream_ids(self) -> Iterator[str]:
        yield from self._store.names()


class AsyncMemoryRelay(AsyncRelay):
    """A `MemoryStore` as the relay server uses it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._store.execute(request) for request in requests]

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        return [self._store.read(read) for read in reads]

    async def stream_ids(self) -> AsyncIterator[str]:
        for name in self._store.names():
            yield name

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        return MemoryWatcher(self._store, on_notice)

    async def ping(self) -> None:
        return None


# memory:// names a store of this process, so a URL finds the same one from the task and the relay.
_STORES: weakref.WeakValueDictionary[str, MemoryStore] = weakref.WeakValueDictionary()


def name_store(url: str, store: MemoryStore) -> None:
    """Make this the process's store of that name, for as long as somebody keeps it."""
    _STORES[url] = store


def store_for(url: str, options: RelayOptions) -> MemoryStore:
    """Return the process's store of that name (`memory://name`), made when there is none."""
    if (store := _STORES.get(url)) is None:
        store = _STORES[url] = MemoryStore(options)
    return store

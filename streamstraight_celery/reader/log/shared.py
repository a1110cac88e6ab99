"""A process' way to a stream store, which all its readers share.

One connection hears notices, a few serve reads, however many readers there are. They live on the
process' event loop (`os_threads`), so that a reader which is cancelled, or forgotten by its route,
leaves none of them half used. They are closed with the last reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from itertools import count
from typing import Any, TypeVar

from ...os_threads import Mailbox, loop_thread
from ...relays import AsyncRelay, open_async_relay
from ...relays.base import Notice, OnGap, OnNotice, Page, Watcher
from ...relays.requests import Answer, Read, Request
from ...settings import StreamSettings

T = TypeVar("T")
Ring = Callable[[], object]

_numbers = count(1)


class _Store:
    """Connections to one store. Everything here happens on the loop."""

    def __init__(self, settings: StreamSettings) -> None:
        self.relay = open_async_relay(settings)
        self.readers: set[int] = set()
        self._watcher: Watcher | None = None
        self._rings: dict[str, dict[int, Ring]] = {}

    async def subscribe(self, stream_id: str, reader: int, ring: Ring) -> None:
        """Call `ring` from now on when there may be news of the stream."""
        self._rings.setdefault(stream_id, {})[reader] = ring
        try:
            if self._watcher is None:
                self._watcher = self.relay.watch(self._on_notice, self._on_gap)
            await self._watcher.subscribe(stream_id)
        except BaseException:
            self.unsubscribe(stream_id, reader)
            raise

    def unsubscribe(self, stream_id: str, reader: int) -> None:
        rings = self._rings.get(stream_id, {})
        if rings.pop(reader, None) is not None and not rings:
            del self._rings[stream_id]
            if self._watcher is not None:
                self._watcher.unsubscribe(stream_id)

    def forget(self, reader: int) -> None:
        self.readers.discard(reader)
        for stream_id in [name for name, rings in self._rings.items() if reader in rings]:
            self.unsubscribe(stream_id, reader)

    async def close(self) -> None:
        if self._watcher is not None:
            await self._watcher.close()
        await self.relay.close()

    def _on_notice(self, stream_id: str, notice: Notice) -> None:
        for ring in list(self._rings.get(stream_id, {}).values()):
            ring()

    def _on_gap(self) -> None:
        for rings in list(self._rings.values()):
            for ring in list(rings.values()):
                ring()


# By process, for a forked one has another loop.
_stores: dict[tuple[int, StreamSettings], _Store] = {}


class StoreAccess:
    """One reader's access to the store that its process shares.

    Args:
        settings: name the store.

    Raises:
        ConfigurationError: there is no store that could be read.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._key = (os.getpid(), settings)
        if self._key not in _stores:
            open_async_relay(settings)  # what is wrong with it is told here
        self._number = next(_numbers)
        self._loop = loop_thread()
        # Also without a close(): nothing else ends what a cancelled route leaves.
        self._leave = weakref.finalize(self, _leave, self._loop, self._key, self._number)
        self._leave.atexit = False

    def start(self, call: Callable[[_Store, int], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine of the store's on the loop."""
        return asyncio.run_coroutine_threadsafe(_run(self._key, self._number, call), self._loop)

    def close(self) -> None:
        """Give up the access; does not wait, so that it can be neither cancelled nor late."""
        self._leave()


async def _run(
    key: tuple[int, StreamSettings],
    number: int,
    call: Callable[[_Store, int], Coroutine[Any, Any, T]],
) -> T:
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = _Store(key[1])
    store.readers.add(number)
    return await call(store, number)


def _leave(loop: asyncio.AbstractEventLoop, key: tuple[int, StreamSettings], number: int) -> None:
    if key[0] == os.getpid():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_forget, key, number)


def _forget(key: tuple[int, StreamSettings], number: int) -> None:
    store = _stores.get(key)
    if store is None:
        return
    store.forget(number)
    if not store.readers:
        del _stores[key]
        _closing.add(task := asyncio.get_running_loop().create_task(store.close()))
        task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


class SharedLog:
    """The shared store, for a sync reader."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access

    def read(self, read: Read) -> Page | None:
        """As `Relay.read`."""
        return self._wait(lambda store, _: store.relay.read([read]))[0]

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """As `Relay.execute`."""
        return self._wait(lambda store, _: store.relay.execute(requests))

    def subscribe(self, stream_id: str, ring: Ring) -> None:
        """Return when `ring` will be called, on another thread, at news of the stream."""
        self._wait(lambda store, number: store.subscribe(stream_id, number, ring))

    def unsubscribe(self, stream_id: str) -> None:
        """No news of it from now on; does not wait."""

        async def leave(store: _Store, number: int) -> None:
            store.unsubscribe(stream_id, number)

        self._access.start(leave)

    def close(self) -> None:
        """Give up the access to the store."""
        self._access.close()

    def _wait(self, call: Callable[[_Store, int], Coroutine[Any, Any, T]]) -> T:
        # Not the future's own way to wait, which greenlets cannot use across threads.
        done: Mailbox[tuple[T | None, BaseException | None]] = Mailbox()

        async def run(store: _Store, number: int) -> None:
            try:
                done.put((await call(store, number), None))
            except BaseException as error:
                done.put((None, error))

        future = self._access.start(run)
        try:
            value, error = done.get()
        except BaseException:
            future.cancel()
            raise
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


class SharedAsyncRelay(AsyncRelay):
    """The shared store, for a reader on another event loop."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access

    async def execute(self, requests: Sequence[Request]) -> list[Answer]:
        return await self._on_loop(lambda store, _: store.relay.execute(requests))

    async def read(self, reads: Sequence[Read]) -> list[Page | None]:
        return await self._on_loop(lambda store, _: store.relay.read(reads))

    def watch(self, on_notice: OnNotice, on_gap: OnGap) -> Watcher:
        """Call `on_gap` on this loop at each news; what the notices say is not passed on."""
        return _SharedWatcher(self._access, on_gap)

    async def ping(self) -> None:
        await self._on_loop(lambda store, _: store.relay.ping())

    async def close(self) -> None:
        self._access.close()

    async def _on_loop(self, call: Callable[[_Store, int], Coroutine[Any, Any, T]]) -> T:
        return await asyncio.wrap_future(self._access.start(call))


class _SharedWatcher(Watcher):
    def __init__(self, access: StoreAccess, ring: Ring) -> None:
        self._access = access
        self._ring = _ring_on(asyncio.get_running_loop(), ring)

    async def subscribe(self, stream_id: str) -> None:
        ring = self._ring
        await asyncio.wrap_future(
            self._access.start(lambda store, number: store.subscribe(stream_id, number, ring))
        )

    def unsubscribe(self, stream_id: str) -> None:
        async def leave(store: _Store, number: int) -> None:
            store.unsubscribe(stream_id, number)

        self._access.start(leave)

    async def close(self) -> None:
        """Nothing to do: the reader gives up its whole access."""


def _ring_on(loop: asyncio.AbstractEventLoop, ring: Ring) -> Ring:
    def call() -> None:
        with contextlib.suppress(RuntimeError):  # the reader's loop is closed
            loop.call_soon_threadsafe(ring)

    return call

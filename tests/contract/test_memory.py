"""What only the relay in memory can go through."""

from __future__ import annotations

import asyncio

from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.memory.relay import AsyncMemoryRelay, MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import CONVERSATION_TTL, Append, Claim, Create, Hold


def test_what_nobody_asks_for_is_forgotten() -> None:
    clock = [0.0]
    store = MemoryStore(RelayOptions(ttl=1000), lambda: clock[0])
    for number in range(100):
        store.execute(Create(f"s{number}", "me"))
        store.execute(Hold(f"chat {number}", f"s{number}"))
    clock[0] += CONVERSATION_TTL / 1000 + 1
    store.execute(Create("new", "me"))
    assert list(store._streams) == ["new"]


def test_a_watcher_whose_loop_was_closed_fails_no_writer() -> None:
    store = MemoryStore(RelayOptions())

    async def watch() -> None:
        watcher = AsyncMemoryRelay(store).watch(lambda *_: None, lambda: None)
        await watcher.subscribe("s")

    asyncio.run(watch())
    relay = MemoryRelay(store)
    assert relay.call(Claim("s", "aaaaaaaa")).kind == "ok"
    assert relay.call(Append("s", 1, "aaaaaaaa", 1, 1, b"1")).kind == "ok"
    assert store._listeners == []

"""What relay servers tell of their readers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.relays.requests import WATCH_TTL, Answer, Watch
from streamstraight_celery.server.live.presence import AGAIN, AT_ONCE, Presence
from streamstraight_celery.testing.clock import FakeClock as Clock


class Store:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.trips = 0
        self.away = False

    async def execute(self, requests: list[Watch]) -> list[Answer]:
        if self.away:
            raise RelayUnavailableError("away")
        self.trips += 1
        self.told += [(each.stream_id, each.readers) for each in requests]
        return [Answer("ok")] * len(requests)

    def taken(self) -> list[tuple[str, int]]:
        told, self.told = sorted(self.told), []
        return told


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def presence(store: Store, clock: Clock) -> Presence:
    return Presence(store, clock)  # type: ignore[arg-type]


def feeds(**counts: int) -> Any:
    return [SimpleNamespace(stream_id=name, readers=range(n)) for name, n in counts.items()]


async def test_only_changes_are_told(presence: Presence, store: Store) -> None:
    await presence.tell(feeds(a=2, b=0))
    assert store.taken() == [("a", 2)]
    await presence.tell(feeds(a=2, b=1))
    assert store.taken() == [("b", 1)]
    await presence.tell(feeds(b=1))
    assert store.taken() == [("a", 0)]
    await presence.tell(feeds(b=1))
    await presence.tell([])
    assert store.taken() == [("b", 0)]


async def test_feeds_of_one_stream_add_up(presence: Presence, store: Store) -> None:
    await presence.tell([*feeds(a=2), *feeds(a=3)])
    assert store.taken() == [("a", 5)]


async def test_a_number_is_told_again_before_it_expires(
    presence: Presence, store: Store, clock: Clock
) -> None:
    assert AGAIN * 2 < WATCH_TTL / 1000
    await presence.tell(feeds(a=2))
    store.taken()
    clock.advance(AGAIN / 2)
    await presence.tell(feeds(a=2))
    assert store.taken() == []
    clock.advance(AGAIN / 2)
    await presence.tell(feeds(a=2))
    assert store.taken() == [("a", 2)]


async def test_what_the_store_did_not_take_is_told_again(presence: Presence, store: Store) -> None:
    await presence.tell(feeds(a=1, b=1))
    store.taken()
    store.away = True
    await presence.tell(feeds(a=3))
    store.away = False
    await presence.tell(feeds(a=3))
    assert store.taken() == [("a", 3), ("b", 0)]


async def test_many_streams_are_told_at_once(presence: Presence, store: Store) -> None:
    await presence.tell(feeds(**{f"s{n}": 50 for n in range(AT_ONCE + 1)}))
    assert store.trips == 2
    assert len(store.taken()) == AT_ONCE + 1

"""How many readers a stream has, by what each server tells."""

from __future__ import annotations

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Create, Delete, Watch
from tests.conftest import eventually
from tests.contract.conftest import MakeRelay

S = "stream-1"


def readers(relay: Relay, stream_id: str = S) -> int:
    return relay.call(Watch(stream_id)).number


@pytest.mark.fakeredis
def test_servers_add_up(relay: Relay) -> None:
    assert readers(relay) == 0
    assert relay.call(Watch(S, "a", 3)).number == 3
    assert relay.call(Watch(S, "b", 1000)).number == 1003
    assert relay.call(Watch("stream-2", "a", 7)).number == 7
    assert readers(relay) == 1003


@pytest.mark.fakeredis
def test_the_last_word_of_a_server_counts(relay: Relay) -> None:
    for number in (3, 3, 1):
        relay.call(Watch(S, "a", number))
    assert readers(relay) == 1
    relay.call(Watch(S, "b", 2))
    relay.call(Watch(S, "a", 0))
    assert readers(relay) == 2
    relay.call(Watch(S, "b", 0))
    assert readers(relay) == 0


def test_a_server_that_is_gone_counts_no_more(make_relay: MakeRelay) -> None:
    relay = make_relay(watch_ttl=300)
    relay.call(Watch(S, "gone", 5))

    def lone() -> bool:
        return relay.call(Watch(S, "here", 1)).number == 1

    eventually(lone)
    eventually(lambda: readers(relay) == 0)


def test_asking_changes_nothing(relay: Relay) -> None:
    relay.call(Watch(S, "a", 2))
    assert [readers(relay) for _ in range(3)] == [2] * 3
    relay.call(Create(S, "owner"))
    relay.call(Delete(S))
    assert readers(relay) == 2  # until their server tells otherwise

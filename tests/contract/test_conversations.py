"""What every relay promises of a conversation's key: see `lua/hold.lua`."""

from __future__ import annotations

import threading

import pytest
import redis

from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import CONVERSATION_TTL, Hold


def test_a_free_key_takes_a_stream(relay: Relay) -> None:
    assert relay.call(Hold("chat")) == ("unknown", 0, False, "")
    assert relay.call(Hold("chat", "one")) == ("ok", 0, False, "")
    assert relay.call(Hold("chat")) == ("held", 0, False, "one")
    assert relay.call(Hold("another")).kind == "unknown"


def test_a_key_that_is_held_says_by_whom(relay: Relay) -> None:
    relay.call(Hold("chat", "one"))
    assert relay.call(Hold("chat", "two")) == ("held", 0, False, "one")
    assert relay.call(Hold("chat", "two", "three")) == ("held", 0, False, "one")


@pytest.mark.fakeredis
def test_the_named_stream_is_replaced(relay: Relay) -> None:
    relay.call(Hold("chat", "one"))
    assert relay.call(Hold("chat", "two", "one")).kind == "ok"
    assert relay.call(Hold("chat")).reason == "two"


def test_a_repetition_changes_nothing(relay: Relay) -> None:
    relay.call(Hold("chat", "one"))
    relay.call(Hold("chat", "two", "one"))
    assert relay.call(Hold("chat", "two", "one")).kind == "ok"
    assert relay.call(Hold("chat", "one", "three")) == ("held", 0, False, "two")


def test_only_the_named_stream_is_cleared(relay: Relay) -> None:
    relay.call(Hold("chat", "one"))
    assert relay.call(Hold("chat", "", "two")) == ("held", 0, False, "one")
    assert relay.call(Hold("chat", "", "one")).kind == "ok"
    assert relay.call(Hold("chat")).kind == "unknown"
    assert relay.call(Hold("chat", "", "one")).kind == "unknown"


def test_a_key_that_nothing_names_is_not_replaced(relay: Relay) -> None:
    assert relay.call(Hold("chat", "two", "one")).kind == "unknown"


@pytest.mark.parametrize("key", ["chat 42", "user/{7}/chat", "ü" * 100])
def test_any_key(relay: Relay, key: str) -> None:
    relay.call(Hold(key, "one"))
    assert relay.call(Hold(key)).reason == "one"


@pytest.mark.fakeredis
def test_one_of_many_wins(relay: Relay) -> None:
    answers: list[str] = []
    barrier = threading.Barrier(20)

    def take(number: int) -> None:
        barrier.wait()
        answers.append(relay.call(Hold("chat", f"stream-{number}")).kind)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["held"] * 19 + ["ok"]


def test_no_key_without_a_time_to_live(redis_url: str) -> None:
    relay = RedisRelay(redis_url, RelayOptions())
    relay.call(Hold("chat", "one"))
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.scan_iter()
        assert 0 < client.pttl(key) <= CONVERSATION_TTL
    relay.close()


def test_in_memory_it_is_forgotten_too() -> None:
    time = 0.0
    relay = MemoryRelay(MemoryStore(RelayOptions(), lambda: time))
    relay.call(Hold("chat", "one"))
    time = CONVERSATION_TTL / 1000 + 1
    assert relay.call(Hold("chat")).kind == "unknown"

"""What every relay promises of a conversation's log: see `lua/post.lua` and `lua/hold.lua`."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import redis

from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Claim,
    Create,
    Delete,
    Hold,
    Open,
    Post,
    Read,
    Receive,
    Release,
    Stop,
    Write,
)

from .conftest import MakeRelay

NAME, LOG = "chat-42", "conversation:chat-42"


def event(number: int = 1) -> bytes:
    return json.dumps({"type": "input", "value": number}).encode()


def events(relay: Relay, log: str = LOG) -> list[dict[str, Any]]:
    page = relay.read(Read(log, 0, 0, 1000))
    return [] if page is None else [json.loads(entry.data) for entry in page.entries]


def values(relay: Relay) -> list[Any]:
    return [each.get("value") for each in events(relay)]


@pytest.mark.fakeredis
def test_the_first_event_begins_the_log(relay: Relay) -> None:
    assert relay.call(Post(NAME, "one", event(1))) == ("ok", 1, False, "")
    assert relay.call(Post(NAME, "two", event(2))) == ("ok", 2, False, "")
    assert values(relay) == [1, 2]
    assert all(each["at"] > 1_700_000_000_000 for each in events(relay))
    state = relay.state(LOG)
    assert (state.attempt, state.last, state.http_written, state.conversation) == (1, 2, True, NAME)
    assert state.status == "open"


def test_an_empty_log_can_be_begun(relay: Relay) -> None:
    assert relay.call(Post(NAME)).kind == "ok"
    assert relay.call(Post(NAME)).kind == "ok"
    assert events(relay) == []
    assert relay.state(LOG).status == "open"


def test_an_event_is_added_once(relay: Relay) -> None:
    relay.call(Post(NAME, "one", event(1)))
    relay.call(Post(NAME, "two", event(2)))
    assert relay.call(Post(NAME, "one", event(3))) == ("duplicate", 1, False, "")
    assert values(relay) == [1, 2]


def test_many_write_at_once(relay: Relay) -> None:
    barrier = threading.Barrier(10)

    def write(number: int) -> None:
        barrier.wait()
        for each in range(10):
            relay.call(Post(NAME, f"{number}-{each}", event(number * 10 + each)))
            relay.call(Post(NAME, f"{number}-{each}", event(number * 10 + each)))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values(relay)) == list(range(100))


def test_a_full_log_takes_only_what_is_vital(make_relay: MakeRelay) -> None:
    relay = make_relay(conversation_bytes=100)
    assert relay.call(Post(NAME, "one", event(1))).kind == "ok"
    large = json.dumps({"type": "input", "value": "x" * 60}).encode()
    assert relay.call(Post(NAME, "two", large)) == ("too-large", 0, False, "")
    assert relay.call(Hold(NAME, "stream", "", "three", large)).kind == "too-large"
    assert relay.call(Hold(NAME)).kind == "unknown"
    assert relay.call(Post(NAME, "two", large, vital=True)).kind == "ok"


def test_a_stream_takes_its_turn_and_tells_of_it(relay: Relay) -> None:
    assert relay.call(Hold(NAME, "a", "", "stream:a", event(1))).kind == "ok"
    assert relay.call(Hold(NAME, "a", "", "stream:a", event(1))).kind == "ok"
    assert relay.call(Hold(NAME, "b", "", "stream:b", event(2))).holder == "a"
    assert relay.call(Hold(NAME, "b", "a", "stream:b", event(2))).kind == "ok"
    assert values(relay) == [1, 2]


def test_others_neither_write_nor_end_it(relay: Relay) -> None:
    relay.call(Post(NAME, "one", event()))
    written = Write(stream_id=LOG, content_type="application/json", count=1, data=b"1")
    assert relay.call(written).kind == "held"
    assert relay.call(Write(stream_id=LOG, end="completed")).kind == "held"
    assert relay.call(Stop(LOG)).kind == "unknown"
    opened = Open(
        stream_id=LOG, config="[]", nonce="aaaaaaaa", kind="json", content_type="application/json"
    )
    assert relay.call(opened).kind == "exists"
    assert relay.call(Create(LOG, "task")).kind == "exists"
    assert len(events(relay)) == 1


def test_a_stream_of_that_id_is_not_a_conversation(relay: Relay) -> None:
    relay.call(Create(LOG, "task"))
    assert relay.call(Post(NAME, "one", event())).kind == "exists"
    assert relay.call(Hold(NAME, "a")).kind == "exists"


def test_a_deleted_one_begins_again(relay: Relay) -> None:
    relay.call(Post(NAME, "one", event(1)))
    before = relay.state(LOG).nonce
    assert relay.call(Delete(LOG)).kind == "ok"
    assert relay.read(Read(LOG)) is None
    assert relay.call(Post(NAME, "one", event(2))).kind == "ok"
    assert values(relay) == [2]
    assert relay.state(LOG).nonce != before


@pytest.mark.parametrize("name", ["user 7/chat", "{7}", "ü" * 100, "x" * 500, "~"])
def test_any_name(relay: Relay, name: str) -> None:
    relay.call(Post(name, "one", event()))
    assert relay.state(Post(name).stream_id).conversation == name


def test_a_stream_knows_its_conversation(relay: Relay) -> None:
    relay.call(Create("s", "task", conversation=NAME))
    relay.call(Create("t", "task"))
    assert relay.state("s").conversation == NAME
    assert relay.state("t").conversation == ""


def test_it_is_kept_for_longer_than_a_stream(redis_url: str) -> None:
    relay = RedisRelay(redis_url, RelayOptions(ttl=1000, conversation_ttl=100_000))
    relay.call(Post(NAME, "one", event()))
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter():
            assert 1000 < client.pttl(key) <= 100_000
    relay.close()


def test_a_log_that_was_evicted_begins_another_attempt(redis_url: str) -> None:
    relay = RedisRelay(redis_url, RelayOptions())
    relay.call(Hold(NAME, "s", "", "one", event(1)))
    with redis.Redis.from_url(redis_url) as client:
        client.delete("ss:{" + LOG + "}:s")
    assert relay.call(Post(NAME, "two", event(2))).kind == "ok"
    assert values(relay) == [2]
    assert relay.state(LOG).attempt == 2
    assert relay.call(Hold(NAME)).holder == "s"
    relay.close()


def test_where_a_stream_begins_to_receive(relay: Relay) -> None:
    relay.call(Post(NAME, "one", event(1)))
    assert relay.call(Receive(NAME, "a")).number == 0
    relay.call(Receive(NAME, "a", 1))
    # Another attempt of its task receives the same, the next task what comes then.
    assert relay.call(Receive(NAME, "a")).number == 0
    assert relay.call(Receive(NAME, "b")).number == 1
    relay.call(Post(NAME, "stream:c", event(2)))
    relay.call(Receive(NAME, "b", 3))
    assert relay.call(Receive(NAME, "c", child=True)).number == 2
    assert relay.call(Receive("another", "a")).kind == "unknown"


@pytest.mark.fakeredis
def test_one_event_settles_a_question(relay: Relay) -> None:
    assert relay.call(Post(NAME, "one", event(1), answers="q")).kind == "ok"
    assert relay.call(Post(NAME, "one", event(1), answers="q")).kind == "duplicate"
    late = relay.call(Post(NAME, "two", event(2), answers="q"))
    assert (late.kind, late.reason) == ("closed", "one")
    relay.call(Post(NAME, "refused:one", event(3), vital=True, refuses="one"))
    assert relay.call(Post(NAME, "two", event(2), answers="q")).kind == "ok"
    assert relay.call(Post(NAME, "three", event(4), answers="q")).reason == "two"
    assert values(relay) == [1, 3, 2]


def test_how_far_a_producer_has_read_is_kept_with_its_chunks(relay: Relay) -> None:
    relay.call(Claim("s", "aaaaaaaa"))
    relay.call(Append("s", 1, "aaaaaaaa", 1, 1, b"1", received=3))
    relay.call(Append("s", 1, "aaaaaaaa", 2, 1, b"2"))
    assert relay.state("s").received == 3
    relay.call(Checkpoint("s", 1, "aaaaaaaa", "1", 2, received=5))
    assert relay.state("s").received == 5
    relay.call(Release("s", 1, "aaaaaaaa", 1000))
    relay.call(Claim("s", "bbbbbbbb", resume=True))
    assert relay.state("s").received == 5
    relay.call(Release("s", 2, "bbbbbbbb", 1000))
    relay.call(Claim("s", "cccccccc"))
    assert relay.state("s").received == 0

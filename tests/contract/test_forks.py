"""Forks, lifetimes and losses of streams that are written over HTTP."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.offsets import Segment
from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import (
    Answer,
    Delete,
    Entry,
    Fork,
    Read,
    Stop,
)
from tests.conftest import RedisServer, eventually
from tests.support.keys import without_index

from .writing import MakeRelay, S, chunks, exists, numbered, opening, place, writing


def forking(relay: Relay, source: str, name: str, *texts: str, upto: int, nonce: str) -> Answer:
    """Fork as the relay server does: count in, copy, create."""
    assert relay.call(Fork(source, 1)).kind == "ok"
    page = relay.read(Read(source, 0, 0, 100))
    assert page is not None
    segments = [replace(s, last=min(s.last, upto)) for s in page.state.segments]
    lineage = [
        s for i, s in enumerate(segments) if upto and (i == 0 or segments[i - 1].last < upto)
    ]
    data = b"\n".join(e.data for e in page.entries).split(b"\n")[:upto]
    inherited = (Entry(1, upto, b"\n".join(data)),) if upto else ()
    return relay.call(
        opening(*texts, name=name, nonce=nonce, source=source, lineage=tuple(lineage),
                inherited=inherited)
    )  # fmt: skip


class TestForks:
    @pytest.mark.fakeredis
    def test_begins_with_the_same_chunks_at_the_same_offsets(self, relay: Relay) -> None:
        relay.call(opening("1", "2", "3"))
        answer = forking(relay, S, "fork", upto=2, nonce="bbbbbbbb")
        assert answer == ("ok", 0, False, place(2))
        assert chunks(relay, "fork") == ["1", "2"]
        state = relay.state("fork")
        assert state.lineage == (Segment(1, "aaaaaaaa", 2),)
        assert state.segments[-1] == Segment(2, "bbbbbbbb", 2)

    def test_goes_on_by_itself(self, relay: Relay) -> None:
        relay.call(opening("1", "2"))
        forking(relay, S, "fork", "a", upto=2, nonce="bbbbbbbb")
        answer = relay.call(writing("b", name="fork"))
        assert answer.reason == place(4, attempt=2, nonce="bbbbbbbb")
        assert relay.call(writing("3")).reason == place(3)
        assert chunks(relay, "fork") == ["1", "2", "a", "b"]
        assert chunks(relay) == ["1", "2", "3"]

    def test_a_fork_of_a_fork(self, relay: Relay) -> None:
        relay.call(opening("1", "2"))
        forking(relay, S, "fork", "a", upto=2, nonce="bbbbbbbb")
        forking(relay, "fork", "deep", "x", upto=3, nonce="cccccccc")
        assert chunks(relay, "deep") == ["1", "2", "a", "x"]
        assert relay.state("deep").segments == (
            Segment(1, "aaaaaaaa", 2), Segment(2, "bbbbbbbb", 3), Segment(3, "cccccccc", 4),
        )  # fmt: skip

    def test_an_empty_fork(self, relay: Relay) -> None:
        relay.call(opening("1"))
        answer = forking(relay, S, "fork", upto=0, nonce="bbbbbbbb")
        assert answer.reason == place(0, nonce="bbbbbbbb")
        assert chunks(relay, "fork") == []

    def test_what_it_inherits_counts_for_its_size(self, make_relay: MakeRelay) -> None:
        relay = make_relay(max_bytes=5)
        relay.call(opening("1", "2", "3"))
        assert forking(relay, S, "fork", "4", upto=3, nonce="bbbbbbbb").kind == "too-large"
        assert not exists(relay, "fork")
        assert forking(relay, S, "fork", upto=3, nonce="bbbbbbbb").kind == "ok"
        assert relay.state("fork").size == 5
        assert relay.call(writing("4", name="fork")).kind == "too-large"

    def test_a_source_is_hidden_until_its_last_fork_is_gone(self, relay: Relay) -> None:
        relay.call(opening("1"))
        forking(relay, S, "one", upto=1, nonce="bbbbbbbb")
        forking(relay, S, "two", upto=1, nonce="cccccccc")
        assert relay.call(Delete(S)) == ("ok", 0, False, "")
        assert relay.state(S).deleted
        assert chunks(relay) == []
        assert relay.call(Delete(S)).kind == "deleted"
        assert relay.call(writing("2")).kind == "deleted"
        assert relay.call(opening()).kind == "exists"
        assert relay.call(Fork(S, 1)).kind == "deleted"
        assert chunks(relay, "one") == ["1"]
        assert relay.call(Delete("one")) == ("ok", 0, False, S)
        assert relay.call(Fork(S, -1)) == ("ok", 1, False, "")
        assert exists(relay)
        assert relay.call(Delete("two")) == ("ok", 0, False, S)
        assert relay.call(Fork(S, -1)) == ("ok", 0, False, "")
        assert not exists(relay)
        assert relay.call(opening("new")).kind == "ok"

    def test_a_gone_source_tells_of_its_own(self, relay: Relay) -> None:
        relay.call(opening("1"))
        forking(relay, S, "fork", upto=1, nonce="bbbbbbbb")
        forking(relay, "fork", "deep", upto=1, nonce="cccccccc")
        relay.call(Delete(S))
        assert relay.call(Delete("fork")) == ("ok", 0, False, "")
        assert relay.state("fork").deleted
        assert relay.call(Delete("deep")).reason == "fork"
        assert relay.call(Fork("fork", -1)) == ("ok", 0, False, S)
        assert relay.call(Fork(S, -1)) == ("ok", 0, False, "")
        assert not exists(relay)

    def test_no_such_source(self, relay: Relay) -> None:
        assert relay.call(Fork(S, 1)) == ("unknown", 0, False, "")
        assert relay.call(Fork(S, -1)).kind == "unknown"
        assert not exists(relay)

    def test_a_fork_of_an_earlier_stream_of_that_name_does_not_count(self, relay: Relay) -> None:
        relay.call(opening("1"))
        assert relay.call(Fork(S, -1)) == ("ok", 0, False, "")
        forking(relay, S, "fork", upto=1, nonce="bbbbbbbb")
        relay.call(Delete(S))
        assert relay.state(S).deleted

    def test_a_hidden_stream_does_not_end_again(self, relay: Relay) -> None:
        relay.call(opening("1"))
        forking(relay, S, "fork", upto=1, nonce="bbbbbbbb")
        relay.call(Delete(S))
        assert relay.call(Stop(S)).kind == "unknown"
        assert relay.state(S).end == ""


SOON = 400  # ms


class TestLife:
    """Own times to live, on the relay's clock: bounds are generous, nothing is timed closely."""

    @pytest.mark.fakeredis
    def test_it_ends_by_itself(self, relay: Relay) -> None:
        relay.call(opening("1", ttl=SOON))
        assert relay.state(S).ttl == SOON
        eventually(lambda: not exists(relay))
        assert relay.call(writing("2")).kind == "unknown"

    def test_a_read_of_the_state_does_not_prolong_it(self, relay: Relay) -> None:
        relay.call(opening("1", ttl=SOON))
        # Reads without `touch` all the time: it ends nevertheless.
        eventually(lambda: relay.read(Read(S, 0, 0, 10)) is None)

    @pytest.mark.parametrize("how", ["read", "write"])
    def test_writes_and_readers_prolong_it(self, relay: Relay, how: str) -> None:
        def touch() -> bool:
            if how == "read":
                return relay.read(Read(S, 0, 0, 1, touch=True)) is not None
            return relay.call(writing("2")).kind == "ok"

        def lives_on() -> bool:
            """False: the machine stood still, so a touch may have come too late."""
            relay.call(Delete(S))
            relay.call(opening("1", ttl=SOON))
            began = last = time.monotonic()
            while last - began < 2.5 * SOON / 1000:
                touched, now = touch(), time.monotonic()
                if now - last > 0.7 * SOON / 1000:
                    return False
                assert touched
                last = now
                time.sleep(SOON / 1000 / 20)
            return True

        eventually(lives_on)
        assert chunks(relay)

    def test_an_instant_stays(self, relay: Relay) -> None:
        at = int(time.time() * 1000) + SOON
        relay.call(opening("1", expires_at=at))
        assert relay.state(S).expires_at == at

        def gone() -> bool:
            relay.call(writing("2"))
            return relay.read(Read(S, 0, 0, 1, touch=True)) is None

        eventually(gone)
        assert time.time() * 1000 >= at - 50

    def test_a_stop_keeps_its_own_time(self, relay: Relay) -> None:
        relay.call(opening("1", ttl=SOON))
        relay.call(Stop(S))
        eventually(lambda: not exists(relay))


@pytest.mark.parametrize("kind", ["redis", "fakeredis"])
def test_no_key_without_a_time_to_live(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = request.getfixturevalue("fakeredis_server").url
    relay = RedisRelay(url, RelayOptions(ttl=60_000, max_bytes=200))
    with redis.Redis.from_url(url) as client:
        client.flushdb()

        def do(request: Any) -> None:
            relay.call(request)
            for key in without_index(client.scan_iter()):
                assert 0 < client.pttl(key) <= 90_000, (request, key)

        do(writing("1"))
        do(Fork(S, 1))
        for life in ({}, {"ttl": 30_000}, {"expires_at": int(time.time() * 1000) + 30_000}):
            do(opening(**life))
            do(writing("1"))
            do(numbered(0, "2", sequence="1"))
            do(numbered(0, "2"))
            do(numbered(5, "2"))
            do(writing("1" * 300))
            do(Fork(S, 1))
            do(
                opening(
                    "x", name="fork", nonce="bbbbbbbb", source=S,
                    lineage=(Segment(1, "aaaaaaaa", 1),), inherited=(Entry(1, 1, b"1"),), **life,
                )
            )  # fmt: skip
            do(numbered(1, "3", end="completed"))
            do(Delete(S))
            do(Delete("fork"))
            do(Fork(S, -1))
            assert without_index(client.scan_iter()) == []
            do(opening(ttl=0))
            do(writing("1"))
    relay.close()


def test_a_lost_log_ends_the_stream(redis_url: str) -> None:
    relay = RedisRelay(redis_url, RelayOptions())
    with redis.Redis.from_url(redis_url) as client:
        relay.call(opening("1"))
        client.delete(f"ss:{{{S}}}:s")
        assert relay.call(numbered(0, "2", sequence="1")) == ("unknown", 0, False, "")
        assert without_index(client.scan_iter()) == []
    relay.close()


def test_only_what_can_be_repeated_is_sent_again(own_redis: RedisServer) -> None:
    relay = RedisRelay(own_redis.url(), RelayOptions())

    def restart() -> None:
        # The connection that the relay holds is dead then, which it learns when it asks.
        own_redis.kill()
        own_redis.start()

    for request in (writing("1"), Fork(S, 1)):
        assert relay.call(opening()).kind in ("ok", "duplicate")
        restart()
        with pytest.raises(RelayUnavailableError):
            relay.call(request)
    for request in (numbered(0, "1"), Delete(S), opening()):
        relay.call(Stop("any"))
        restart()
        assert relay.call(request).kind in ("unknown", "ok")
    relay.close()

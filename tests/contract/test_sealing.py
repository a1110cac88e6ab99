"""Streams that have ended, sealed: whoever reads or writes them notices nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from streamstraight_celery.offsets import segment_of
from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.redis.async_relay import AsyncRedisRelay
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Delete,
    NoteTold,
    Read,
    Reap,
    Recall,
    Release,
    Renew,
    Request,
    Stop,
)
from streamstraight_celery.relays.sealing import (
    BLOCK_BYTES,
    BLOCK_CHUNKS,
    is_to_be_sealed,
    seal_requests,
)
from tests.support.keys import without_index

from .sealing import entries_of, seal, texts_of
from .test_forks import forking
from .writing import MakeRelay

S = "s"
NONCE = "aaaaaaaa"
# The memory relay and a Streamstraight service do not seal; what holds is the same.
SEALED = (["ok"], ["refused"])


KEYS = ("ss:{s}:m", "ss:{s}:s")
READS_OF_NO_CHUNK = ((0, 0, 0, ""), (0, 0, 0, "1"), (1, 40, 100, "1"))


def script(name: str) -> str:
    """A script of the last version that does not seal."""
    return (Path(__file__).parent / "older" / f"{name}.lua").read_text()


def without_empty(said: Any) -> list[bytes | None]:
    """The fields of a state: sealing leaves out what is empty."""
    return [each or None for each in said[1]]


def append(first: int, *texts: str, end: str = "", attempt: int = 1, nonce: str = NONCE) -> Append:
    return Append(S, attempt, nonce, first, len(texts), "\n".join(texts).encode(), end)


def write(relay: Relay, count: int, end: str = "completed", size: int = 0) -> list[str]:
    """A stream of entries of 1, 2, 3, 1, ... chunks."""
    relay.call(Create(S, "task"))
    relay.call(Claim(S, NONCE, "task"))
    texts = [f'"{number}{"x" * size}"' for number in range(1, count + 1)]
    first, lengths = 1, 0
    while first <= count:
        some = texts[first - 1 : first + lengths % 3]
        assert relay.call(append(first, *some)).kind == "ok"
        first, lengths = first + len(some), lengths + 1
    if end:
        assert relay.call(append(count + 1, end=end)).kind == "ok"
    return texts


@pytest.mark.fakeredis
def test_every_position_reads_the_same(relay: Relay) -> None:
    texts = write(relay, 30)
    before = relay.state(S)
    assert seal(relay, S) in SEALED
    after = relay.state(S)
    assert (after.last, after.end, after.size, after.segments, after.ended) == (
        before.last, before.end, before.size, before.segments, before.ended,
    )  # fmt: skip
    assert texts_of(entries_of(relay, S)) == texts
    for seq in range(31):
        page = relay.read(Read(S, 1 if seq else 0, seq, 1000))
        assert page is not None
        assert texts_of(page.entries) == texts[seq:]
        assert not page.entries or page.entries[0].first == seq + 1


def test_blocks_are_neither_long_nor_large(relay: Relay) -> None:
    rng = random.Random(7)
    texts = [f'"{rng.getrandbits(8 * rng.choice([1, 8, 60_000])):x}"' for _ in range(60)]
    texts += ["1"] * (2 * BLOCK_CHUNKS + 1) + [f'"{"y" * 2 * BLOCK_BYTES}"'] + ["2"] * 3
    relay.call(Claim(S, NONCE, "task"))
    relay.call(append(1, *texts, end="completed"))
    assert set(seal(relay, S)) in ({"ok"}, {"refused"})
    assert texts_of(entries_of(relay, S)) == texts
    if not relay.state(S).sealed:
        return
    for entry in entries_of(relay, S):
        chunks = entry.last - entry.first + 1
        assert chunks <= BLOCK_CHUNKS
        assert chunks == 1 or len(entry.data) <= BLOCK_BYTES + chunks
    one = relay.read(Read(S, 0, 0, 1))
    assert one is not None
    assert len(one.entries) == 1


def test_a_log_of_several_attempts(relay: Relay) -> None:
    relay.call(Claim(S, NONCE, "task"))
    relay.call(append(1, "1", "2", "3"))
    relay.call(Release(S, 1, NONCE, 1000))
    relay.call(Claim(S, "bbbbbbbb", "task", resume=True))
    relay.call(append(4, "4", "5", end="completed", attempt=2, nonce="bbbbbbbb"))
    assert seal(relay, S) in SEALED
    segments = relay.state(S).segments
    for seq in range(1, 5):
        page = relay.read(Read(S, segment_of(segments, seq).attempt, seq, 100))
        assert page is not None
        assert texts_of(page.entries) == ["1", "2", "3", "4", "5"][seq:]


def test_only_an_end_like_that_is_sealed(relay: Relay) -> None:
    texts = write(relay, 5, end="")
    memory = entries_of(relay, S)
    assert seal(relay, S) in (["fenced"], ["refused"])  # still open
    relay.call(append(6, "6", end="completed"))
    assert seal(relay, S, memory) in (["fenced"], ["refused"])  # a chunk is missing
    assert texts_of(entries_of(relay, S)) == [*texts, "6"]
    assert not relay.state(S).sealed
    assert seal(relay, "s") in SEALED
    assert seal(relay, "s") in (["duplicate"], ["refused"])
    assert texts_of(entries_of(relay, S)) == [*texts, "6"]


@pytest.mark.parametrize("written", ["nothing", "another"])
def test_a_stream_that_is_gone_or_replaced(relay: Relay, written: str) -> None:
    write(relay, 5)
    requests = list(seal_requests(S, 1, NONCE, entries_of(relay, S)))
    relay.call(Delete(S))
    if written == "another":
        relay.call(Claim(S, "bbbbbbbb", "task"))
        relay.call(append(1, "x", end="completed", nonce="bbbbbbbb"))
    wanted = "unknown" if written == "nothing" else "fenced"
    assert [relay.call(each).kind for each in requests] in ([wanted], ["refused"])
    assert texts_of(entries_of(relay, S)) == ([] if written == "nothing" else ["x"])


def of_latecomers() -> list[Request]:
    """What an old producer, its parent process, a reader or a stop may still ask."""
    return [
        append(31, "late"), append(31, end="completed"), append(31, end="stopped"), append(1, "1"),
        Renew(S, 1, NONCE), Release(S, 1, NONCE, 1000), Stop(S), Reap(S), Create(S, "task"),
        Create(S, "other"), Claim(S, NONCE, "task"), Claim(S, "bbbbbbbb", "task", resume=True),
        Claim(S, "bbbbbbbb", "task", after_loss=True), Checkpoint(S, 1, NONCE, "1", 3), Recall(S),
        Conclude(S, "task", NONCE, end="producer-error"),
    ]  # fmt: skip


def test_what_comes_late_is_answered_as_before(make_relay: MakeRelay) -> None:
    relay = make_relay()
    texts = write(relay, 30)
    open_answers = relay.execute(of_latecomers())
    assert seal(relay, S) in SEALED
    assert relay.execute(of_latecomers()) == open_answers
    assert texts_of(entries_of(relay, S)) == texts
    state = relay.state(S)
    assert relay.call(NoteTold(S, 1, state.ended)).kind == "ok"
    assert relay.state(S).end_told


@pytest.mark.parametrize("resume", [False, True])
def test_a_stream_that_is_begun_again(relay: Relay, resume: bool) -> None:
    """What is sealed cannot be continued: its log starts over."""
    write(relay, 30)
    sealed = seal(relay, S) == ["ok"]
    claim = Claim(S, "bbbbbbbb", "task", overwrite=True, resume=resume and sealed)
    assert relay.call(claim) == ("ok", 2, False, "0")
    assert not relay.state(S).sealed
    assert entries_of(relay, S) == []
    relay.call(append(1, "a", "b", attempt=2, nonce="bbbbbbbb"))
    assert texts_of(entries_of(relay, S)) == ["a", "b"]
    relay.call(append(3, "c", end="completed", attempt=2, nonce="bbbbbbbb"))
    assert seal(relay, S) in SEALED
    assert texts_of(entries_of(relay, S)) == ["a", "b", "c"]


def test_a_lost_producer_s_stream_waits_for_the_next_attempt(make_relay: MakeRelay) -> None:
    relay = make_relay(lease=0, reap_after=0)
    write(relay, 3, end="")
    while relay.call(Reap(S)).kind == "alive":
        time.sleep(0.005)
    state = relay.state(S)
    assert state.end == "producer-disconnected"
    assert not is_to_be_sealed(state)


def test_a_sealed_stream_is_forked(relay: Relay) -> None:
    """As the relay server does: with what it has read, which may be one block of two attempts."""
    relay.call(Claim(S, NONCE, "task"))
    relay.call(append(1, "1", "2", "3"))
    relay.call(Release(S, 1, NONCE, 1000))
    relay.call(Claim(S, "bbbbbbbb", "task", resume=True))
    relay.call(append(4, "4", "5", end="completed", attempt=2, nonce="bbbbbbbb"))
    assert seal(relay, S) in SEALED
    answer = forking(relay, S, "fork", "x", upto=4, nonce="cccccccc")
    assert answer.kind == "ok"
    segments = relay.state("fork").segments
    assert [part.nonce for part in segments] == [NONCE, "bbbbbbbb", "cccccccc"]
    for seq in range(5):
        attempt = segment_of(segments, seq).attempt if seq else 0
        page = relay.read(Read("fork", attempt, seq, 100))
        assert page is not None
        assert texts_of(page.entries) == ["1", "2", "3", "4", "x"][seq:]
    assert relay.call(Delete(S)).kind == "ok"
    assert texts_of(entries_of(relay, "fork")) == ["1", "2", "3", "4", "x"]


def test_a_sealed_stream_is_deleted(relay: Relay) -> None:
    write(relay, 5)
    seal(relay, S)
    assert relay.call(Delete(S)).kind == "ok"
    assert relay.read(Read(S)) is None
    relay.call(Claim(S, "bbbbbbbb", "task"))
    relay.call(append(1, "x", nonce="bbbbbbbb"))
    assert texts_of(entries_of(relay, S)) == ["x"]


class TestOnRedis:
    """Keys, parts that come one by one, and what Redis loses."""

    @pytest.fixture
    def client(self, redis_url: str) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(redis_url) as client:
            yield client

    @pytest.fixture
    def relay(self, redis_url: str) -> Iterator[RedisRelay]:
        relay = RedisRelay(redis_url, RelayOptions(ttl=60_000))
        yield relay
        relay.close()

    def test_the_key_is_as_documented(self, relay: RedisRelay, client: redis.Redis) -> None:
        write(relay, 600)
        relay.call(Checkpoint(S, 1, NONCE, "1", 3))
        seal(relay, S)
        assert client.type("ss:{s}:s") == b"list"
        assert client.llen("ss:{s}:s") == 3
        assert client.lindex("ss:{s}:s", -1) == b"512 600"
        assert client.hget("ss:{s}:m", "Z") == b"1"
        assert without_index(client.scan_iter()) == [b"ss:{s}:m", b"ss:{s}:s"]
        left = client.pttl("ss:{s}:m")
        assert 50_000 < client.pttl("ss:{s}:s") <= left + 5

    def parts(self, relay: RedisRelay) -> list[Request]:
        """A stream that is sealed in three parts or more."""
        rng = random.Random(7)
        texts = [f'"{rng.getrandbits(8 * 40_000):x}"' for _ in range(16)]
        relay.call(Claim(S, NONCE, "task"))
        for seq, text in enumerate(texts, 1):
            relay.call(append(seq, text, end="completed" if seq == len(texts) else ""))
        requests: list[Request] = list(seal_requests(S, 1, NONCE, entries_of(relay, S)))
        assert len(requests) >= 3
        self.texts = texts
        return requests

    def test_between_two_parts_the_stream_is_as_before(
        self, relay: RedisRelay, client: redis.Redis
    ) -> None:
        requests = self.parts(relay)
        for request in requests:
            assert not relay.state(S).sealed
            assert texts_of(entries_of(relay, S)) == self.texts
            assert relay.call(request).kind == "ok"
            assert all(client.pttl(key) > 0 for key in without_index(client.scan_iter()))
        assert relay.state(S).sealed
        assert texts_of(entries_of(relay, S)) == self.texts
        assert len(without_index(client.scan_iter())) == 2

    def test_a_lost_part_is_not_sealed(self, relay: RedisRelay, client: redis.Redis) -> None:
        first, *others = self.parts(relay)
        relay.call(first)
        (place,) = [key for key in client.scan_iter() if b":z:" in key]
        assert 0 < client.pttl(place) <= 60_000
        client.delete(place)
        assert relay.call(others[0]).kind == "gap"
        assert not client.exists(place)
        assert texts_of(entries_of(relay, S)) == self.texts
        assert set(seal(relay, S)) == {"ok"}
        assert texts_of(entries_of(relay, S)) == self.texts

    def test_two_who_seal_at_once(self, relay: RedisRelay, client: redis.Redis) -> None:
        ours = self.parts(relay)
        theirs = list(seal_requests(S, 1, NONCE, entries_of(relay, S)))
        kinds = [
            [relay.call(each).kind for each in pair] for pair in zip(ours, theirs, strict=True)
        ]
        assert kinds[-1] == ["ok", "duplicate"]
        assert texts_of(entries_of(relay, S)) == self.texts
        assert len([key for key in without_index(client.scan_iter()) if b":z:" in key]) <= 1

    def test_a_failover_loses_the_seal(self, relay: RedisRelay, client: redis.Redis) -> None:
        texts = write(relay, 40)
        before = [client.dump(key) for key in KEYS]
        seal(relay, S)
        for key, value in zip(KEYS, before, strict=True):
            client.restore(key, 60_000, value, replace=True)  # type: ignore[arg-type]
        assert texts_of(entries_of(relay, S)) == texts
        assert seal(relay, S) == ["ok"]
        assert texts_of(entries_of(relay, S)) == texts

    def test_an_evicted_log_is_gone(self, relay: RedisRelay, client: redis.Redis) -> None:
        write(relay, 40)
        seal(relay, S)
        client.delete("ss:{s}:s")
        page = relay.read(Read(S, 0, 0, 100))
        assert page is not None
        assert (page.state.last, page.entries) == (40, ())

    def test_a_relay_server_before_sealing_refuses_or_is_right(
        self, relay: RedisRelay, client: redis.Redis
    ) -> None:
        """Its script answers who wants no chunks, and fails for all others: HTTP 503."""
        write(relay, 40)
        before = [client.eval(script("read"), 2, *KEYS, *asked) for asked in READS_OF_NO_CHUNK]
        seal(relay, S)
        after = [client.eval(script("read"), 2, *KEYS, *asked) for asked in READS_OF_NO_CHUNK]
        assert [without_empty(said) for said in after] == [without_empty(said) for said in before]
        assert [said[2] for said in after] == [[], [], []]
        for seq in (0, 1, 39):
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                client.eval(script("read"), 2, *KEYS, 1, seq, 100, "")

    def test_a_worker_before_sealing_begins_it_again(
        self, relay: RedisRelay, client: redis.Redis
    ) -> None:
        """It leaves the mark that the attempt before is sealed."""
        write(relay, 40)
        seal(relay, S)
        words = ("bbbbbbbb", 10_000, 60_000, 0, "task", "json", "PUBLISH", "", "1", "ss:{s}:n", "",
                 "", "", "", "0")  # fmt: skip
        assert client.eval(script("claim"), 2, *KEYS, *words)[:2] == [b"ok", 2]
        assert client.hget(KEYS[0], "Z") == b"1"
        relay.call(append(1, "x", end="completed", attempt=2, nonce="bbbbbbbb"))
        assert not relay.state(S).sealed
        assert texts_of(entries_of(relay, S)) == ["x"]
        assert seal(relay, S) == ["ok"]
        assert texts_of(entries_of(relay, S)) == ["x"]

    async def test_sealed_while_a_long_page_is_read(
        self, relay: RedisRelay, redis_url: str
    ) -> None:
        """The relay server reads the rest of a long page without the script."""
        texts = write(relay, 400)
        server_side = AsyncRedisRelay(redis_url, RelayOptions())
        page = (await server_side.read([Read(S, 0, 0, 1000)]))[0]
        assert page is not None
        assert texts_of(page.entries) == texts
        run = server_side.run

        async def run_and_seal(*args: object, **options: object) -> object:
            answers = await run(*args, **options)  # type: ignore[arg-type]
            seal(relay, S)
            return answers

        server_side.run = run_and_seal  # type: ignore[assignment,method-assign]
        page = (await server_side.read([Read(S, 0, 0, 1000)]))[0]
        assert page is not None
        found = texts_of(page.entries)
        assert found == texts[: len(found)]
        rest = (await server_side.read([Read(S, 1, len(found), 1000)]))[0]
        assert rest is not None
        assert found + texts_of(rest.entries) == texts
        await server_side.close()

    def test_no_script_reads_much_at_once(self, relay: RedisRelay) -> None:
        self.parts(relay)
        seal(relay, S)
        page = relay.read(Read(S, 0, 0, 1000))
        assert page is not None
        assert len(page.entries) < len(self.texts)
        assert sum([len(entry.data) for entry in page.entries]) < 512 * 1024

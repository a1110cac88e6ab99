"""Streams that are sealed while they are read, or because they are read."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence

import pytest
import redis

from streamstraight_celery.errors import RelayUnavailableError
from streamstraight_celery.producing.outbox import Outbox
from streamstraight_celery.producing.sealer import Sealer
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays.base import Relay, RelayOptions
from streamstraight_celery.relays.redis.relay import RedisRelay
from streamstraight_celery.relays.requests import Answer, Claim, Entry, Open, Request, Seal
from streamstraight_celery.relays.sealing import BLOCK_BYTES
from streamstraight_celery.settings import StreamSettings
from tests.contract.sealing import entries_of, seal, texts_of
from tests.support.waiting import eventually, eventually_async
from tests.unit.troubled import TroubledRelay

from .conftest import MakeSite, Site
from .test_dropping import DroppingReader


class DyingRelay(RedisRelay):
    """A relay that is gone from the part of a seal on that is called `dies_at`.

    Attributes:
        after: that part is carried out; only its answer is lost.
    """

    dies_at = -1
    after = False
    parts = 0

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        if not isinstance(requests[0], Seal):
            return super().execute(requests)
        self.parts += 1
        if self.dies_at < 0 or self.parts <= self.dies_at:
            return super().execute(requests)
        if self.after and self.parts == self.dies_at + 1:
            super().execute(requests)
        raise RelayUnavailableError("the process was killed")


@pytest.fixture
def relay(redis_url: str) -> Iterator[DyingRelay]:
    relay = DyingRelay(redis_url, RelayOptions())
    yield relay
    relay.close()


@pytest.fixture
def sender(relay: DyingRelay, redis_url: str) -> Iterator[Sender]:
    settings = StreamSettings(relay_url=redis_url)
    sender = Sender(relay, settings, sealer=Sealer(relay))
    yield sender
    sender.close()


def texts(count: int, size: int = 0) -> list[str]:
    rng = random.Random(count)
    return [f'"{number} {rng.getrandbits(8 * size + 1):x}"' for number in range(count)]


def produce(sender: Sender, stream_id: str, chunks: Sequence[str], end: str = "completed") -> None:
    writer = sender.open(stream_id)
    for chunk in chunks:
        writer.add(chunk)
    writer.finish(end)  # type: ignore[arg-type]
    assert writer.outcome == end


def test_a_producer_seals_what_it_has_ended(sender: Sender, relay: DyingRelay) -> None:
    chunks = texts(2000)
    produce(sender, "s", chunks)
    eventually(lambda: relay.state("s").sealed)
    assert texts_of(entries_of(relay, "s")) == chunks


def test_many_streams_at_once(sender: Sender, relay: DyingRelay) -> None:
    threads = [
        threading.Thread(target=produce, args=(sender, f"s{number}", texts(number + 1)))
        for number in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(40):
        eventually(lambda name=f"s{number}": relay.state(name).sealed)  # type: ignore[misc]
        assert texts_of(entries_of(relay, f"s{number}")) == texts(number + 1)


@pytest.mark.parametrize("end", ["producer-error", "stopped", "producer-disconnected"])
def test_other_ends(sender: Sender, relay: DyingRelay, end: str) -> None:
    """A stream whose producer was lost may go on."""
    produce(sender, "s", texts(3), end)
    sender.close()
    assert relay.state("s").sealed is (end != "producer-disconnected")
    assert texts_of(entries_of(relay, "s")) == texts(3)


def test_a_producer_that_has_not_written_all_of_it_leaves_it(
    sender: Sender, relay: DyingRelay
) -> None:
    writer = sender.open("s")
    writer.add("1")
    writer.release(1)
    assert writer.outcome == "released"
    writer = sender.open("s", resume=True)
    writer.add("2")
    writer.finish("completed")
    sender.close()
    assert not relay.state("s").sealed
    assert texts_of(entries_of(relay, "s")) == ["1", "2"]


LARGE = texts(12, size=BLOCK_BYTES // 2 + 100)  # three parts and more


@pytest.mark.parametrize("dies_at", range(4))
@pytest.mark.parametrize("after", [False, True])
async def test_a_producer_dies_while_it_seals(
    make_site: MakeSite,
    redis_url: str,
    sender: Sender,
    relay: DyingRelay,
    dies_at: int,
    after: bool,
) -> None:
    """Before, between and after the parts: the stream is there, and its first reader seals it."""
    relay.dies_at, relay.after = dies_at, after
    produce(sender, "s", LARGE)
    sender.close()
    assert relay.parts == dies_at + 1
    assert texts_of(entries_of(relay, "s")) == LARGE
    site = await make_site(redis_url)
    await read(site, "s", len(LARGE))
    relay.dies_at = -1
    await eventually_async(lambda: site.relay.state("s").sealed)
    await read(site, "s", len(LARGE))
    assert texts_of(entries_of(relay, "s")) == LARGE


async def read(site: Site, stream_id: str, count: int) -> None:
    stream = await site.client(stream_id).sse(stream_id, "-1")
    while await stream.more():
        continue
    await stream.close()
    assert len(stream.chunks) == count


@pytest.mark.parametrize(
    ("seed", "lost"), [(0, "nothing"), (1, "seal"), (2, "scripts"), (3, "notices")]
)
async def test_readers_in_the_middle_notice_nothing(
    make_site: MakeSite, redis_url: str, seed: int, lost: str
) -> None:
    """They drop and resume at random, before, while and after the stream is sealed."""
    rng = random.Random(seed)
    site = await make_site(redis_url, max_age=0.3)
    producer = site.producer()
    for _ in range(60):
        producer.append(*({"n": rng.random(), "x": "x" * 500} for _ in range(rng.randint(1, 9))))
    readers = [
        DroppingReader(site.client(producer), producer.stream_id, random.Random(rng.random()))
        for _ in range(12)
    ]
    for reader in readers[:6]:
        for _ in range(rng.randint(0, 6)):
            await reader.connection()
    name = producer.stream_id
    keys = (f"ss:{{{name}}}:m", f"ss:{{{name}}}:s")
    with redis.Redis.from_url(redis_url) as client:
        if lost == "notices":
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        producer.end()
        before = [client.dump(key) for key in keys]
        for reader in readers[6:]:
            for _ in range(rng.randint(0, 6)):
                await reader.connection()
        seal(site.relay, name)
        if lost == "seal":
            for key, value in zip(keys, before, strict=True):
                client.restore(key, 60_000, value, replace=True)  # type: ignore[arg-type]
        elif lost == "scripts":
            client.script_flush()
    for reader in readers:
        assert await reader.run() == producer.values()
        assert reader.resets == 0


async def test_a_reader_seals_what_others_wrote_over_http(redis_site: Site) -> None:
    relay: Relay = redis_site.relay
    relay.call(
        Open(
            stream_id="h", config="c", nonce="aaaaaaaa", kind="json", end="completed",
            content_type="application/json", count=3, data=b"1\n2\n3",
        )
    )  # fmt: skip
    await read(redis_site, "h", 3)
    await eventually_async(lambda: relay.state("h").sealed)
    await read(redis_site, "h", 3)


async def test_a_stream_begun_again_is_read_anew(redis_site: Site) -> None:
    producer = redis_site.producer()
    producer.append(1, 2, 3)
    producer.end()
    await read(redis_site, producer.stream_id, 3)
    await eventually_async(lambda: redis_site.relay.state(producer.stream_id).sealed)
    claim = Claim(producer.stream_id, "bbbbbbbb", "task", overwrite=True)
    assert redis_site.relay.call(claim).attempt == 2
    producer.attempt, producer.nonce, producer.chunks = 2, "bbbbbbbb", []
    producer.append("new")
    producer.end()
    await read(redis_site, producer.stream_id, 1)


def ended(*texts: str) -> Outbox:
    """What is left of a stream that its producer has ended."""
    claim, answer = Claim("s", "aaaaaaaa"), Answer("ok", 1, reason="0")
    settings = StreamSettings(relay_url="memory://")
    outbox = Outbox(claim, answer, settings, 0.0, on_room=print, on_change=print)
    outbox.whole = [Entry(seq, seq, text.encode()) for seq, text in enumerate(texts, 1)]
    outbox.size = sum([len(text) for text in texts])
    return outbox


def test_a_part_that_is_not_taken_is_the_last(relay: DyingRelay) -> None:
    """The stream is gone, or another attempt has begun."""
    sealer = Sealer(relay)
    sealer.seal(ended(*LARGE))
    sealer.close()
    assert relay.parts == 1


def test_more_than_can_wait_is_let_go(relay: DyingRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstraight_celery.producing.sealer.MOST_BYTES", 1)
    sealer = Sealer(relay)
    sealer.seal(ended("11"))
    sealer.close()
    assert relay.parts == 0


def test_a_relay_that_does_not_seal_is_asked_once() -> None:
    relay = TroubledRelay()
    for _ in range(3):
        sealer = Sealer(relay)
        for _ in range(3):
            sealer.seal(ended("1"))
            sealer.close()
        assert len(relay.sent) == 1
        relay.sent.clear()

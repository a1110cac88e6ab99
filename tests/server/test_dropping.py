"""Readers that drop and resume at random while things fail: the acid test."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import redis

from streamstraight_celery.relays.requests import Release

from .client import Client
from .conftest import MakeSite, Site
from .producer import Producer


class DroppingReader:
    """Reads a stream to its end over many connections, as our clients do.

    Attributes:
        chunks: of the attempt being read.
        resets: how often a new attempt made it start again.
    """

    def __init__(self, client: Client, stream_id: str, rng: random.Random) -> None:
        self.client = client
        self.stream_id = stream_id
        self.rng = rng
        self.chunks: list[Any] = []
        self.offset = "-1"
        self.resets = 0

    async def run(self) -> list[Any]:
        while not await self.connection():
            continue
        return self.chunks

    async def connection(self) -> bool:
        """One connection; True at the end of the stream."""
        headers: dict[str, str] = {}
        offset: str | None = self.offset
        if self.offset != "-1" and self.rng.random() < 0.3:
            headers["Last_Event_ID"] = self.offset
            offset = self.rng.choice([None, "-1"])
        stream = await self.client.sse(self.stream_id, offset, **headers)
        if stream.status == 204:
            await stream.close()
            return True
        if stream.status == 410:
            await stream.close()
            self.chunks, self.offset, self.resets = [], "-1", self.resets + 1
            return False
        assert stream.status == 200, stream.status
        wanted = self.rng.randint(1, 40)
        while len(stream.chunks) < wanted and await stream.more():
            continue
        await stream.close()
        self.chunks += stream.chunks
        if stream.offsets:
            self.offset = stream.offsets[-1]
        return any(
            event.data.get("streamClosed") for event in stream.events if event.name != "data"
        )


async def write(producer: Producer, rng: random.Random, number: int) -> None:
    for _ in range(number):
        producer.append(*({"n": rng.random()} for _ in range(rng.randint(1, 5))))
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() / 100)


async def run(site: Site, seed: int, disturb: Any) -> None:
    rng = random.Random(seed)
    producer = site.producer()
    readers = [
        DroppingReader(site.client(producer), producer.stream_id, random.Random(rng.random()))
        for _ in range(15)
    ]
    reading = [asyncio.ensure_future(reader.run()) for reader in readers]
    for _ in range(6):
        await write(producer, rng, 30)
        disturb(producer, rng)
    producer.end()
    for chunks in await asyncio.gather(*reading):
        assert chunks == producer.values()


def new_attempt(producer: Producer, rng: random.Random) -> None:
    if rng.random() < 0.4:
        resume = rng.random() < 0.5
        producer.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
        producer.claim(resume=resume)


@pytest.mark.parametrize("seed", range(4))
async def test_attempts(site: Site, seed: int) -> None:
    await run(site, seed, new_attempt)


@pytest.mark.parametrize("seed", range(6))
async def test_everything(make_site: MakeSite, redis_url: str, seed: int) -> None:
    site = await make_site(redis_url, max_age=0.3)
    with redis.Redis.from_url(redis_url) as direct:

        def disturb(producer: Producer, rng: random.Random) -> None:
            kind = rng.choice(["attempt", "kill", "flush", "lose", "rollback", "nothing"])
            name = f"ss:{{{producer.stream_id}}}"
            if kind == "attempt":
                new_attempt(producer, rng)
            elif kind == "kill":
                direct.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            elif kind == "flush":
                direct.script_flush()
            elif kind == "lose":
                direct.delete(f"{name}:m", f"{name}:s")
                heal(producer, rng, 1)
            elif kind == "rollback":
                kept = rng.randint(1, len(producer.chunks))
                rows: Any = direct.xrange(f"{name}:s")
                cut = [row for row, _ in rows if int(row.split(b"-")[1]) > kept]
                if len(cut) == len(rows):
                    return
                direct.xdel(f"{name}:s", *cut) if cut else None
                last = int(rows[len(rows) - len(cut) - 1][0].split(b"-")[1])
                direct.execute_command("XSETID", f"{name}:s", rows[len(rows) - len(cut) - 1][0])
                direct.hset(f"{name}:m", "q", str(last))
                heal(producer, rng, last + 1)

        await run(site, seed, disturb)


def heal(producer: Producer, rng: random.Random, first: int) -> None:
    """What a writer does that is told of a gap: send again, in other batches than before."""
    if first == 1:
        producer.claim(nonce=producer.nonce, attempt=producer.attempt)
    while first <= len(producer.chunks):
        last = min(len(producer.chunks), first + rng.randint(0, 20))
        assert producer.send(first, last).kind == "ok"
        first = last + 1

"""Readers in numbers, and readers that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.faults.chunks import read_chunk
from tests.faults.oracle import judge_stream
from tests.faults.stage import Stage, until
from tests.server.client import Client

DESCRIPTORS = 40
MEMORY = 150 * 1024 * 1024


@pytest.fixture
def bounded(stage: Stage) -> Iterator[Stage]:
    """The stage; relay servers must be left with no more than they had."""
    before = [(relay.pid, relay.descriptors(), relay.memory()) for relay in stage.relays]
    yield stage
    for relay, (pid, descriptors, memory) in zip(stage.relays, before, strict=True):
        if relay.pid == pid:
            deadline = time.monotonic() + 20
            while relay.descriptors() > descriptors + DESCRIPTORS:
                assert time.monotonic() < deadline, f"{relay.descriptors()} open files"
                time.sleep(0.05)
            assert relay.memory() < memory + MEMORY


def attach(stage: Stage, names: list[str], number: int) -> None:
    for place in range(number):
        stage.read(names[place % len(names)])


async def all_well(stage: Stage, names: list[str], timeout: float = 90.0) -> None:
    for name in names:
        await until(lambda name=name: stage.stream(name).ended, f"{name} ends", timeout)
        await stage.readers_are_done(name, timeout)
        records = stage.records(name)
        assert judge_stream(name, stage.stream(name), records) == []
        assert {record.end for record in records} == {"completed"}
        assert not any(record.resets for record in records)


@pytest.mark.parametrize(
    "number", [1000, pytest.param(4000, marks=pytest.mark.faults, id="4000-of-them")]
)
async def test_a_relay_server_is_killed_under_its_readers(bounded: Stage, number: int) -> None:
    """Half of them are on the one that dies: all of those come back at once, to the other."""
    stage = bounded
    names = [stage.announce() for _ in range(5)]
    attach(stage, names, number)
    for name in names:
        stage.producers[0].begin(name, 40, pace=0.1)
        await stage.readers_have(name, 3)
    stage.relays[0].kill()
    await all_well(stage, names)
    stage.relays[0].start()


async def test_everybody_comes_back_at_once(bounded: Stage) -> None:
    """Redis hangs up on all relay servers, and these shut down, one after the other."""
    stage = bounded
    names = [stage.announce() for _ in range(10)]
    attach(stage, names, 500)
    for name in names:
        stage.producers[0].begin(name, 40, pace=0.1)
        await stage.readers_have(name, 3)
    stage.to_relays.refuse()
    for relay in stage.relays:
        relay.kill()
        await asyncio.to_thread(relay.start)
    await asyncio.sleep(0.5)
    stage.to_relays.accept()
    await all_well(stage, names)
    statuses = {
        status for name in names for each in stage.records(name) for status in each.statuses
    }
    assert 503 in statuses


async def test_those_sent_away_are_told_when_to_come_back(stage: Stage) -> None:
    """Not all at the same moment."""
    name = stage.announce()
    token = stage.token(name)
    stage.to_relays.refuse()
    try:
        answers = [await Client(stage.relays[0].port, token).read(name) for _ in range(30)]
    finally:
        stage.heal()
    assert {answer.status for answer in answers} == {503}
    assert len({answer.headers["retry-after"] for answer in answers}) > 1


async def test_readers_that_never_read_harm_nobody(bounded: Stage) -> None:
    stage, name = bounded, bounded.announce()
    deaf = [_deaf_reader(relay.port, name, stage.token(name)) for relay in stage.relays * 10]
    for door in ("sse", "sse", "long-poll"):
        stage.read(name, door)
    stage.producers[0].begin(name, 2000, size=3000)
    await all_well(stage, [name])
    for each in deaf:
        each.close()


def _deaf_reader(port: int, name: str, token: str) -> socket.socket:
    """A connection that asks for a stream and takes nothing of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    head = f"GET /v1/stream/{name}?live=sse&offset=-1 HTTP/1.1\r\nHost: x\r\n"
    connection.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
    return connection


async def test_readers_far_behind(bounded: Stage) -> None:
    """They begin when there is more than a relay server keeps in memory, and more is coming."""
    stage, name = bounded, bounded.announce()
    stage.read(name)
    stage.producers[0].begin(name, 2500, size=2000, hold=1500)
    await stage.readers_have(name, 1500)
    for door in ("sse", "long-poll") * 10:
        stage.read(name, door)
    stage.producers[0].go(name)
    await all_well(stage, [name])


async def test_requests_that_are_given_up_leak_nothing(bounded: Stage) -> None:
    """Callers hang up at any moment; nobody else gets their bytes."""
    stage, rng = bounded, random.Random(5)
    names = [stage.announce() for _ in range(6)]
    for name in names:
        stage.producers[0].begin(name, 300, size=500)
        await until(lambda name=name: stage.stream(name).ended, f"{name} ends")

    async def hang_up(name: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.relays[0].port)
        head = f"GET /v1/stream/{name} HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{head}Authorization: Bearer {stage.token(name)}\r\n\r\n".encode())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(100), rng.uniform(0, 0.02))
        writer.transport.abort()

    async def read(name: str) -> None:
        client = Client(stage.relays[0].port, stage.token(name))
        chunks: list[object] = []
        answer = await client.read(name)
        while not (chunks and "stream-closed" in answer.headers):
            assert answer.status == 200, answer.body
            chunks += json.loads(answer.body)
            answer = await client.read(name, f"offset={answer.headers['stream-next-offset']}")
        chunks += json.loads(answer.body)
        assert [read_chunk(chunk)[::3] for chunk in chunks] == [
            (name, seq) for seq in range(1, 301)
        ]  # fmt: skip

    for _ in range(15):
        chosen = [rng.choice(names) for _ in range(40)]
        await asyncio.gather(
            *[hang_up(name) if place % 2 else read(name) for place, name in enumerate(chosen)]
        )

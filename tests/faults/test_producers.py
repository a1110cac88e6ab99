"""The producer itself fails: one writes at a time, and readers are told once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from enum import Enum

import pytest

from tests.faults.faults import Moment
from tests.faults.oracle import judge_stream
from tests.faults.stage import LEASE, POLL, REAP_AFTER, Stage, until

TOTAL = 30
BOUND = LEASE + REAP_AFTER + 2 * POLL + 10.0  # the last on a machine that is busy with other things


class Death(Enum):
    """How a producer goes, and whether its task is delivered again."""

    KILLED = "killed, and its task is lost"
    REDELIVERED = "killed, and its task is delivered again"
    FROZEN = "frozen, and its task delivered again; then it wakes as a zombie"


HOLDS = {
    Moment.CLAIMED: 0, Moment.FIRST: 1, Moment.MIDDLE: TOTAL // 2, Moment.LAST: TOTAL,
}  # fmt: skip
CASES = [
    pytest.param(
        death, moment,
        marks=() if moment is Moment.MIDDLE else (pytest.mark.faults,),
        id=f"{death.name.lower()}-{moment.name.lower()}",
    )
    for death in Death for moment in HOLDS
]  # fmt: skip


@pytest.fixture
async def producers(stage: Stage) -> AsyncIterator[Stage]:
    """The stage, with both producers at work again afterwards."""
    yield stage
    victim = stage.producers[0]
    victim.signal(signal.SIGCONT)
    victim.kill()
    victim.start()


@pytest.mark.parametrize(("death", "moment"), CASES)
async def test_a_producer_that_fails(producers: Stage, death: Death, moment: Moment) -> None:
    stage, name, hold = producers, producers.announce(), HOLDS[moment]
    victim, other = stage.producers
    for door in ("sse", "sse", "long-poll"):
        stage.read(name, door)
    victim.begin(name, TOTAL, hold=hold)
    await until(lambda: hold in stage.stream(name).held, f"{name} is held behind {hold}")
    await stage.readers_have(name, hold)
    victim.signal(signal.SIGSTOP if death is Death.FROZEN else signal.SIGKILL)
    failed = time.monotonic()
    if death is not Death.KILLED:
        other.begin(name, TOTAL, pace=0.02)
        await until(lambda: len(stage.stream(name).attempts) == 2, "the next attempt begins")
    if death is Death.FROZEN:
        victim.go(name)
        victim.signal(signal.SIGCONT)
        await until(lambda: stage.stream(name).failures, "the zombie is refused")
    await stage.readers_are_done(name)

    stream, records = stage.stream(name), stage.records(name)
    assert judge_stream(name, stream, records, deadline=failed + BOUND) == []
    if death is Death.KILLED:
        assert {record.end for record in records} == {"producer-disconnected"}
        assert {len(record.life.chunks) for record in records} == {hold}
        return
    assert {record.end for record in records} == {"completed"}
    assert {record.life.chunks[0]["attempt"] for record in records} == {2}
    # Told once, and only if there was something to take back.
    assert {record.resets for record in records} == {1 if hold else 0}
    if death is Death.FROZEN:
        assert stream.failures[0].startswith(("fenced", "closed"))


async def test_the_same_task_delivered_twice_at_once(stage: Stage) -> None:
    """The second finds a living holder: it never writes, and takes nothing from the first."""
    name = stage.announce()
    records = [stage.read(name), stage.read(name, "long-poll")]
    first, second = stage.producers
    first.begin(name, TOTAL, pace=0.05)
    await stage.readers_have(name, 1)
    second.begin(name, TOTAL)
    await stage.readers_are_done(name)
    await until(lambda: stage.stream(name).failures, "the second is told that it has ended")
    stream = stage.stream(name)
    assert judge_stream(name, stream, records) == []
    assert (len(stream.attempts), [record.end for record in records]) == (1, ["completed"] * 2)
    assert stream.failures[0].startswith("closed")


@pytest.mark.faults
async def test_many_streams_of_a_killed_producer(producers: Stage) -> None:
    stage = producers
    victim, other = stage.producers
    names = [stage.announce() for _ in range(30)]
    for number, name in enumerate(names):
        stage.read(name, "long-poll" if number % 3 == 0 else "sse")
        victim.begin(name, TOTAL, pace=0.05)
    await asyncio.gather(*[stage.readers_have(name, 3) for name in names])
    victim.signal(signal.SIGKILL)
    failed = time.monotonic()
    for name in names[::2]:
        other.begin(name, TOTAL)
    await asyncio.gather(*[stage.readers_are_done(name) for name in names])
    ledger = stage.ledger()
    for number, name in enumerate(names):
        records = stage.records(name)
        assert judge_stream(name, ledger[name], records, deadline=failed + BOUND) == []
        expected = "producer-disconnected" if number % 2 else "completed"
        assert [record.end for record in records] == [expected]

"""Every fault at every moment: readers notice nothing but a pause, or they are told.

The default run takes each fault at one moment and each moment with one fault; `make faults` all.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.faults.faults import Fault, Moment
from tests.faults.oracle import Loss, judge_stream, was_lost
from tests.faults.stage import LEASE, POLL, REAP_AFTER, Stage, until
from tests.support.keys import is_of_index

TOTAL = 40
HOLDS = {
    Moment.CLAIMED: 0, Moment.FIRST: 1, Moment.MIDDLE: TOTAL // 2, Moment.LAST: TOTAL,
}  # fmt: skip
ALWAYS = {(fault, Moment.FLOWING) for fault in Fault} | {
    (Fault.RESTART_EMPTY, moment) for moment in Moment
}
# These wait for something to pass by; when nothing does, they do not strike.
ONE_SHOT = {Fault.CUT_IN_REQUEST, Fault.CUT_IN_REPLY, Fault.LOST_REPLIES}
CASES = [
    pytest.param(
        fault, moment,
        marks=() if (fault, moment) in ALWAYS else (pytest.mark.faults,),
        id=f"{fault.name.lower()}-{moment.name.lower()}",
    )
    for fault in Fault for moment in Moment
]  # fmt: skip


@pytest.mark.parametrize(("fault", "moment"), CASES)
async def test_a_fault_that_the_producer_outlives(
    stage: Stage, fault: Fault, moment: Moment
) -> None:
    name, losses = stage.announce(), len(stage.losses)
    records = [stage.read(name), stage.read(name), stage.read(name, "long-poll")]
    await _reach(stage, name, moment)

    passed = stage.to_producers.struck
    striking = asyncio.ensure_future(fault.strike(stage))
    await asyncio.sleep(0.05)
    during = stage.read(name)
    await striking
    struck = stage.losses[losses:]
    if fault in ONE_SHOT and moment is Moment.FLOWING:
        assert stage.to_producers.struck > passed
    if moment is Moment.QUEUED:
        stage.producers[0].begin(name, TOTAL, pace=0.005)
    elif moment in HOLDS:
        stage.producers[0].go(name)

    stream = stage.stream
    await until(lambda: stream(name).ended, f"the producer finishes: {stream(name)}")
    after = stage.read(name)
    deadline = time.monotonic() + LEASE + REAP_AFTER + 2 * POLL + 10.0
    await stage.readers_are_done(name)
    assert _judge(stage, name, struck, deadline) == []
    assert len(stream(name).attempts) == 1
    ended = stream(name).ended
    assert ended is not None
    if moment is Moment.ENDED and struck:
        assert {record.end for record in records} == {"completed"}
    elif not was_lost(ended.ended, struck):  # which a machine that stalls makes possible
        ends = {record.end for record in (*records, during, after)}
        assert ends == {"completed"}
        assert not any(record.resets for record in stage.records(name))
    _keys_expire(stage)


async def _reach(stage: Stage, name: str, moment: Moment) -> None:
    """Let the stream come to that moment of its life."""
    producer = stage.producers[0]
    if moment is Moment.QUEUED:
        await until(
            lambda: all(record.statuses for record in stage.records(name)[:2]), "readers wait"
        )
    elif moment is Moment.FLOWING:
        producer.begin(name, TOTAL * 3, pace=0.01)
        await stage.readers_have(name, 5)
    elif moment is Moment.ENDED:
        producer.begin(name, TOTAL)
        await stage.readers_are_done(name)
    else:
        hold = HOLDS[moment]
        producer.begin(name, TOTAL, pace=0.005, hold=hold)
        await until(lambda: hold in stage.stream(name).held, f"{name} is held behind {hold}")
        await stage.readers_have(name, hold)


def _judge(stage: Stage, name: str, struck: list[Loss], deadline: float) -> list[str]:
    return judge_stream(
        name, stage.stream(name), stage.records(name), losses=struck, deadline=deadline
    )


def _keys_expire(stage: Stage) -> None:
    forever = [key for key, ttl in stage.keys().items() if ttl < 0 and not is_of_index(key)]
    assert forever == []

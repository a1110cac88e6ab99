"""The oracle sees what is wrong: a run without fault, spoiled in each way that matters."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.faults.chunks import Mark, make_chunk
from tests.faults.ledger import AttemptRecord, StreamRecord
from tests.faults.oracle import Loss, judge_stream
from tests.faults.reader import Life, ReaderRecord

NAME, TOTAL = "s", 5


def chunks(attempt: int = 1, nonce: str = "aaaaaaaa", stream: str = NAME) -> list[object]:
    marks = [Mark(stream, attempt, nonce, seq) for seq in range(1, TOTAL + 1)]
    return [json.loads(make_chunk(mark, 20)) for mark in marks]


class Run:
    """A stream that ended well, and its two readers."""

    def __init__(self) -> None:
        attempt = AttemptRecord(1, "aaaaaaaa", 10.0, TOTAL, 11.0, "completed", 11.0, TOTAL)
        self.stream = StreamRecord({"aaaaaaaa": attempt})
        self.readers = [
            ReaderRecord(NAME, 10.0, [Life(chunks())], "completed", 12.0) for _ in range(2)
        ]
        self.losses: list[Loss] = []

    def judge(self) -> list[str]:
        return judge_stream(NAME, self.stream, self.readers, losses=self.losses, deadline=20.0)

    @property
    def got(self) -> list[object]:
        return self.readers[0].life.chunks


def missing(run: Run) -> None:
    del run.got[2]


def short(run: Run) -> None:
    run.got.pop()


def doubled(run: Run) -> None:
    run.got.insert(2, run.got[2])


def swapped(run: Run) -> None:
    run.got[1], run.got[2] = run.got[2], run.got[1]


def damaged(run: Run) -> None:
    run.got[1]["body"] = "other"  # type: ignore[index]


def foreign(run: Run) -> None:
    run.got[1] = chunks(stream="other")[1]


def of_a_zombie(run: Run) -> None:
    run.got[4] = chunks(nonce="bbbbbbbb")[4]


def of_nobody(run: Run) -> None:
    run.readers[0].lives = [Life(chunks(nonce="bbbbbbbb"))]


def reset_for_nothing(run: Run) -> None:
    run.readers[0].lives.append(Life(chunks()))


def backwards(run: Run) -> None:
    run.readers[0].lives = [Life(chunks(2, "bbbbbbbb")), Life(chunks())]


def never_told(run: Run) -> None:
    run.readers[0].end = ""


def told_late(run: Run) -> None:
    run.readers[0].ended = 21.0


def told_otherwise(run: Run) -> None:
    run.readers[0].end = "producer-disconnected"


def stumbled(run: Run) -> None:
    run.readers[0].problems.append("answer 500")


def other_bytes(run: Run) -> None:
    mark = Mark(NAME, 1, "aaaaaaaa", 2)
    run.got[1] = json.loads(make_chunk(mark, 30))


def superseded_writes(run: Run) -> None:
    run.stream.attempts["00000000"] = AttemptRecord(0, "00000000", 5.0, 1, 10.5)


def ended_twice(run: Run) -> None:
    run.stream.attempts["bbbbbbbb"] = AttemptRecord(
        2, "bbbbbbbb", 15.0, TOTAL, 16.0, "completed", 16.0, TOTAL
    )


def test_a_good_run_is_good() -> None:
    assert Run().judge() == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing, "chunk 4 in the place of 3"),
        (short, "with 4 of 5 chunks"),
        (doubled, "chunk 3 in the place of 4"),
        (swapped, "chunk 3 in the place of 2"),
        (damaged, "damaged"),
        (foreign, "foreign bytes"),
        (of_a_zombie, "among chunks of attempt 1"),
        (of_nobody, "nobody claimed"),
        (reset_for_nothing, "1 resets in 1 attempts"),
        (backwards, "attempts went backwards"),
        (never_told, "told the end never"),
        (told_late, "1.0 s late"),
        (told_otherwise, "told 'producer-disconnected'"),
        (stumbled, "answer 500"),
        (other_bytes, "different bytes"),
        (superseded_writes, "wrote 0.500 s after attempt 1 was granted"),
        (ended_twice, "ended by 2 attempts"),
    ],
)
def test_each_wrong_is_seen(spoil: Callable[[Run], None], says: str) -> None:
    run = Run()
    spoil(run)
    assert any(says in wrong for wrong in run.judge()), run.judge()


@pytest.mark.parametrize("loss", [Loss(0.0, 10.9), Loss(11.1, 20.0)])
def test_a_loss_at_another_time_excuses_nothing(loss: Loss) -> None:
    run = Run()
    told_otherwise(run)
    run.losses = [loss]
    assert run.judge()


def test_a_finished_stream_that_redis_lost_is_told() -> None:
    run = Run()
    told_otherwise(run)
    run.losses = [Loss(10.0, 15.0)]
    assert run.judge() == []
    short(run)
    assert run.judge() == []
    run.readers[0].end = "completed"
    assert run.judge()

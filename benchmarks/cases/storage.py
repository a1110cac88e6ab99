"""Bytes of Redis memory a byte of payload, of a stream that has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.cases.subjects import OURS, SDK, XADD, XADD_512
from benchmarks.chunks import EVENTS, Job, payload_bytes
from benchmarks.results import Group
from benchmarks.runs import write
from benchmarks.session import Session, Subject
from benchmarks.stats import at_most

CASE = "storage"
CHUNKS = 5000
SINGLE_RATE = 1500.0


def settled(stored: Callable[[], int]) -> int:
    """The memory when it changes no more: ours are sealed a moment after their end."""
    before = 0
    while (now := stored()) != before:
        before = now
        time.sleep(0.3)
    return now


def run(session: Session) -> list[Group]:
    targets = {OURS.name: at_most(0.25)}
    single = Group(CASE, "bytes stored a payload byte, one by one", "B/B", OURS.name)
    batched = Group(CASE, "bytes stored a payload byte, flat out", "B/B", OURS.name, targets)
    single.targets = dict(targets)

    def stored(subject: Subject, rate: float) -> float:
        stack = session.stack(subject.stack)
        stack.clear()
        job = Job(session.stream_id(), CHUNKS, EVENTS, rate, batch=subject.batch)
        write(session, subject, job)
        return settled(stack.redis.stored_bytes) / payload_bytes(job)

    for group, subjects, rate in (
        (single, (OURS, XADD, SDK), SINGLE_RATE),
        (batched, (OURS, XADD_512, SDK), 0.0),
    ):
        for subject in session.present(subjects, [group]):
            group.add(subject.name, stored(subject, rate))
            session.say(f"{CASE} {group.title}: {subject.name} {group.value(subject.name):.2f}")
    return [single, batched]

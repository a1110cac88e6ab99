"""Reading a stream that has ended, from its start."""

from __future__ import annotations

from benchmarks.cases.subjects import OURS, PUBLISH, SDK, XADD, XADD_512
from benchmarks.chunks import EVENTS, Job
from benchmarks.results import Group
from benchmarks.runs import replay_ms, write
from benchmarks.session import Session, Subject
from benchmarks.stats import at_most, interleaved

CASE = "replay"
CHUNKS = 10_000
SINGLE_RATE = 1500.0
"""Slow enough that each chunk is an entry of its own, fast enough not to take all day."""
REPLAYS = 5


def run(session: Session) -> list[Group]:
    title = f"{CHUNKS:,} events of 215 bytes"
    targets = {OURS.name: at_most(50)}
    single = Group(CASE, f"{title}, written one by one", "ms", OURS.name, targets)
    batched = Group(CASE, f"{title}, written flat out", "ms", OURS.name, dict(targets))
    plan: list[tuple[Group, Subject, float]] = []
    plan += [(single, each, SINGLE_RATE) for each in session.present((OURS, XADD, SDK), [single])]
    plan += [(batched, each, 0.0) for each in session.present((OURS, XADD_512, SDK), [batched])]
    for group in (single, batched):
        group.row(PUBLISH.name)
        group.note(PUBLISH.name, "keeps nothing to replay")
    written = []
    for group, subject, rate in plan:
        job = Job(session.stream_id(), CHUNKS, EVENTS, rate, batch=subject.batch)
        feed = write(session, subject, job)
        written.append((group, subject, feed))
    for number, (group, subject, feed) in interleaved(session.rounds, written):
        for _ in range(REPLAYS):
            group.add(subject.name, replay_ms(session, feed, CHUNKS))
        value = group.value(subject.name)
        session.say(f"{CASE} {group.title}, round {number + 1}: {subject.name} {value:.1f} ms")
    return [single, batched]

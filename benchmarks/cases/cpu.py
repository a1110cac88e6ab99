"""The worker's CPU a chunk, for events of an LLM's size."""

from __future__ import annotations

from benchmarks.cases.subjects import OURS, OURS_AT_ONCE, PUBLISH, SDK, XADD, XADD_512
from benchmarks.chunks import EVENTS
from benchmarks.results import Group
from benchmarks.runs import Pace, flat_out, paced
from benchmarks.session import Session, Subject
from benchmarks.stats import interleaved

CASE = "cpu"
SINGLE = (OURS, OURS_AT_ONCE, PUBLISH, XADD, SDK)
BATCHED = (OURS, PUBLISH, XADD_512, SDK)
WORKER = "worker"


def _worker(cpu_us: dict[str, float]) -> float:
    return sum(us for role, us in cpu_us.items() if role.startswith(WORKER))


def run(session: Session) -> list[Group]:
    single = Group(CASE, "worker CPU a chunk, events at 50 x 50/s", "us", OURS.name)
    batched = Group(CASE, "worker CPU a chunk, events flat out", "us", OURS.name)
    pace = Pace(50, 50.0, skip_s=1.0, length_s=3.0 if session.quick else 6.0)

    def one(subject: Subject) -> float:
        got = paced(session, subject, session.stack(subject.stack), pace, kind=EVENTS)
        return _worker(got.cpu_us)

    for number, subject in interleaved(session.rounds, session.present(SINGLE, [single])):
        single.add(subject.name, one(subject))
        session.say(f"{CASE} paced round {number + 1}: {subject.name}")
    for number, subject in interleaved(session.rounds, session.present(BATCHED, [batched])):
        got = flat_out(session, subject, EVENTS, session.scaled(subject.flat_chunks))
        batched.add(subject.name, _worker(got.cpu_us))
        session.say(f"{CASE} flat round {number + 1}: {subject.name}")
    return [single, batched]

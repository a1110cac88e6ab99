"""What a relay server that is mounted in an application costs, beside one as its own process."""

from __future__ import annotations

from benchmarks.mounted import MOUNTED, SERVER, Mounted
from benchmarks.results import Group
from benchmarks.runs import Pace, paced
from benchmarks.session import Session, Subject
from benchmarks.stats import at_most, interleaved

CASE = "mounted"
STREAMS = 20
RATE = 50.0
OWN = Subject("its own process", Mounted)
WITHIN = Subject("mounted in FastAPI", Mounted, lane=MOUNTED)


def run(session: Session) -> list[Group]:
    title = f"relay server, {STREAMS} streams x {RATE:g}/s"
    bound = {WITHIN.name: at_most(1.15, of=OWN.name)}
    p50 = Group(CASE, f"{title}, p50", "ms", OWN.name, bound)
    cpu = Group(CASE, f"{title}, CPU a chunk of the server", "us", OWN.name, bound)
    groups = [p50, cpu]
    pace = Pace(STREAMS, RATE, skip_s=1.0, length_s=3.0 if session.quick else 8.0)
    for number, subject in interleaved(session.rounds, session.present([OWN, WITHIN], groups)):
        got = paced(session, subject, session.stack(subject.stack), pace)
        p50.add(subject.name, got.p50_ms)
        cpu.add(subject.name, got.cpu_us[subject.lane or SERVER])
        session.say(
            f"{CASE} round {number + 1}: {subject.name} p50 {got.p50_ms:.2f} ms,"
            f" CPU of the server {got.cpu_us[subject.lane or SERVER]:.0f} us a chunk"
        )
    return groups

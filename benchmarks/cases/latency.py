"""Milliseconds from yield to reader, and CPU a chunk, at the pace of LLMs."""

from __future__ import annotations

from benchmarks.cases.subjects import OURS, OURS_AT_ONCE, PUBLISH, SDK, XADD
from benchmarks.results import Group
from benchmarks.runs import Pace, paced
from benchmarks.session import Session
from benchmarks.stats import at_most, interleaved

CASE = "latency"
STREAMS = 50
RATE = 50.0
ROLES = ("worker", "redis", "server")
SUBJECTS = (OURS, OURS_AT_ONCE, PUBLISH, XADD, SDK)


def run(session: Session) -> list[Group]:
    title = f"{STREAMS} streams x {RATE:g}/s"
    p50 = Group(CASE, f"{title}, p50", "ms", OURS.name, {OURS.name: at_most(2.0)})
    p99 = Group(CASE, f"{title}, p99", "ms", OURS.name, {OURS.name: at_most(2.0)})
    cpu = Group(
        CASE,
        f"{title}, CPU a chunk in all",
        "us",
        OURS.name,
        {
            OURS.name: at_most(0.7, of=PUBLISH.name),
            OURS_AT_ONCE.name: at_most(1.0, of=PUBLISH.name),
        },
    )
    roles = {role: Group(CASE, f"{title}, CPU a chunk, {role}", "us", OURS.name) for role in ROLES}
    roles["worker"].targets[OURS.name] = at_most(0.8, of=PUBLISH.name)
    groups = [p50, p99, cpu, *roles.values()]
    pace = Pace(STREAMS, RATE, skip_s=1.0, length_s=3.0 if session.quick else 8.0)
    for number, subject in interleaved(session.rounds, session.present(SUBJECTS, groups)):
        stack = session.stack(subject.stack)
        got = paced(session, subject, stack, pace)
        p50.add(subject.name, got.p50_ms)
        p99.add(subject.name, got.p99_ms)
        cpu.add(subject.name, sum(got.cpu_us.values()))
        for role, us in got.cpu_us.items():
            roles[role.partition("-")[0]].add(subject.name, us)
        if got.lost:
            p50.note(subject.name, f"{got.lost} chunks lost in round {number + 1}")
        session.say(
            f"{CASE} round {number + 1}: {subject.name} p50 {got.p50_ms:.2f} ms,"
            f" p99 {got.p99_ms:.2f} ms, CPU {sum(got.cpu_us.values()):.0f} us"
        )
    return groups

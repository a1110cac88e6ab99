"""Chunks a second of one stream flat out, from the worker's yield to the reader."""

from __future__ import annotations

from benchmarks.cases.subjects import OURS, OURS_PREFORK, PUBLISH, SDK, XADD_16, XADD_512
from benchmarks.chunks import EVENTS, STRINGS
from benchmarks.results import Group
from benchmarks.runs import flat_out
from benchmarks.session import Session
from benchmarks.stats import at_least, interleaved

CASE = "throughput"
SUBJECTS = (OURS, OURS_PREFORK, XADD_512, XADD_16, PUBLISH, SDK)
KINDS = (
    (STRINGS, "one stream, strings of 124 bytes", at_least(200_000)),
    (EVENTS, "one stream, SDK events of 215 bytes", at_least(100_000)),
)


def run(session: Session) -> list[Group]:
    groups = []
    for kind, title, target in KINDS:
        targets = {OURS.name: target, OURS_PREFORK.name: target}
        group = Group(CASE, title, "chunks/s", OURS.name, targets)
        groups.append(group)
        here = session.present(SUBJECTS, [group])
        for number, subject in interleaved(session.rounds, here):
            flat = flat_out(session, subject, kind, session.scaled(subject.flat_chunks))
            group.add(subject.name, flat.chunks_per_s)
            session.say(
                f"{CASE} {kind} round {number + 1}: {subject.name} {flat.chunks_per_s:,.0f}/s"
            )
    return groups

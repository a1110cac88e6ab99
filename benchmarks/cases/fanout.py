"""One stream to a thousand readers of one server process."""

from __future__ import annotations

from benchmarks.cases.subjects import OURS
from benchmarks.peers.sse_starlette_hub import SseStarlette
from benchmarks.results import Group
from benchmarks.runs import Pace, paced
from benchmarks.session import Session, Subject
from benchmarks.stats import at_least, at_most, interleaved

CASE = "fanout"
READERS = 1000
RATE = 50.0
SERVER = "server"
SUBJECTS = (OURS, Subject("sse-starlette", SseStarlette))


def run(session: Session) -> list[Group]:
    title = f"{READERS:,} readers x {RATE:g}/s"
    name = OURS.name
    # A window cannot be cut to the event: half a tick of the pace at either end.
    all_of_them = READERS * RATE * 0.995
    delivered = Group(CASE, f"{title}, delivered", "events/s", name, {name: at_least(all_of_them)})
    p50 = Group(CASE, f"{title}, p50", "ms", name)
    p99 = Group(CASE, f"{title}, p99", "ms", name, {name: at_most(25)})
    memory = Group(CASE, f"{title}, memory a reader", "KB", name, {name: at_most(12)})
    cpu = Group(CASE, f"{title}, server CPU an event", "us", name)
    groups = [delivered, p50, p99, memory, cpu]
    warm_up = Pace(1, RATE, skip_s=0.0, length_s=0.5)
    pace = Pace(1, RATE, skip_s=1.0, length_s=3.0 if session.quick else 8.0)
    session.stop_all()
    for number, subject in interleaved(session.rounds, session.present(SUBJECTS, groups)):
        with session.fresh(subject.stack) as stack:
            paced(session, subject, stack, warm_up)
            got = paced(session, subject, stack, pace, readers=READERS, cut=True)
        kilobytes = got.rss_bytes[SERVER] / READERS / 1024
        delivered.add(subject.name, got.delivered_per_s)
        p50.add(subject.name, got.p50_ms)
        p99.add(subject.name, got.p99_ms)
        memory.add(subject.name, kilobytes)
        cpu.add(subject.name, got.cpu_us[SERVER])
        session.say(
            f"{CASE} round {number + 1}: {subject.name} {got.delivered_per_s:,.0f}/s,"
            f" p50 {got.p50_ms:.1f} ms, p99 {got.p99_ms:.1f} ms, {kilobytes:.1f} KB a reader,"
            f" {got.cpu_us[SERVER]:.1f} us an event"
        )
    return groups

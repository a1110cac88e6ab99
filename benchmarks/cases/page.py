"""Twenty streams on one page: over one response, one WebSocket, or a response each."""

from __future__ import annotations

from benchmarks.page import EACH, SHARED, SIX, WEBSOCKET, Page
from benchmarks.results import Group
from benchmarks.runs import Pace, paced
from benchmarks.session import Session, Subject
from benchmarks.stats import interleaved

CASE = "page"
STREAMS = 20
RATE = 50.0
SERVER = "server"
ONE = Subject("one SSE response", Page, SHARED)
SUBJECTS = (
    ONE,
    Subject("one WebSocket", Page, WEBSOCKET),
    Subject("20 SSE responses", Page, EACH),
    Subject("the same, 6 at once as in browsers", Page, SIX),
)


def run(session: Session) -> list[Group]:
    title = f"{STREAMS} streams x {RATE:g}/s"
    delivered = Group(CASE, f"{title}, delivered", "chunks/s", ONE.name)
    p50 = Group(CASE, f"{title}, p50", "ms", ONE.name)
    p99 = Group(CASE, f"{title}, p99", "ms", ONE.name)
    cpu = Group(CASE, f"{title}, server CPU a chunk", "us", ONE.name)
    size = Group(CASE, f"{title}, bytes a chunk", "bytes", ONE.name)
    groups = [delivered, p50, p99, cpu, size]
    pace = Pace(STREAMS, RATE, skip_s=1.0, length_s=3.0 if session.quick else 8.0)
    session.stop_all()
    with session.fresh(Page) as stack:
        for number, subject in interleaved(session.rounds, session.present(SUBJECTS, groups)):
            got = paced(session, subject, stack, pace)
            delivered.add(subject.name, got.delivered_per_s)
            p50.add(subject.name, got.p50_ms)
            p99.add(subject.name, got.p99_ms)
            cpu.add(subject.name, got.cpu_us[SERVER])
            size.add(subject.name, got.bytes_a_chunk)
            if got.lost:
                delivered.note(subject.name, f"{got.lost} chunks lost in round {number + 1}")
            session.say(
                f"{CASE} round {number + 1}: {subject.name} {got.delivered_per_s:,.0f}/s,"
                f" p50 {got.p50_ms:.2f} ms, p99 {got.p99_ms:.2f} ms,"
                f" {got.cpu_us[SERVER]:.0f} us and {got.bytes_a_chunk:.0f} bytes a chunk"
            )
    return groups

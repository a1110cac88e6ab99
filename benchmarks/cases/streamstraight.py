"""Our client of the Streamstraight protocol beside the published SDK, at the same relay."""

from __future__ import annotations

import time

from benchmarks.chunks import STRINGS, Job
from benchmarks.hosted import OUR_CLIENT, SDK, Hosted
from benchmarks.processes import wait_until
from benchmarks.results import Group
from benchmarks.runs import Pace, flat_out, paced
from benchmarks.session import Session, Subject
from benchmarks.stats import interleaved, median

CASE = "streamstraight"
OURS = Subject("ours", Hosted, lane=OUR_CLIENT, flat_chunks=10_000)
THEIRS = Subject("streamstraight SDK", Hosted, lane=SDK, flat_chunks=10_000)
SUBJECTS = (OURS, THEIRS)
CONNECTIONS = 50
# Streams, chunks a second and seconds of the run in which the relay is killed.
LOSING = Pace(10, 50.0, skip_s=0.0, length_s=3.5)
KILL_AFTER_S = 1.0
AWAY_S = 1.0
WORKER = "worker"


def run(session: Session) -> list[Group]:
    flat = Group(CASE, "one stream flat out, strings of 124 bytes", "chunks/s", OURS.name)
    p50 = Group(CASE, "50 streams x 50/s, p50", "ms", OURS.name)
    p99 = Group(CASE, "50 streams x 50/s, p99", "ms", OURS.name)
    cpu = Group(CASE, "50 streams x 50/s, worker CPU a chunk", "us", OURS.name)
    flat_cpu = Group(CASE, "flat out, worker CPU a chunk", "us", OURS.name)
    connect = Group(CASE, "connect a new stream", "ms", OURS.name)
    lost = Group(CASE, "relay killed for 1 s: chunks lost", "%", OURS.name)
    cut = Group(CASE, "relay killed for 1 s: streams cut short", "%", OURS.name)
    groups = [flat, p50, p99, cpu, flat_cpu, connect, lost, cut]
    pace = Pace(50, 50.0, skip_s=1.0, length_s=3.0 if session.quick else 6.0)
    for number, subject in interleaved(session.rounds, session.present(SUBJECTS, groups)):
        once = flat_out(session, subject, STRINGS, session.scaled(subject.flat_chunks))
        flat.add(subject.name, once.chunks_per_s)
        flat_cpu.add(subject.name, _worker(once.cpu_us))
        stack = session.stack(subject.stack)
        got = paced(session, subject, stack, pace)
        p50.add(subject.name, got.p50_ms)
        p99.add(subject.name, got.p99_ms)
        cpu.add(subject.name, _worker(got.cpu_us))
        assert isinstance(stack, Hosted)
        connect.add(subject.name, median(stack.connect_ms(subject.lane, CONNECTIONS)))
        missing, short = killed(session, subject, stack)
        lost.add(subject.name, missing)
        cut.add(subject.name, short)
        session.say(
            f"{CASE} round {number + 1}: {subject.name} {once.chunks_per_s:,.0f}/s,"
            f" p50 {got.p50_ms:.2f} ms, p99 {got.p99_ms:.2f} ms, lost {missing:.1f}%"
        )
    return groups


def killed(session: Session, subject: Subject, stack: Hosted) -> tuple[float, float]:
    """Percent of chunks that are not in the log, and of streams that did not end as completed."""
    stack.clear()
    gate = session.gate()
    jobs = [
        Job(session.stream_id(), LOSING.count, rate=LOSING.rate, gate=str(gate.path))
        for _ in range(LOSING.streams)
    ]
    for job in jobs:
        stack.enqueue(job, subject.lane)
    wait_until(lambda: gate.waiting() >= len(jobs), 60, "the start of all tasks")
    start = time.monotonic() + 0.05
    gate.open(int(start * 1e9))
    time.sleep(KILL_AFTER_S)
    stack.kill_relay(AWAY_S)
    time.sleep(max(0.0, start + LOSING.count / LOSING.rate - time.monotonic()))

    def over() -> bool:
        # Whoever came back ends its stream; the others' lease is over, and they never will.
        states = [stack.written(job.id) for job in jobs]
        return all(end for _, end in states) or time.monotonic() > start + 20

    wait_until(over, 40, "the end of all streams")
    states = [stack.written(job.id) for job in jobs]
    have = sum(count for count, _ in states)
    whole = sum(end == "completed" for _, end in states)
    expected = LOSING.count * len(jobs)
    return 100 * (1 - have / expected), 100 * (1 - whole / len(jobs))


def _worker(cpu_us: dict[str, float]) -> float:
    return sum(us for role, us in cpu_us.items() if role.startswith(WORKER))

"""The three kinds of run all cases are made of: flat out, paced, and replay."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.chunks import STRINGS, Gate, Job
from benchmarks.feeds import Feed
from benchmarks.processes import BenchmarkError, wait_until
from benchmarks.session import Session, Subject
from benchmarks.stack import Stack

HEAD_START = 0.05
TAIL_S = 0.5
GATE_SECONDS = 60.0
LATE_S = 20.0
"""How long after a window a reader still waits for what is missing."""


@dataclass(frozen=True)
class FlatRun:
    chunks_per_s: float
    cpu_us: dict[str, float]
    """CPU a chunk by role, in microseconds."""
    feed: Feed


@dataclass(frozen=True)
class Pace:
    """Streams beside each other, and the window their figures are taken of."""

    streams: int
    rate: float
    skip_s: float
    length_s: float

    @property
    def count(self) -> int:
        return int(self.rate * (self.skip_s + self.length_s + TAIL_S))


@dataclass(frozen=True)
class PacedRun:
    p50_ms: float
    p99_ms: float
    delivered_per_s: float
    cpu_us: dict[str, float]
    """CPU a delivered chunk by role, in microseconds."""
    lost: int
    """Chunks that had not arrived when the reader gave up waiting (unless it was cut short)."""
    rss_bytes: dict[str, int]
    """What each role's memory grew by, from before the readers came to the window's end."""
    bytes_a_chunk: float
    """All that was received, heads of responses too."""


def _open_gate(gate: Gate, waiting: int) -> float:
    """Let all generators start; return the time they do."""
    wait_until(lambda: gate.waiting() >= waiting, GATE_SECONDS, "the start of all tasks")
    start = time.monotonic() + HEAD_START
    gate.open(int(start * 1e9))
    return start


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _a_chunk(before: dict[str, float], after: dict[str, float], chunks: int) -> dict[str, float]:
    return {role: (after[role] - before[role]) / max(chunks, 1) * 1e6 for role in before}


def flat_out(session: Session, subject: Subject, kind: str, count: int) -> FlatRun:
    """One stream, as fast as it goes, to one reader that is there from the start."""
    stack = session.stack(subject.stack)
    stack.clear()
    gate = session.gate()
    job = Job(session.stream_id(), count, kind, batch=subject.batch, gate=str(gate.path))
    feed = stack.enqueue(job, subject.lane)
    session.reader.open([feed], count, flat=True)
    before = stack.cpu_seconds(subject.lane)
    _open_gate(gate, 1)
    result = session.reader.result()
    after = stack.cpu_seconds(subject.lane)
    if not (result["full"] and result["in_order"] and result["chunks"] == count):
        raise BenchmarkError(
            f"{subject.name}: {result['chunks']} chunks of {count} arrived,"
            f" {'in order' if result['in_order'] else 'not in order'}"
        )
    seconds = (result["last_ns"] - result["yielded_ns"]) / 1e9
    return FlatRun(count / seconds, _a_chunk(before, after, count), feed)


def paced(
    session: Session,
    subject: Subject,
    stack: Stack,
    pace: Pace,
    *,
    kind: str = STRINGS,
    readers: int = 1,
    cut: bool = False,
) -> PacedRun:
    """Streams at a pace like an LLM's; `cut` stops reading when the window has closed."""
    stack.clear()
    gate = session.gate()
    roles = stack.roles(subject.lane)
    idle = {role: stack.processes[role].rss_bytes() for role in roles}
    feeds = []
    for number in range(pace.streams):
        job = Job(
            session.stream_id(),
            pace.count,
            kind,
            rate=pace.rate,
            phase=number / pace.streams / pace.rate,
            gate=str(gate.path),
        )
        feeds += [stack.enqueue(job, subject.lane)] * readers
    feeds = stack.reading(feeds, subject.lane)
    expect = pace.count * sum(feed.streams for feed in feeds)
    session.reader.open(
        feeds,
        expect,
        skip_s=pace.skip_s,
        length_s=pace.length_s,
        cut=cut,
        limit_s=pace.skip_s + pace.length_s + LATE_S,
    )
    opens = _open_gate(gate, pace.streams) + pace.skip_s
    _sleep_until(opens)
    before = stack.cpu_seconds(subject.lane)
    _sleep_until(opens + pace.length_s)
    after = stack.cpu_seconds(subject.lane)
    grown = {role: stack.processes[role].rss_bytes() - idle[role] for role in roles}
    result = session.reader.result()
    if not result["in_window"]:
        raise BenchmarkError(f"{subject.name}: no chunk arrived in the window")
    return PacedRun(
        result["p50_ms"],
        result["p99_ms"],
        result["in_window"] / pace.length_s,
        _a_chunk(before, after, result["in_window"]),
        0 if cut else expect - result["chunks"],
        grown,
        result.get("received", 0) / max(result["chunks"], 1),
    )


def write(session: Session, subject: Subject, job: Job) -> Feed:
    """Write one stream to its end, with a reader to see that it arrived."""
    feed = session.stack(subject.stack).enqueue(job, subject.lane)
    session.reader.open([feed], job.count, flat=True)
    result = session.reader.result()
    if not result["full"]:
        raise BenchmarkError(f"{subject.name}: {result['chunks']} of {job.count} chunks arrived")
    return feed


def replay_ms(session: Session, feed: Feed, count: int) -> float:
    """Milliseconds from the request to the last byte of a stream that has ended."""
    session.reader.open([feed], count, flat=True)
    result = session.reader.result()
    if not (result["full"] and result["in_order"]):
        raise BenchmarkError(f"the replay of {count} chunks brought {result['chunks']}")
    return float(result["last_ns"] - result["opened_ns"]) / 1e6

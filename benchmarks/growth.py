"""Costs at growing sizes, as curves: CPU a chunk or a reader's event, and memory a thing.

    make bench ARGS="growth --quick"     small sizes, about three minutes
    make bench ARGS=growth               all sizes; it wants a machine to itself

Streams are written by this process, over one sender as in a worker, and read by the reader's
process through one relay server. CPU is what the kernel accounts to each process, so that a busy
machine blurs the figures less than it blurs times.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.capacity import Costs, Load, need
from benchmarks.chunks import string_chunk
from benchmarks.feeds import Feed
from benchmarks.ours import SERVER, Ours, app
from benchmarks.session import Session
from benchmarks.stats import median
from streamstraight_celery import stream_ref
from streamstraight_celery.producing.writer import StreamWriter
from streamstraight_celery.runtime import Runtime

TOTAL_RATE = 1000.0  # chunks a second, over all streams
EVENTS_RATE = 10.0  # chunks a second of a stream that many read
SECONDS = 5.0
SKIP_S = 1.0
SHORT = 20  # chunks of an answer that is kept

STREAMS = {True: (10, 50, 200), False: (10, 100, 1000, 2000)}
READERS = {True: (10, 100, 500), False: (100, 1000, 10_000)}
LENGTHS = {True: (100, 1000, 10_000), False: (100, 1000, 10_000, 100_000)}
KEPT = {True: (0, 1000, 5000), False: (0, 10_000, 100_000)}


MESSAGES = 5000
COPIES = 9
COST_RUNS = 3
MIXED = Load(streams=40, readers=200, rate=30.0)


class GrowthStack(Ours):
    """Redis and the relay server alone."""

    def start_lanes(self) -> None:
        """No worker: this process writes."""


class Point(NamedTuple):
    """One size, and what a chunk (or event, or stream) costs there, by role or kind."""

    size: int
    costs: dict[str, float]


class Curve(NamedTuple):
    title: str
    unit: str
    points: list[Point]


class Report(NamedTuple):
    curves: list[Curve]
    costs: Costs
    mixed: list[str]


class Cost(NamedTuple):
    """CPU seconds of the three roles, and what was delivered meanwhile."""

    producer: float
    redis: float
    server: float
    events: int
    chunks: int

    def per(self, count: int) -> dict[str, float]:
        """Microseconds of each role for one of so many."""
        return {
            role: round(seconds / max(count, 1) * 1e6, 1)
            for role, seconds in self._asdict().items()
            if role in ("producer", "redis", "server")
        }


class Growth:
    def __init__(self, session: Session) -> None:
        self._session = session
        stack = session.stack(GrowthStack)
        assert isinstance(stack, Ours)
        self.stack = stack
        self.runtime = Runtime.of(app)

    def _cpu(self) -> tuple[float, float, float]:
        return (
            time.process_time(),
            self.stack.processes["redis"].cpu_seconds(),
            self.stack.processes[SERVER].cpu_seconds(),
        )

    def open(self, count: int) -> list[StreamWriter]:
        return [self.runtime.sender.open(self._session.stream_id()) for _ in range(count)]

    def feed(self, writer: StreamWriter) -> Feed:
        ref = stream_ref(writer.stream_id, app=app)
        path = ref["url"].removeprefix(self.stack.environment["BENCH_PUBLIC"])
        headers = {"Authorization": f"Bearer {ref['token']}"}
        return Feed("sse", self.stack.port, f"{path}?live=sse&offset=-1", headers)

    def live(self, streams: int, readers: int, rate: float) -> Cost:
        """Streams at `rate` chunks a second in all, each with so many readers."""
        writers = self.open(streams)
        feeds = [self.feed(writer) for writer in writers for _ in range(readers)]
        count = int(rate * (SKIP_S + SECONDS))
        self._session.reader.open(
            feeds, count * readers, skip_s=SKIP_S, length_s=SECONDS, cut=True, limit_s=60
        )
        start = time.monotonic() + 0.1
        before, first = self._cpu(), 0
        for number in range(count):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            if not first and number >= SKIP_S * rate:
                before, first = self._cpu(), number
            writers[number % streams].write(json.dumps(string_chunk(time.monotonic_ns())))
        after = self._cpu()
        spent = [late - early for early, late in zip(before, after, strict=True)]
        self._session.reader.result()
        for writer in writers:
            writer.finish("completed")
        chunks = count - first
        return Cost(spent[0], spent[1], spent[2], chunks * readers, chunks)

    def streams(self, quick: bool) -> Curve:
        points = [
            Point(size, got.per(got.chunks))
            for size in STREAMS[quick]
            for got in [self.live(size, 1, TOTAL_RATE)]
        ]
        title = f"active streams, {TOTAL_RATE:g} chunks/s in all, one reader each: CPU a chunk"
        return Curve(title, "us", points)

    def readers(self, quick: bool) -> Curve:
        points = [
            Point(size, {"server": got.per(got.events)["server"]})
            for size in READERS[quick]
            for got in [self.live(1, size, EVENTS_RATE)]
        ]
        return Curve(f"readers of one stream at {EVENTS_RATE:g}/s: CPU an event", "us", points)

    def spread_readers(self, quick: bool) -> Curve:
        points = [
            Point(size, {"server": got.per(got.events)["server"]})
            for size in READERS[quick]
            for got in [self.live(max(1, size // 10), 10, size / 10 * 2)]
        ]
        title = "readers, ten of each stream at 2/s: CPU an event"
        return Curve(title, "us", points)

    def lengths(self, quick: bool) -> Curve:
        """One stream, written as fast as it goes, and replayed."""
        points = []
        for size in LENGTHS[quick]:
            self.stack.clear()
            times = max(1, 20_000 // size)
            before = self._cpu()
            writers = self.open(times)
            for writer in writers:
                for number in range(size):
                    writer.write(json.dumps(string_chunk(number)))
                writer.finish("completed")
            stored = self._sealed_bytes()
            written = self._cpu()
            for writer in writers:
                self._session.reader.open([self.feed(writer)], size, flat=True)
                self._session.reader.result()
            replayed = self._cpu()
            chunks = times * size
            costs = {
                "write": (sum(written[:2]) - sum(before[:2])) / chunks * 1e6,
                "replay": (sum(replayed[1:]) - sum(written[1:])) / chunks * 1e6,
                "bytes": stored / chunks,
            }
            points.append(Point(size, {name: round(cost, 1) for name, cost in costs.items()}))
        return Curve("chunks of a stream: CPU and stored bytes a chunk", "us, bytes", points)

    def _sealed_bytes(self) -> int:
        """What is stored once nothing changes any more: streams are sealed after their end."""
        before, stored = -1, self.stack.redis.stored_bytes()
        while stored != before:
            time.sleep(0.5)
            before, stored = stored, self.stack.redis.stored_bytes()
        return stored

    def kept(self, quick: bool) -> Curve:
        """What a new stream costs beside so many that are kept."""
        points = []
        self.stack.clear()
        empty = self._used()
        there = 0
        for size in KEPT[quick]:
            while there < size:
                self._short()
                there += 1
            before = self._cpu()
            for _ in range(200):
                self._short()
            there += 200
            spent = sum(self._cpu()[:2]) - sum(before[:2])
            costs = {"CPU": spent / 200 * 1e6, "bytes": (self._used() - empty) / there}
            points.append(Point(size, {name: round(cost) for name, cost in costs.items()}))
        title = f"kept streams of {SHORT} chunks: CPU of another, and bytes of Redis a stream"
        return Curve(title, "us, bytes", points)

    def _used(self) -> int:
        return int(self.stack.redis.data.info("memory")["used_memory"])

    def copy_us(self) -> float:
        """Redis' CPU for another subscriber of a channel, a message."""
        spent = []
        data = self.stack.redis.data
        with ExitStack() as subscribed:
            for subscribers in (1, COPIES):
                for _ in range(subscribers):
                    hears = subscribed.enter_context(data.pubsub())
                    hears.subscribe(f"to {subscribers}")
                before = self.stack.processes["redis"].cpu_seconds()
                for _ in range(MESSAGES):
                    data.publish(f"to {subscribers}", "x" * 200)
                spent.append(self.stack.processes["redis"].cpu_seconds() - before)
        return max(0.0, spent[1] - spent[0]) / MESSAGES / (COPIES - 1) * 1e6

    def costs(self, quick: bool) -> Costs:
        """The cost table, and how well it predicts a mixed run."""
        runs = [self.live(50, 1, TOTAL_RATE) for _ in range(COST_RUNS)]
        each_run = [run.per(run.chunks) for run in runs]
        alone = {role: median([run[role] for run in each_run]) for role in each_run[0]}
        readers = READERS[quick][-1]
        many = self.live(1, readers, EVENTS_RATE)
        each = many.per(many.chunks)["server"]
        notice = max(0.0, alone["server"] - each / readers)
        notice *= readers / (readers - 1)
        event = (each - notice) / readers
        return Costs(
            worker=alone["producer"], redis=alone["redis"], copy=round(self.copy_us(), 2),
            notice=round(notice, 1), event=round(event, 2),
        )  # fmt: skip

    def mixed(self, costs: Costs) -> list[str]:
        """A run that the cost table was not made of, beside what it predicts."""
        got = self.live(MIXED.streams, MIXED.readers // MIXED.streams, MIXED.rate * MIXED.streams)
        chunks = got.per(got.chunks)
        predicted = need(MIXED, costs)
        second = MIXED.streams * MIXED.rate
        found = []
        for role, name, cores in (
            ("producer", "worker", predicted.workers),
            ("redis", "Redis", predicted.redis),
            ("server", "relay server", predicted.relays),
        ):
            expected = cores * MIXED.busy / second * 1e6
            found.append(
                f"  {name}: {chunks[role]:.0f} us a chunk, predicted {expected:.0f}"
                f" ({expected / max(chunks[role], 0.1):.2f} x)"
            )
        title = f"mixed: {MIXED.streams} streams at {MIXED.rate:g}/s, {MIXED.readers} readers"
        return [title, *found]

    def _short(self) -> None:
        writer = self.open(1)[0]
        for number in range(SHORT):
            writer.add(f'"word {number}"')
        writer.finish("completed")


def measure(session: Session) -> Report:
    """All curves, the cost table, and a run that checks it."""
    growth = Growth(session)
    curves: list[Callable[[bool], Curve]] = [
        growth.streams,
        growth.readers,
        growth.spread_readers,
        growth.lengths,
        growth.kept,
    ]
    found = []
    for curve in curves:
        found.append(curve(session.quick))
        session.say("\n".join(lines(found[-1])))
    costs = growth.costs(session.quick)
    return Report(found, costs, growth.mixed(costs))


def lines(curve: Curve) -> list[str]:
    """The curve as text, each size with its share of the smallest."""
    found = [f"{curve.title} ({curve.unit})"]
    smallest = curve.points[0].costs
    for point in curve.points:
        shares = [
            f"{name} {cost:g} ({cost / smallest[name]:.2f} x)"
            if smallest[name]
            else f"{name} {cost:g}"
            for name, cost in point.costs.items()
        ]
        found.append(f"  {point.size:>7,}  " + "  ".join(shares))
    return found


def text(report: Report) -> list[str]:
    """The whole report."""
    table = [f"  {name:<12} {value:g}" for name, value in asdict(report.costs).items()]
    return [
        *(line for curve in report.curves for line in lines(curve)),
        "costs: microseconds of CPU, and bytes",
        *table,
        *report.mixed,
    ]


def save(report: Report, heading: list[str], path: Path) -> None:
    """Keep the figures, for `benchmarks.growth_plot` and `benchmarks.capacity --costs`."""
    curves = [
        {"title": curve.title, "unit": curve.unit, "points": curve.points}
        for curve in report.curves
    ]
    kept = {"machine": heading, "curves": curves, "mixed": report.mixed, **asdict(report.costs)}
    path.write_text(json.dumps(kept, indent=2) + "\n")

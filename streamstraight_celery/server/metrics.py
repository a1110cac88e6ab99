"""`GET /metrics`: Prometheus metrics of a relay server (docs/observability.md)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..errors import MissingDependencyError
from ..relays.end_reasons import WRITTEN_OVER_HTTP
from .counters import ALL_DOORS, LIVE_DOORS, RESUMED_DOORS, Tally, door_name
from .http import Refused, Reply
from .live.feed import Feed
from .live.reader import Reader

logger = logging.getLogger(__name__)

METRICS = "/metrics"
NAME = "streamstraight_relay_"


def metrics_reply(tally: Tally, feeds: Iterable[Feed]) -> Reply:
    """All metrics as Prometheus reads them.

    Raises:
        Refused: 501, prometheus-client is not installed.
    """
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    except ImportError:
        missing = MissingDependencyError("prometheus-client", "metrics")
        logger.error("%s", missing)
        raise Refused(501, missing.code, str(missing)) from None
    registry = CollectorRegistry()
    registry.register(Shown(tally, feeds))
    headers = (("content-type", CONTENT_TYPE_LATEST), ("cache-control", "no-store"))
    return Reply(200, headers, generate_latest(registry))


class Shown:
    """A collector of one scrape."""

    def __init__(self, tally: Tally, feeds: Iterable[Feed]) -> None:
        self._tally = tally
        self._feeds = list(feeds)

    def describe(self) -> Iterable[Any]:
        """Nothing that has to be known before."""
        return ()

    def collect(self) -> Iterable[Any]:
        """The counts, and what there is now."""
        from prometheus_client.core import CounterMetricFamily as Counted
        from prometheus_client.core import GaugeMetricFamily as Gauge

        tally, feeds = self._tally, self._feeds
        readers = Gauge(f"{NAME}readers", "Open live reads, by door", labels=["door"])
        for name, number in open_readers(feeds).items():
            readers.add_metric([name], number)
        yield readers
        streams = {feed.stream_id for feed in feeds}
        yield Gauge(f"{NAME}streams", "Streams that are watched", len(streams))
        lag = max([behind(reader) for feed in feeds for reader in feed.readers], default=0)
        yield Gauge(f"{NAME}lag_chunks", "How far the slowest reader is behind its stream", lag)
        for what, counts in (("chunks", tally.chunks), ("bytes", tally.bytes)):
            family = Counted(f"{NAME}{what}_delivered", f"Delivered {what}", labels=["door"])
            for door, number in by_name(counts, ALL_DOORS).items():
                family.add_metric([door], number)
            yield family
        resumes = Counted(f"{NAME}resumes", "Reads that went on from an offset", labels=["door"])
        for door, number in by_name(tally.resumes, RESUMED_DOORS).items():
            resumes.add_metric([door], number)
        yield resumes
        refused = Counted(f"{NAME}refused", "Refused requests", labels=["status", "code"])
        for (status, code), number in tally.refused.items():
            refused.add_metric([str(status), code], number)
        yield refused
        writes = Counted(f"{NAME}writes", "Requests that write", labels=["method", "status"])
        for (method, status), number in tally.writes.items():
            writes.add_metric([method, str(status)], number)
        yield writes
        closed = Counted(f"{NAME}streams_closed", "Streams closed over HTTP", labels=["reason"])
        for reason in WRITTEN_OVER_HTTP:
            closed.add_metric([reason], tally.closed[reason])
        yield closed
        yield Counted(f"{NAME}resets", "Readers whose chunks a new attempt replaced", tally.resets)
        yield Counted(f"{NAME}gone", "Readers told that chunks are lost", tally.gone)
        yield Counted(f"{NAME}streams_reaped", "Lost producers' streams ended", tally.reaped)
        yield Counted(f"{NAME}readers_dropped", "Readers that took nothing", tally.dropped)


def open_readers(feeds: Iterable[Feed]) -> Counter[str]:
    """Live readers by door."""
    found = Counter(reader.counts_as for feed in feeds for reader in feed.readers)
    return by_name(found, LIVE_DOORS)


def behind(reader: Reader) -> int:
    """How many chunks a reader has not had yet of those that exist."""
    return 0 if reader.ahead is not None else max(0, reader.feed.tail - reader.seq)


def by_name(counts: dict[Any, int], doors: Iterable[str]) -> Counter[str]:
    """Counts by the names of doors; 0 for those of `doors` that have none."""
    named: Counter[str] = Counter(dict.fromkeys(doors, 0))
    for door, number in counts.items():
        named[door_name(door)] += number
    return named

"""What a reader keeps of the bytes it gets: all of them for a check, or the stamps' ages."""

from __future__ import annotations

import re
import time
from array import array
from itertools import pairwise
from typing import Any, Protocol

from benchmarks.chunks import CYCLE
from benchmarks.stats import percentile

MARKER = re.compile(rb"@(\d+)@")


class Sink(Protocol):
    """Takes the bytes of one connection; `full` once every expected chunk has arrived."""

    @property
    def full(self) -> bool: ...

    def take(self, data: bytes) -> None: ...


def in_order(marks: list[int]) -> bool:
    """Whether the chunks of a flat stream (numbered) or a paced one (stamped) all follow."""
    numbered = all(mark == at % CYCLE for at, mark in enumerate(marks[1:]))
    return numbered or all(before < after for before, after in pairwise(marks))


class FlatSink:
    """One stream flat out: keeps every byte, counts chunks, and checks their order at the end."""

    def __init__(self, expect: int) -> None:
        self.expect = 2 * expect
        self.signs = 0
        self.pieces: list[bytes] = []
        self.last_ns = 0
        self.full = False

    def take(self, data: bytes) -> None:
        self.pieces.append(data)
        self.signs += data.count(b"@")
        if self.signs >= self.expect:
            self.last_ns = time.monotonic_ns()
            self.full = True

    def result(self) -> dict[str, Any]:
        marks = [int(mark) for mark in MARKER.findall(b"".join(self.pieces))]
        return {
            "chunks": len(marks),
            "in_order": in_order(marks),
            "yielded_ns": marks[0] if marks else 0,
            "last_ns": self.last_ns,
            "bytes": sum(map(len, self.pieces)),
        }


class Ages:
    """When chunks arrived and how old they were, over all connections of a reader."""

    def __init__(self, expect: int) -> None:
        self.expect = expect
        self.arrived = array("q")
        self.stamps = array("q")

    @property
    def full(self) -> bool:
        return len(self.stamps) >= self.expect

    def result(self, skip_s: float, length_s: float) -> dict[str, Any]:
        """Figures of the chunks that arrived in a window that opens `skip_s` after the first."""
        if not self.stamps:
            return {"chunks": 0, "in_window": 0}
        opens = min(self.stamps) + int(skip_s * 1e9)
        closes = opens + int(length_s * 1e9)
        ages = sorted(
            (now - stamp) / 1e6
            for now, stamp in zip(self.arrived, self.stamps, strict=True)
            if opens <= now < closes
        )
        figures: dict[str, Any] = {"chunks": len(self.stamps), "in_window": len(ages)}
        if ages:
            figures |= {"p50_ms": percentile(ages, 50), "p99_ms": percentile(ages, 99)}
        return figures


class StampSink:
    """One connection's part of an `Ages`: finds stamps, also those cut in two by the network."""

    def __init__(self, ages: Ages) -> None:
        self.ages = ages
        self.rest = b""

    @property
    def full(self) -> bool:
        return self.ages.full

    def take(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self.rest:
            data = self.rest + data
        end = 0
        for match in MARKER.finditer(data):
            self.ages.stamps.append(int(match[1]))
            self.ages.arrived.append(now)
            end = match.end()
        cut = data.find(b"@", end)
        self.rest = data[cut:] if cut >= 0 else b""

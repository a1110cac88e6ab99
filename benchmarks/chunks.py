"""What the generators yield.

Every chunk carries exactly one marker, a number between two `@`, and no other `@`. A reader
can so count chunks and find their stamps in whatever framing they arrive, at the speed of
`bytes.count`. The first chunk's marker is the `time.monotonic_ns()` of its yield (one clock
for all processes on Linux). Flat out, the others are numbered; paced, each has its stamp.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

CYCLE = 1000
GATE_SECONDS = 120.0
STRINGS = "strings"
EVENTS = "events"
STRING_BYTES = 124
EVENT_BYTES = 215
EVENT_FRAME = 192


@dataclass(frozen=True)
class Job:
    """One stream to write: travels to the worker as the task's only argument."""

    id: str
    count: int
    kind: str = STRINGS
    rate: float = 0.0
    phase: float = 0.0
    batch: int = 1
    gate: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Gate:
    """A file that lets generators start at the same moment, once all of them wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def waiting(self) -> int:
        """How many generators have arrived."""
        return sum(1 for _ in self.path.parent.glob(f"{self.path.name}.*"))

    def open(self, start_ns: int) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(str(start_ns))
        draft.replace(self.path)


def _gate_polls(job: Job) -> Iterator[float]:
    """Say that the generator has arrived; yield how long to sleep until the gate's start."""
    if not job.gate:
        return
    gate = Path(job.gate)
    gate.with_name(f"{gate.name}.{job.id}").touch()
    deadline = time.monotonic() + GATE_SECONDS
    while not gate.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{gate} was not opened within {GATE_SECONDS:g} s")
        yield 0.01
    yield max(0.0, (int(gate.read_text()) - time.monotonic_ns()) / 1e9)


def wait_for_gate(job: Job) -> None:
    for seconds in _gate_polls(job):
        time.sleep(seconds)


async def wait_for_gate_async(job: Job) -> None:
    for seconds in _gate_polls(job):
        await asyncio.sleep(seconds)


def string_chunk(mark: int) -> str:
    """A chunk that is already a string: one part of a UI message stream, 124 bytes."""
    head = f'{{"type":"text-delta","id":"msg_68c42d1d0878819d8266007cd3d1402c","delta":"@{mark}@ '
    return head + "x" * (STRING_BYTES - len(head) - 2) + '"}'


@cache
def template_event() -> Any:
    from openai.types.responses import ResponseTextDeltaEvent

    return ResponseTextDeltaEvent.construct(
        type="response.output_text.delta",
        item_id="msg_68c42d1d0878819d8266007cd3d1402c08fbf9b",
        output_index=0,
        content_index=0,
        sequence_number=100,
        delta="",
        logprobs=[],
        obfuscation="",
    )


def event_chunk(mark: int) -> Any:
    """An event as the openai SDK hands it out: about 215 bytes of JSON, some of them text.

    Copied: making one anew takes ten times as long, and is not what is measured. Not all of one
    length: Redis' memory for entries of one length jumps by a fifth from one byte to the next.
    """
    delta = f"@{mark}@"
    padding = "x" * (EVENT_BYTES - EVENT_FRAME + mark % 17 - 8 - len(delta))
    return template_event().model_copy(update={"delta": delta, "obfuscation": padding})


MAKERS: dict[str, Callable[[int], Any]] = {STRINGS: string_chunk, EVENTS: event_chunk}


@cache
def numbered(kind: str) -> list[Any]:
    """The chunks that are repeated flat out: making them must not be what is measured."""
    return [MAKERS[kind](number) for number in range(CYCLE)]


def flat(job: Job) -> Iterator[Any]:
    """Yield chunks as fast as they are taken, without waiting for the gate."""
    ready = numbered(job.kind)
    yield MAKERS[job.kind](time.monotonic_ns())
    full, rest = divmod(job.count - 1, CYCLE)
    for _ in range(full):
        yield from ready
    yield from ready[:rest]


def _due(job: Job) -> Iterator[int]:
    start = time.monotonic_ns() + int(job.phase * 1e9)
    for number in range(job.count):
        yield start + int(number / job.rate * 1e9)


def chunks(job: Job) -> Iterator[Any]:
    """A job's chunks, from when its gate opens."""
    numbered(job.kind)
    wait_for_gate(job)
    if not job.rate:
        yield from flat(job)
        return
    make = MAKERS[job.kind]
    for due in _due(job):
        pause = due - time.monotonic_ns()
        if pause > 0:
            time.sleep(pause / 1e9)
        yield make(time.monotonic_ns())


async def paced_async(job: Job) -> AsyncIterator[Any]:
    """A paced job's chunks for producers that live in an event loop; the gate is open."""
    make = MAKERS[job.kind]
    for due in _due(job):
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        yield make(time.monotonic_ns())


def as_json(chunk: Any) -> str:
    """A chunk as an application that encodes by hand would write it."""
    return chunk if isinstance(chunk, str) else str(chunk.model_dump_json())


def payload_bytes(job: Job) -> int:
    """The bytes of a flat job's encoded chunks (of its strings as they are)."""
    ready = [len(as_json(chunk)) for chunk in numbered(job.kind)]
    full, rest = divmod(job.count - 1, CYCLE)
    first = len(as_json(MAKERS[job.kind](time.monotonic_ns())))
    return first + full * sum(ready) + sum(ready[:rest])

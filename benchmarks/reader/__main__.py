"""Commands come in as JSON lines; each is answered by a line when all feeds are open, and by
another with what was read."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any

from benchmarks.processes import raise_file_limit
from benchmarks.reader.connections import ReaderError, open_all
from benchmarks.reader.sinks import Ages, FlatSink, Sink, StampSink
from benchmarks.reader.streams import StreamReader


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


class Reading:
    """One command: which feeds, how many chunks, what to keep of them, for how long at most."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.feeds: list[dict[str, Any]] = command["feeds"]
        self.expect: int = command["expect"]
        self.limit_s: float = command["limit_s"]
        self.window_s: float = command["skip_s"] + command["length_s"]
        self.flat = command["take"] == "flat"
        self.ages = Ages(self.expect)
        self.flat_sink = FlatSink(self.expect)
        self.received = 0

    def sink(self) -> Sink:
        return self.flat_sink if self.flat else StampSink(self.ages)

    @property
    def full(self) -> bool:
        return self.flat_sink.full if self.flat else self.ages.full

    @property
    def over(self) -> bool:
        """Full, or the window has closed and there is no need to wait for the rest."""
        stamps = self.ages.stamps
        return self.full or bool(
            self.command["cut"] and stamps and time.monotonic_ns() > stamps[0] + self.window_s * 1e9
        )

    def result(self) -> dict[str, Any]:
        if self.flat:
            return self.flat_sink.result()
        figures = self.ages.result(self.command["skip_s"], self.command["length_s"])
        return {**figures, "received": self.received}


async def read_pushed(reading: Reading) -> int:
    full = asyncio.Event()
    connections = await open_all(reading.feeds, reading.sink, full.set)
    say({"ready": len(connections)})
    deadline = time.monotonic() + reading.limit_s
    while not reading.over and time.monotonic() < deadline:
        try:
            await asyncio.wait_for(full.wait(), 0.2)
        except asyncio.TimeoutError:
            continue
    for connection in connections:
        connection.transport.abort()
        reading.received += connection.received
    return connections[0].opened_ns


def read_pulled(reading: Reading) -> int:
    reader = StreamReader(reading.feeds, [reading.sink() for _ in reading.feeds])
    say({"ready": len(reading.feeds)})
    reader.run(lambda: reading.over, time.monotonic() + reading.limit_s)
    reader.socket.close()
    return reader.opened_ns


def run_on_loop(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def main() -> None:
    raise_file_limit()
    gc.disable()
    for line in sys.stdin:
        command = json.loads(line)
        reading = Reading(command)
        try:
            if command["feeds"][0]["how"] == "xread":
                opened_ns = read_pulled(reading)
            else:
                opened_ns = run_on_loop(read_pushed(reading))
        except (OSError, ReaderError, asyncio.TimeoutError) as error:
            say({"error": f"{type(error).__name__}: {error}"})
            continue
        say({"opened_ns": opened_ns, "full": reading.full, **reading.result()})
        del reading
        gc.collect()


main()

"""`python -m benchmarks.capacity`: machines, memory and network for a load, from a cost table.

    python -m benchmarks.capacity --streams 100000 --readers 1000000 --rate 50
    python -m benchmarks.capacity --streams 2000 --readers 4000 --rate 30 --costs costs.json

The costs are those that `make bench ARGS=growth` measures; give it `--costs FILE` to keep yours.
What is computed is CPU and bytes. That it scales this far is computed too, not shown.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Costs:
    """Microseconds of CPU, and bytes, as measured on a busy machine of two slow cores.

    Attributes:
        worker: of a worker, a chunk.
        redis: of Redis, a chunk.
        copy: of Redis, for another relay server that hears of a chunk.
        notice: of a relay server that hears of a chunk.
        event: of a relay server, a chunk for one reader.
        reader_bytes: memory of a reader in a relay server (`make bench ARGS="--only fanout"`).
        kept_bytes: of Redis, a chunk that is kept: a recorded provider's event, deflated.
        frame_bytes: sent to a reader, besides the chunk.
    """

    worker: float = 110.0
    redis: float = 62.0
    copy: float = 1.25
    notice: float = 65.0
    event: float = 11.0
    reader_bytes: float = 11_500.0
    kept_bytes: float = 80.0
    frame_bytes: float = 174.0


class Load(NamedTuple):
    """Streams that are written at once, and who reads them.

    Attributes:
        rate: chunks a second of each stream.
        chunk: bytes of one.
        kept: seconds for which chunks are kept.
        busy: share of a core that is used.
        spread: readers of a stream go to any relay server, not to one that its id picks.
    """

    streams: int
    readers: int
    rate: float
    chunk: int = 150
    kept: float = 3600.0
    busy: float = 0.6
    spread: bool = False


class Need(NamedTuple):
    """Cores, and bytes (a second)."""

    workers: float
    redis: float
    relays: float
    heard_by: float
    redis_bytes: float
    relay_bytes: float
    out: float
    inside: float


def heard_by(load: Load, processes: float) -> float:
    """How many relay servers hear of a stream."""
    readers = load.readers / load.streams
    if not load.spread or processes <= 1:
        return min(1.0, readers)
    return processes * (1 - (1 - 1 / processes) ** readers)


def need(load: Load, costs: Costs) -> Need:
    """What the load takes. A process of a relay server uses one core."""
    chunks, events = load.streams * load.rate, load.readers * load.rate
    processes = relays = 1.0
    for _ in range(50):
        copies = heard_by(load, processes)
        relays = (chunks * copies * costs.notice + events * costs.event) / 1e6 / load.busy
        processes = max(1.0, math.ceil(relays))
    return Need(
        workers=chunks * costs.worker / 1e6 / load.busy,
        redis=chunks * (costs.redis + copies * costs.copy) / 1e6 / load.busy,
        relays=relays,
        heard_by=copies,
        redis_bytes=chunks * load.kept * costs.kept_bytes,
        relay_bytes=load.readers * costs.reader_bytes,
        out=events * (load.chunk + costs.frame_bytes),
        inside=chunks * load.chunk * (1 + copies),
    )


def report(load: Load, costs: Costs) -> list[str]:
    """The need in words, and its largest part."""
    found = need(load, costs)
    parts = {"workers": found.workers, "Redis": found.redis, "relay servers": found.relays}
    return [
        f"{load.streams:,} streams at {load.rate:g} chunks/s, {load.readers:,} readers:"
        f" {load.streams * load.rate:,.0f} chunks/s, {load.readers * load.rate:,.0f} events/s",
        f"  workers        {_cores(found.workers)}",
        f"  Redis          {_cores(found.redis)}, a primary each;"
        f" {_size(found.redis_bytes)} for chunks kept {load.kept / 3600:g} h",
        f"  relay servers  {_cores(found.relays)}, a process each;"
        f" {_size(found.relay_bytes)} for readers",
        f"  a stream is heard of by {found.heard_by:.1f} relay servers",
        f"  network        {found.out * 8 / 1e9:,.2f} Gbit/s to readers,"
        f" {found.inside * 8 / 1e9:,.2f} within",
        f"  most CPU: {max(parts, key=lambda name: parts[name])}",
    ]


def _cores(cores: float) -> str:
    return f"{max(1, math.ceil(cores)):,} cores"


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def read_costs(path: Path | None) -> Costs:
    if path is None:
        return Costs()
    given = json.loads(path.read_text())
    return Costs(**{each.name: given[each.name] for each in fields(Costs) if each.name in given})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="written at once")
    parser.add_argument("--readers", type=int, default=1000, help="in all")
    parser.add_argument("--rate", type=float, default=50.0, help="chunks a second of a stream")
    parser.add_argument("--chunk", type=int, default=150, help="bytes")
    parser.add_argument("--kept", type=float, default=3600.0, help="seconds")
    parser.add_argument("--busy", type=float, default=0.6, help="share of a core that is used")
    parser.add_argument("--spread", action="store_true", help="readers go to any relay server")
    parser.add_argument("--costs", type=Path, metavar="FILE")
    options = vars(parser.parse_args())
    costs = read_costs(options.pop("costs"))
    print(*report(Load(**options), costs), sep="\n")
    print("costs: " + ", ".join(f"{name} {value:g}" for name, value in asdict(costs).items()))


if __name__ == "__main__":
    main()

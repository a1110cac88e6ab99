"""Load and faults for minutes: `python -m tests.faults.soak --minutes 5 --seed 1`.

The seed decides which fault strikes when and what the streams are like. One line of figures is
printed in the end, before it every violation; the exit status is 1 when there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tests.faults.faults import Fault
from tests.faults.oracle import chunks_checked, judge_stream
from tests.faults.processes import ProducerProcess
from tests.faults.stage import LEASE, POLL, REAP_AFTER, Stage, until

STREAMS_AT_ONCE = 12
PRODUCERS = 3
# An end must come within this time after the stream is over or its producer lost. Faults go on
# meanwhile, and while Redis is away nobody can be told anything.
BOUND = LEASE + REAP_AFTER + 2 * POLL + 20.0
DESCRIPTORS = 64  # how many more a relay server may have in the end
MEMORY = 100 * 1024 * 1024


class Death(Enum):
    """What happens to a producer, beside what happens to everything else."""

    PRODUCER_KILLED = "its streams are lost, or taken over by others"
    PRODUCER_FROZEN = "its streams are taken over by others; then it wakes"


@dataclass(frozen=True)
class Strike:
    """A fault, so many seconds after the one before is over."""

    gap: float
    fault: Fault | Death


def schedule(seed: int) -> Iterator[Strike]:
    """The faults of this seed, without an end."""
    rng = random.Random(f"faults {seed}")
    kinds: list[Fault | Death] = [*Fault, *Death, *Death]
    while True:
        # All of them before one comes again.
        rng.shuffle(kinds)
        for fault in kinds:
            yield Strike(rng.uniform(0.5, 2.5), fault)


@dataclass
class Soak:
    """One run.

    Attributes:
        writing: the producer of each stream that is not over.
        abandoned: streams whose producer was lost, and nobody took its place.
        over: when a stream was over for its producer, or its producer lost.
    """

    stage: Stage
    seed: int
    until: float
    struck: Counter[str] = field(default_factory=Counter)
    writing: dict[str, ProducerProcess] = field(default_factory=dict)
    abandoned: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    streams: int = 0
    chunks: int = 0
    _striking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        load = [asyncio.ensure_future(self._load(number)) for number in range(STREAMS_AT_ONCE)]
        striking = asyncio.ensure_future(self._strike())
        done, _ = await asyncio.wait([*load, striking])
        for task in done:
            task.result()

    async def _strike(self) -> None:
        rng = random.Random(f"victims {self.seed}")
        for strike in schedule(self.seed):
            if time.monotonic() + strike.gap > self.until:
                return
            await asyncio.sleep(strike.gap)
            self.struck[strike.fault.name.lower()] += 1
            began = time.monotonic()
            async with self._striking:
                if isinstance(strike.fault, Fault):
                    await strike.fault.strike(self.stage)
                else:
                    await self._kill(strike.fault, rng)
            with (self.stage.directory / "strikes.log").open("a") as log:
                log.write(f"{began:.3f} {time.monotonic():.3f} {strike.fault.name}\n")

    async def _kill(self, death: Death, rng: random.Random) -> None:
        victim, *others = rng.sample(self.stage.producers, PRODUCERS)
        frozen = death is Death.PRODUCER_FROZEN
        victim.signal(signal.SIGSTOP if frozen else signal.SIGKILL)
        for name in [name for name, each in self.writing.items() if each is victim]:
            if not frozen and rng.random() < 0.3:
                self.abandoned[name] = time.monotonic()
            else:
                heir = self.writing[name] = rng.choice(others)
                heir.begin(name, rng.randint(1, 100), pace=0.01)
        if frozen:
            await asyncio.sleep(2 * LEASE)
            victim.signal(signal.SIGCONT)
        else:
            victim.kill()
            await asyncio.to_thread(victim.start)

    async def _load(self, number: int) -> None:
        """One stream after the other."""
        rng = random.Random(f"load {self.seed} {number}")
        while time.monotonic() < self.until:
            self.streams += 1
            await self._stream(await asyncio.to_thread(self.stage.announce), rng)

    async def _stream(self, name: str, rng: random.Random) -> None:
        stage = self.stage
        producer = self.writing[name] = rng.choice(stage.producers)
        stage.read(name)
        while not producer.running:
            await asyncio.sleep(0.05)
            producer = self.writing[name] = rng.choice(stage.producers)
        producer.begin(
            name, rng.randint(0, 300), size=rng.choice([10, 100, 3000]),
            pace=rng.choice([0, 0.002, 0.02]),
        )  # fmt: skip
        for _ in range(rng.randint(1, 4)):
            await asyncio.sleep(rng.uniform(0, 0.5))
            stage.read(name, rng.choice(["sse", "sse", "long-poll"]))
        try:
            over = await until(lambda: self._over(name), f"{name} is over", timeout=90)
        except AssertionError as error:
            self.wrong.append(f"{error}: {stage.stream(name)}")
            over = time.monotonic()
        del self.writing[name]
        await stage.readers_are_done(name, timeout=max(1.0, over + BOUND - time.monotonic()))
        records = stage.records(name)
        self.chunks += chunks_checked(records)
        # The fault that strikes now has to be over, for what it lost to be known.
        async with self._striking:
            self.wrong += judge_stream(
                name, stage.stream(name), records, losses=stage.losses, deadline=over + BOUND
            )
        del stage.readers[name]

    def _over(self, name: str) -> float:
        stream = self.stage.stream(name)
        if stream.ended is None and stream.found_ended:
            return time.monotonic()
        return stream.ended.ended if stream.ended else self.abandoned.get(name, 0.0)

    def check_bounds(self, before: Sequence[tuple[int, int]]) -> None:
        """Nothing is left behind: keys that never expire, descriptors, memory."""
        keys = self.stage.keys()
        self.wrong += [f"{key} never expires" for key, ttl in keys.items() if ttl < 0]
        if len(keys) > 2 * self.streams + 1:
            self.wrong.append(f"{len(keys)} keys of {self.streams} streams")
        for relay, (descriptors, memory) in zip(self.stage.relays, before, strict=True):
            if relay.descriptors() > descriptors + DESCRIPTORS:
                self.wrong.append(f"a relay has {relay.descriptors()} open files")
            if relay.memory() > memory + MEMORY:
                self.wrong.append(f"a relay takes {relay.memory() >> 20} MiB")

    def figures(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.struck.items()))
        return (
            f"soak seed={self.seed}: {self.streams} streams, {self.chunks} chunks checked, "
            f"{self.struck.total()} faults ({kinds}), {len(self.wrong)} violations"
        )


async def soak(minutes: float, seed: int, directory: Path) -> Soak:
    """Set the stage, and run."""
    stage = await asyncio.to_thread(Stage, directory, PRODUCERS)
    try:
        run = Soak(stage, seed, time.monotonic() + minutes * 60)
        before = [(relay.descriptors(), relay.memory()) for relay in stage.relays]
        await run.run()
        run.check_bounds(before)
        return run
    finally:
        stage.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--keep", type=Path, help="keep ledgers and logs in this directory")
    given = parser.parse_args()
    seed = given.seed or random.SystemRandom().randrange(1, 1_000_000)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        directory = given.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        run = asyncio.run(soak(given.minutes, seed, directory))
    for problem in run.wrong:
        print(problem)
    print(run.figures())
    sys.exit(1 if run.wrong else 0)


if __name__ == "__main__":
    main()

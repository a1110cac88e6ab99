"""One run of the benchmark: its folder, its options, its reader, and the stacks it started."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.chunks import Gate
from benchmarks.feeds import Reader
from benchmarks.results import Group
from benchmarks.stack import Stack


@dataclass(frozen=True)
class Subject:
    """A row of the table: a stack, and which of its ways of streaming."""

    name: str
    stack: type[Stack]
    lane: str = ""
    batch: int = 1
    flat_chunks: int = 20_000
    """How many chunks make a run of a second or so, flat out."""

    def missing(self) -> str | None:
        """The module this subject needs and does not find."""
        for module in self.stack.needs:
            if importlib.util.find_spec(module) is None:
                return module
        return None


class Session:
    def __init__(self, folder: Path, *, rounds: int, quick: bool) -> None:
        self.folder = folder
        self.rounds = rounds
        self.quick = quick
        self._numbers = count()
        self._started: dict[type[Stack], Stack] = {}
        self._exits = ExitStack()
        self._reader: Reader | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_all()

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self.folder)
        return self._reader

    def stack(self, made: type[Stack]) -> Stack:
        """The one stack of this kind that several cases share; started when first asked for."""
        if made not in self._started:
            self._started[made] = self._exits.enter_context(self.fresh(made))
        return self._started[made]

    @contextmanager
    def fresh(self, made: type[Stack]) -> Iterator[Stack]:
        """A stack of its own, gone at the end of the block."""
        folder = self.folder / f"{made.__name__}-{next(self._numbers)}"
        folder.mkdir()
        stack = made(folder)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()

    def stop_all(self) -> None:
        """End what was started; what is needed again starts anew."""
        self._exits.close()
        self._started.clear()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def gate(self) -> Gate:
        return Gate(self.folder / f"gate{next(self._numbers)}")

    def stream_id(self) -> str:
        return f"s{next(self._numbers)}-{time.monotonic_ns()}"

    def scaled(self, chunks: int) -> int:
        return max(1000, chunks // 2) if self.quick else chunks

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def present(self, subjects: Sequence[Subject], groups: Sequence[Group]) -> list[Subject]:
        """The subjects that can run here; the groups say so of the others."""
        here = []
        for subject in subjects:
            for group in groups:
                group.row(subject.name)
            missing = subject.missing()
            if missing is None:
                here.append(subject)
                continue
            for group in groups:
                group.note(subject.name, f"not measured: no module {missing}")
        return here

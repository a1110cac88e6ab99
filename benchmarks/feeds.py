"""How a stream is read, and the reader process that does it."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, Process


@dataclass(frozen=True)
class Feed:
    """Where a stream can be read, or `streams` at once: `ready` is what the server sends once
    nothing can be missed."""

    how: str
    port: int
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    ready: str = "\r\n\r\n"
    auth: dict[str, str] = field(default_factory=dict)
    key: str = ""
    db: int = 0
    body: str = ""
    streams: int = 1


class Reader:
    """The reader process, as seen from the run."""

    def __init__(self, folder: Path, name: str = "reader") -> None:
        argv = [sys.executable, "-m", "benchmarks.reader"]
        self.process = Process(name, argv, log=folder / f"{name}.log", pipes=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        stdout = self.process.child.stdout
        assert stdout is not None
        for line in stdout:
            self._lines.put(line)
        self._lines.put("")

    def open(
        self,
        feeds: Sequence[Feed],
        expect: int,
        *,
        flat: bool = False,
        skip_s: float = 0.0,
        length_s: float = 0.0,
        cut: bool = False,
        limit_s: float = 120.0,
    ) -> None:
        """Start reading; return once every feed is open."""
        command = {
            "feeds": [asdict(feed) for feed in feeds],
            "expect": expect,
            "take": "flat" if flat else "stamps",
            "skip_s": skip_s,
            "length_s": length_s,
            "cut": cut,
            "limit_s": limit_s,
        }
        self._limit = limit_s + 30
        stdin = self.process.child.stdin
        assert stdin is not None
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        self._answer(90)

    def result(self) -> dict[str, Any]:
        return self._answer(self._limit)

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise BenchmarkError(f"the reader did not answer within {seconds:g} s") from None
        if not line:
            self.process.child.wait(5)
            self.process.check()
            raise BenchmarkError("the reader closed its output")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"the reader could not read: {answer['error']}")
        return answer

    def stop(self) -> None:
        self.process.stop()

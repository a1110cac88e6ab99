"""What producers did and what the relay acknowledged to them, in their own words.

One line of JSON an event, written in one system call, so that it survives a SIGKILL of its writer.
Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["claimed", "began", "acked", "refused", "held", "finished", "failed"]


class LedgerWriter:
    """Appends events to a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, kind: Kind, stream: str, **fields: Any) -> None:
        event = {"at": time.monotonic(), "kind": kind, "stream": stream, **fields}
        os.write(self._file, (json.dumps(event) + "\n").encode())


@dataclass
class AttemptRecord:
    """One attempt as its producer knows it.

    Attributes:
        acked: seq of the last chunk that the relay acknowledged.
        last_sent: when the latest append that was acknowledged was sent.
        end: the end reason that was acknowledged.
        total: number of chunks that the attempt is to have.
        finished: its producer knows that all of it is safe.
    """

    attempt: int
    nonce: str
    claimed: float
    acked: int = 0
    last_sent: float = 0.0
    end: str = ""
    ended: float = 0.0
    total: int = -1
    finished: bool = False
    refused: list[str] = field(default_factory=list)


@dataclass
class StreamRecord:
    """All attempts of one stream, by nonce, in the order in which they were claimed."""

    attempts: dict[str, AttemptRecord] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    @property
    def ended(self) -> AttemptRecord | None:
        """The attempt whose end was acknowledged."""
        return next((each for each in self.attempts.values() if each.end), None)

    @property
    def found_ended(self) -> bool:
        """A later producer was told so: the one that ended it was killed before it noted it."""
        return any(failure.startswith("closed:") for failure in self.failures)


class Ledgers:
    """The ledgers of several producers, read as they grow."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamRecord] = defaultdict(StreamRecord)
        self._read: dict[Path, int] = {}

    def follow(self, path: Path) -> None:
        """Read this one, too."""
        self._read[path] = 0

    def update(self) -> dict[str, StreamRecord]:
        """Take in what is new; all streams by name."""
        events: list[dict[str, Any]] = []
        for path, start in list(self._read.items()):
            with path.open("rb") as file:
                file.seek(start)
                # The last line may be in the making, or cut off by a SIGKILL.
                text = file.read().rpartition(b"\n")[0]
            if text:
                self._read[path] += len(text) + 1
                events += [json.loads(line) for line in text.split(b"\n")]
        for event in sorted(events, key=lambda event: event["at"]):
            _take(self.streams[event["stream"]], event)
        return self.streams


def _take(stream: StreamRecord, event: dict[str, Any]) -> None:
    kind = event["kind"]
    if kind == "claimed":
        record = AttemptRecord(event["attempt"], event["nonce"], event["at"])
        stream.attempts.setdefault(event["nonce"], record)
    elif kind == "failed":
        stream.failures.append(event["error"])
    elif kind == "held":
        stream.held.append(event["seq"])
    elif event["nonce"] in stream.attempts:
        attempt = stream.attempts[event["nonce"]]
        if kind == "acked":
            attempt.acked = max(attempt.acked, event["last"])
            attempt.last_sent = event["sent"]
            if event["end"] and not attempt.end:
                attempt.end, attempt.ended = event["end"], event["at"]
        elif kind == "refused":
            attempt.refused.append(event["answer"])
        elif kind == "began":
            attempt.total = event["total"]
        elif kind == "finished":
            attempt.finished = True

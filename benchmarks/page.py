"""The streams of one page, and the ways to read them all at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from benchmarks.chunks import Job
from benchmarks.feeds import Feed
from benchmarks.ours import SERVER, THREADS, Ours, worker
from benchmarks.processes import Process

SHARED = "shared"
WEBSOCKET = "websocket"
EACH = "each"
SIX = "six"
CONNECTIONS = 6
"""To one host, over all tabs, in every browser."""


class Page(Ours):
    """Redis, one worker, and a relay with all doors in one process. A lane is a way to read."""

    def start_relay(self) -> None:
        argv = [sys.executable, "-m", "benchmarks.page_door", str(self.port)]
        log = self.folder / "relay.log"
        self.processes[SERVER] = Process("the page's relay", argv, log=log, env=self.environment)
        self.processes[SERVER].wait_for_port(self.port)

    def start_lanes(self) -> None:
        self.start_worker(worker(THREADS), queue=THREADS, env=self.environment)

    def roles(self, lane: str = "") -> Sequence[str]:
        return super().roles(THREADS)

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        return super().enqueue(job, THREADS)

    def reading(self, feeds: list[Feed], lane: str) -> list[Feed]:
        if lane == EACH:
            return feeds
        if lane == SIX:
            return feeds[:CONNECTIONS]
        return [
            Feed(
                "post" if lane == SHARED else "websocket",
                self.port,
                path="/v1/streams",
                body=json.dumps({"streams": [_asked(feed) for feed in feeds]}),
                streams=len(feeds),
            )
        ]


def _asked(feed: Feed) -> dict[str, str]:
    stream_id = feed.path.removeprefix("/v1/stream/").partition("?")[0]
    return {"id": stream_id, "token": feed.headers["Authorization"].removeprefix("Bearer ")}

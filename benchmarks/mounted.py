"""The relay server as its own process, and mounted in a FastAPI application: both on one Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.chunks import Job
from benchmarks.feeds import Feed
from benchmarks.ours import SERVER, THREADS, Ours, app, worker

MOUNTED = "mounted"


def create_app() -> Any:
    """A FastAPI application with a relay server, as the documentation mounts it."""
    from fastapi import FastAPI

    from streamstraight_celery.integrations.fastapi import Streams

    app.set_default()
    streams = Streams(app)
    api = FastAPI(lifespan=streams.lifespan)
    api.mount("/relay", streams.relay)
    return api


class Mounted(Ours):
    """As `Ours`; the lane `mounted` reads from the application."""

    name = "mounted"

    def start_rest(self) -> None:
        super().start_rest()
        self.mounted = self.start_uvicorn(
            "benchmarks.mounted:create_app", MOUNTED, env=self.environment
        )

    def start_lanes(self) -> None:
        self.start_worker(worker(THREADS), queue=THREADS, env=self.environment)

    def roles(self, lane: str = "") -> Sequence[str]:
        return ("redis", lane or SERVER, worker(THREADS))

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        feed = super().enqueue(job)
        return replace(feed, port=self.mounted, path=f"/relay{feed.path}") if lane else feed

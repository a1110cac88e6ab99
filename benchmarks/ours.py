"""This package under measurement, as its users have it: tasks, workers and the relay server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from celery import Celery

from benchmarks.chunks import EVENTS, STRINGS, Job, chunks
from benchmarks.feeds import Feed
from benchmarks.processes import Process
from benchmarks.stack import BROKER_DB, DATA_DB, Stack, stable_port
from streamstraight_celery import StreamTask

THREADS = "threads"
AT_ONCE = "at-once"
PREFORK = "prefork"
NOBODY = "nobody"
PREFORK_PROCESSES = 2
SERVER = "server"
VARIABLES = {
    "broker_url": "BENCH_BROKER",
    "result_backend": "BENCH_BROKER",
    "stream_relay_url": "BENCH_RELAY",
    "stream_public_url": "BENCH_PUBLIC",
}

app = Celery("benchmarks.ours")
app.conf.update(
    {key: os.environ[name] for key, name in VARIABLES.items() if name in os.environ},
    stream_secret="only for the benchmark, on loopback",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if "BENCH_LINGER" in os.environ:
    app.conf.stream_linger = float(os.environ["BENCH_LINGER"])


def produce(job_arguments: dict[str, Any]) -> Iterator[Any]:
    yield from chunks(Job(**job_arguments))


def as_it_is(chunk: str) -> str:
    return chunk


def nothing(_: dict[str, Any]) -> None:
    """A task that streams nothing."""


def stream_task(name: str, **options: Any) -> Any:
    return app.task(base=StreamTask, name=name, **options)(produce)


answers = {
    STRINGS: stream_task("ours.strings", encoder=as_it_is),
    EVENTS: stream_task("ours.events"),
}


def stamp() -> Iterator[str]:
    yield f'"@{time.monotonic_ns()}@"'


def plain_stamp(url: str) -> None:
    """Note when it runs."""
    now = time.monotonic_ns()
    redis.Redis.from_url(url).rpush("plain", now)


# For the time to the first chunk.
first_stream = app.task(base=StreamTask, name="ours.first", encoder=as_it_is)(stamp)
first_plain = app.task(name="ours.first_plain", ignore_result=True)(plain_stamp)
# For the route's time: queued where no worker looks.
queued_stream = stream_task("ours.queued", queue=NOBODY)
queued_plain = app.task(name="ours.plain", queue=NOBODY)(nothing)


class Ours(Stack):
    """Redis, the relay, and a worker for each way the sender and the pool can be set."""

    name = "ours"
    app = "benchmarks.ours"

    def start_rest(self) -> None:
        self.port = stable_port(self.app, SERVER)
        self.environment = {
            "BENCH_BROKER": self.redis.url(BROKER_DB),
            "BENCH_RELAY": self.redis.url(DATA_DB),
            "BENCH_PUBLIC": f"http://127.0.0.1:{self.port}",
        }
        app.conf.update({key: self.environment[name] for key, name in VARIABLES.items()})
        self.start_relay()
        self.start_lanes()

    def start_relay(self) -> None:
        argv = [sys.executable, "-m", "celery", "-A", self.app, "streams", "relay"]
        argv += ["--host", "127.0.0.1", "--port", str(self.port)]
        log = self.folder / "relay.log"
        self.processes[SERVER] = Process("ours relay", argv, log=log, env=self.environment)
        self.processes[SERVER].wait_for_port(self.port)

    def start_lanes(self) -> None:
        at_once = {**self.environment, "BENCH_LINGER": "0"}
        self.start_worker(worker(THREADS), queue=THREADS, env=self.environment)
        self.start_worker(worker(AT_ONCE), queue=AT_ONCE, env=at_once)
        self.start_worker(
            worker(PREFORK),
            queue=PREFORK,
            env=self.environment,
            pool="prefork",
            concurrency=PREFORK_PROCESSES,
        )

    def roles(self, lane: str = "") -> Sequence[str]:
        return ("redis", SERVER, worker(lane or THREADS))

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        handle = answers[job.kind].apply_stream((job.as_dict(),), queue=lane or THREADS)
        ref = handle.ref()
        path = ref["url"].removeprefix(self.environment["BENCH_PUBLIC"])
        return Feed(
            "sse",
            self.port,
            path=f"{path}?live=sse&offset=-1",
            headers={"Authorization": f"Bearer {ref['token']}"},
        )


def worker(lane: str) -> str:
    return f"worker-{lane}"


def routes() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """What a web route may call, by what the table calls it."""
    return {
        "ours, task.stream()": queued_stream.stream,
        "ours, task.stream().ref()": lambda job: queued_stream.stream(job).ref(),
        "plain task.delay()": queued_plain.delay,
    }

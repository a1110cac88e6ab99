"""This package's client of the Streamstraight protocol and the published SDK, at one relay: ours.

The relay is the package's own server on Redis; what is read comes from it by SSE. So only the
clients differ.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery

from benchmarks.chunks import EVENTS, STRINGS, Job, chunks
from benchmarks.feeds import Feed
from benchmarks.peers import streamstraight_sdk as sdk
from benchmarks.processes import Process
from benchmarks.stack import BROKER_DB, DATA_DB, Stack, send, stable_port
from streamstraight_celery import StreamTask
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Create, Read
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.settings import StreamSettings

OUR_CLIENT = "client"
SDK = "sdk"
SERVER = "server"
VARIABLES = {
    "broker_url": "BENCH_BROKER",
    "stream_relay_url": "BENCH_STREAMS",
    "stream_public_url": "BENCH_PUBLIC",
}

app = Celery("benchmarks.hosted")
app.conf.update(
    {key: os.environ[name] for key, name in VARIABLES.items() if name in os.environ},
    stream_secret="only for the benchmark, on loopback",
    stream_api_key=sdk.KEY,
    stream_api_keys=[sdk.KEY],
    # A relay that is away for a second must not end the streams of those that come back.
    stream_lease=5,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


def produce(job_arguments: dict[str, Any]) -> Any:
    yield from chunks(Job(**job_arguments))


def stream_task(name: str, **options: Any) -> Any:
    return app.task(base=StreamTask, name=name, **options)(produce)


answers = {
    STRINGS: stream_task("hosted.strings", encoder=sdk.as_it_is),
    EVENTS: stream_task("hosted.events"),
}
sdk_answer = app.task(name="hosted.sdk")(sdk.run)


class Hosted(Stack):
    """Redis, our relay with its Socket.IO door, and a worker for each client."""

    name = "hosted"
    app = "benchmarks.hosted"
    needs = ("streamstraight_server", "socketio", "websockets")

    def start_rest(self) -> None:
        self.port = stable_port(self.app, SERVER)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "BENCH_BROKER": self.redis.url(BROKER_DB),
            "BENCH_STREAMS": self.redis.url(DATA_DB),
            "BENCH_PUBLIC": self.url,
        }
        app.conf.update({key: self.environment[name] for key, name in VARIABLES.items()})
        self.start_relay()
        hosted = {**self.environment, "BENCH_STREAMS": self.client_url}
        self.start_worker(worker(OUR_CLIENT), queue=OUR_CLIENT, env=hosted)
        with_sdk = {**self.environment, sdk.RELAY_VARIABLE: self.url}
        self.start_worker(worker(SDK), queue=SDK, env=with_sdk)

    @property
    def client_url(self) -> str:
        return f"streamstraight+http://127.0.0.1:{self.port}"

    def start_relay(self) -> None:
        argv = [sys.executable, "-m", "celery", "-A", self.app, "streams", "relay"]
        argv += ["--host", "127.0.0.1", "--port", str(self.port)]
        log = self.folder / "relay.log"
        self.processes[SERVER] = Process("hosted relay", argv, log=log, env=self.environment)
        self.processes[SERVER].wait_for_port(self.port)

    def kill_relay(self, seconds: float) -> None:
        """Kill the relay, and start it again so that it is away for about so long."""
        self.processes[SERVER].child.send_signal(signal.SIGKILL)
        self.processes[SERVER].child.wait()
        time.sleep(seconds)
        self.processes[SERVER].stop()
        self.start_relay()

    def roles(self, lane: str = "") -> Sequence[str]:
        return ("redis", SERVER, worker(lane))

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        runtime = Runtime.of(app)
        if lane == OUR_CLIENT:
            options = {"stream_id": job.id, "queue": lane}
            answers[job.kind].apply_stream((job.as_dict(),), **options)
        else:
            # Announced as well, so that the reader may be there before the producer.
            runtime.relay.call(Create(job.id, job.id))
            send(sdk_answer, job, lane)
        return Feed(
            "sse",
            self.port,
            path=f"/v1/stream/{job.id}?live=sse&offset=-1",
            headers={"Authorization": f"Bearer {runtime.tokens.issue(job.id)[0]}"},
        )

    def written(self, stream_id: str) -> tuple[int, str]:
        """How many chunks of a stream are in the log, and its end reason."""
        page = Runtime.of(app).relay.read(Read(stream_id))
        return (page.state.last, page.state.end) if page is not None else (0, "")

    def connect_ms(self, lane: str, times: int) -> list[float]:
        """How long each of so many new streams takes until its first chunk may be sent."""
        if lane == SDK:
            return asyncio.run(self._connect_sdk(times))
        settings = StreamSettings(relay_url=self.client_url, api_key=sdk.KEY)
        relay = open_relay(settings)
        sender = Sender(relay, settings)
        taken = []
        for number in range(times):
            started = time.perf_counter()
            writer = sender.open(f"connect-{number}-{time.monotonic_ns()}")
            taken.append((time.perf_counter() - started) * 1e3)
            writer.finish("completed")
        sender.close()
        relay.close()
        return taken

    async def _connect_sdk(self, times: int) -> list[float]:
        from streamstraight_server import streamstraight_server

        taken = []
        for number in range(times):
            name = f"connect-{number}-{time.monotonic_ns()}"
            started = time.perf_counter()
            server: Any = await streamstraight_server(
                {"api_key": sdk.KEY, "base_url": self.url}, {"stream_id": name}
            )
            taken.append((time.perf_counter() - started) * 1e3)
            await server.stream([])
        return taken


def worker(lane: str) -> str:
    return f"worker-{lane}"

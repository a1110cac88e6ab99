"""PyPI's streamstraight-server in a Celery task, through the storing relay beside it."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import cache
from typing import Any

from benchmarks.chunks import STRINGS, Job, flat, numbered, paced_async, wait_for_gate_async
from benchmarks.feeds import Feed
from benchmarks.peers import celery_app
from benchmarks.stack import BROKER_DB, DATA_DB, Stack, send

QUEUE = "streamstraight"
RELAY_VARIABLE = "BENCH_RELAY"
KEY = "only for the benchmark"

app = celery_app.new_app("streamstraight_sdk")


def as_it_is(chunk: str) -> str:
    return chunk


async def produce(job: Job) -> None:
    from streamstraight_server import streamstraight_server

    numbered(job.kind)
    stream: dict[str, Any] = {"stream_id": job.id}
    if job.kind == STRINGS:
        stream["encoder"] = as_it_is
    options = {"api_key": KEY, "base_url": os.environ[RELAY_VARIABLE]}
    server: Any = await streamstraight_server(options, stream)
    await wait_for_gate_async(job)
    await server.stream(paced_async(job) if job.rate else flat(job))


@cache
def loop() -> asyncio.AbstractEventLoop:
    """One event loop for all threads of the worker: one each costs the SDK twice the CPU."""
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, daemon=True).start()
    return made


def run(job_arguments: dict[str, Any]) -> None:
    asyncio.run_coroutine_threadsafe(produce(Job(**job_arguments)), loop()).result()


answer = celery_app.task(app, "streamstraight_sdk.answer", run)


class StreamstraightSdk(Stack):
    app = "benchmarks.peers.streamstraight_sdk"
    name = "streamstraight SDK"
    needs = ("streamstraight_server", "socketio", "websockets")

    def start_rest(self) -> None:
        env = {
            celery_app.BROKER_VARIABLE: self.redis.url(BROKER_DB),
            celery_app.DATA_VARIABLE: self.redis.url(DATA_DB),
        }
        celery_app.use(app, self.redis)
        self.port = self.start_uvicorn("benchmarks.peers.storing_relay:web", "server", env=env)
        env[RELAY_VARIABLE] = f"http://127.0.0.1:{self.port}"
        self.start_worker("worker", queue=QUEUE, env=env)

    def feed(self, stream_id: str) -> Feed:
        auth = {"role": "consumer", "streamId": stream_id, "version": "stream-v1"}
        path = "/socket.io/?EIO=4&transport=websocket"
        return Feed("socketio", self.port, path=path, ready='40{"sid"', auth=auth)

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        send(answer, job, QUEUE)
        return self.feed(job.id)

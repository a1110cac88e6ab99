"""Bare Redis: a worker XADDs, alone or in pipelines; a reader blocks in XREAD.

The floor: no fencing, no end, no tokens, no HTTP, and the reader must be let into Redis.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import redis

from benchmarks.chunks import Job, as_json, chunks
from benchmarks.feeds import Feed
from benchmarks.peers import celery_app
from benchmarks.stack import BROKER_DB, DATA_DB, Stack, send

QUEUE = "xadd"

app = celery_app.new_app("bare_redis")
client = redis.Redis.from_url(os.environ.get(celery_app.DATA_VARIABLE, "redis://127.0.0.1"))


def xadd(job_arguments: dict[str, Any]) -> None:
    job = Job(**job_arguments)
    key = f"stream:{job.id}"
    source = chunks(job)
    if job.batch == 1:
        for chunk in source:
            client.xadd(key, {"d": as_json(chunk)})
        return
    pipeline = client.pipeline(transaction=False)
    while batch := list(islice(source, job.batch)):
        for chunk in batch:
            pipeline.xadd(key, {"d": as_json(chunk)})
        pipeline.execute()


answer = celery_app.task(app, "bare_redis.answer", xadd)


class BareRedis(Stack):
    app = "benchmarks.peers.bare_redis"
    name = "XADD"

    def start_rest(self) -> None:
        env = {
            celery_app.BROKER_VARIABLE: self.redis.url(BROKER_DB),
            celery_app.DATA_VARIABLE: self.redis.url(DATA_DB),
        }
        celery_app.use(app, self.redis)
        self.start_worker("worker", queue=QUEUE, env=env)

    def feed(self, stream_id: str) -> Feed:
        return Feed("xread", self.redis.port, key=f"stream:{stream_id}", db=DATA_DB)

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        send(answer, job, QUEUE)
        return self.feed(job.id)

"""Today's recipe: a task PUBLISHes every token, an async view subscribes and writes SSE.

Nothing is kept: who subscribes late or reconnects has lost what was sent before.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import redis
import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.chunks import Job, as_json, chunks
from benchmarks.feeds import Feed
from benchmarks.peers import celery_app
from benchmarks.stack import BROKER_DB, DATA_DB, Stack, send

DONE = "[DONE]"
QUEUE = "publish"
READY = ": subscribed\n\n"
URL = os.environ.get(celery_app.DATA_VARIABLE, "redis://127.0.0.1")

app = celery_app.new_app("publish_recipe")
client = redis.Redis.from_url(URL)


def publish(job_arguments: dict[str, Any]) -> None:
    job = Job(**job_arguments)
    channel = f"stream:{job.id}"
    for chunk in chunks(job):
        client.publish(channel, as_json(chunk))
    client.publish(channel, DONE)


answer = celery_app.task(app, "publish_recipe.answer", publish)


async def events(stream_id: str) -> AsyncIterator[str]:
    subscriber = redis.asyncio.Redis.from_url(URL, decode_responses=True)
    async with subscriber, subscriber.pubsub() as pubsub:
        await pubsub.subscribe(f"stream:{stream_id}")
        async for message in pubsub.listen():
            if message["type"] == "subscribe":
                yield READY
            elif message["data"] == DONE:
                yield f"event: end\ndata: {DONE}\n\n"
                return
            else:
                yield f"data: {message['data']}\n\n"


async def view(request: Request) -> StreamingResponse:
    return StreamingResponse(
        events(request.path_params["stream_id"]), media_type="text/event-stream"
    )


web = Starlette(routes=[Route("/stream/{stream_id}", view)])


class PublishRecipe(Stack):
    app = "benchmarks.peers.publish_recipe"
    name = "PUBLISH recipe"
    web = "benchmarks.peers.publish_recipe:web"

    def start_rest(self) -> None:
        env = {
            celery_app.BROKER_VARIABLE: self.redis.url(BROKER_DB),
            celery_app.DATA_VARIABLE: self.redis.url(DATA_DB),
        }
        celery_app.use(app, self.redis)
        self.start_worker("worker", queue=QUEUE, env=env)
        self.port = self.start_uvicorn(self.web, "server", env=env)

    def feed(self, stream_id: str) -> Feed:
        return Feed("sse", self.port, path=f"/stream/{stream_id}", ready=READY)

    def enqueue(self, job: Job, lane: str = "") -> Feed:
        send(answer, job, QUEUE)
        return self.feed(job.id)

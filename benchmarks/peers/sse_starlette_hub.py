"""sse-starlette as a fan-out server: one subscription a stream, a queue for each reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import redis.asyncio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.feeds import Feed
from benchmarks.peers.publish_recipe import DONE, URL, PublishRecipe

READY = ": subscribed\r\n\r\n"


class Hub:
    """Hands what is PUBLISHed on a stream's channel to the queue of every reader."""

    def __init__(self) -> None:
        self.readers: dict[str, set[asyncio.Queue[str]]] = {}
        self.subscribed: dict[str, asyncio.Event] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def join(self, stream_id: str) -> asyncio.Queue[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.readers.setdefault(stream_id, set()).add(queue)
        if stream_id not in self.subscribed:
            self.subscribed[stream_id] = asyncio.Event()
            self.tasks.add(asyncio.create_task(self.forward(stream_id)))
        await self.subscribed[stream_id].wait()
        return queue

    def leave(self, stream_id: str, queue: asyncio.Queue[str]) -> None:
        self.readers[stream_id].discard(queue)

    async def forward(self, stream_id: str) -> None:
        subscriber = redis.asyncio.Redis.from_url(URL, decode_responses=True)
        async with subscriber, subscriber.pubsub() as pubsub:
            await pubsub.subscribe(f"stream:{stream_id}")
            async for message in pubsub.listen():
                if message["type"] == "subscribe":
                    self.subscribed[stream_id].set()
                    continue
                for queue in self.readers[stream_id]:
                    queue.put_nowait(message["data"])
                if message["data"] == DONE:
                    return


hub = Hub()


async def events(stream_id: str) -> AsyncIterator[ServerSentEvent]:
    queue = await hub.join(stream_id)
    try:
        yield ServerSentEvent(comment="subscribed")
        while (data := await queue.get()) != DONE:
            yield ServerSentEvent(data=data)
        yield ServerSentEvent(event="end", data=DONE)
    finally:
        hub.leave(stream_id, queue)


async def view(request: Request) -> EventSourceResponse:
    return EventSourceResponse(events(request.path_params["stream_id"]))


web = Starlette(routes=[Route("/stream/{stream_id}", view)])


class SseStarlette(PublishRecipe):
    name = "sse-starlette"
    needs = ("sse_starlette",)
    web = "benchmarks.peers.sse_starlette_hub:web"

    def feed(self, stream_id: str) -> Feed:
        return Feed("sse", self.port, path=f"/stream/{stream_id}", ready=READY)

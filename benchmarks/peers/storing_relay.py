"""The least relay the streamstraight SDK can talk to that also keeps what it gets.

Speaks `stream-v1` over python-socketio: each chunk is XADDed to Redis and handed to the
consumers that are connected; a consumer first gets what is stored. Chunks are not acknowledged
(`producer:ack`): the SDK does not listen for that, and it would cost both sides.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import Any

import redis.asyncio
import socketio

from benchmarks.peers import celery_app

# Not async_handlers: they would let chunks overtake each other while one waits for Redis.
# Pings only after the run: the reader does not answer them.
server = socketio.AsyncServer(async_mode="asgi", async_handlers=False, ping_interval=600)
web = socketio.ASGIApp(server)
store: Any = redis.asyncio.Redis.from_url(
    os.environ.get(celery_app.DATA_VARIABLE, "redis://127.0.0.1"), decode_responses=True
)
streams: dict[str, str] = {}
locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)


def key(stream_id: str) -> str:
    return f"stream:{stream_id}"


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
    streams[sid] = auth["streamId"]


async def chunk(sid: str, message: dict[str, Any]) -> None:
    stream_id = streams[sid]
    async with locks[stream_id]:
        entry = await store.xadd(key(stream_id), {"seq": message["seq"], "data": message["data"]})
        await server.emit("stream:chunk", {**message, "redisId": entry}, room=stream_id)


async def end(sid: str, message: dict[str, Any]) -> dict[str, Any]:
    stream_id = streams[sid]
    async with locks[stream_id]:
        fields = {"reason": message["reason"], "lastSeq": message["lastSeq"]}
        entry = await store.xadd(key(stream_id), fields)
        await server.emit("stream:end", {**fields, "redisId": entry}, room=stream_id)
    return {"success": True, "endRedisId": entry}


async def ready(sid: str, message: dict[str, Any]) -> None:
    stream_id = streams[sid]
    async with locks[stream_id]:
        for entry, fields in await store.xrange(key(stream_id)):
            event = "stream:end" if "reason" in fields else "stream:chunk"
            await server.emit(event, {**fields, "redisId": entry}, to=sid)
        await server.enter_room(sid, stream_id)


async def disconnect(sid: str, reason: str) -> None:
    streams.pop(sid, None)


async def heartbeat(sid: str, message: Any = None) -> None:
    """Nothing here watches for silent producers."""


server.on("connect", connect)
server.on("producer:chunk", chunk)
server.on("producer:end", end)
server.on("producer:heartbeat", heartbeat)
server.on("consumer:ready", ready)
server.on("disconnect", disconnect)

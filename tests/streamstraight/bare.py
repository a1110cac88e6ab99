"""A bare python-socketio server that does what the Streamstraight SDK expects, and no more.

A process of its own: `python -m tests.streamstraight.bare PORT [acks] [info] [...]`.
It keeps streams in memory, numbers nothing and checks nothing; `GET /log/<id>` tells what it has.

    acks    acknowledge each chunk by its number
    info    say in `stream:info` what it has; `info=1`: a second after the connection
    mute    take the first chunk alone, and no end, and say nothing of the rest
    refuse  refuse every producer, with this reason
    slow    take 20 ms over each chunk
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import socketio
import uvicorn

OPTIONS = dict(word.partition("=")[::2] for word in sys.argv[2:])

server: Any = socketio.AsyncServer(
    async_mode="asgi", async_handlers=False, max_http_buffer_size=16_000_000,
    ping_interval=1, ping_timeout=2,
)  # fmt: skip
streams: dict[str, dict[str, Any]] = {}
producing: dict[str, str] = {}


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
    if environ.get("HTTP_AUTHORIZATION") != "Bearer the key of a Streamstraight account":
        raise socketio.exceptions.ConnectionRefusedError("invalid API key")
    if "refuse" in OPTIONS:
        raise socketio.exceptions.ConnectionRefusedError(OPTIONS["refuse"])
    name = auth["streamId"]
    if auth.get("overwriteExistingStream") or name not in streams:
        streams[name] = {"chunks": [], "end": None, "connections": [], "heartbeats": 0}
    stream = streams[name]
    stream["connections"].append(auth)
    producing[sid] = name
    if "info" in OPTIONS:
        info = {"streamId": name, "deploymentId": "bare", "ended": stream["end"] is not None}
        server.start_background_task(tell, sid, {**info, "lastSeq": len(stream["chunks"]) - 1})


async def tell(sid: str, info: dict[str, Any]) -> None:
    await asyncio.sleep(float(OPTIONS["info"] or 0))
    await server.emit("stream:info", info, to=sid)


async def chunk(sid: str, payload: dict[str, Any]) -> None:
    if "mute" in OPTIONS and payload["seq"]:
        return
    if "slow" in OPTIONS:
        await asyncio.sleep(0.02)
    chunks = streams[producing[sid]]["chunks"]
    if payload["seq"] == len(chunks):  # what a server that numbers does with a repetition
        chunks.append(payload["data"])
    if "acks" in OPTIONS:
        await server.emit("producer:ack", {"seq": payload["seq"], "redisId": "0-1"}, to=sid)


async def end(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    if "mute" in OPTIONS:
        await asyncio.Event().wait()
    streams[producing[sid]]["end"] = payload
    return {"success": True, "endRedisId": "0-2"}


async def heartbeat(sid: str, payload: Any = None) -> None:
    streams[producing[sid]]["heartbeats"] += 1


server.on("connect", connect)
server.on("producer:chunk", chunk)
server.on("producer:end", end)
server.on("producer:heartbeat", heartbeat)
engine = socketio.ASGIApp(server)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http" or not scope["path"].startswith(("/log/", "/v1/token")):
        await engine(scope, receive, send)
        return
    if scope["path"] == "/v1/token":
        body: Any = {"token": "a client's token"}
    else:
        body = streams.get(scope["path"].removeprefix("/log/"))
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")

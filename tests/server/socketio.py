"""The published Streamstraight SDK, and bare Socket.IO connections, as clients of the relay."""

from __future__ import annotations

import asyncio
from typing import Any

import socketio
from streamstraight_server import StreamstraightServer, streamstraight_server

from tests.support.waiting import eventually_async as eventually

from .conftest import Site

KEY = "the key of a Streamstraight account"
VERSION = "stream-v1"


def base_url(site: Site) -> str:
    return f"http://127.0.0.1:{site.port}"


async def sdk(site: Site, stream_id: str, *, key: str = KEY, **stream: Any) -> Any:
    """The SDK, connected to the relay; nothing of it is changed but its base URL."""
    options = {"api_key": key, "base_url": base_url(site), "num_connect_retries": 0}
    server: StreamstraightServer[Any] = await streamstraight_server(
        options, {"stream_id": stream_id, **stream}
    )
    return server


class Peer:
    """A Socket.IO connection that keeps every event it gets."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.events: list[tuple[str, Any]] = []
        self.client.on("*", lambda name, payload: self.events.append((name, payload)))

    async def connect(
        self, site: Site, role: str, stream_id: str, *, key: str = "", **auth: Any
    ) -> Peer:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        introduction = {"role": role, "streamId": stream_id, "version": VERSION, **auth}
        await self.client.connect(
            base_url(site), auth=introduction, headers=headers, transports=["websocket"]
        )
        return self

    async def close(self) -> None:
        await self.client.disconnect()

    def named(self, name: str) -> list[Any]:
        return [payload for event, payload in self.events if event == name]

    async def until(self, name: str) -> Any:
        """Wait for an event of that name; returns the first one's payload."""
        await eventually(lambda: self.named(name))
        return self.named(name)[0]


async def consume(site: Site, stream_id: str, **auth: Any) -> Peer:
    """A consumer that has said it is ready."""
    if not auth:
        auth = {"token": site.tokens.issue(stream_id)[0]}
    peer = await Peer().connect(site, "consumer", stream_id, **auth)
    await peer.client.emit("consumer:ready", {})
    return peer


async def consumed(site: Site, stream_id: str, **auth: Any) -> tuple[list[str], dict[str, Any]]:
    """Every chunk's data of a stream, in order, and its end."""
    peer = await consume(site, stream_id, **auth)
    end = await peer.until("stream:end")
    chunks = peer.named("stream:chunk")
    await peer.close()
    assert [chunk["seq"] for chunk in chunks] == list(range(len(chunks)))
    return [chunk["data"] for chunk in chunks], end


async def silence(peer: Peer) -> None:
    """End the connection without a word, as a killed process does."""
    transport = peer.client.eio.ws._response.connection.transport
    transport.abort()
    await asyncio.sleep(0)

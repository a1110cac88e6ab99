"""Peers at the Socket.IO endpoint that send what is no packet of the protocol."""

from __future__ import annotations

import json

import pytest
import websockets

from tests.support.waiting import eventually_async as eventually

from .conftest import MakeSite, Site
from .socketio import KEY, VERSION

NO_PACKETS: dict[str, list[str | bytes]] = {
    "a binary message": [b"\x00\x01"],
    "binary as text": ["bAAAA"],
    "no packet of Engine.IO": ["x"],
    "nesting in Engine.IO": ["4" + "[" * 5000],
    "nothing": [""],
    "an empty message": ["4"],
    "no packet of Socket.IO": ["4x"],
    "an answer to nothing": ["44{}"],
    "attachments": ['459999999999-["x"]', b"attached"],
    "nesting": ['42["consumer:ready",' + "[" * 5000],
    "no JSON": ["42[}"],
    "no event": ["42{}"],
    "no name": ["42[{}]"],
    "too much": ['42["consumer:ready",1,2]'],
    "a library's event": ['42["disconnect"]'],
    "another of those": ['42["connect",{},{}]'],
}


@pytest.fixture
async def site(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, api_keys=(KEY,))


def connected(site: Site) -> websockets.connect:
    return websockets.connect(
        f"ws://127.0.0.1:{site.port}/socket.io/?EIO=4&transport=websocket", compression=None
    )


@pytest.mark.parametrize("which", list(NO_PACKETS))
async def test_whoever_sends_no_packets_is_no_consumer_any_more(
    site: Site, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = site.app.start().socketio
    assert endpoint is not None
    token = site.tokens.issue("x")[0]
    auth = {"role": "consumer", "streamId": "x", "version": VERSION, "token": token}
    async with connected(site) as peer:
        await peer.recv()
        await peer.send("40" + json.dumps(auth))
        assert str(await peer.recv()).startswith("40")
        assert endpoint._consumers
        for message in NO_PACKETS[which]:
            await peer.send(message)
        await eventually(lambda: not endpoint._consumers)
    await eventually(lambda: not endpoint._server.eio.sockets)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("which", ["no packet of Engine.IO", "nesting in Engine.IO"])
async def test_nothing_is_left_of_strangers(site: Site, which: str) -> None:
    endpoint = site.app.start().socketio
    assert endpoint is not None
    async with connected(site) as peer:
        await peer.recv()
        for message in NO_PACKETS[which]:
            await peer.send(message)
        await peer.wait_closed()
    await eventually(lambda: not endpoint._server.eio.sockets)


@pytest.mark.parametrize("introduced", [False, True])
async def test_only_producers_may_send_large_packets(site: Site, introduced: bool) -> None:
    endpoint = site.app.start().socketio
    assert endpoint is not None
    token = site.tokens.issue("x")[0]
    auth = {"role": "consumer", "streamId": "x", "version": VERSION, "token": token}
    async with connected(site) as peer:
        await peer.recv()
        if introduced:
            await peer.send("40" + json.dumps(auth))
            assert str(await peer.recv()).startswith("40")
            await peer.send('42["consumer:ready",' + json.dumps("x" * 100_000) + "]")
        else:
            await peer.send("40" + json.dumps({**auth, "more": "x" * 100_000}))
        await peer.wait_closed()
    await eventually(lambda: not endpoint._server.eio.sockets)
    assert not endpoint._consumers


async def test_a_token_that_is_no_text_is_refused(site: Site) -> None:
    auth = {"role": "consumer", "streamId": "x", "version": VERSION, "token": "\ud800"}
    async with connected(site) as peer:
        await peer.recv()
        await peer.send("40" + json.dumps(auth))
        answer = str(await peer.recv())
    assert answer.startswith("44")
    assert "invalid-token" in answer

"""Consumers of the Streamstraight protocol: from the start, then whatever comes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import socketio
from streamstraight_server import StreamstraightTokenError, fetch_client_token

from streamstraight_celery.relays.requests import Claim
from tests.support.waiting import eventually_async as eventually

from .client import Client
from .conftest import MakeSite, Site
from .producer import Producer
from .socketio import KEY, Peer, base_url, consume, consumed, sdk


@pytest.fixture
async def site(make_site: MakeSite, redis_url: str) -> Site:
    return await make_site(redis_url, api_keys=(KEY,))


async def test_replays_from_the_start_and_follows(site: Site) -> None:
    producer = site.producer()
    producer.append(*range(10))
    peer = await consume(site, producer.stream_id)
    await eventually(lambda: len(peer.named("stream:chunk")) == 10)
    assert not peer.named("stream:end")

    producer.append("live")
    producer.append("last", end="completed")
    end = await peer.until("stream:end")

    assert end["reason"] == "completed"
    assert end["lastSeq"] == 11
    chunks = peer.named("stream:chunk")
    assert [json.loads(chunk["data"]) for chunk in chunks] == [*range(10), "live", "last"]
    assert [chunk["seq"] for chunk in chunks] == list(range(12))
    assert peer.named("stream:info")[0]["ended"] is False
    await peer.close()


async def test_each_connection_replays_everything(site: Site) -> None:
    producer = site.producer()
    producer.append("a", "b", end="completed")
    for _ in range(2):
        data, end = await consumed(site, producer.stream_id)
        assert (data, end["reason"]) == (['"a"', '"b"'], "completed")


async def test_nothing_is_sent_before_the_consumer_is_ready(site: Site) -> None:
    producer = site.producer()
    producer.append("a", end="completed")
    token = site.tokens.issue(producer.stream_id)[0]
    peer = await Peer().connect(site, "consumer", producer.stream_id, token=token)
    await asyncio.sleep(0.1)
    assert peer.events == []
    await peer.client.emit("consumer:ready", {})
    await peer.client.emit("consumer:ready", {})  # twice is once
    await peer.until("stream:end")
    assert len(peer.named("stream:chunk")) == 1
    await peer.close()


async def test_a_backlog_larger_than_the_window(site: Site) -> None:
    producer = site.producer()
    for start in range(60):
        producer.append(*("x" * 10_000 + str(start * 5 + n) for n in range(5)))
    producer.end()
    data, _ = await consumed(site, producer.stream_id)
    assert [json.loads(each) for each in data] == producer.values()


async def test_a_failed_stream_tells_its_error(site: Site) -> None:
    producer = site.producer()
    producer.append("a", end="producer-error", error='{"code":"quota","message":"Used up"}')
    _, end = await consumed(site, producer.stream_id)
    assert end["reason"] == "producer-error"
    assert end["error"] == {"code": "quota", "message": "Used up"}


async def test_a_stream_that_is_not_there(site: Site) -> None:
    data, end = await consumed(site, "nowhere")
    assert (data, end["reason"]) == ([], "not-found")


async def test_a_new_attempt_is_told(site: Site) -> None:
    producer = site.producer()
    producer.append("old")
    peer = await consume(site, producer.stream_id)
    await eventually(lambda: peer.named("stream:chunk"))
    site.relay.call(Claim(producer.stream_id, "0badcafe", overwrite=True))
    assert (await peer.until("stream:error"))["code"] == "superseded"
    assert not peer.named("stream:end")
    await peer.close()


async def test_text_codecs_of_our_workers(site: Site) -> None:
    producer = Producer(site.relay, "text")
    answer = site.relay.call(Claim("text", "0badcafe", kind="text"))
    producer.attempt, producer.nonce = answer.number, "0badcafe"
    producer.append("plain", "42", end="completed")
    assert (await consumed(site, "text"))[0] == ["plain", "42"]


@pytest.mark.parametrize("which", ["none", "forged", "other stream", "stop only", "expired"])
async def test_nobody_reads_without_a_token_for_the_stream(site: Site, which: str) -> None:
    producer = site.producer()
    issue = site.tokens.issue
    token = {
        "none": "",
        "forged": "forged",
        "other stream": issue("another")[0],
        "stop only": issue(producer.stream_id, scopes=["stop"])[0],
        "expired": issue(producer.stream_id, ttl=-1)[0],
    }[which]
    peer = Peer()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await peer.connect(site, "consumer", producer.stream_id, token=token)
    await peer.close()


async def test_a_token_that_expires_meanwhile(site: Site) -> None:
    producer = site.producer()
    peer = await consume(
        site, producer.stream_id, token=site.tokens.issue(producer.stream_id, ttl=4)[0]
    )
    assert (await peer.until("stream:error"))["message"] == "the token has expired"
    await eventually(lambda: not peer.client.connected)


async def of_origin(site: Site, origin: str) -> bool:
    """Whether a page of that origin, with a token, is let in."""
    peer = Peer()
    token = site.tokens.issue("s")[0]
    try:
        await peer.client.connect(
            base_url(site),
            headers={"Origin": origin},
            auth={"role": "consumer", "streamId": "s", "version": "stream-v1", "token": token},
            transports=["websocket"],
        )
    except socketio.exceptions.ConnectionError:
        return False
    finally:
        await peer.close()
    return True


async def test_origins_that_may_not_read(site: Site) -> None:
    assert not await of_origin(site, "https://evil.example")
    assert not await of_origin(site, f"https://127.0.0.1:{site.port}")


async def test_origins_that_may_read_by_requests_may_here(
    make_site: MakeSite, redis_url: str
) -> None:
    public = "https://relay.example"
    site = await make_site(redis_url, api_keys=(KEY,), public_url=public)
    assert await of_origin(site, base_url(site))
    assert await of_origin(site, public)
    site = await make_site(redis_url, api_keys=(KEY,), allowed_origins=("*",))
    assert await of_origin(site, "https://app.example")


async def test_the_sdks_token_opens_every_stream_at_this_door_only(site: Site) -> None:
    token = await fetch_client_token({"api_key": KEY, "base_url": base_url(site)})
    await (await sdk(site, "one")).stream([1])
    await (await sdk(site, "two")).stream([2])
    assert (await consumed(site, "one", token=token))[0] == ["1"]
    assert (await consumed(site, "two", token=token))[0] == ["2"]
    assert (await Client(site.port, token).read("one")).status == 404

    with pytest.raises(StreamstraightTokenError, match="401"):
        await fetch_client_token({"api_key": "another", "base_url": base_url(site)})


async def test_a_token_for_one_stream(site: Site) -> None:
    await (await sdk(site, "one")).stream([1])
    api = Client(site.port, KEY)
    answer = await api.request("POST", "/v1/token", {"Stream-Id": "one"})
    token: Any = answer.json["token"]
    assert answer.json["url"].endswith("/v1/stream/one")
    assert (await Client(site.port, token).read("one")).json == [1]
    assert (await Client(site.port, token).request("POST", "/v1/stop/one")).status == 404
    assert (await Client(site.port, token).read("two")).status == 404
    for headers in ({"Stream-Id": "a b"}, {"Stream-Id": "one", "Stream-Scopes": "king"}):
        assert (await api.request("POST", "/v1/token", headers)).status == 400
    assert (await api.get("/v1/token")).status == 405


async def test_a_consumer_that_takes_nothing_is_closed(
    make_site: MakeSite, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    site = await make_site(redis_url, api_keys=(KEY,), send_timeout=0.5)
    producer = site.producer()
    for _ in range(24):
        producer.append("x" * 500_000)
    peer = await consume(site, producer.stream_id)
    transport = peer.client.eio.ws._response.connection.transport
    transport.pause_reading()
    endpoint = site.app.start().socketio
    assert endpoint is not None
    await eventually(lambda: not endpoint._consumers, timeout=40)
    assert "a consumer takes nothing; closed" in caplog.messages
    transport.abort()
    await eventually(lambda: not peer.client.connected)


async def test_a_stopping_server_ends_its_connections(site: Site) -> None:
    producer = site.producer()
    peer = await consume(site, producer.stream_id)
    await site.app.drain()
    await eventually(lambda: not peer.client.connected)

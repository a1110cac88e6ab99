"""The relay server's metrics, over HTTP, as Prometheus reads them."""

from __future__ import annotations

import logging
import sys

import pytest

from tests.server.client import Client
from tests.server.conftest import (  # noqa: F401 - fixtures
    MakeSite,
    Site,
    any_relay_url,
    make_site,
)
from tests.server.plain import read_plain
from tests.server.producer import Producer
from tests.server.socketio import Peer, consume, silence
from tests.server.test_multiplex import Shared, ask, entry, post
from tests.support.waiting import eventually_async as eventually

from .scraping import Scrape

KEY = "a key of the metrics' tests"


@pytest.fixture
async def site(make_site: MakeSite, any_relay_url: str) -> Site:  # noqa: F811
    return await make_site(any_relay_url, api_keys=(KEY,), writing=True)


async def scrape(site: Site) -> Scrape:
    answer = await Client(site.port, KEY).get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return Scrape(answer.body.decode())


async def test_every_door_is_there_from_the_beginning(site: Site) -> None:
    found = await scrape(site)
    doors = {"sse", "plain", "long-poll", "shared", "socket.io"}
    assert {each["door"] for each in found.labels("relay_readers")} == doors
    delivered = found.labels("relay_chunks_delivered_total")
    assert {each["door"] for each in delivered} == doors | {"catch-up"}
    assert found.value("relay_readers") == found.value("relay_chunks_delivered_total") == 0


async def test_live_readers_and_what_they_get(site: Site) -> None:
    producer = site.producer()
    producer.append("one", "two")
    client = site.client(producer)
    live = await client.sse(producer.stream_id)
    plain = await read_plain(client, producer.stream_id)
    await live.until_chunks(2)
    await plain.until_messages(2)
    found = await scrape(site)
    assert found.value("relay_readers", door="sse") == 1
    assert found.value("relay_readers", door="plain") == 1
    assert found.value("relay_streams") == 1
    assert found.value("relay_lag_chunks") == 0
    assert found.value("relay_chunks_delivered_total", door="sse") == 2
    assert found.value("relay_chunks_delivered_total", door="plain") == 2
    assert found.value("relay_bytes_delivered_total", door="sse") > 20
    producer.append("three", end="completed")
    await live.until_end()
    await eventually(lambda: not any(f.readers for f in site.app.start().hub.feeds.values()))
    found = await scrape(site)
    assert found.value("relay_readers") == 0
    assert found.value("relay_chunks_delivered_total", door="sse") == 3


async def test_a_slow_reader_is_behind(site: Site) -> None:
    producer = site.producer()
    producer.append("one", "two", "three")
    live = await site.client(producer).sse(producer.stream_id)
    await live.until_chunks(3)
    (feed,) = site.app.start().hub.feeds.values()
    (reader,) = feed.readers
    reader.seq = 1  # as if it had taken nothing since
    assert (await scrape(site)).value("relay_lag_chunks") == 2


async def test_reads_that_are_answered_at_once(site: Site) -> None:
    producer = site.producer()
    producer.append("one", "two")
    client = site.client(producer)
    await client.read(producer.stream_id)
    await client.read(producer.stream_id, f"offset={producer.offset(1)}")
    await client.read(producer.stream_id, f"offset={producer.offset(1)}&live=long-poll")
    found = await scrape(site)
    assert found.value("relay_chunks_delivered_total", door="catch-up") == 3
    assert found.value("relay_chunks_delivered_total", door="long-poll") == 1
    assert found.value("relay_resumes_total", door="catch-up") == 1
    assert found.value("relay_resumes_total", door="long-poll") == 1


async def test_resumes_and_resets(site: Site) -> None:
    producer = site.producer()
    producer.append("one", "two")
    client = site.client(producer)
    old = producer.offset(1)
    live = await client.sse(producer.stream_id, offset=old)
    await live.until_chunks(1)
    assert (await scrape(site)).value("relay_resumes_total", door="sse") == 1
    await live.close()
    producer.release().claim()
    producer.append("again")
    assert (await client.read(producer.stream_id, f"offset={old}")).status == 410
    found = await scrape(site)
    assert found.value("relay_resets_total") == 1
    assert found.value("relay_refused_total", status="410", code="superseded") == 1
    assert found.value("relay_resumes_total") == 1


@pytest.fixture
async def shared(site: Site) -> tuple[Producer, Producer, Shared]:
    """Two streams in one response, the first from its second chunk on."""
    first, second = site.producer(), site.producer()
    first.append("one", "two")
    second.append("three")
    shared = await ask(site, entry(site, first, offset=first.offset(1)), entry(site, second))
    await shared.until_chunks(0, 1)
    await shared.until_chunks(1, 1)
    return first, second, shared


async def test_streams_of_a_shared_response(
    site: Site, shared: tuple[Producer, Producer, Shared]
) -> None:
    first, second, response = shared
    alone = await site.client(first).sse(first.stream_id)
    await alone.until_chunks(2)
    found = await scrape(site)
    assert found.value("relay_readers", door="shared") == 2
    assert found.value("relay_readers", door="sse") == 1
    assert found.value("relay_chunks_delivered_total", door="shared") == 2
    assert found.value("relay_chunks_delivered_total", door="sse") == 2
    assert found.value("relay_bytes_delivered_total", door="shared") > 20
    assert found.value("relay_resumes_total", door="shared") == 1
    assert found.value("relay_resumes_total", door="sse") == 0
    (reader,) = site.app.start().hub.feeds[second.stream_id].readers
    reader.seq = 0  # as if it had taken nothing yet
    assert (await scrape(site)).value("relay_lag_chunks") == 1
    reader.seq = 1
    first.end()
    second.end()
    await response.until_end()
    assert (await scrape(site)).value("relay_readers") == 0


async def test_resets_and_refusals_of_a_shared_response(
    site: Site, shared: tuple[Producer, Producer, Shared]
) -> None:
    first, second, _ = shared
    old = first.offset(2)
    first.release().claim()
    # Before the relay has heard of it, the old offset is a good one.
    feed = site.app.start().hub.feeds[first.stream_id]
    await eventually(lambda: feed.attempt == first.attempt)
    stranger = {**entry(site, second), "token": ""}
    again = await ask(site, entry(site, first, offset=old), stranger)
    await again.until_end()
    found = await scrape(site)
    assert found.value("relay_resets_total") == 1
    assert found.value("relay_refused_total", status="410", code="superseded") == 1
    assert found.value("relay_refused_total", status="401", code="missing-token") == 1
    status, _, (_, writer) = await post(site, b"no JSON")
    writer.close()
    assert status == 400
    assert (await scrape(site)).value("relay_refused_total", status="400") == 1


async def test_readers_over_socket_io(site: Site) -> None:
    producer = site.producer()
    producer.append("one", "two")
    peer = await consume(site, producer.stream_id)
    await eventually(lambda: len(peer.named("stream:chunk")) == 2)
    found = await scrape(site)
    assert found.value("relay_readers", door="socket.io") == 1
    assert found.value("relay_chunks_delivered_total", door="socket.io") == 2
    assert found.value("relay_bytes_delivered_total", door="socket.io") == len('"one""two"')
    assert found.value("relay_lag_chunks") == 0
    (feed,) = site.app.start().hub.feeds.values()
    (reader,) = feed.readers
    reader.seq = 1
    assert (await scrape(site)).value("relay_lag_chunks") == 1
    producer.release().claim()
    producer.append("again")
    assert (await peer.until("stream:error"))["code"] == "superseded"
    await eventually(lambda: not feed.readers)
    found = await scrape(site)
    assert found.value("relay_resets_total") == 1
    assert found.value("relay_readers", door="socket.io") == 0
    await peer.close()


async def test_refusals_and_writes(site: Site) -> None:
    producer = site.producer()
    stranger = Client(site.port)
    await stranger.read(producer.stream_id)
    await site.client(producer).read("another")
    writer = Client(site.port, KEY)
    await writer.request("PUT", "/v1/stream/written")
    await writer.request("DELETE", "/v1/stream/written")
    found = await scrape(site)
    assert found.value("relay_refused_total", status="401", code="missing-token") == 1
    assert found.value("relay_refused_total", status="404", code="not-found") == 1
    assert found.value("relay_writes_total", method="PUT", status="201") == 1
    assert found.value("relay_writes_total", method="DELETE", status="204") == 1


async def test_streams_that_others_write_are_counted_once_when_they_end(site: Site) -> None:
    writer = Client(site.port, KEY)
    found = await scrape(site)
    assert len(found.labels("relay_streams_closed_total")) == 3
    closing = {"Stream-Closed": "true"}
    failing = {**closing, "Stream-End-Reason": "producer-error"}
    for _ in range(2):
        await writer.request("PUT", "/v1/stream/at-once", closing)
        await writer.request("PUT", "/v1/stream/failed")
        await writer.request("POST", "/v1/stream/failed", failing)
        await writer.request("PUT", "/v1/stream/stopped")
        await writer.request("POST", "/v1/stop/stopped")
    queued = Producer(site.relay).create()
    assert (await writer.request("POST", f"/v1/stop/{queued.stream_id}")).status == 200
    found = await scrape(site)
    for reason in ("completed", "producer-error", "stopped"):
        assert found.value("relay_streams_closed_total", reason=reason) == 1


async def test_streams_of_lost_producers(make_site: MakeSite) -> None:  # noqa: F811
    site = await make_site("memory://reaped", api_keys=(KEY,), lease=0.05, reap_after=0.05)
    producer = site.producer()
    live = await site.client(producer).sse(producer.stream_id)
    await live.until_end()
    assert (await scrape(site)).value("relay_streams_reaped_total") == 1


async def test_streams_of_producers_over_socket_io(make_site: MakeSite) -> None:  # noqa: F811
    site = await make_site(
        "memory://silenced", api_keys=(KEY,), lease=0.2, reap_after=0.2, inactivity_timeout=0.3
    )
    silent = await Peer().connect(site, "producer", "silent", key=KEY)
    await silent.until("stream:error")
    assert (await scrape(site)).value("relay_streams_reaped_total") == 1
    vanished = await Peer().connect(site, "producer", "vanished", key=KEY)
    await vanished.until("stream:info")
    await silence(vanished)
    await eventually(lambda: site.app.start().hub.tally.reaped == 2)
    assert (await scrape(site)).value("relay_streams_reaped_total") == 2


async def test_with_keys_metrics_need_one(site: Site) -> None:
    token = site.client(site.producer()).token
    for other in ("", token, "a wrong key of many letters"):
        answer = await Client(site.port, other).get("/metrics")
        assert (answer.status, answer.code) == (404, "not-found")


async def test_without_keys_metrics_are_for_development(make_site: MakeSite) -> None:  # noqa: F811
    production = await make_site("memory://production")
    assert (await Client(production.port).get("/metrics")).status == 404
    for changes in ({"development": True}, {"secret": ()}):
        site = await make_site("memory://development", **changes)
        assert (await Client(site.port).get("/metrics")).status == 200


async def test_prometheus_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with caplog.at_level(logging.ERROR):
        answer = await Client(site.port, KEY).get("/metrics")
    assert (answer.status, answer.code) == (501, "missing-dependency")
    assert "streamstraight-celery[metrics]" in caplog.text

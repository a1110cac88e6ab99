"""`/v1/sse/<id>` on a real socket: what each kind of end looks like, and every status."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import redis

from streamstraight_celery.relays.requests import Entry
from streamstraight_celery.server.live.reader import Log
from streamstraight_celery.server.reads import sse_response as connection
from streamstraight_celery.server.reads.plain_sse import PlainFrames
from tests.support.waiting import eventually_async as eventually

from .conftest import MakeSite, Site
from .plain import Plain, read_plain
from .producer import Producer

FAILURES = ["producer-error", "producer-disconnected", "inactivity-timeout", "too-large", "expired"]
both_ways = pytest.mark.parametrize("wired", [True, False], ids=["wired", "asgi"])


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut soon, because these readers never leave by themselves."""
    monkeypatch.setattr(connection, "LINGER", 0.05)


def values(plain: Plain) -> list[Any]:
    return [json.loads(message) for message in plain.messages]


async def test_live(site: Site) -> None:
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    assert plain.status == 200
    assert plain.headers["content-type"] == "text/event-stream"
    assert plain.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert "no-store" in plain.headers["cache-control"]
    assert plain.headers["x-content-type-options"] == "nosniff"
    await plain.more()
    assert (plain.comments, plain.events) == (["running"], [])
    for number in range(1, 4):
        producer.append({"n": number}, f"second {number}")
        await plain.until_messages(2 * number)
    producer.end()
    assert (await plain.read()).complete
    assert values(plain) == producer.values()
    assert [event.id for event in plain.events[:-1]] == [producer.offset(n) for n in range(1, 7)]
    end = plain.events[-1]
    assert (end.name, end.data) == ("end", "[DONE]")
    assert end.id == f"{producer.offset(6)}.completed"


async def test_text(site: Site) -> None:
    producer = Producer(site.relay, kind="text").create()
    plain = await read_plain(site.client(producer), producer.stream_id)
    producer.claim().append("two\nlines", " and more")
    producer.end()
    assert (await plain.read()).messages == ["two\nlines", " and more"]


@pytest.mark.parametrize(
    ("content_type", "messages"),
    [
        ("application/json", ['{"n":1}', "2", "[3]"]),
        ("text/plain", ['{"n":1}', "[2,[3]]"]),
        ("application/octet-stream", ["eyJuIjoxfQ==", "WzIsWzNdXQ=="]),
    ],
)
async def test_what_others_wrote(
    make_site: MakeSite, any_relay_url: str, content_type: str, messages: list[str]
) -> None:
    key = "an API key of these tests"
    site = await make_site(any_relay_url, writing=True, api_keys=(key,))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    url = f"http://127.0.0.1:{site.port}/v1/stream/written"
    async with httpx.AsyncClient(headers=headers) as http:
        assert (await http.put(url)).status_code == 201
        plain = await read_plain(site.client("written"), "written")
        for body in ('{"n":1}', "[2,[3]]"):
            assert (await http.post(url, content=body)).status_code in (200, 204)
        await plain.until_messages(len(messages))
        assert (await http.post(url, headers={"Stream-Closed": "true"})).is_success
    assert (await plain.read()).messages == messages
    assert plain.events[-1].id.endswith(".completed")


@both_ways
@pytest.mark.parametrize("moment", ["live", "late"])
@pytest.mark.parametrize("reason", ["completed", "stopped", *FAILURES])
async def test_only_a_good_end_is_a_clean_end(
    make_site: MakeSite, redis_url: str, wired: bool, moment: str, reason: str
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    producer.append(1, 2)
    if moment == "live":
        plain = await read_plain(client, producer.stream_id)
        await plain.until_messages(2)
        producer.append(3, end=reason)
    else:
        producer.append(3, end=reason)
        plain = await read_plain(client, producer.stream_id)
    await plain.read()
    assert values(plain) == [1, 2, 3]
    good = reason in ("completed", "stopped")
    assert plain.complete is good
    last = plain.events[-1]
    assert last.id == f"{producer.offset(3)}.{reason}"
    if good:
        assert (last.name, last.data) == ("end", "[DONE]")
    else:
        assert last.name == "failed"
        assert json.loads(last.data)["error"]["code"] == reason
    # Whoever missed the end gets it, and only it; whoever had it stays away.
    again = await read_plain(client, producer.stream_id, {"Last-Event-ID": producer.offset(3)})
    assert (await again.read()).events == [last]
    after = await client.get(f"/v1/sse/{producer.stream_id}", {"Last-Event-ID": last.id})
    assert (after.status, after.headers["stream-end-reason"]) == (204, reason)


@both_ways
async def test_who_was_told_of_a_failure_has_time_to_leave(
    make_site: MakeSite, redis_url: str, wired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER", 3600)
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    leaving, staying = [
        await read_plain(site.client(producer), producer.stream_id) for _ in range(2)
    ]
    producer.end("producer-error")
    for plain in (leaving, staying):
        while not plain.events:
            assert await plain.more()
    feed = site.app.start().hub.feeds[producer.stream_id]
    assert len(feed.readers) == 2
    await leaving.close()
    await eventually(lambda: len(feed.readers) == 1)
    await site.app.drain()  # and nobody keeps the server from stopping
    assert not (await staying.read()).complete


async def test_it_resumes_behind_the_last_event(site: Site) -> None:
    producer = site.producer()
    producer.append(*range(10))
    producer.append(*range(10, 20), end="completed")
    client = site.client(producer)
    for seq in (0, 1, 9, 10, 11, 19):
        offset = producer.offset(seq)
        by_header = await read_plain(client, producer.stream_id, {"Last-Event-ID": offset})
        by_query = await read_plain(client, f"{producer.stream_id}?offset={offset}")
        newer = await read_plain(
            client, f"{producer.stream_id}?offset=-1", {"Last-Event-ID": offset}
        )
        for plain in (by_header, by_query, newer):
            assert values(await plain.read()) == producer.values(seq)


@both_ways
async def test_a_new_attempt_breaks_off(make_site: MakeSite, redis_url: str, wired: bool) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    client = site.client(producer)
    with_text = await read_plain(client, producer.stream_id)
    producer.append("old 1", "old 2")
    await with_text.until_messages(2)
    old = with_text.last_id
    producer.release().claim()
    producer.append("new 1")
    assert not (await with_text.read()).complete
    assert values(with_text)[:2] == ["old 1", "old 2"]
    assert [event.name for event in with_text.events] == ["message", "message", "reset"]

    # Whoever was away is told when it comes back, once.
    told = await client.get(f"/v1/sse/{producer.stream_id}", {"Last-Event-ID": old})
    assert told.status == 200
    assert told.headers["content-type"] == "text/event-stream"
    assert told.body.startswith(b"event: reset\n")
    assert f"id: {old}.reset\n".encode() in told.body
    after = await client.get(f"/v1/sse/{producer.stream_id}", {"Last-Event-ID": f"{old}.reset"})
    assert after.status == 204
    asked = await client.get(f"/v1/sse/{producer.stream_id}?offset={old}")
    assert (asked.status, asked.code) == (410, "superseded")
    anew = await read_plain(client, producer.stream_id)
    assert await anew.until_messages(1) == ['"new 1"']


async def test_who_had_nothing_goes_on_into_the_next_attempt(site: Site) -> None:
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    await plain.more()
    producer.release().claim()
    producer.append("new", end="completed")
    assert values(await plain.read()) == ["new"]
    assert plain.complete


@both_ways
async def test_a_lost_stream_is_a_failure(make_site: MakeSite, redis_url: str, wired: bool) -> None:
    site = await make_site(redis_url, wired=wired, lease=0.1, reap_after=0.1)
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    producer.append(1)
    await plain.until_messages(1)
    with redis.Redis.from_url(redis_url) as direct:
        direct.flushdb()
    assert not (await plain.read()).complete
    last = plain.events[-1]
    assert (last.name, last.id) == ("failed", f"{producer.offset(1)}.gone")
    assert json.loads(last.data)["error"]["code"] == "gone"
    after = await site.client(producer).get(
        f"/v1/sse/{producer.stream_id}", {"Last-Event-ID": last.id}
    )
    assert after.status == 204


@both_ways
async def test_a_token_that_expires_is_told_before_it_does(
    make_site: MakeSite, redis_url: str, wired: bool
) -> None:
    site = await make_site(redis_url, wired=wired, max_age=0.1)
    producer = site.producer()
    plain = await read_plain(site.client(producer, ttl=4), producer.stream_id)
    producer.append(1)
    while len(plain.events) < 2:
        assert await plain.more()
    # What a page does with it: a new token, and the place.
    path = f"{producer.stream_id}?offset={plain.last_id}"
    assert not (await plain.read()).complete
    assert [event.name for event in plain.events] == ["message", "token-expired"]
    assert json.loads(plain.events[-1].data)["error"]["code"] == "expired-token"
    resumed = await read_plain(site.client(producer), path)
    producer.append(2, end="completed")
    assert values(await resumed.read()) == [2]


@both_ways
async def test_a_server_that_stops_breaks_off(
    make_site: MakeSite, redis_url: str, wired: bool
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    producer.append(1)
    await plain.until_messages(1)
    await site.app.drain()
    assert not (await plain.read()).complete
    assert [event.name for event in plain.events] == ["message"]


async def test_it_outlives_max_age(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, max_age=0.05, ping_interval=0.05)
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    while plain.comments.count("ping") < 5:
        assert await plain.more()
    producer.append(1, end="completed")
    assert values(await plain.read()) == [1]
    assert plain.complete


@both_ways
async def test_a_producer_that_is_silent(make_site: MakeSite, redis_url: str, wired: bool) -> None:
    site = await make_site(redis_url, wired=wired, lease=0.1, reap_after=0.2)
    producer = site.producer()
    plain = await read_plain(site.client(producer), producer.stream_id)
    await plain.until_comment("stalled")
    await plain.read()
    assert plain.events[-1].name == "failed"
    assert plain.events[-1].id.endswith(".producer-disconnected")


@both_ways
@pytest.mark.parametrize("endpoint", ["", "/responses", "/chat/completions"])
@pytest.mark.parametrize("size", [0, 2, 1_000_000])
async def test_a_post_is_read_as_well(
    make_site: MakeSite, redis_url: str, wired: bool, endpoint: str, size: int
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    producer.append(1)
    plain = await read_plain(
        site.client(producer), producer.stream_id + endpoint, method="POST", body=b"x" * size
    )
    await plain.until_messages(1)
    producer.append(2, end="completed")
    assert values(await plain.read()) == [1, 2]
    assert plain.complete


@both_ways
async def test_a_reader_that_hangs_up_after_a_post_is_noticed(
    make_site: MakeSite, redis_url: str, wired: bool
) -> None:
    site = await make_site(redis_url, wired=wired)
    producer = site.producer()
    plain = await read_plain(
        site.client(producer), producer.stream_id, method="POST", body=b"x" * 1_000_000
    )
    await plain.more()
    feed = site.app.start().hub.feeds[producer.stream_id]
    assert len(feed.readers) == 1
    await plain.close()
    await eventually(lambda: not feed.readers)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods(redis_site: Site, method: str) -> None:
    answer = await redis_site.client("x").request(method, "/v1/sse/x")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST, OPTIONS")


async def test_refusals(redis_site: Site) -> None:
    producer = redis_site.producer()
    name = producer.stream_id
    client = redis_site.client(producer)
    nobody = {"Authorization": ""}
    assert (await client.get(f"/v1/sse/{name}", nobody)).code == "missing-token"
    assert (await client.get(f"/v1/sse/{name}?token=wrong", nobody)).code == "invalid-token"
    for path in ("other", "", f"{name}/embeddings", f"{name}/responses/responses", "a/b", "..%2f"):
        answer = await client.get(f"/v1/sse/{path}")
        assert (answer.status, answer.code) == (404, "not-found"), path
    stop_only = redis_site.client(producer, scopes=["stop"])
    assert (await stop_only.get(f"/v1/sse/{name}")).status == 404
    absent = redis_site.client("absent")
    assert (await absent.get("/v1/sse/absent")).code == "not-found"
    for query in ("offset=x", "offset=-1.x", "offset=1&offset=2"):
        assert (await client.get(f"/v1/sse/{name}?{query}")).status == 400, query
    header = await client.get(f"/v1/sse/{name}", {"Last-Event-ID": "x"})
    assert (header.status, header.code) == (400, "malformed-offset")


async def test_a_token_in_the_query_counts_beside_what_a_redirect_brings_along(
    redis_site: Site,
) -> None:
    producer = redis_site.producer()
    producer.append(1, end="completed")
    client = redis_site.client(producer)
    path = f"{producer.stream_id}?token={client.token}"
    for headers in (
        {"Authorization": "Bearer the-application-s-own"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": f"Bearer {redis_site.client('other').token}"},
        {"Authorization": "", "Cookie": "streamstraight_token=expired"},
    ):
        plain = await read_plain(client, path, headers)
        assert plain.status == 200, headers
        assert values(await plain.read()) == [1]
    cookie = {"Authorization": "", "Cookie": f"streamstraight_token={client.token}"}
    assert values(await (await read_plain(client, producer.stream_id, cookie)).read()) == [1]


async def test_readers_share_frames(
    make_site: MakeSite, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Entry] = []
    original = PlainFrames.data

    def data(self: PlainFrames, entry: Entry, offset: str, log: Log) -> bytes:
        encoded.append(entry)
        return original(self, entry, offset, log)

    monkeypatch.setattr(PlainFrames, "data", data)
    site = await make_site(redis_url)
    producer = site.producer()
    client = site.client(producer)
    readers = [await read_plain(client, producer.stream_id) for _ in range(50)]
    for reader in readers:
        await reader.more()
    for number in range(1, 6):
        producer.append(number)
        for reader in readers:
            await reader.until_messages(number)
    assert len(encoded) == 5
    producer.end()
    for reader in readers:
        assert (await reader.read()).complete

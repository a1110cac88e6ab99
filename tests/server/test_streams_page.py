"""The page on which developers look at streams: who may, what it lists, what its tokens allow."""

from __future__ import annotations

import time
from importlib import resources
from typing import Any

import pytest

from streamstraight_celery.conversations.events import stream_began, stream_id_of_event
from streamstraight_celery.relays import open_async_relay, open_relay
from streamstraight_celery.relays.index import Query
from streamstraight_celery.relays.requests import Create, Post
from streamstraight_celery.server import create_app
from streamstraight_celery.server.reads import multiplex
from streamstraight_celery.settings import StreamSettings

from .client import Answer, Client
from .conftest import MakeSite, Site

KEY = "an API key of these tests"
KEYED: dict[str, Any] = {"api_keys": (KEY,)}
OWN: dict[str, Any] = {"development": True}
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
SCRIPTS = [f"streams{part}.js" for part in ("", "-list", "-plots", "-shared", "-view")]
PAGE = ["/streams", "/streams.css", *(f"/{name}" for name in SCRIPTS)]
DATA = ["/v1/overview", "/v1/overview/a-stream"]


async def ask(site: Site, path: str, **headers: str) -> Answer:
    """With the key of the page's link where there is one, unless another is given."""
    if site.app.page_path:
        headers.setdefault("Authorization", f"Bearer {key_of(site)}")
    return await Client(site.port).get(path, headers)


def key_of(site: Site) -> str:
    return site.app.page_path.partition("#key=")[2]


def ids(answer: Answer) -> list[str]:
    return [each["stream_id"] for each in answer.json["streams"]]


# Who may


@pytest.mark.parametrize("path", PAGE + DATA)
async def test_it_is_not_there_in_production(redis_site: Site, path: str) -> None:
    redis_site.producer("a-stream")
    answer = await ask(redis_site, path)
    assert (answer.status, answer.code) == (404, "not-found")
    assert answer.body == (await ask(redis_site, "/nothing")).body
    token = redis_site.tokens.issue("a-stream")[0]
    assert (await ask(redis_site, path, Authorization=f"Bearer {token}")).status == 404


async def test_an_api_key_opens_it(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, **KEYED)
    site.producer("a-stream")
    for path in PAGE:  # no data in it; it asks for the key
        assert (await ask(site, path)).status == 200
    for path in DATA:
        assert (await ask(site, path, **WITH_KEY)).status == 200
        missing = await ask(site, path)
        assert (missing.status, missing.code) == (401, "missing-key")
        assert missing.headers["www-authenticate"].startswith("Bearer")
        token = site.tokens.issue("a-stream")[0]
        wrong = await ask(site, path, Authorization=f"Bearer {token}")
        assert (wrong.status, wrong.code) == (401, "invalid-key")


@pytest.mark.parametrize("changes", [OWN, {"secret": ()}], ids=["development", "no secret"])
@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8787"])
async def test_on_a_developers_machine_it_is_open(
    make_site: MakeSite, redis_url: str, changes: dict[str, Any], host: str
) -> None:
    site = await make_site(redis_url, **changes)
    site.producer("a-stream")
    for path in PAGE + DATA:
        assert (await ask(site, path, Host=host)).status == 200


@pytest.mark.parametrize("changes", [OWN, {"secret": ()}], ids=["development", "no secret"])
async def test_being_local_is_not_enough(
    make_site: MakeSite,
    redis_url: str,
    changes: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A proxy on this machine that rewrites Host and adds no header looks like a local client."""
    site, other = await make_site(redis_url, **changes), await make_site(redis_url, **changes)
    site.producer("a-stream")
    token = site.tokens.issue("a-stream")[0]
    for path in DATA:
        assert (await Client(site.port).get(path)).code == "missing-key"
        for wrong in (key_of(other), key_of(site)[:-1], token, "\xff"):
            assert (await ask(site, path, Authorization=f"Bearer {wrong}")).code == "invalid-key"
        assert (await Client(site.port).get(f"{path}?key={key_of(site)}")).code == "missing-key"
        assert (await ask(site, path)).status == 200
    assert caplog.text.count(site.app.page_path) == 1
    # Nor does it open anything else.
    answer = await ask(site, "/v1/stream/a-stream")
    assert (answer.status, answer.code) == (401, "invalid-token")


@pytest.mark.parametrize("path", DATA)
async def test_to_pages_of_elsewhere_it_is_closed(
    make_site: MakeSite, redis_url: str, path: str
) -> None:
    site = await make_site(redis_url, **OWN, allowed_origins=("*",))
    site.producer("a-stream")
    assert (await ask(site, path, Origin="https://example.com")).status == 404
    assert (await ask(site, path, Origin="http://localhost:8000")).status == 200


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com:80", "10.0.0.1", "[::1"])
async def test_under_another_name_it_is_closed(
    make_site: MakeSite, redis_url: str, host: str
) -> None:
    site = await make_site(redis_url, **OWN)
    for path in PAGE + DATA:
        assert (await ask(site, path, Host=host)).status == 404


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-For": "10.0.0.9"}, {"Forwarded": "for=10.0.0.9"}], ids=str
)
async def test_through_a_proxy_it_is_closed(
    make_site: MakeSite, redis_url: str, headers: dict[str, str]
) -> None:
    site = await make_site(redis_url, **OWN)
    assert (await ask(site, "/v1/overview")).status == 200
    assert (await ask(site, "/v1/overview", **headers)).status == 404


@pytest.mark.parametrize("client", [("10.0.0.9", 5), None], ids=["another machine", "a socket"])
async def test_from_elsewhere_it_is_closed(client: tuple[str, int] | None) -> None:
    app = create_app(
        StreamSettings(relay_url="memory://oversight", secret=("hard to guess it",), **OWN)
    )
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": "/v1/overview", "headers": headers}
    await app({**scope, "client": client}, receive, send)
    assert sent[0]["status"] == 404


async def test_other_origins_cannot_read_it(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, **OWN)
    for origin in ("https://evil.example", "null"):
        answer = await ask(site, "/v1/overview", Origin=origin)
        assert "access-control-allow-origin" not in answer.headers


# What it shows


async def test_streams_are_listed_the_newest_first(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, **OWN)
    assert (await ask(site, "/v1/overview")).json == {
        "streams": [], "total": 0, "active": 0,
    }  # fmt: skip
    site.producer("old").append("a", "b", end="completed")
    site.producer("running").append("abc")
    site.relay.call(Create("queued", "a-task", "json"))
    answer = await ask(site, "/v1/overview")
    assert answer.json["total"] == 3
    found = {each["stream_id"]: each for each in answer.json["streams"]}
    ages = [each["age"] for each in answer.json["streams"]]
    assert ages == sorted(ages)
    assert (found["old"]["status"], found["old"]["end_reason"]) == ("ended", "completed")
    assert (found["old"]["chunks"], found["old"]["attempt"]) == (2, 1)
    assert found["running"]["status"] == "streaming"
    assert found["running"]["first_chunk_after"] is not None
    assert (found["queued"]["status"], found["queued"]["task_id"]) == ("queued", "a-task")
    assert abs(found["queued"]["requested_at"] - time.time()) < 60
    running = await ask(site, "/v1/overview?limit=1&active=true")
    assert all(each["status"] != "ended" for each in running.json["streams"])
    assert (len(running.json["streams"]), running.json["total"]) == (1, answer.json["total"])
    assert running.json["active"] == answer.json["active"] < answer.json["total"]
    few = await ask(site, "/v1/overview?limit=2")
    assert (len(ids(few)), few.json["total"]) == (2, 3)


async def test_the_streams_of_a_conversation_are_a_tree(
    make_site: MakeSite, any_relay_url: str
) -> None:
    site = await make_site(any_relay_url, **OWN)
    parents = {"root": None, "next": None, "child": "root", "grandchild": "child"}
    for name, parent in parents.items():
        event = stream_began(name, task="tasks.agent", title=name.title(), parent=parent)
        site.relay.call(Post("chat 42", stream_id_of_event(name), event))
        if name != "next":  # that one has expired
            site.relay.call(Create(name, name, conversation="chat 42"))
    answer = await ask(site, "/v1/overview?conversation=chat%2042")
    shown = [(each["stream_id"], each["depth"], each["status"]) for each in answer.json["streams"]]
    assert shown == [
        ("root", 0, "queued"), ("child", 1, "queued"), ("grandchild", 2, "queued"),
        ("next", 0, "expired"),
    ]  # fmt: skip
    assert (await ask(site, "/v1/overview/root")).json["conversation"] == "chat 42"
    assert answer.json["streams"][1]["parent"] == "root"
    assert (await ask(site, "/v1/overview?conversation=another")).status == 404


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x"])
async def test_a_limit_is_a_small_number(make_site: MakeSite, redis_url: str, limit: str) -> None:
    site = await make_site(redis_url, **OWN)
    assert (await ask(site, f"/v1/overview?limit={limit}")).status == 400


async def test_many_streams_are_listed(make_site: MakeSite, any_relay_url: str) -> None:
    site = await make_site(any_relay_url, **OWN)
    names = {f"s-{number}" for number in range(520)}
    site.relay.execute([Create(name, "task", "json") for name in names])
    answer = await ask(site, "/v1/overview?limit=1000")
    assert set(ids(answer)) == names


async def test_a_stream_comes_with_a_token_of_its_own(
    make_site: MakeSite, any_relay_url: str
) -> None:
    site = await make_site(any_relay_url, **KEYED, public_url="https://relay.example")
    producer = site.producer("mine")
    producer.append("a")
    site.producer("other")
    found = (await ask(site, "/v1/overview/mine", **WITH_KEY)).json
    assert (found["stream_id"], found["chunks"]) == ("mine", 1)
    assert found["ref"]["url"] == "https://relay.example/v1/stream/mine"
    grant = site.tokens.verify(found["ref"]["token"])
    assert grant.scopes == {"read", "stop"}
    assert grant.expires_at == found["ref"]["expires_at"]
    client = Client(site.port, found["ref"]["token"])
    assert (await client.read("mine")).json == ["a"]
    assert (await client.read("other")).status == 404
    assert (await client.request("POST", "/v1/stop/mine")).status == 202
    assert site.relay.state("mine").stop_asked


@pytest.mark.parametrize("name", ["absent", "", "a%20b", "a/b", "{x}"])
async def test_there_is_no_such_stream(make_site: MakeSite, redis_url: str, name: str) -> None:
    site = await make_site(redis_url, **OWN)
    assert (await ask(site, f"/v1/overview/{name}")).status == 404


async def test_it_is_read_only(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, **OWN)
    for path in PAGE + DATA:
        for method in ("POST", "PUT", "DELETE"):
            if (method, path) == ("POST", multiplex.PATH):
                continue  # reads many streams, each with a token of its own
            assert (await Client(site.port).request(method, path)).status == 405


async def test_the_page_runs_nothing_but_its_own_files(make_site: MakeSite, redis_url: str) -> None:
    site = await make_site(redis_url, **OWN)
    types = ("text/html", "text/css", *["text/javascript"] * len(SCRIPTS))
    for path, content_type in zip(PAGE, types, strict=True):
        headers = (await ask(site, path)).headers
        assert headers["content-type"].startswith(content_type)
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy.pop("default-src") == "'none'"
        assert policy.pop("require-trusted-types-for") == "'script'"
        assert set(policy.values()) == {"'self'", "'none'"}
    folder = resources.files("streamstraight_celery") / "static" / "streamstraight_celery"
    for name in ("streams.html", "streams.css", *SCRIPTS):
        text = (folder / name).read_text()
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in text


async def test_a_relay_that_does_not_answer_is_said(make_site: MakeSite) -> None:
    site = await make_site("redis://127.0.0.1:1/0", **OWN)
    for path in DATA:
        answer = await ask(site, path)
        assert answer.status == 503
        assert "127.0.0.1" not in answer.body.decode()


async def test_ids_are_the_same_for_both_kinds_of_relay(any_relay_url: str) -> None:
    settings = StreamSettings(relay_url=any_relay_url, key_prefix="odd*[x]:")
    relay, asynchronous = open_relay(settings), open_async_relay(settings)
    relay.execute([Create(name, "task", "json") for name in ("a", "b:c", "d@e")])
    found = {name for name, _ in (await asynchronous.find(Query.of())).streams}
    assert found == {name for name, _ in relay.find(Query.of()).streams} == {"a", "b:c", "d@e"}
    await asynchronous.close()
    relay.close()

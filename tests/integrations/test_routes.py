"""Token, stop, resume and the client's import map, the same in each framework, on real servers."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from celery import Celery

from streamstraight_celery.relays.requests import Append, Claim
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT
from tests.integrations.conftest import Server, watch
from tests.tasks.log import relay_of, state_of

CLIENT = ROOT / "streamstraight_celery/static/streamstraight_celery/client.js"
FRAMEWORKS = {
    "flask": "flask-gunicorn-threads",
    "django-wsgi": "django-gunicorn",
    "django-asgi": "django-uvicorn",
    "fastapi": "fastapi-uvicorn",
}


@pytest.fixture(params=FRAMEWORKS)
def server(request: pytest.FixtureRequest, site: Callable[[str], Server]) -> Server:
    return site(FRAMEWORKS[request.param])


@pytest.fixture
def watching(site: Callable[[str], Server]) -> Iterator[Celery]:
    """A Celery app that looks at the streams of `site` from outside."""
    yield from watch(site("flask-gunicorn-threads").redis_url)


@pytest.fixture
def visitor(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_only_who_asked_gets_a_token_and_may_stop(
    server: Server, visitor: httpx.Client, watching: Celery
) -> None:
    stream_id = visitor.get("/ask").json()["stream_id"]
    token, stop = f"/streams/{stream_id}/token", f"/streams/{stream_id}/stop"

    with server.client() as stranger:
        refused = [stranger.get(token), stranger.post(stop), stranger.get("/streams/none/token")]
    assert [each.status_code for each in refused] == [404, 404, 404]
    assert len({each.text for each in refused}) == 1  # absent or forbidden: nobody can tell
    assert state_of(watching, stream_id).end == ""

    fresh = visitor.get(token)
    assert fresh.status_code == 200
    assert fresh.headers["cache-control"] == "no-store"
    ref = fresh.json()
    assert ref["stream_id"] == stream_id
    assert Runtime.of(watching).tokens.verify(ref["token"]).stream_id == stream_id

    assert visitor.get(stop).status_code == 405
    assert visitor.post(stop).status_code == 204
    assert state_of(watching, stream_id).end == "stopped"
    assert visitor.post(stop).status_code == 204


def test_where_a_chat_goes_on(server: Server, visitor: httpx.Client, watching: Celery) -> None:
    chat = uuid.uuid4().hex
    assert visitor.get(f"/chat/{chat}/stream").status_code == 204
    assert visitor.get(f"/chat/{'x' * 501}/stream").status_code == 204  # cannot be one
    stream_id = visitor.get(f"/ask?chat={chat}").json()["stream_id"]
    answered = visitor.get(f"/chat/{chat}/stream")
    assert answered.status_code == 307
    assert f"/v1/sse/{stream_id}?token=" in answered.headers["location"]
    assert answered.headers["cache-control"] == "no-store"
    relay = relay_of(watching)
    relay.call(Claim(stream_id, "0" * 8))
    relay.call(Append(stream_id, 1, "0" * 8, 1, 0, b"", "completed"))
    # It has ended, so it is replayed to a page that does not say that it has it.
    assert visitor.get(f"/chat/{chat}/stream").status_code == 307
    assert visitor.get(f"/chat/{chat}/stream?have=another").status_code == 307
    ended = visitor.get(f"/chat/{chat}/stream?have={stream_id}")
    assert (ended.status_code, ended.content) == (204, b"")


def test_other_sites_cannot_stop_in_a_visitors_name(
    site: Callable[[str], Server], watching: Celery
) -> None:
    for name in FRAMEWORKS.values():
        server = site(name)
        with server.client() as visitor:
            stream_id = visitor.get("/ask").json()["stream_id"]
            stop = f"/streams/{stream_id}/stop"
            for relation in ("cross-site", "same-site", ""):
                headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": relation}
                assert visitor.post(stop, headers=headers).status_code == 403
            assert state_of(watching, stream_id).end == ""
            assert visitor.post(stop, headers={"Origin": server.url}).status_code == 204


def test_a_page_behind_a_proxy_that_changes_the_host_may_stop(
    server: Server, visitor: httpx.Client
) -> None:
    stream_id = visitor.get("/ask").json()["stream_id"]
    headers = {
        "Origin": "https://x-8000.app.github.dev", "Host": "localhost",
        "Sec-Fetch-Site": "same-origin",
    }  # fmt: skip
    assert visitor.post(f"/streams/{stream_id}/stop", headers=headers).status_code == 204


@pytest.mark.parametrize("name", ["flask-gunicorn-threads", "django-gunicorn"])
def test_the_import_map_of_a_page(site: Callable[[str], Server], name: str) -> None:
    server = site(name)
    page = httpx.get(server.url).text
    found = re.search(r'<script type="importmap" nonce="n">(.+?)</script>', page)
    assert found is not None
    url = json.loads(found[1])["imports"]["streamstraight-celery"]
    if name.startswith("django"):
        assert url == "/static/streamstraight_celery/client.js"  # served as Django serves files
    else:
        answered = httpx.get(f"{server.url}{url}")
        assert answered.content == CLIENT.read_bytes()
        assert answered.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("name", ["django-uvicorn", "fastapi-uvicorn"])
def test_the_mounted_relay(site: Callable[[str], Server], watching: Celery, name: str) -> None:
    server = site(name)
    ref = httpx.get(f"{server.url}/after-async", timeout=30).json()
    headers = {"Authorization": f"Bearer {ref['token']}"}

    chunks, control = [], {}
    with httpx.stream("GET", f"{ref['url']}?live=sse&offset=-1", headers=headers) as streamed:
        assert streamed.status_code == 200
        assert streamed.headers["content-type"] == "text/event-stream"
        for line in streamed.iter_lines():
            if line.startswith("data:["):
                chunks += json.loads(line[5:])
            elif line.startswith("data:{"):
                control = json.loads(line[5:])
    assert [chunk["number"] for chunk in chunks] == [0, 1, 2, 3, 4]
    assert control["endReason"] == "completed"

    assert httpx.get(ref["url"]).status_code == 401
    assert len(httpx.get(ref["url"], headers=headers).json()) == 5
    assert httpx.head(ref["url"], headers=headers).headers["stream-closed"] == "true"
    root = ref["url"].partition("/v1/")[0]
    assert httpx.get(f"{root}/readyz").json() == {"status": "ok"}
    assert httpx.get(f"{root}/client.js").content == CLIENT.read_bytes()
    stopped = httpx.post(f"{root}/v1/stop/{ref['stream_id']}", headers=headers)
    assert stopped.json()["endReason"] == "completed"


@pytest.mark.parametrize("name", ["django-uvicorn", "fastapi-uvicorn"])
def test_a_reader_of_the_mounted_relay_that_leaves_is_let_go(
    serve: Callable[[str], Server], name: str
) -> None:
    server = serve(name)
    ref = httpx.get(f"{server.url}/after-async", timeout=30).json()
    headers = {"Authorization": f"Bearer {ref['token']}"}
    with httpx.stream("GET", f"{ref['url']}?live=sse&offset=-1", headers=headers) as streamed:
        line = next(line for line in streamed.iter_lines() if line.startswith("data:["))
    assert json.loads(line[5:]) == [{"number": 0}]
    # The server still answers, and its log shows no error.
    server.open_gate()
    assert httpx.get(f"{ref['url']}", headers=headers).status_code == 200
    server.end()
    assert "Traceback" not in server.log_file.read_text()


def test_under_wsgi_the_relay_says_what_it_needs(site: Callable[[str], Server]) -> None:
    answered = httpx.get(f"{site('django-gunicorn').url}/streams/v1/stream/x")
    assert answered.status_code == 501
    assert "ASGI" in answered.json()["error"]["message"]


def test_fastapis_dependency(site: Callable[[str], Server]) -> None:
    server = site("fastapi-uvicorn")
    with server.client() as visitor, server.client() as stranger:
        stream_id = visitor.get("/ask").json()["stream_id"]
        assert visitor.get(f"/mine/{stream_id}").json() == {"end": ""}
        assert stranger.get(f"/mine/{stream_id}").status_code == 404

"""`useChat({ resume: true })` of the AI SDK in Chromium, answered by each framework's `resume`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Page, Response, Route

from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.settings import StreamSettings
from tests.integrations.conftest import Server
from tests.peers.chat import FINISH, START, delta
from tests.peers.conftest import bundles, node_modules
from tests.peers.web import PAGE, SCRIPT
from tests.server.producer import Producer

__all__ = ["bundles", "node_modules"]
pytestmark = pytest.mark.browser


@pytest.fixture(params=["fastapi-uvicorn", pytest.param("django-uvicorn", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, site: Callable[[str], Server]) -> Server:
    return site(request.param)


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """The producers are these tests, which renew no lease."""
    relay = open_relay(StreamSettings(relay_url=server.redis_url, lease=600))
    yield relay
    relay.close()


def test_a_page_goes_on_with_the_latest_stream_of_its_chat(
    server: Server, relay: Relay, tab: Page, bundles: Path
) -> None:
    chat = uuid4().hex
    page = f"{server.url}/page"
    script = (bundles / "chat7.js").read_text()
    html = PAGE + SCRIPT.format("page/chat7")
    tab.route(f"{page}?**", lambda route: route.fulfill(body=html, content_type="text/html"))
    tab.route(f"{page}/chat7.js", lambda route: _script(route, script))

    assert open_page(tab, f"{page}?api=/chat&chat={chat}").status == 204
    tab.wait_for_selector("#status[data-status=ready]")

    stream_id = httpx.get(f"{server.url}/ask?chat={chat}").json()["stream_id"]
    producer = Producer(relay, stream_id).claim()
    producer.append(*START, delta("Hel"))
    assert open_page(tab, f"{page}?api=/chat&chat={chat}").status == 307
    tab.wait_for_selector("#answer:text-is('Hel')")
    assert tab.inner_text("#status") == "streaming"
    producer.append(delta("lo"), *FINISH, end="completed")
    tab.wait_for_selector("#status[data-status=ready]")
    assert tab.inner_text("#answer") == "Hello"
    assert tab.inner_text("#error") == ""

    # It is replayed, until the page says that it has it.
    assert open_page(tab, f"{page}?api=/chat&chat={chat}").status == 307
    tab.wait_for_selector("#answer:text-is('Hello')")
    tab.wait_for_selector("#status[data-status=ready]")
    assert tab.inner_text("#error") == ""
    assert httpx.get(f"{server.url}/chat/{chat}/stream?have={stream_id}").status_code == 204


def open_page(tab: Page, url: str) -> Response:
    """Open a page; the framework's answer to whether there is something to go on with."""
    with tab.expect_response(lambda response: response.url.endswith("/stream")) as asked:
        tab.goto(url)
    return asked.value


def _script(route: Route, text: str) -> None:
    route.fulfill(body=text, content_type="text/javascript")

"""The client that ships in Chromium, Firefox and WebKit: what each does to a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.browser.engines import ChromiumTab, Tab
from tests.browser.site import Pages, Site, running
from tests.conftest import eventually
from tests.server.producer import Producer

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with closing(Pages()) as pages:
        yield pages


@pytest.fixture
def tab(engine: Tab, pages: Pages) -> Tab:
    open_page(engine, pages)
    engine.run("sessionStorage.clear()")
    return engine


@pytest.fixture
def producer(site: Site, request: pytest.FixtureRequest) -> Producer:
    """A stream of this test's own."""
    return site.producer(request.node.name.replace("[", "-").replace("]", ""))


def open_page(tab: Tab, pages: Pages) -> None:
    tab.go(pages.url)
    wait_ready(tab)


def wait_ready(tab: Tab) -> None:
    eventually(lambda: tab.run("document.title === 'ready'"), timeout=60)


def read(tab: Tab, ref: dict[str, Any], **options: Any) -> None:
    tab.run(f"void read('one', {json.dumps(ref)}, {json.dumps(options)})")


def wait_chunks(tab: Tab, count: int) -> None:
    eventually(lambda: tab.run(f"streams.one.chunks.length >= {count}"), timeout=60)


def wait_end(tab: Tab) -> str:
    eventually(lambda: tab.run("streams.one.end"), timeout=60)
    return str(tab.run("streams.one.end"))


def test_a_stream_is_read_as_it_is_written(site: Site, tab: Tab, producer: Producer) -> None:
    read(tab, site.ref(producer.stream_id))
    for number in range(3):
        producer.append({"n": number, "text": "grüße \u2028 🙂"})
        wait_chunks(tab, number + 1)
    producer.append("x" * 100_000, end="completed")
    assert wait_end(tab) == "completed"
    assert tab.run("streams.one.chunks.map((each) => each.n ?? each.length)") == [0, 1, 2, 100_000]


def test_a_reload_in_the_middle(site: Site, tab: Tab, producer: Producer) -> None:
    producer.append(1, 2, 3)
    read(tab, site.ref(producer.stream_id), persist="answer")
    wait_chunks(tab, 3)
    tab.reload()
    wait_ready(tab)
    producer.append(4)
    read(tab, site.ref(producer.stream_id), persist="answer")
    wait_chunks(tab, 1)
    producer.append(5, end="completed")
    assert wait_end(tab) == "completed"
    assert tab.run("streams.one.chunks") == [4, 5]


def test_back_and_forward(site: Site, tab: Tab, pages: Pages, producer: Producer) -> None:
    producer.append(1, 2)
    read(tab, site.ref(producer.stream_id), persist="answer")
    wait_chunks(tab, 2)
    tab.go(f"{pages.url}client.js")
    producer.append(3)
    tab.back()
    wait_ready(tab)
    # The browser may have kept the page: then it reads on by itself.
    if not tab.run("'one' in streams"):
        tab.run("globalThis.before = [1, 2]")
        read(tab, site.ref(producer.stream_id), persist="answer")
    producer.append(4, end="completed")
    assert wait_end(tab) == "completed"
    assert tab.run("[...(globalThis.before ?? []), ...streams.one.chunks]") == [1, 2, 3, 4]


def test_stop(site: Site, tab: Tab, producer: Producer) -> None:
    producer.append(1)
    read(tab, site.ref(producer.stream_id))
    wait_chunks(tab, 1)
    tab.run("streams.one.stream.stop().then(() => true)")
    assert producer.append(2).stop
    producer.end("stopped")
    assert wait_end(tab) == "stopped"
    assert tab.run("streams.one.chunks") == [1, 2]


def test_streams_hold_all_connections_and_one_is_stopped(
    site: Site, tab: Tab, producer: Producer
) -> None:
    # With a seventh that waits, only Chromium lets the stop go first (docs/clients.md).
    waiting = isinstance(tab, ChromiumTab)
    others = range(5 + waiting)
    names = [producer.stream_id, *(f"{producer.stream_id}-{number}" for number in others)]
    producers = [producer, *(site.producer(name) for name in names[1:])]
    for each in producers:
        each.append(1)
    for name in names:
        tab.run(f"void read('{name}', {json.dumps(site.ref(name))})")
    count = "Object.values(streams).filter((each) => each.chunks.length).length"
    eventually(lambda: tab.run(count) == 6, timeout=60)
    stopping = f"streams['{names[5]}'].stream.stop().then(() => true)"
    late = "new Promise((resolve) => setTimeout(resolve, 20000, 'late'))"
    assert tab.run(f"Promise.race([{stopping}, {late}])") is True
    assert producers[5].append(2).stop
    # Firefox keeps the connections of a page that it has left for a while.
    tab.run("void Object.values(streams).forEach((each) => each.stream.close())")


def test_a_relay_server_that_is_dropped(site: Site, tab: Tab, producer: Producer) -> None:
    producer.append(1, 2)
    read(tab, site.ref(producer.stream_id))
    wait_chunks(tab, 2)
    with site.without_relay():
        eventually(lambda: tab.run("streams.one.stream.status === 'reconnecting'"), timeout=60)
        producer.append(3)
    wait_chunks(tab, 3)
    producer.append(4, end="completed")
    assert wait_end(tab) == "completed"
    assert tab.run("streams.one.chunks") == [1, 2, 3, 4]


def test_a_token_that_has_expired(site: Site, tab: Tab, pages: Pages, producer: Producer) -> None:
    pages.routes["GET /fresh"] = lambda _: site.ref(producer.stream_id)
    tab.run("void (globalThis.renew = async () => (await (await fetch('/fresh')).json()).token)")
    producer.append(1)
    read(tab, site.ref(producer.stream_id, ttl=3), renew=True)
    wait_chunks(tab, 1)
    opened = "streams.one.statuses.filter((each) => each === 'open').length > 1"
    eventually(lambda: tab.run(opened), timeout=60)
    producer.append(2, end="completed")
    assert wait_end(tab) == "completed"
    assert tab.run("streams.one.chunks") == [1, 2]

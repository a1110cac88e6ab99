"""Six tabs and more over HTTP/1.1: a browser has six connections to a host, for all tabs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.browser.real_tabs import Tab, Window, window
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
def browser() -> Iterator[Window]:
    with window() as made:
        yield made


@pytest.fixture
def producers(site: Site, request: pytest.FixtureRequest) -> list[Producer]:
    """Seven streams of this test's own, each with one chunk."""
    made = [site.producer(f"{request.node.name}-{number}") for number in range(7)]
    for each in made:
        each.append("first")
    return made


def read(tab: Tab, site: Site, producer: Producer, **options: Any) -> None:
    ref = json.dumps(site.ref(producer.stream_id))
    tab.run(f"void read('one', {ref}, {json.dumps(options)})")


def chunks(tab: Tab) -> Any:
    return tab.run("streams.one.chunks")


def status(tab: Tab) -> Any:
    return tab.run("streams.one.stream.status")


def wait_chunks(tab: Tab, *expected: object) -> None:
    eventually(lambda: chunks(tab) == list(expected), timeout=60)


def stop(tab: Tab, producer: Producer) -> None:
    """The page stops its stream; the connection for it must be there at once."""
    late = "new Promise((resolve) => setTimeout(resolve, 20000, 'late'))"
    stopping = "streams.one.stream.stop().then(() => 'stopped')"
    assert tab.run(f"Promise.race([{stopping}, {late}])") == "stopped"
    assert producer.append("last").stop
    producer.end("stopped")


def wait_end(tab: Tab, end: str) -> None:
    eventually(lambda: tab.run("streams.one.end") == end, timeout=60)


def test_hidden_tabs_give_their_connections_to_the_one_in_front(
    site: Site, pages: Pages, browser: Window, producers: list[Producer]
) -> None:
    tabs: list[Tab] = []
    for producer in producers:
        tabs.append(browser.tab(pages.url))
        read(tabs[-1], site, producer)
        wait_chunks(tabs[-1], "first")
    for producer in producers:
        producer.append("second")
    wait_chunks(tabs[-1], "first", "second")
    assert [tab.run("document.visibilityState") for tab in tabs] == ["hidden"] * 6 + ["visible"]
    # A tab that has let go misses what comes, and catches up when it is shown.
    tabs[0].show()
    wait_chunks(tabs[0], "first", "second")
    assert tabs[0].run("streams.one.errors") == []


def test_a_seventh_tab_says_that_it_waits_and_the_sixth_can_stop(
    site: Site, pages: Pages, browser: Window, producers: list[Producer]
) -> None:
    tabs = [browser.tab(pages.url) for _ in producers]
    for tab, producer in zip(tabs[:6], producers, strict=False):
        read(tab, site, producer, whileHidden="read")
        wait_chunks(tab, "first")
    read(tabs[6], site, producers[6], whileHidden="read")
    eventually(lambda: status(tabs[6]) == "waiting-for-connection", timeout=60)
    stop(tabs[5], producers[5])
    # The tab that waited has the connection now; another one ends, and the sixth reads on.
    wait_chunks(tabs[6], "first")
    producers[0].end()
    wait_end(tabs[5], "stopped")
    assert chunks(tabs[5]) == ["first", "last"]
    assert tabs[5].run("streams.one.errors") == []
    assert tabs[6].run("streams.one.statuses") == ["connecting", "waiting-for-connection", "open"]


def test_tabs_share_one_connection(
    site: Site, pages: Pages, browser: Window, producers: list[Producer]
) -> None:
    tabs = [browser.tab(pages.url) for _ in producers]
    for tab, producer in zip(tabs, producers, strict=True):
        read(tab, site, producer, whileHidden="read", shared=True)
        wait_chunks(tab, "first")
    # Seven streams are read, and there is a connection left to ask for a stop.
    stop(tabs[5], producers[5])
    wait_end(tabs[5], "stopped")
    # The tabs that stay continue when the one that reads for all is closed.
    tabs[0].close()
    for producer in producers[1:5]:
        producer.append("second")
    for tab in tabs[1:5]:
        wait_chunks(tab, "first", "second")
    # Also when it ends without a word.
    tabs[1].crash()
    for producer in producers[2:5]:
        producer.append("third", end="completed")
    for tab in tabs[2:5]:
        wait_chunks(tab, "first", "second", "third")
        wait_end(tab, "completed")
        assert tab.run("streams.one.resets") == []

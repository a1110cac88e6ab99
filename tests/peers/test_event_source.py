"""EventSource in Chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.peers.processes import Dictation
from tests.peers.web import Web
from tests.support.proxy import Proxy

pytestmark = pytest.mark.browser

# What a page may learn; it never closes the EventSource itself.
WATCH = """url => {
  globalThis.source = new EventSource(url);
  globalThis.got = [];
  source.onmessage = (event) => got.push(["message", event.data, event.lastEventId]);
  for (const name of ["end", "failed", "reset"])
    source.addEventListener(name, (event) => got.push([name, event.data, event.lastEventId]));
}"""
CLOSED = "source.readyState === EventSource.CLOSED"


@pytest.fixture
def page(tab: Page, web: Web) -> Page:
    tab.goto(web.origin)
    return tab


def wait_for(page: Page, count: int) -> list[list[Any]]:
    page.wait_for_function("count => got.length >= count", arg=count)
    got: list[list[Any]] = page.evaluate("got")
    return got


def test_it_reconnects_ends_and_never_doubles(
    page: Page, proxy: Proxy, dictation: Dictation
) -> None:
    handle = dictation.begin()
    page.evaluate(WATCH, handle.sse_url())
    dictation.say({"n": 1}, {"n": 2})
    wait_for(page, 2)
    before = proxy.connections
    proxy.cut()
    dictation.say({"n": 3})
    wait_for(page, 3)
    assert proxy.connections == before + 1
    dictation.say({"n": 4})
    dictation.end()
    wait_for(page, 5)
    page.wait_for_function(CLOSED)  # it came back, and was told to stay away
    got = page.evaluate("got")
    assert [(name, json.loads(data)["n"]) for name, data, _ in got[:-1]] == [
        ("message", 1), ("message", 2), ("message", 3), ("message", 4),
    ]  # fmt: skip
    assert got[-1][:2] == ["end", "[DONE]"]
    assert got[-1][2].endswith(".completed")
    ids = [last_id for _, _, last_id in got]
    assert len(set(ids)) == len(ids)


def test_an_end_that_was_missed_is_told_later(
    page: Page, proxy: Proxy, dictation: Dictation
) -> None:
    handle = dictation.begin()
    page.evaluate(WATCH, handle.sse_url())
    dictation.say("all there is")
    wait_for(page, 1)
    proxy.cut()
    dictation.end()
    handle.result.get(timeout=30)
    assert [name for name, _, _ in wait_for(page, 2)] == ["message", "end"]


def test_a_failed_stream_does_not_end_like_a_finished_one(page: Page, dictation: Dictation) -> None:
    handle = dictation.begin()
    page.evaluate(WATCH, handle.sse_url())
    dictation.say("a start")
    wait_for(page, 1)
    dictation.fail("the model is out of words")
    wait_for(page, 2)
    page.wait_for_function(CLOSED)
    got = page.evaluate("got")
    assert [name for name, _, _ in got] == ["message", "failed"]
    error = json.loads(got[1][1])["error"]
    assert error == {"code": "as-told", "message": "the model is out of words"}


def test_a_new_attempt_is_told_and_never_mixed_in(page: Page, dictation: Dictation) -> None:
    handle = dictation.begin()
    page.evaluate(WATCH, handle.sse_url())
    dictation.say("old 1", "old 2")
    wait_for(page, 2)
    dictation.retry()
    dictation.say("new 1")
    wait_for(page, 3)
    page.wait_for_function(CLOSED)
    got = page.evaluate("got")
    assert [(name, json.loads(data)) for name, data, _ in got[:2]] == [
        ("message", "old 1"), ("message", "old 2"),
    ]  # fmt: skip
    assert got[2][0] == "reset"
    assert len(got) == 3
    page.evaluate(WATCH, handle.sse_url())  # what a page does then
    assert [json.loads(data) for _, data, _ in wait_for(page, 1)] == ["new 1"]
    page.evaluate("source.close()")

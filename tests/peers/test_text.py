"""The AI SDK's hooks that read plain text, in Chromium: their requests are redirected to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.peers.processes import Dictation
from tests.peers.web import Web

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What the task yields, and what is on the page after each part.
PARTS = {
    "chat": (["Hel", {"type": "text-delta", "id": "1", "delta": "lo"}], ["Hel", "Hello"]),
    "completion": (["Hel", "lo"], ["Hel", "Hello"]),
    "object": (['{"words": "Hel', 'lo"}'], ["Hel", "Hello"]),
}


@pytest.fixture(params=PARTS)
def hook(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(tab: Page, web: Web, bundles: Path, dictation: Dictation, hook: str) -> Page:
    web.bundles = bundles
    web.ask = dictation.begin
    tab.goto(f"{web.origin}/?script=texts&hook={hook}")
    tab.click("#send")
    return tab


def shows(page: Page, text: str) -> None:
    page.locator("#text").get_by_text(text, exact=True).wait_for()


@pytest.mark.parametrize("end", ["good", "failed"])
def test_text_comes_as_it_is_written(page: Page, dictation: Dictation, hook: str, end: str) -> None:
    for chunk, text in zip(*PARTS[hook], strict=True):
        dictation.say(chunk)
        shows(page, text)
        assert page.inner_text("#busy") == "busy"
    if end == "good":
        dictation.end()
    else:
        dictation.fail("the model is out of words")
    page.locator("#busy").get_by_text("idle").wait_for()
    # A shortened answer never looks complete.
    assert page.inner_text("#error") == ("" if end == "good" else "error")

"""The example's agent: helpers side by side, a word while it works, an approval after a restart."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from example_project.demo.stack import Stack
from tests.browser.conftest import OUR_OWN_MODEL
from tests.conftest import eventually


def progress(tab: Page) -> list[float]:
    bars = tab.locator("progress")
    return [float(bar.evaluate("bar => bar.position")) for bar in bars.all()]


def shown(tab: Page) -> str:
    return tab.locator("#log").inner_text()


@pytest.mark.slow
def test_an_approval_after_a_restart_in_another_tab(chromium: Browser) -> None:
    phone: Any = {"viewport": {"width": 390, "height": 780}}
    with Stack("flask", env=OUR_OWN_MODEL) as stack, chromium.new_context(**phone) as context:
        tab = context.new_page()
        tab.goto(f"{stack.page_url}/agent/")
        tab.locator("#ideas button").first.click()
        expect(tab.locator(".helper")).to_have_count(2)
        # Both at the same time.
        eventually(lambda: all(0 < each < 1 for each in progress(tab)))
        tab.fill("#prompt", "Not the ones of May")
        tab.press("#prompt", "Enter")
        expect(tab.locator("#log")).to_contain_text("Noted: “Not the ones of May”")
        expect(tab.locator(".question")).to_contain_text("Delete 7 files about")
        expect(tab.locator("#state")).to_have_text("Waiting for you, without a worker")
        stack.kill("worker")
        stack.start("worker")
        other = context.new_page()
        other.goto(tab.url)
        other.get_by_role("button", name="Delete them").click()
        for each in (tab, other):
            expect(each.locator("#log")).to_contain_text("I deleted 7 files.")
            expect(each.locator("#state")).to_have_text("Ready")
            expect(each.locator(".question")).to_contain_text("You agreed.")
        assert shown(tab) == shown(other)
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        # And it can be stopped, while it waits too.
        tab.fill("#prompt", "screenshots")
        tab.press("#prompt", "Enter")
        expect(tab.locator("#state")).to_have_text("Waiting for you, without a worker")
        tab.locator("#stop").click()
        for each in (tab, other):
            expect(each.locator("#log")).to_contain_text("Stopped.")
            expect(each.locator("#state")).to_have_text("Ready")

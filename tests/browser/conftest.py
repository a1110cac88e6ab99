"""Debian's Chromium, and the chats with all their processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from example_project.demo.stack import Framework, Stack
from tests.browser.chat import Chat
from tests.conftest import missing

ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Faster than a person reads, slow enough to reload and stop in the middle.
OUR_OWN_MODEL = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "OPENAI_MODEL": "canned@80"}
# The model server refuses a name with such a pace.
REFUSED_MODEL = {**OUR_OWN_MODEL, "OPENAI_MODEL": "canned@no-pace"}


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        missing("Chromium")
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=path, args=ARGUMENTS)) as browser,
    ):
        yield browser


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser profile of this test's own; a script error fails the test."""
    errors: list[str] = []
    with closing(chromium.new_context()) as context:
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.set_default_timeout(30_000)
        yield context
    assert errors == []


@pytest.fixture
def tab(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="module", params=["flask", "django"])
def framework(request: pytest.FixtureRequest) -> Framework:
    chosen: Framework = request.param
    return chosen


@pytest.fixture(scope="module")
def stack(framework: Framework, chromium: Browser) -> Iterator[Stack]:
    with Stack(framework, env=OUR_OWN_MODEL) as stack:
        yield stack


@pytest.fixture
def failing_stack(framework: Framework, chromium: Browser) -> Iterator[Stack]:
    with Stack(framework, env=REFUSED_MODEL) as stack:
        yield stack


@pytest.fixture
def chat(tab: Page, stack: Stack) -> Chat:
    return Chat(tab, stack)

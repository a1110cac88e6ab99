"""The chats with all their processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page

from example_project.demo.stack import Framework, Stack
from tests.browser.chat import Chat
from tests.browser.engines import ChromiumTab, Tab, firefox, webkit

# Faster than a person reads, slow enough to reload and stop in the middle.
OUR_OWN_MODEL = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "OPENAI_MODEL": "canned@80"}
# The model server refuses a name with such a pace.
REFUSED_MODEL = {**OUR_OWN_MODEL, "OPENAI_MODEL": "canned@no-pace"}


@pytest.fixture(
    scope="module",
    params=[
        "flask",
        pytest.param("django", marks=pytest.mark.slow),
        pytest.param("fastapi", marks=pytest.mark.slow),
    ],
)
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


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def engine(request: pytest.FixtureRequest) -> Iterator[Tab]:
    if request.param == "chromium":
        browser = request.getfixturevalue("chromium")
        with closing(browser.new_context()) as context:
            yield ChromiumTab(context.new_page())
        return
    with firefox() if request.param == "firefox" else webkit() as tab:
        yield tab

"""The demo's page in Chromium, Firefox and WebKit: what each does to an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from example_project.demo.reader import Reading, replay
from example_project.demo.stack import Stack
from tests.browser.chat import LETTERS_JS, QUESTION, letters_of
from tests.browser.conftest import OUR_OWN_MODEL
from tests.browser.engines import Tab
from tests.conftest import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Its tokens are valid for a few seconds, so each longer answer needs another one."""
    with Stack(
        env={**OUR_OWN_MODEL, "OPENAI_MODEL": "canned@30", "STREAM_TOKEN_TTL": "8"}
    ) as stack:
        yield stack


class Page:
    """The chat in one engine's tab."""

    def __init__(self, tab: Tab, stack: Stack) -> None:
        self.tab = tab
        self.stack = stack
        self.open()
        tab.run("void sessionStorage.clear()")
        # Not by a reload, which would save what there was.
        self.tab.run("void document.querySelector('#fresh').click()")

    def open(self) -> None:
        self.tab.go(self.stack.page_url)
        self.wait_ready()

    def wait_ready(self) -> None:
        self.wait("!!document.querySelector('#state')?.textContent")
        self.tab.run(f"void (() => {{{LETTERS_JS}}})()")

    def wait(self, expression: str) -> None:
        eventually(lambda: self.tab.run(expression), timeout=90)

    def send(self) -> None:
        self.tab.run(
            f"void ((box) => {{ box.value = '{QUESTION}'; box.form.requestSubmit(); }})"
            "(document.querySelector('#prompt'))"
        )

    def state(self) -> Any:
        return self.tab.run("document.querySelector('#status').dataset.state")

    def wait_state(self, state: str) -> None:
        try:
            eventually(lambda: self.state() == state, timeout=90)
        except AssertionError:
            page = self.tab.run("document.body.innerText")
            raise AssertionError(f"not {state}: {page}") from None

    def wait_letters(self, count: int) -> int:
        self.wait(f"lettersOf().length > {count}")
        return len(self.letters())

    def letters(self) -> str:
        return str(self.tab.run("lettersOf()"))

    @contextmanager
    def model_silent(self) -> Iterator[None]:
        """Meanwhile the model says nothing, so the answer is not over too early."""
        model = psutil.Process(self.stack.children["model"].pid)
        processes = [model, *model.children(recursive=True)]
        for each in processes:
            each.suspend()
        try:
            yield
        finally:
            for each in processes:
                each.resume()

    def in_the_relay(self) -> Reading:
        """The answer's stream, read with a token for this visitor."""
        asked = "JSON.parse(sessionStorage.getItem('messages')).at(-1).id"
        url = f"`streams/${{{asked}}}/token`"
        return replay(self.tab.run(f"fetch({url}).then((answer) => answer.json())"))

    def check(self, end: str) -> None:
        """The page shows the whole answer, once."""
        self.wait_state(end)
        self.tab.run("void dispatchEvent(new Event('pagehide'))")
        stream = self.in_the_relay()
        assert stream.end_reason == end
        assert self.letters() == letters_of(stream.text)
        assert self.tab.run("document.querySelectorAll('.message').length") == 2
        if end == "completed":
            assert stream.text == stream.sent_text


@pytest.fixture
def page(engine: Tab, stack: Stack) -> Page:
    return Page(engine, stack)


def test_an_answer_and_a_token_that_expires_in_it(page: Page) -> None:
    page.send()
    page.wait_letters(60)
    with page.model_silent():
        # Its connection ends with the token; the page asks for another one.
        page.wait("/resumed [2-9]/.test(document.querySelector('#numbers').textContent)")
    page.check("completed")


def test_a_reload_in_the_middle(page: Page) -> None:
    page.send()
    shown = page.wait_letters(60)
    with page.model_silent():
        page.tab.reload()
        page.wait_ready()
        page.wait_letters(shown - 1)
    page.check("completed")


def test_back_and_forward(page: Page) -> None:
    page.send()
    shown = page.wait_letters(60)
    with page.model_silent():
        page.tab.go(f"{page.stack.page_url}/static/chat.css")
        page.tab.back()
        page.wait_ready()
        page.wait_letters(shown - 1)
        page.tab.forward()
        eventually(lambda: page.tab.run("!document.querySelector('#state')"), timeout=60)
        page.tab.back()
        page.wait_ready()
        page.wait_letters(shown - 1)
    page.check("completed")


def test_stop(page: Page) -> None:
    page.send()
    page.wait_letters(60)
    page.tab.run("void document.querySelector('#stop').click()")
    page.check("stopped")


def test_a_relay_server_that_is_dropped(page: Page) -> None:
    page.send()
    page.wait_letters(60)
    with page.model_silent():
        page.stack.kill("relay")
        page.wait_state("reconnecting")
        page.stack.start("relay")
    page.check("completed")

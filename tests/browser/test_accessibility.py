"""For everybody: axe-core finds nothing, the keyboard is enough, answers are heard by sentences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from example_project.demo.stack import Stack
from streamstraight_celery.conversations.events import stream_began, stream_id_of_event
from streamstraight_celery.relays.requests import Create, Post
from tests.browser.chat import QUESTION, Chat
from tests.browser.conftest import OUR_OWN_MODEL
from tests.conftest import ROOT, missing
from tests.server.background import BackgroundRelay

pytestmark = pytest.mark.browser

AXE = ROOT / "client" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}
Check = Callable[[Page], None]


@pytest.fixture(scope="module")
def check() -> Check:
    """Fail with what axe-core finds on a page."""
    if not AXE.exists():
        missing("axe-core (cd client && npm ci)")
    source = AXE.read_text()

    def check(tab: Page) -> None:
        tab.evaluate(source)
        found: list[dict[str, Any]] = tab.evaluate("axe.run().then((found) => found.violations)")
        told = [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
        assert told == [], tab.url

    return check


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tab(chromium: Browser, scheme: str) -> Iterator[Page]:
    options: Any = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with closing(chromium.new_context(**options)) as context:
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        yield tab


@pytest.fixture(scope="module")
def stack(chromium: Browser) -> Iterator[Stack]:
    with Stack("flask", env=OUR_OWN_MODEL) as stack:
        yield stack


def moving(tab: Page) -> list[str]:
    """What moves on the page now."""
    found: list[str] = tab.evaluate(
        "document.getAnimations().filter((each) => each.playState === 'running')"
        ".map((each) => each.animationName ?? each.transitionProperty ?? 'a script')"
    )
    return found


def test_the_chat_page(tab: Page, stack: Stack, check: Check) -> None:
    chat = Chat(tab, stack)
    tab.wait_for_selector("#welcome")
    check(tab)
    chat.send(QUESTION)
    chat.wait_letters(60)
    assert moving(tab) == []
    chat.wait_state("completed")
    check(tab)
    tab.set_viewport_size(PHONE)  # type: ignore[arg-type]
    check(tab)


WATCH_SPOKEN = """
globalThis.spoken = [];
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const node of addedNodes) spoken.push(node.textContent);
  }
}).observe(document.querySelector("#spoken"), { childList: true });
"""


@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_an_answer_is_heard_by_sentences(tab: Page, stack: Stack) -> None:
    chat = Chat(tab, stack)
    assert tab.locator("#log").get_attribute("aria-live") == "off"
    assert tab.locator("#spoken").get_attribute("aria-live") == "polite"
    tab.evaluate(WATCH_SPOKEN)
    chat.send(QUESTION)
    chat.wait_state("completed")
    spoken: list[str] = tab.evaluate("spoken")
    assert 1 < len(spoken) < chat.chunks() / 4
    heard = "".join(letter for text in spoken for letter in text if letter.isalpha())
    assert heard == chat.letters()


@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_the_chat_by_keyboard_alone(tab: Page, stack: Stack) -> None:
    chat = Chat(tab, stack)
    expect(tab.get_by_label("Your message")).to_be_focused()
    tab.keyboard.type(QUESTION)
    tab.keyboard.press("Enter")
    chat.wait_letters(20)
    tab.keyboard.press("Escape")
    chat.wait_state("stopped")
    reached = set()
    for _ in range(12):
        tab.keyboard.press("Shift+Tab")
        reached.add(tab.evaluate("document.activeElement.textContent.trim()"))
    assert {"Try again", "Copy", "New chat"} <= reached


def test_the_streams_page(tab: Page, check: Check) -> None:
    with closing(BackgroundRelay()) as oversight:
        for name, parent in (("first", None), ("second", "first")):
            event = stream_began(name, task="tasks.agent", parent=parent)
            oversight.relay.call(Post("chat-42", stream_id_of_event(name), event))
            oversight.relay.call(Create(name, "task", conversation="chat-42"))
            oversight.producer(name).append("a word", {"b": 2})
        failed = json.dumps({"code": "quota", "message": "Quota used up"})
        oversight.producer("bad").append("a", end="producer-error", error=failed)
        tab.goto(oversight.bare_url)
        expect(tab.locator("#key")).to_be_visible()
        check(tab)
        tab.goto(oversight.url)
        expect(tab.locator("#rows tr")).to_have_count(3)
        check(tab)
        for shown in ("second", "bad", "nothing"):
            tab.goto(f"{oversight.bare_url}#{shown}")
            pane = "#unknown" if shown == "nothing" else "#chunks li"
            tab.locator(pane).first.wait_for()
            check(tab)
        tab.goto(f"{oversight.bare_url}#second")
        tab.get_by_role("button", name="Text", exact=True).click()
        expect(tab.locator("#text")).to_have_text("a word")
        tab.set_viewport_size(PHONE)  # type: ignore[arg-type]
        check(tab)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The documentation's address."""
    if find_spec("mkdocs") is None:
        missing("mkdocs (pip install --group docs)")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT, check=True, timeout=170,
    )  # fmt: skip
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


# One of each kind: the landing page, code in many languages, a reference, tables.
PAGES = ["", "tutorials/flask/", "reference/tasks/", "observability/"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_documentation(tab: Page, site: str, check: Check) -> None:
    for page in PAGES:
        assert Path(ROOT, "docs", (page or "index/").rstrip("/") + ".md").exists()
        tab.goto(f"{site}/{page}")
        check(tab)
        assert moving(tab) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_code_is_not_covered_on_a_phone(tab: Page, site: str) -> None:
    tab.set_viewport_size(PHONE)  # type: ignore[arg-type]
    tab.goto(f"{site}/tutorials/flask/")
    tab.locator(".md-code__button").first.wait_for()
    covered = tab.evaluate(
        """[...document.querySelectorAll(".md-code__nav")].filter((nav) => {
          const code = nav.closest("pre").querySelector("code");
          const range = document.createRange();
          range.selectNodeContents(code);
          return range.getClientRects()[0].top < nav.getBoundingClientRect().bottom - 1;
        }).length"""
    )
    assert covered == 0


WORDS = ["CORS", "401", "blank page", "buffering", "nginx", "gunicorn", "queued", "Vite", "JWT",
         "Kubernetes", "Docker", "LiteLLM", "LangChain", "Anthropic"]  # fmt: skip


@pytest.mark.slow
def test_the_search_knows_what_people_look_for(site: str) -> None:
    index = httpx.get(f"{site}/search/search_index.json", trust_env=False).json()
    texts = [f"{each['title']} {each['text']}".lower() for each in index["docs"]]
    assert [word for word in WORDS if not any(word.lower() in text for text in texts)] == []


@pytest.mark.slow
def test_llms_txt_lists_pages_that_are_there(site: str) -> None:
    text = httpx.get(f"{site}/llms.txt", trust_env=False).text
    targets = re.findall(r"^- \[[^\]]+\]\(([^)]*)\): \S", text, re.MULTILINE)
    assert len(targets) > 40
    for target in targets:
        assert httpx.get(f"{site}/{target}", trust_env=False).is_success, target

"""The examples in Chromium: React in strict mode, and `useChat` of each AI SDK."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.site import CLIENT, Pages, Site, bundle, running
from tests.conftest import eventually
from tests.server.producer import Producer
from tests.tasks.apps import agents

pytestmark = pytest.mark.browser

EXAMPLES = CLIENT / "examples"

VANILLA = f"""
import {{ show }} from "{EXAMPLES}/vanilla.js";
const find = (name) => document.querySelector(name);
globalThis.start = async (ref) => {{
  globalThis.end = await show(ref, find("output"), find("button"));
}};
document.body.innerHTML = "<output></output><button>Stop</button>";
document.title = "ready";
"""

ANSWER = f"""
import {{ Profiler, StrictMode, useState }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ Answer }} from "{EXAMPLES}/answer.tsx";

globalThis.draws = 0;
function App() {{
  const [ref, setRef] = useState(null);
  const [shown, setShown] = useState(1);
  Object.assign(globalThis, {{ setRef, setShown }});
  const answers = Array.from({{ length: shown }}, (_, i) => <Answer key={{i}} streamRef={{ref}} />);
  return <Profiler id="app" onRender={{() => draws++}}>{{answers}}</Profiler>;
}}
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><App /></StrictMode>);
document.title = "ready";
"""

CHAT = f"""
import {{ StrictMode, useState }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ Chat }} from "{EXAMPLES}/chat.tsx";

function App() {{
  const [id, setId] = useState("c1");
  Object.assign(globalThis, {{ setId }});
  return id && <Chat id={{id}} />;
}}
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><App /></StrictMode>);
document.title = "ready";
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: object) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def producer(site: Site, request: pytest.FixtureRequest) -> Producer:
    """A stream of this test's own."""
    return site.producer(request.node.name)


@pytest.fixture
def pages_of(tmp_path: Path) -> Iterator[Callable[..., Pages]]:
    """Serves a page of that source."""
    made: list[Pages] = []

    def make(source: str, **alias: str) -> Pages:
        made.append(Pages(bundle(source, tmp_path, **alias)))
        return made[-1]

    yield make
    for pages in made:
        with closing(pages):
            pass


def _begins(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}")


def delta(text: str) -> dict[str, str]:
    return {"type": "response.output_text.delta", "delta": text}


def test_the_vanilla_example(
    site: Site, context: BrowserContext, pages_of: Callable[..., Pages], producer: Producer
) -> None:
    pages = pages_of(VANILLA)
    ref = site.ref(producer.stream_id)
    pages.routes[f"GET /streams/{producer.stream_id}"] = lambda _: ref
    page = pages.open(context)
    producer.append({"type": "response.created"}, delta("Hel"))
    page.evaluate("ref => void start(ref)", {**ref, "token": "expired"})
    expect(page.locator("output")).to_have_text("Hel")
    assert page.locator("output").get_attribute("data-status") == "open"
    page.get_by_role("button").click()
    eventually(lambda: producer.append(delta("lo")).stop)
    producer.end("stopped")
    page.wait_for_function("globalThis.end === 'stopped'")


def test_the_hook_draws_an_answer(
    site: Site, context: BrowserContext, pages_of: Callable[..., Pages], producer: Producer
) -> None:
    page = pages_of(ANSWER).open(context)
    expect(page.locator("article")).to_have_attribute("aria-busy", "true")
    producer.append(delta("Hel"))
    page.evaluate("ref => setRef(ref)", site.ref(producer.stream_id))
    expect(page.locator("p")).to_have_text("Hel")

    # Away, and back: it goes on where it was, with what it had.
    page.evaluate("setShown(0)")
    expect(page.locator("article")).to_have_count(0)
    producer.append(delta("lo"))
    page.evaluate("setShown(2)")
    expect(page.locator("p")).to_have_text(["Hello", "Hello"])
    # Connected again: without, it is not a connection that is lost.
    expect(page.get_by_role("button", name="Stop")).to_have_count(2)

    with site.without_relay():
        expect(page.locator("small").first).to_have_text("Reconnecting …")
        # Who begins to look while the relay is away is told so, too.
        page.evaluate("ref => setRef(ref)", site.ref("another"))
        expect(page.locator("p").first).to_have_text("")
        expect(page.locator("small").first).to_have_text("Reconnecting …")
        page.evaluate("ref => setRef(ref)", site.ref(producer.stream_id))
        expect(page.locator("small").first).to_have_text("Reconnecting …")
    expect(page.locator("p")).to_have_text(["Hello", "Hello"])
    page.get_by_role("button", name="Stop").first.click()
    eventually(lambda: producer.append(delta("!")).stop)
    producer.end("stopped")
    expect(page.locator("small").first).to_have_text("You stopped this answer.")
    expect(page.locator("p").first).to_have_text(_begins("Hello!"))
    requests = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    ours = [name for name in requests if f"/{producer.stream_id}?live=sse" in name]
    offsets = [name.partition("offset=")[2].partition("&")[0] for name in ours]
    assert offsets.count("-1") == 1, offsets


def test_the_hook_reads_on_with_a_ref_that_has_a_fresh_token(
    site: Site, context: BrowserContext, pages_of: Callable[..., Pages], producer: Producer
) -> None:
    page = pages_of(ANSWER).open(context)
    producer.append(delta("Hel"))
    ref = site.ref(producer.stream_id)
    page.evaluate("ref => setRef(ref)", {**ref, "token": "expired"})
    expect(page.get_by_role("alert")).to_be_visible()
    page.evaluate("ref => setRef(ref)", ref)
    expect(page.locator("p").first).to_have_text("Hel")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_hook_is_drawn_once_a_frame_and_tells_a_failure(
    site: Site, context: BrowserContext, pages_of: Callable[..., Pages], producer: Producer
) -> None:
    page = pages_of(ANSWER).open(context)
    page.evaluate("ref => setRef(ref)", site.ref(producer.stream_id))
    for _ in range(50):
        producer.append(*[delta("x")] * 100)
    error = '{"code":"quota","message":"Quota used up"}'
    producer.append(delta("!"), end="producer-error", error=error)
    expect(page.get_by_role("alert")).to_have_text("Quota used up")
    expect(page.locator("p").first).to_have_text("x" * 5000 + "!")
    assert page.evaluate("draws") < 500


@pytest.fixture(
    scope="module",
    params=[
        "chat7",
        pytest.param("chat6", marks=pytest.mark.slow),
        pytest.param("chat5", marks=pytest.mark.slow),
    ],
)
def sdk(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(sdk: str, site: Site, pages_of: Callable[..., Pages], context: BrowserContext) -> ChatApp:
    site.needs_worker()
    return ChatApp(site, pages_of(CHAT, **{"@ai-sdk/react": sdk}))


class ChatApp:
    """The web application behind `useChat`: a route that enqueues, and one that finds it again."""

    def __init__(self, site: Site, pages: Pages) -> None:
        self.pages = pages
        self.options: dict[str, Any] = {"pause": 0.1}
        self.handles: list[Any] = []
        self._task = site.task(agents.chat)
        pages.routes["POST /api/chat"] = self._ask
        pages.routes["GET /api/chat/c1/stream"] = self._latest

    def _ask(self, body: Any) -> Any:
        prompt = body["messages"][-1]["parts"][0]["text"]
        self.handles.append(self._task.stream(prompt, **self.options))
        return self.handles[-1].ref()

    def _latest(self, _: Any) -> Any:
        return self.handles[-1].ref() if self.handles else None

    def end(self) -> str:
        return str(self.handles[-1].state().end)


WORDS = " ".join(agents.WORDS)


def test_use_chat_goes_on_after_a_reload(chat: ChatApp, context: BrowserContext) -> None:
    page = chat.pages.open(context)
    page.get_by_role("button", name="Say hi").click()
    expect(page.locator(".assistant")).to_have_text(_begins("1: Each of"))
    page.reload()
    expect(page.locator(".assistant")).to_have_text(f"1: {WORDS}")
    expect(page.locator("main")).to_have_attribute("data-status", "ready")
    assert page.locator(".assistant").count() == 1
    assert chat.end() == "completed"


def test_use_chat_stops_the_worker(chat: ChatApp, context: BrowserContext) -> None:
    chat.options["pause"] = 0.5
    page = chat.pages.open(context)
    page.get_by_role("button", name="Say hi").click()
    expect(page.locator(".assistant")).to_have_text(_begins("1: Each"))
    page.get_by_role("button", name="Stop").click()
    eventually(lambda: chat.end() == "stopped")
    expect(page.locator("main")).to_have_attribute("data-status", "ready")


@pytest.mark.parametrize("elsewhere", ["'c2'", "null"], ids=["another-chat", "unmounted"])
def test_leaving_a_chat_does_not_stop_its_worker(
    chat: ChatApp, context: BrowserContext, elsewhere: str
) -> None:
    page = chat.pages.open(context)
    page.get_by_role("button", name="Say hi").click()
    expect(page.locator(".assistant")).to_have_text(_begins("1: Each of"))
    page.evaluate(f"setId({elsewhere})")
    expect(page.locator(".assistant")).to_have_count(0)
    eventually(lambda: chat.end() == "completed")
    page.evaluate("setId('c1')")
    expect(page.locator(".assistant")).to_have_text(f"1: {WORDS}")
    expect(page.locator("main")).to_have_attribute("data-status", "ready")
    assert page.locator(".assistant").count() == 1


def test_use_chat_shows_a_retried_answer_once(chat: ChatApp, context: BrowserContext) -> None:
    chat.options.update(failures=1, pause=0.05)
    page = chat.pages.open(context)
    page.get_by_role("button", name="Say hi").click()
    expect(page.locator(".assistant")).to_have_text(f"2: {WORDS}")
    expect(page.locator("main")).to_have_attribute("data-status", "ready")
    assert page.locator(".assistant").count() == 1


def test_use_chat_shows_a_failure(chat: ChatApp, context: BrowserContext) -> None:
    chat.options.update(failures=99, pause=0)
    page = chat.pages.open(context)
    page.get_by_role("button", name="Say hi").click()
    expect(page.get_by_role("alert")).to_have_text("The answer could not be completed.")
    assert agents.SECRET not in page.content()

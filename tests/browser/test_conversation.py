"""A conversation in two tabs and on a phone, with a relay server and a worker of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streamstraight_celery import Conversation, get_conversation
from tests.browser.site import CLIENT, Pages, Site, bundle, running
from tests.conftest import eventually
from tests.tasks.apps import agents, talking

pytestmark = pytest.mark.browser

# What a page has of a conversation: its events, and the chunks of each stream.
FOLLOWER = """
import { openConversation } from "/client.js";
import { sharedFetch } from "/shared.js";
globalThis.events = [];
globalThis.chunks = {};
globalThis.follow = async (ref, shared) => {
  globalThis.chat = openConversation(ref, shared ? { fetch: sharedFetch } : {});
  for await (const event of chat) {
    events.push(event);
    if (event.type === "stream") void read(event.stream_id, (chunks[event.stream_id] = []));
  }
};
async function read(id, into) {
  for await (const chunk of chat.openStream(id)) into.push(chunk);
  into.push("end");
}
document.title = "ready";
"""

AGENTS = f"""
import {{ StrictMode, useState }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ Agents }} from "{CLIENT}/examples/agents.tsx";
function App() {{
  const [ref, setRef] = useState(null);
  Object.assign(globalThis, {{ setRef }});
  return <Agents chatRef={{ref}} />;
}}
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><App /></StrictMode>);
document.title = "ready";
"""

CHAT = f"""
import {{ StrictMode }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ Chat }} from "{CLIENT}/examples/tabs.tsx";
const root = document.body.appendChild(document.createElement("div"));
const chatRef = await (await fetch("/ref")).json();
createRoot(root).render(<StrictMode><Chat id="c1" chatRef={{chatRef}} saved={{[]}} /></StrictMode>);
document.title = "ready";
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: object) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        site.needs_worker()
        yield site


@pytest.fixture(scope="module")
def pages(chromium: object) -> Iterator[Pages]:
    with closing(Pages(FOLLOWER)) as pages:
        yield pages


@pytest.fixture
def chat(site: Site, request: pytest.FixtureRequest) -> Conversation:
    return get_conversation(request.node.name, app=site.app)


def events(page: Page, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        "kind => events.filter((e) => e.type === kind)", kind
    )
    return found


def wait_for(page: Page, kind: str, count: int = 1) -> dict[str, Any]:
    eventually(lambda: len(events(page, kind)) >= count)
    return events(page, kind)[count - 1]


def wait_chunks(page: Page, stream_id: str, *expected: str) -> None:
    eventually(lambda: page.evaluate("id => chunks[id]", stream_id) == list(expected))


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_tab_and_the_phone_follow_all_of_it(
    site: Site,
    pages: Pages,
    context: BrowserContext,
    chromium: Browser,
    chat: Conversation,
    shared: bool,
) -> None:
    with closing(chromium.new_context()) as phone:
        tabs = [pages.open(context), pages.open(context), pages.open(phone)]
        for tab in tabs:
            tab.evaluate("([ref, shared]) => void follow(ref, shared)", [chat.ref(), shared])
        stream = chat.stream(site.task(talking.agent))
        for tab in tabs:
            assert wait_for(tab, "question")["value"] == {"tool": "delete"}
            wait_chunks(tab, stream.id, "ready")

        first, second, third = tabs
        second.evaluate(
            "chat.answer(events.find((e) => e.type === 'question'), { approved: true })"
        )
        wait_for(first, "input")
        late = "chat.answer(events.find((e) => e.type === 'question'), {}).catch((e) => e.code)"
        assert first.evaluate(late) == "answered"

        for tab in tabs:
            child = wait_for(tab, "stream", 2)
            assert (child["parent"], child["title"]) == (stream.id, "Helper")
        third.evaluate("chat.send({ text: 'from the phone' })")
        for tab in tabs:
            wait_chunks(tab, stream.id, "ready", "approved", "from the phone", "end")
            wait_chunks(tab, child["stream_id"], "sub-agent", "done", "end")
            wait_for(tab, "ended", 2)
        assert first.evaluate("events") == second.evaluate("events") == third.evaluate("events")


def test_a_page_reads_all_over_one_request_at_a_time_and_a_reload_finds_all(
    site: Site, pages: Pages, context: BrowserContext, chat: Conversation
) -> None:
    page = pages.open(context)
    page.evaluate("ref => void follow(ref)", chat.ref())
    stream = chat.stream(site.task(talking.agent))
    wait_for(page, "question")
    wait_chunks(page, stream.id, "ready")
    asked = "performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
    assert {path for path in page.evaluate(asked) if "/v1/" in path} <= {"/v1/streams"}

    page.reload()
    page.wait_for_function("document.title === 'ready'")
    page.evaluate("ref => void follow(ref)", chat.ref())
    wait_chunks(page, stream.id, "ready")
    page.evaluate("chat.stop()")
    assert wait_for(page, "ended")["reason"] == "stopped"
    wait_chunks(page, stream.id, "ready", "end")


@pytest.mark.slow
def test_a_stream_is_stopped_some_time_after_the_last_page_is_closed(
    site: Site, pages: Pages, context: BrowserContext, chat: Conversation
) -> None:
    stream = chat.stream(site.task(talking.silent))
    tabs = [pages.open(context), pages.open(context)]
    for tab in tabs:
        tab.evaluate("ref => void follow(ref)", chat.ref())
        wait_chunks(tab, stream.id, "ready")
    eventually(lambda: chat.watchers() == 2)
    tabs[0].close()
    eventually(lambda: chat.watchers() == 1)
    assert stream.state().end == ""
    tabs[1].close()
    eventually(lambda: chat.watchers() == 0)
    eventually(lambda: stream.state().end == "stopped")


def test_react_shows_an_agent_and_those_that_it_has_started(
    site: Site, tmp_path: Path, context: BrowserContext, chat: Conversation
) -> None:
    with closing(Pages(bundle(AGENTS, tmp_path))) as pages:
        tabs = [pages.open(context), pages.open(context)]
        for tab in tabs:
            tab.evaluate("ref => setRef(ref)", chat.ref())
        stream = chat.stream(site.task(talking.agent))
        for tab in tabs:
            expect(tab.locator("dialog")).to_contain_text("delete?")
            expect(tab.locator("article p")).to_have_text("ready")
        tabs[1].get_by_role("button", name="Approve").click()
        for tab in tabs:
            expect(tab.locator("dialog")).to_have_count(0)
            expect(tab.locator("h2")).to_have_text(["Assistant", "Helper"])
        tabs[0].get_by_role("button", name="Be brief").click()
        for tab in tabs:
            expect(tab.locator("article[data-end=completed]")).to_have_count(2)
            expect(tab.locator("article p").first).to_have_text("ready approved Be brief.")
            helper = tab.locator(f"[data-parent='{stream.id}'] p")
            expect(helper).to_have_text("sub-agent done")
        # Back on the page, which asks nothing again of what has ended.
        page = tabs[0]
        page.evaluate("setRef(null)")
        expect(page.locator("article")).to_have_count(0)
        page.evaluate("ref => setRef(ref)", chat.ref())
        expect(page.locator("article p").first).to_have_text("ready approved Be brief.")

        again = chat.stream(site.task(talking.agent))
        for tab in tabs:
            expect(tab.locator("dialog")).to_have_count(1)
        page.get_by_role("button", name="Stop all").click()
        for tab in tabs:
            expect(tab.locator(f"article[id='{again.id}'][data-end=stopped]")).to_have_count(1)
            expect(tab.locator("dialog")).to_have_count(0)


@pytest.mark.parametrize(
    "sdk",
    ["chat7", *(pytest.param(each, marks=pytest.mark.slow) for each in ("chat6", "chat5"))],
)
def test_use_chat_is_in_step_in_two_tabs(
    site: Site, tmp_path: Path, context: BrowserContext, chat: Conversation, sdk: str
) -> None:
    def ask(body: Any) -> Any:
        message = body["messages"][-1]
        chat.send(message, type="message")
        return chat.stream(site.task(agents.chat), message["parts"][0]["text"], pause=0.1).ref()

    def latest(_: Any) -> Any:
        stream = chat.latest_stream()
        return None if stream is None else stream.ref()

    with closing(Pages(bundle(CHAT, tmp_path, **{"@ai-sdk/react": sdk}))) as pages:
        pages.routes["GET /ref"] = lambda _: chat.ref()
        pages.routes["POST /api/chat"] = ask
        pages.routes["GET /api/chat/c1/stream"] = latest
        tabs = [pages.open(context), pages.open(context)]
        whole, shown = f"1: {' '.join(agents.WORDS)}", "p"
        for number, tab in enumerate(tabs, start=1):
            tab.get_by_role("button", name="Say hi").click()
            for each in tabs:  # also while it is being written
                expect(each.locator(shown)).to_have_count(2 * number)
                expect(each.locator("main")).to_have_attribute("data-status", "streaming")
            for each in tabs:
                expect(each.locator(shown)).to_have_text(["Hi", whole] * number)
                expect(each.locator("main")).to_have_attribute("data-status", "ready")
        # The same question again: its old answer goes in each tab.
        first = chat.latest_stream()
        tabs[0].get_by_role("button", name="Again").click()
        eventually(lambda: first and getattr(chat.latest_stream(), "id", "") != first.id)
        for each in tabs:
            expect(each.locator("main")).to_have_attribute("data-status", "streaming")
        for each in tabs:
            expect(each.locator("main")).to_have_attribute("data-status", "ready")
            expect(each.locator(shown)).to_have_text(["Hi", whole] * 2)

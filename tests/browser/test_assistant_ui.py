"""assistant-ui's own components over `StreamTransport`, in Chromium: leaving is not stopping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.site import Pages, Site, bundle, running
from tests.conftest import eventually
from tests.server.producer import Producer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = """
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useChat } from "@ai-sdk/react";
import {
  AssistantRuntimeProvider, ComposerPrimitive, MessagePrimitive, ThreadPrimitive,
} from "@assistant-ui/react";
import { useAISDKRuntime } from "@assistant-ui/react-ai-sdk";
import { StreamTransport } from "streamstraight-celery/ai-sdk";

const transport = new StreamTransport();
globalThis.transport = transport;
const messageOf = (name) => () => <p className={name}><MessagePrimitive.Parts /></p>;
const components = { UserMessage: messageOf("user"), AssistantMessage: messageOf("assistant") };

function Chat({ id }) {
  const chat = useChat({ id, transport, resume: true });
  return (
    <AssistantRuntimeProvider runtime={useAISDKRuntime(chat)}>
      <main data-status={chat.status}>
        <ThreadPrimitive.Root>
          <ThreadPrimitive.Messages components={components} />
          <ComposerPrimitive.Root>
            <ComposerPrimitive.Input aria-label="Message" />
            <ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
            <ComposerPrimitive.Cancel>Cancel</ComposerPrimitive.Cancel>
          </ComposerPrimitive.Root>
        </ThreadPrimitive.Root>
      </main>
    </AssistantRuntimeProvider>
  );
}
function App() {
  const [id, setId] = useState("c1");
  Object.assign(globalThis, { setId });
  return id && <Chat key={id} id={id} />;
}
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><App /></StrictMode>);
document.title = "ready";
"""
START = [{"type": "start"}, {"type": "text-start", "id": "t"}]
FINISH = [{"type": "text-end", "id": "t"}, {"type": "finish"}]


def delta(text: str) -> dict[str, str]:
    return {"type": "text-delta", "id": "t", "delta": text}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: object) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def producer(site: Site, request: pytest.FixtureRequest) -> Producer:
    return site.producer(request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture
def page(site: Site, producer: Producer, context: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    with closing(Pages(bundle(PAGE, tmp_path, **{"@ai-sdk/react": "chat7"}))) as pages:
        asked: list[object] = []
        ref = site.ref(producer.stream_id)
        pages.routes["POST /api/chat"] = lambda body: asked.append(body) or ref
        pages.routes["GET /api/chat/c1/stream"] = lambda _: ref if asked else None
        page = pages.open(context)
        page.get_by_label("Message").fill("Hi")
        page.get_by_role("button", name="Send").click()
        producer.append(*START, delta("Hel"))
        expect(page.locator(".assistant")).to_contain_text("Hel")
        yield page


@pytest.mark.parametrize("how", ["another-chat", "unmounted", "cancelled"])
def test_leaving_a_chat_does_not_stop_its_worker(page: Page, producer: Producer, how: str) -> None:
    if how == "cancelled":
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("main")).to_have_attribute("data-status", "ready")
        page.evaluate("setId(null)")
    else:
        page.evaluate(f"setId({'null' if how == 'unmounted' else repr('c2')})")
    expect(page.locator(".assistant")).to_have_count(0)
    assert not producer.append(delta("lo")).stop
    page.evaluate("setId('c1')")
    expect(page.locator(".assistant")).to_contain_text("Hello")
    assert not producer.append(*FINISH, end="completed").stop
    expect(page.locator("main")).to_have_attribute("data-status", "ready")
    expect(page.locator(".assistant")).to_have_text(["Hello"])


def test_the_transport_stops_the_worker(page: Page, producer: Producer) -> None:
    page.evaluate("void transport.stop('c1')")
    eventually(lambda: producer.append(delta("l")).stop)
    producer.end("stopped")
    expect(page.locator("main")).to_have_attribute("data-status", "ready")

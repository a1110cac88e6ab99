"""The chat page as a person sees it, and the relay's word on what should be there."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import psutil
from playwright.sync_api import BrowserContext, Page

from example_project.demo.reader import Reading, replay
from example_project.demo.stack import Stack

QUESTION = "Show me a Python generator"  # its answer has a code block, a list and bold text

# What stands in an answer, letters only: Markdown's marks become layout, numbers list markers.
LETTERS_JS = """
globalThis.lettersOf = () => {
  const body = document.querySelector(".assistant:last-child .body")?.cloneNode(true);
  body?.querySelectorAll(".bar").forEach((bar) => bar.remove());
  return (body?.textContent ?? "").replace(/[^A-Za-z]/g, "");
};
"""
# Every text that was on the screen, in this tab and before its reloads.
_WATCH_JS = (
    LETTERS_JS
    + """
globalThis.seen = JSON.parse(sessionStorage.getItem("seen") ?? "[]");
new MutationObserver(() => {
  const letters = lettersOf();
  if (letters && letters !== seen.at(-1)) seen.push(letters);
}).observe(document, {subtree: true, childList: true, characterData: true});
addEventListener("pagehide", () => sessionStorage.setItem("seen", JSON.stringify(seen)));
"""
)


class Chat:
    """One tab with the chat open."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab = tab
        self.stack = stack
        tab.add_init_script(_WATCH_JS)
        tab.goto(stack.page_url)

    @contextlib.contextmanager
    def model_silent(self) -> Iterator[None]:
        """Meanwhile the model says nothing, so the answer is not over before what is to happen."""
        model = psutil.Process(self.stack.children["model"].pid)
        processes = [model, *model.children(recursive=True)]
        for each in processes:
            each.suspend()
        try:
            yield
        finally:
            for each in processes:
                each.resume()

    def in_another_tab(self, context: BrowserContext) -> Chat:
        """The same messages in one more tab, as when this one is duplicated."""
        kept = self.tab.evaluate("dispatchEvent(new Event('pagehide')), {...sessionStorage}")
        tab = context.new_page()
        tab.add_init_script(
            f"if (!sessionStorage.length) Object.assign(sessionStorage, {json.dumps(kept)})"
        )
        return Chat(tab, self.stack)

    def send(self, text: str) -> None:
        self.tab.get_by_label("Your message").fill(text)
        self.tab.keyboard.press("Enter")

    def stop(self) -> None:
        """Press the button, and return when the answer has ended."""
        self.tab.get_by_role("button", name="Stop the answer").click()
        self.wait_state("stopped")

    def wait_state(self, state: str) -> None:
        """Return when the status line shows that state."""
        self.tab.wait_for_selector(f"#status[data-state={state}]")

    def wait_letters(self, count: int) -> int:
        """Return when the answer shows more letters than that; how many it shows."""
        self.tab.wait_for_function("count => lettersOf().length > count", arg=count)
        return len(self.letters())

    def letters(self) -> str:
        return str(self.tab.evaluate("lettersOf()"))

    def seen(self) -> list[str]:
        """The letters of every text that the answer has shown, reloads included."""
        seen: list[str] = self.tab.evaluate("seen")
        return seen

    def state(self) -> str:
        return str(self.tab.get_attribute("#status", "data-state"))

    def chunks(self) -> int:
        """The number of chunks in the status line."""
        found = re.search(r"(\d+) chunks", self.tab.inner_text("#numbers"))
        return int(found[1]) if found else 0

    def problem(self) -> str:
        return self.tab.get_by_role("alert").inner_text()

    def kept(self) -> dict[str, Any]:
        """The last message, as the page keeps it over reloads."""
        self.tab.evaluate("dispatchEvent(new Event('pagehide'))")
        message: dict[str, Any] = self.tab.evaluate(
            "JSON.parse(sessionStorage.getItem('messages')).at(-1)"
        )
        return message

    def in_the_relay(self) -> Reading:
        """The stream of the last message, read from the relay with a token for this visitor."""
        answered = self.tab.request.get(f"{self.stack.page_url}/streams/{self.kept()['id']}/token")
        assert answered.ok
        return replay(answered.json())

    def overflow(self) -> int:
        """How far the page can be scrolled sideways, in pixels."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - innerWidth"))


def letters_of(markdown: str) -> str:
    """The letters of a Markdown text that are shown; the language of a code block is no text."""
    return re.sub(r"[^A-Za-z]", "", re.sub(r"```\w+", "", markdown))

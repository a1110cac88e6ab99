"""A page with `useChat`, and what its answers look like on the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Page

from tests.peers.processes import Dictation
from tests.peers.web import Web

START: list[dict[str, Any]] = [
    {"type": "start", "messageId": "answer-1"},
    {"type": "text-start", "id": "t"},
]
FINISH: list[dict[str, Any]] = [{"type": "text-end", "id": "t"}, {"type": "finish"}]


def delta(text: str) -> dict[str, Any]:
    return {"type": "text-delta", "id": "t", "delta": text}


class ChatPage:
    """One tab with a chat of its own, whose answers are dictated."""

    def __init__(
        self, tab: Page, web: Web, bundles: Path, dictation: Dictation, script: str
    ) -> None:
        self.tab = tab
        self.web = web
        self.chat_id = uuid4().hex
        web.bundles = bundles
        web.ask = dictation.begin
        web.requests.clear()
        self._url = f"{web.origin}/?script={script}&chat={self.chat_id}"

    def open(self, more: str = "") -> None:
        """Open the page, and return when it has asked whether there is something to resume."""
        with self.tab.expect_response(lambda response: response.url.endswith("/stream")):
            self.tab.goto(self._url + more)

    def send(self) -> None:
        self.tab.click("#send")

    def wait_status(self, status: str) -> None:
        self.tab.wait_for_selector(f"#status[data-status={status}]")

    def wait_answer(self, text: str) -> None:
        self.tab.wait_for_function(
            "text => document.querySelector('#answer').textContent === text", arg=text
        )

    @property
    def status(self) -> str:
        return self.tab.inner_text("#status")

    @property
    def answer(self) -> str:
        return self.tab.inner_text("#answer")

    @property
    def error(self) -> str:
        return self.tab.inner_text("#error")

    @property
    def seen(self) -> list[str]:
        """Every text that was on the screen since the page was loaded."""
        seen: list[str] = self.tab.evaluate("seen")
        return seen

"""The frameworks' real events in `useChat`, in Chromium: text, reasoning, tool calls, results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from streamstraight_celery import to_ui_messages
from tests.frameworks.models import ANSWER, THOUGHT, Models
from tests.frameworks.sources import SOURCES
from tests.peers.chat import ChatPage
from tests.peers.processes import Dictation
from tests.peers.web import Web

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
THINKING = ("openai responses", "anthropic", "google-genai", "ollama", "openai-agents")
RESULTS = ("openai-agents", "pydantic-ai", "langgraph messages", "llama-index agent")


@pytest.mark.parametrize("name", sorted({*THINKING, *RESULTS, "litellm", "langchain"}))
def test_use_chat_shows_an_answer(
    tab: Page, web: Web, bundles: Path, dictation: Dictation, name: str
) -> None:
    with Models() as models, ThreadPoolExecutor(1) as thread:
        # Playwright has an event loop in this one.
        events = thread.submit(SOURCES[name][1], models.url).result()
    parts = list(to_ui_messages(events))
    chat = ChatPage(tab, web, bundles, dictation, "chat7")
    chat.open()
    chat.send()
    dictation.say(*parts)
    dictation.end()
    chat.wait_status("ready")
    assert (chat.answer, chat.error) == (ANSWER, "")
    shown: list[dict[str, Any]] = tab.evaluate("parts")
    [call] = [part for part in shown if part["type"] == "tool-get_weather"]
    assert call["input"] == {"city": "Paris"}
    if name in RESULTS:
        assert call["state"] == "output-available"
        assert "sunny in Paris" in str(call["output"])
    thoughts = [part["text"] for part in shown if part["type"] == "reasoning"]
    assert thoughts == ([THOUGHT] if name in THINKING else [])

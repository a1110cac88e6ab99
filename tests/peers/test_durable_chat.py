"""`useChat` with the transport of Durable Streams, in Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.peers.chat import FINISH, START, ChatPage, delta
from tests.peers.processes import Dictation
from tests.peers.web import Web

pytestmark = pytest.mark.browser


@pytest.fixture
def chat(tab: Page, web: Web, bundles: Path, dictation: Dictation) -> ChatPage:
    return ChatPage(tab, web, bundles, dictation, "durable")


def test_an_answer(chat: ChatPage, dictation: Dictation) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    assert chat.status == "streaming"
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    chat.wait_answer("Hello")
    chat.wait_status("ready")
    assert chat.seen == ["Hel", "Hello"]


def test_a_reload_resumes(chat: ChatPage, dictation: Dictation) -> None:
    chat.open()
    chat.wait_status("ready")  # there was nothing to resume
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    chat.open()
    chat.wait_answer("Hel")
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    chat.wait_answer("Hello")
    chat.wait_status("ready")
    assert all("Hello".startswith(text) for text in chat.seen)


def test_an_error_part_is_an_error(chat: ChatPage, dictation: Dictation) -> None:
    """A failed stream ends as closed here, so a task has to say what went wrong itself."""
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"), {"type": "error", "errorText": "out of words"})
    dictation.fail("out of words")
    chat.wait_status("error")
    assert chat.error == "out of words"

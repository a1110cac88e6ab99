"""The AI SDK's `useChat` as it is, in Chromium: its requests are redirected to the relay."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.conftest import eventually
from tests.peers.chat import FINISH, START, ChatPage, delta
from tests.peers.processes import Dictation
from tests.peers.web import Web
from tests.support.proxy import Proxy

pytestmark = pytest.mark.browser


@pytest.fixture(
    params=[
        "chat7",
        pytest.param("chat6", marks=pytest.mark.slow),
        pytest.param("chat5", marks=pytest.mark.slow),
    ]
)
def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(tab: Page, web: Web, bundles: Path, dictation: Dictation, script: str) -> ChatPage:
    return ChatPage(tab, web, bundles, dictation, script)


def test_an_answer_by_redirect(chat: ChatPage, web: Web, dictation: Dictation) -> None:
    chat.open()
    chat.send()
    # The web process has answered and is free, before there is a word.
    eventually(lambda: ("POST", "/api/chat", 303) in web.requests)
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    assert chat.status == "streaming"
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    chat.wait_status("ready")
    assert chat.answer == "Hello"
    assert chat.error == ""
    assert chat.seen == ["Hel", "Hello"]


def test_a_reload_resumes(chat: ChatPage, dictation: Dictation) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    chat.open()
    chat.wait_answer("Hel")
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    chat.wait_answer("Hello")
    chat.wait_status("ready")
    assert chat.tab.inner_text("#questions") == "1"
    assert chat.seen[-1] == "Hello"
    assert all("Hello".startswith(text) for text in chat.seen)


def test_there_is_nothing_to_resume(chat: ChatPage, web: Web, dictation: Dictation) -> None:
    nothing = ("GET", f"/api/chat/{chat.chat_id}/stream", 204)
    chat.open()
    chat.wait_status("ready")
    assert nothing in web.requests
    chat.send()
    dictation.say(*START, delta("Hello"), *FINISH)
    dictation.end()
    chat.wait_answer("Hello")
    chat.wait_status("ready")
    web.requests.clear()
    del web.streams[chat.chat_id]  # the application has saved the answer
    chat.open()
    chat.wait_status("ready")
    assert nothing in web.requests
    assert (chat.answer, chat.error) == ("", "")


@pytest.mark.parametrize("moment", ["before", "middle"])
def test_a_failed_answer_is_an_error(chat: ChatPage, dictation: Dictation, moment: str) -> None:
    chat.open()
    chat.send()
    if moment == "middle":
        dictation.say(*START, delta("Hel"))
        chat.wait_answer("Hel")
    dictation.fail("the model is out of words")
    chat.wait_status("error")
    assert chat.error == "the model is out of words"
    chat.open()  # and stays one
    chat.wait_status("error")
    assert chat.error == "the model is out of words"


def test_a_connection_that_breaks_is_an_error(
    chat: ChatPage, proxy: Proxy, dictation: Dictation
) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    proxy.cut()
    chat.wait_status("error")
    chat.tab.wait_for_function("globalThis.disconnected === true")
    assert chat.answer == "Hel"
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    chat.open()
    chat.wait_answer("Hello")
    chat.wait_status("ready")


# Not in versions 5 and 6, whose hooks add what is replayed to what is there.
@pytest.mark.parametrize("script", ["chat7"])
@pytest.mark.parametrize("ended", [False, True], ids=["while-written", "afterwards"])
def test_a_page_resumes_after_a_connection_broke(
    chat: ChatPage, proxy: Proxy, dictation: Dictation, ended: bool
) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    proxy.cut()
    chat.wait_status("error")
    if not ended:
        chat.tab.click("#resume")
        chat.wait_status("streaming")
    dictation.say(delta("lo"), *FINISH)
    dictation.end()
    if ended:
        assert dictation.handle is not None
        dictation.handle.result.get(timeout=30)
        chat.tab.click("#resume")
    chat.wait_answer("Hello")
    chat.wait_status("ready")
    assert all("Hello".startswith(text) for text in chat.seen)


def test_a_new_attempt_is_no_continuation(chat: ChatPage, dictation: Dictation) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("old"))
    chat.wait_answer("old")
    dictation.retry()
    dictation.say(*START, delta("new"), *FINISH)
    chat.wait_status("error")
    assert "new" not in "".join(chat.seen)
    chat.open()
    chat.wait_answer("new")
    dictation.end()
    chat.wait_status("ready")


def test_an_answer_that_was_stopped_is_no_error(chat: ChatPage, dictation: Dictation) -> None:
    chat.open()
    chat.send()
    dictation.say(*START, delta("Hel"))
    chat.wait_answer("Hel")
    assert dictation.handle is not None
    assert dictation.handle.stop()
    chat.wait_status("ready")
    assert chat.error == ""


@pytest.mark.parametrize("script", ["chat7"])
def test_headers_for_the_application_do_not_keep_the_answer_away(
    chat: ChatPage, dictation: Dictation
) -> None:
    chat.open("&headers")
    chat.send()
    dictation.say(*START, delta("Hello"), *FINISH)
    dictation.end()
    chat.wait_answer("Hello")
    chat.wait_status("ready")

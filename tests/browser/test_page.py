"""The page itself, which both chats serve: here by Flask."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from example_project.demo.reader import replay
from example_project.demo.stack import Framework, Stack
from streamstraight_celery.settings import StreamSettings
from streamstraight_celery.tokens import Tokens
from tests.browser.chat import QUESTION, Chat, letters_of
from tests.conftest import eventually

pytestmark = pytest.mark.browser

PHONES = [
    (320, 568),
    *[pytest.param(size, marks=pytest.mark.slow) for size in ((390, 844), (844, 390))],
]


@pytest.fixture(scope="module")
def framework() -> Framework:
    return "flask"


def test_a_stopped_answer_is_still_there_after_a_reload(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)
    chat.tab.keyboard.press("Escape")
    chat.wait_state("stopped")
    text = chat.letters()

    chat.tab.reload()

    chat.wait_state("stopped")
    assert chat.letters() == text
    expect(chat.tab.get_by_role("button", name="Try again")).to_be_visible()


def test_a_second_tab_reads_the_same_stream(chat: Chat, context: BrowserContext) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)
    other = chat.in_another_tab(context)

    other.wait_state("completed")
    chat.wait_state("completed")
    assert other.kept()["text"] == chat.kept()["text"] == chat.in_the_relay().sent_text


def test_a_tab_that_slept_shows_what_it_missed(
    chat: Chat, stack: Stack, context: BrowserContext
) -> None:
    chat.send(QUESTION)
    shown = chat.wait_letters(60)
    devtools = context.new_cdp_session(chat.tab)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    ref = context.request.get(f"{stack.page_url}/streams/{chat.kept()['id']}/token").json()
    eventually(lambda: len(letters_of(replay(ref).text)) > shown + 60)
    stack.kill("relay")
    stack.start("relay")
    devtools.send("Page.setWebLifecycleState", {"state": "active"})

    chat.wait_state("completed")
    stream = chat.in_the_relay()
    assert chat.kept()["text"] == stream.text == stream.sent_text
    assert chat.chunks() == len(stream.chunks)


def test_a_token_that_expires_in_the_middle_is_renewed(chat: Chat, stack: Stack) -> None:
    tokens = Tokens(StreamSettings(relay_url="memory://").secrets())  # those of development
    renewed: list[str] = []

    def shorten(route: Route) -> None:
        answered = route.fetch()
        ref = answered.json()
        ref["token"], ref["expires_at"] = tokens.issue(ref["stream_id"], ttl=2)
        route.fulfill(response=answered, json=ref)

    chat.tab.route("**/chat", shorten)
    chat.tab.on("request", lambda request: renewed.append(request.url))
    chat.send(QUESTION)
    chat.wait_state("completed")

    stream = chat.in_the_relay()
    assert chat.kept()["text"] == stream.text == stream.sent_text
    assert chat.chunks() == len(stream.chunks)
    asked = [url for url in renewed if url.startswith(stack.page_url) and url.endswith("/token")]
    assert len(asked) == 1


def test_a_queue_that_is_down_is_shown_in_words(chat: Chat) -> None:
    chat.tab.route("**/chat", lambda route: route.fulfill(status=503, json={"error": "Down."}))
    chat.send(QUESTION)

    chat.wait_state("failed")
    assert chat.problem().startswith("Down.")

    chat.tab.unroute("**/chat")
    chat.tab.get_by_role("button", name="Try again").click()
    chat.wait_letters(10)
    assert chat.tab.locator(".message").count() == 2


def test_an_answer_that_is_no_longer_kept_is_shown_in_words(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)
    chat.tab.context.clear_cookies()  # another visitor now

    chat.tab.reload()

    chat.wait_state("failed")
    assert chat.problem().startswith("This answer is no longer kept.")


def test_the_next_question_takes_the_conversation_along(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)
    chat.stop()
    with chat.tab.expect_request("**/chat") as asked:
        chat.send("And a recipe?")
    chat.wait_letters(60)

    assert chat.tab.get_by_role("button", name="Try again").count() == 0
    body: Any = asked.value.post_data_json
    assert body["prompt"] == "And a recipe?"
    assert [turn["role"] for turn in body["history"]] == ["user", "assistant"]
    assert body["history"][0]["content"] == QUESTION
    assert body["history"][1]["content"].startswith("*I am a canned model")


def test_a_new_chat_ends_the_answer_of_the_old_one(chat: Chat, stack: Stack) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)
    ref = chat.tab.request.get(f"{stack.page_url}/streams/{chat.kept()['id']}/token").json()

    chat.tab.get_by_role("button", name="New chat").click()
    expect(chat.tab.get_by_role("heading", name="Ask, then reload in the middle.")).to_be_visible()
    assert chat.tab.locator(".message").count() == 0
    eventually(lambda: replay(ref).end_reason == "stopped")


@pytest.mark.parametrize("size", PHONES, ids="{0[0]}x{0[1]}".format)
def test_a_phone_needs_no_sideways_scrolling(
    chromium: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    with chromium.new_context(viewport=viewport, is_mobile=True, has_touch=True) as phone:  # type: ignore[arg-type]
        chat = Chat(phone.new_page(), stack)
        assert chat.overflow() <= 0
        chat.tab.get_by_role("button", name="Show me a Python generator").tap()
        chat.tab.wait_for_selector(".assistant .code")
        assert chat.overflow() <= 0
        for label in ("Stop the answer", "New chat"):
            box = chat.tab.get_by_role("button", name=label).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            assert box["y"] + box["height"] <= size[1]
            assert min(box["width"], box["height"]) >= 32
        chat.tab.get_by_role("button", name="Stop the answer").tap()
        chat.wait_state("stopped")
        assert chat.overflow() <= 0


def test_shift_enter_begins_a_new_line_and_enter_sends(chat: Chat) -> None:
    box = chat.tab.get_by_label("Your message")
    box.press_sequentially("One")
    chat.tab.keyboard.press("Shift+Enter")
    box.press_sequentially("two")
    assert box.input_value() == "One\ntwo"
    chat.tab.keyboard.press("Enter")
    chat.wait_letters(10)
    assert chat.tab.inner_text(".user .body") == "One\ntwo"
    assert box.input_value() == ""

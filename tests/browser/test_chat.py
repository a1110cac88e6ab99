"""The chats in a real browser, with a real worker, relay, Redis and model server."""

from __future__ import annotations

from itertools import pairwise

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from example_project.demo.stack import Stack
from tests.browser.chat import QUESTION, Chat, letters_of
from tests.conftest import eventually

pytestmark = pytest.mark.browser


def test_a_reload_in_the_middle_neither_doubles_nor_loses_a_piece(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_state("streaming")
    # Once only: a busy machine shows most of an answer at once, and the rest is needed below.
    shown = chat.wait_letters(60)

    for _ in range(2):
        with chat.model_silent():
            before = chat.chunks()
            chat.tab.reload()
        shown = chat.wait_letters(shown)
        # What was there before the reload may be drawn first.
        eventually(lambda before=before: chat.chunks() > before)  # type: ignore[misc]

    chat.wait_state("completed")
    stream = chat.in_the_relay()
    assert stream.end_reason == "completed"
    assert stream.text == stream.sent_text
    assert chat.kept()["text"] == stream.text
    assert chat.letters() == letters_of(stream.text)
    assert chat.chunks() == len(stream.chunks)
    assert "resumed 2" in chat.tab.inner_text("#numbers")
    # At no moment was there anything but the beginning of the text, and it only ever grew.
    seen = chat.seen()
    assert len(seen) > 20
    assert [text for text in seen if not letters_of(stream.text).startswith(text)] == []
    assert sorted(seen, key=len) == seen


def test_stop_ends_the_answer_and_the_connection_to_the_model(chat: Chat, stack: Stack) -> None:
    model_log = stack.logs / "model.log"
    before = model_log.read_text().count("client left")
    chat.send(QUESTION)
    chat.wait_letters(60)

    chat.stop()

    assert "You stopped this answer." in chat.tab.inner_text(".assistant .note")
    eventually(lambda: model_log.read_text().count("client left") == before + 1)
    stream = chat.in_the_relay()
    assert stream.end_reason == "stopped"
    assert chat.kept()["text"] == stream.text
    assert chat.letters() == letters_of(stream.text)
    expect(chat.tab.get_by_role("button", name="Send")).to_be_visible()


def test_a_new_chat_reads_nothing_of_a_question_that_is_on_its_way(chat: Chat) -> None:
    held: list[Route] = []
    urls: list[str] = []
    chat.tab.route("**/chat", lambda route: held.append(route))
    chat.tab.on("request", lambda request: urls.append(request.url))
    with chat.tab.expect_request("**/chat"):
        chat.send(QUESTION)
    chat.tab.get_by_role("button", name="New chat").click()

    with chat.tab.expect_response("**/stop"):
        held[0].continue_()

    assert [url for url in urls if "/v1/stream/" in url] == []


def test_a_lost_connection_is_shown_and_made_up_for(chat: Chat, stack: Stack) -> None:
    chat.send(QUESTION)
    shown = chat.wait_letters(60)

    with chat.model_silent():
        stack.kill("relay")
        chat.wait_state("reconnecting")
        stack.start("relay")

    chat.wait_letters(shown)
    chat.wait_state("completed")
    stream = chat.in_the_relay()
    assert chat.kept()["text"] == stream.text == stream.sent_text
    assert chat.chunks() == len(stream.chunks)


def test_three_tabs_and_a_network_that_comes_back(chat: Chat, context: BrowserContext) -> None:
    chat.send(QUESTION)
    shown = chat.wait_letters(60)
    with chat.model_silent():
        tabs = [chat, *(chat.in_another_tab(context) for _ in range(2))]
        for each in tabs:
            each.wait_letters(shown - 1)

        context.set_offline(True)
        # What had been asked for goes on: the connections are cut by their other end.
        chat.stack.kill("relay")
        chat.stack.start("relay")
        for each in tabs:
            each.wait_state("reconnecting")
        context.set_offline(False)

    for each in tabs:
        each.wait_state("completed")
    stream = chat.in_the_relay()
    assert stream.text == stream.sent_text
    for each in tabs:
        assert each.kept()["text"] == stream.text
        assert each.letters() == letters_of(stream.text)
    assert chat.chunks() == len(stream.chunks)


def test_a_killed_worker_begins_the_answer_anew(chat: Chat, stack: Stack) -> None:
    chat.send(QUESTION)
    chat.wait_letters(60)

    (worker,) = psutil.Process(stack.children["worker"].pid).children()
    for child in worker.children():
        if "resource_tracker" not in " ".join(child.cmdline()):
            child.kill()

    chat.wait_state("completed")
    stream = chat.in_the_relay()
    assert stream.text == stream.sent_text
    assert chat.kept()["text"] == stream.text
    assert chat.chunks() == len(stream.chunks)
    ended = f"stream {chat.kept()['id']}: attempt 2 ended: completed"
    eventually(lambda: ended in (stack.logs / "worker.log").read_text())
    # At no moment were there some of both. It shows less once, or never: on a busy machine the new
    # text may be the longer one by the time that it is drawn.
    seen = chat.seen()
    assert sum(len(after) < len(before) for before, after in pairwise(seen)) <= 1
    assert [text for text in seen if not letters_of(stream.text).startswith(text)] == []


def test_a_failed_task_is_shown_in_words(tab: Page, failing_stack: Stack) -> None:
    chat = Chat(tab, failing_stack)
    chat.send(QUESTION)

    chat.wait_state("failed")

    assert chat.problem().startswith("The model could not answer. Try again in a moment.")
    assert chat.in_the_relay().end_reason == "producer-error"
    tab.get_by_role("button", name="Try again").click()
    chat.wait_state("failed")
    assert tab.locator(".message").count() == 2


def test_another_visitor_may_neither_read_nor_stop(chat: Chat, chromium: Browser) -> None:
    chat.send(QUESTION)
    chat.wait_letters(10)
    stream_id = chat.kept()["id"]

    with chat.model_silent(), chromium.new_context() as stranger:
        page = stranger.new_page()
        page.goto(chat.stack.page_url)
        statuses = page.evaluate(
            """async (id) => {
                 const token = document.querySelector("[name=csrf-token]").content;
                 const headers = {"x-csrftoken": token};
                 const read = await fetch(`streams/${id}/token`);
                 const stop = await fetch(`streams/${id}/stop`, {method: "POST", headers});
                 return [read.status, stop.status];
               }""",
            stream_id,
        )
        assert statuses == [404, 404]
        assert httpx.get(f"{chat.stack.relay_url}/v1/stream/{stream_id}").status_code in (401, 404)
        assert chat.state() == "streaming"
        chat.stop()


def test_other_sites_cannot_ask_in_a_visitors_name(chat: Chat) -> None:
    """Django wants its token; Flask's session is not sent along by other sites."""
    cookies = {cookie["name"]: cookie for cookie in chat.tab.context.cookies()}
    session = cookies.get("sessionid") or cookies["session"]
    assert session["sameSite"] == "Lax"
    assert session["httpOnly"]
    if "csrftoken" in cookies:
        body = {"prompt": QUESTION}
        assert chat.tab.request.post(f"{chat.stack.page_url}/chat", data=body).status == 403

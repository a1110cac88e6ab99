"""Makes the pictures of the documentation: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from example_project.demo.proof import prove
from example_project.demo.screen import Screen
from example_project.demo.stack import Stack
from tests.browser.chat import QUESTION, Chat
from tests.browser.conftest import OUR_OWN_MODEL, REFUSED_MODEL
from tests.browser.terminals import Terminal, photograph_console, recorder
from tests.conftest import CHROMIUM_ARGUMENTS, ROOT, chromium_path, eventually
from tests.tasks.flower import Flower

IMAGES = ROOT / "docs" / "images"
DESKTOP = {"viewport": {"width": 1180, "height": 780}}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


def welcome(chat: Chat) -> None:
    chat.tab.wait_for_selector("#welcome")


def streaming(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_letters(420)


def stopped(chat: Chat) -> None:
    streaming(chat)
    chat.stop()


def failed(chat: Chat) -> None:
    chat.send(QUESTION)
    chat.wait_state("failed")


def photograph(
    browser: Browser,
    stack: Stack,
    name: str,
    act: Callable[[Chat], None],
    scheme: str,
    device: dict[str, Any],
) -> None:
    with browser.new_context(color_scheme=scheme, **device) as context:  # type: ignore[arg-type]
        chat = Chat(context.new_page(), stack)
        act(chat)
        chat.tab.screenshot(path=IMAGES / f"{name}.png")


def photograph_streams(
    browser: Browser, stack: Stack, name: str, scheme: str, device: dict[str, Any], letters: int
) -> None:
    """The relay's own page, while an answer is being streamed; 0 letters: only the list."""
    with browser.new_context(color_scheme=scheme, **device) as context:  # type: ignore[arg-type]
        chat, tab = Chat(context.new_page(), stack), context.new_page()
        chat.send(QUESTION)
        tab.goto(stack.streams_page)
        running = tab.get_by_role("row").filter(has_text="streaming").first
        running.wait_for()
        if letters:
            running.click()
            tab.locator("#chunks .no").nth(100).wait_for()
        chat.wait_letters(letters)
        tab.screenshot(path=IMAGES / f"{name}.png")
        chat.wait_state("completed")


def photograph_flower(browser: Browser, stack: Stack) -> None:
    """Flower's list, and its page of a running stream with the button that ends it."""
    wide = {"viewport": {"width": 1700, "height": 620}}
    # Flower asks for events, too, but perhaps in the middle of the first answer.
    Terminal(browser, stack, "example_project.flask_chat").run("control enable_events")
    with (
        closing(Flower("example_project.flask_chat", stack.logs, stack.env)) as flower,
        browser.new_context(**wide) as context,  # type: ignore[arg-type]
    ):
        for _ in range(4):  # Flower may miss the first, before it listens
            ask(browser, stack).wait_state("completed")
        tab = context.new_page()
        tab.goto(f"{flower.url}/tasks")
        tab.get_by_text("SUCCESS").nth(2).wait_for()
        tab.screenshot(path=IMAGES / "flower-tasks.png")
        ask(browser, stack)
        eventually(lambda: flower.http.get("/api/tasks?state=STARTED").json())
        (task_id,) = flower.http.get("/api/tasks?state=STARTED").json()
        tab.goto(f"{flower.url}/task/{task_id}")
        tab.locator("#task-terminate").wait_for()
        tab.screenshot(path=IMAGES / "flower-task.png")


def ask(browser: Browser, stack: Stack) -> Chat:
    """A visitor who has asked for an answer."""
    chat = Chat(browser.new_page(), stack)
    chat.send(QUESTION)
    return chat


def photograph_commands(browser: Browser) -> None:
    """The command line beside answers that were stopped, are complete, under way and queued."""
    with Stack(env={**OUR_OWN_MODEL, "OPENAI_MODEL": "canned@30"}) as stack:
        terminal = Terminal(browser, stack, "example_project.flask_chat")
        terminal.ask("chat-39", "chat-40")
        terminal.run("streams stop chat-39")
        terminal.run("streams tail chat-40")  # to its end
        terminal.ask("chat-41", "chat-42", "chat-43")
        names = "streams ls", "streams top --rounds 2", "streams show chat-42"
        with ThreadPoolExecutor() as at_once:
            ls, top, show = at_once.map(lambda words: (words, terminal.run(words)), names)
        terminal.photograph(IMAGES / "cli-ls.png", [ls, show])
        if "streaming" not in top[1]:
            sys.exit("no answer was under way any more: is the machine busy?")
        terminal.photograph(IMAGES / "cli-top.png", [("streams top", top[1])])
        words = "streams doctor"
        terminal.photograph(IMAGES / "cli-doctor.png", [(words, terminal.run(words))])


def photograph_demo(browser: Browser) -> None:
    console = recorder(92)
    screen = Screen(console)
    with Stack(env={"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, on_ready=screen.ready) as stack:
        screen.table(prove(stack.page_url, screen).rows())
        screen.invite(stack.page_url, stack.streams_page)
    photograph_console(browser, console, IMAGES / "demo.png")


def main() -> None:
    path = chromium_path() or sys.exit("Chromium is needed")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        with Stack(env=OUR_OWN_MODEL) as stack:
            for _ in range(4):  # both worker processes have their connections open
                photograph(browser, stack, "chat-stopped-dark", stopped, "dark", DESKTOP)
            photograph(browser, stack, "chat-welcome", welcome, "light", DESKTOP)
            photograph(browser, stack, "chat-streaming", streaming, "light", DESKTOP)
            photograph(browser, stack, "chat-phone", streaming, "light", PHONE)
            photograph(browser, stack, "chat-phone-dark", streaming, "dark", PHONE)
            photograph_streams(browser, stack, "streams-list", "light", DESKTOP, 0)
            photograph_streams(browser, stack, "streams-live", "light", DESKTOP, 420)
            photograph_streams(browser, stack, "streams-live-dark", "dark", DESKTOP, 420)
            photograph_streams(browser, stack, "streams-phone", "light", PHONE, 420)
            photograph_flower(browser, stack)
        with Stack("django", env=REFUSED_MODEL) as stack:
            photograph(browser, stack, "chat-failed", failed, "light", DESKTOP)
            photograph(browser, stack, "chat-phone-failed-dark", failed, "dark", PHONE)
        photograph_commands(browser)
        photograph_demo(browser)
        browser.close()
    for image in sorted(IMAGES.glob("*.png")):
        print(f"{image.relative_to(Path.cwd())}  {image.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()

"""Makes the pictures of the documentation: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from example_project.demo.proof import prove
from example_project.demo.screen import Screen
from example_project.demo.stack import Stack
from tests.browser.chat import QUESTION, Chat
from tests.browser.conftest import ARGUMENTS, OUR_OWN_MODEL, REFUSED_MODEL, chromium_path
from tests.conftest import ROOT

IMAGES = ROOT / "docs" / "images"
DESKTOP = {"viewport": {"width": 1180, "height": 780}}
PHONE = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
ANSI = "151716 ff8f80 4fd1a0 f5b454 78aaff c896ff 4fd1c0 dcdedb"


def colour(code: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


COLOURS = TerminalTheme(colour("151716"), colour("e4e6e3"), [colour(code) for code in ANSI.split()])
TERMINAL = (
    '<!doctype html><meta charset="utf-8"><style>{stylesheet}'
    "body {{background: {background}; color: {foreground}; margin: 0; padding: 20px 24px;"
    " display: inline-block}} pre {{font: 15px/1.4 monospace; margin: 0}}</style>"
    "<body><pre>{code}</pre>"
)


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


def photograph_terminal(browser: Browser) -> None:
    console = Console(
        record=True, force_terminal=True, width=92, file=io.StringIO(), highlight=False
    )
    screen = Screen(console)
    with Stack(env={"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, on_ready=screen.ready) as stack:
        screen.table(prove(stack.page_url, screen).rows())
        screen.invite(stack.page_url)
    with browser.new_page() as page:
        page.set_content(console.export_html(theme=COLOURS, code_format=TERMINAL))
        page.locator("body").screenshot(path=IMAGES / "demo.png")


def main() -> None:
    path = chromium_path() or sys.exit("Chromium is needed")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        with Stack(env=OUR_OWN_MODEL) as stack:
            for _ in range(4):  # both worker processes have their connections open
                photograph(browser, stack, "chat-stopped-dark", stopped, "dark", DESKTOP)
            photograph(browser, stack, "chat-welcome", welcome, "light", DESKTOP)
            photograph(browser, stack, "chat-streaming", streaming, "light", DESKTOP)
            photograph(browser, stack, "chat-phone", streaming, "light", PHONE)
            photograph(browser, stack, "chat-phone-dark", streaming, "dark", PHONE)
        with Stack("django", env=REFUSED_MODEL) as stack:
            photograph(browser, stack, "chat-failed", failed, "light", DESKTOP)
            photograph(browser, stack, "chat-phone-failed-dark", failed, "dark", PHONE)
        photograph_terminal(browser)
        browser.close()
    for image in sorted(IMAGES.glob("*.png")):
        print(f"{image.relative_to(Path.cwd())}  {image.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()

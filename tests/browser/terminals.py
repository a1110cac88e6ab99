"""Pictures of commands on a terminal, as the documentation shows them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from example_project.demo.stack import Stack
from tests.cli.terminal import on_a_terminal

ANSI = "151716 ff8f80 4fd1a0 f5b454 78aaff c896ff 4fd1c0 dcdedb"
COLUMNS = 104
HOME = "\x1b[H"  # begins each view of `top`
RESTORE = "\x1b[?1049l"
EMPTY_LINES = re.compile(r"(?:\x1b\[[?0-9;]*[a-zA-Z]|\s)+\Z")


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


def recorder(columns: int) -> Console:
    """A console to be given to `photograph_console`."""
    return Console(
        record=True, force_terminal=True, width=columns, file=io.StringIO(), highlight=False
    )


def photograph_console(browser: Browser, console: Console, path: Path) -> None:
    """Make a picture of everything printed on a `recorder`."""
    with browser.new_page() as page:
        page.set_content(console.export_html(theme=COLOURS, code_format=TERMINAL))
        page.locator("body").screenshot(path=path)


class Terminal:
    """A terminal beside a running chat.

    Args:
        browser: makes the pictures.
        stack: the chat, whose Celery app is asked.
        app: that app, as `celery -A` takes it.
    """

    def __init__(self, browser: Browser, stack: Stack, app: str) -> None:
        self._browser = browser
        self._stack = stack
        self._app = app

    def ask(self, *stream_ids: str) -> None:
        """Ask for answers whose streams are called so."""
        code = (
            "import sys\n"
            f"import {self._app}\n"
            f"from {self._app}.tasks import answer\n"
            "for name in sys.argv[1:]:\n"
            "    answer.apply_stream(('How does this work?', []), stream_id=name)\n"
        )
        subprocess.run(
            [sys.executable, "-c", code, *stream_ids],
            env={**os.environ, **self._stack.env}, check=True, timeout=60,
        )  # fmt: skip

    def run(self, words: str, *, lines: int = 40, status: int = 0) -> str:
        """What `celery -A proj <words>` writes; of a live view the last state."""
        command = [sys.executable, "-m", "celery", "-A", self._app, *words.split()]
        written = on_a_terminal(
            command, self._stack.env, columns=COLUMNS, lines=lines, status=status
        )
        view = written.rpartition(HOME)[2].partition(RESTORE)[0]
        return EMPTY_LINES.sub("", view.replace("\r", ""))

    def photograph(self, path: Path, commands: Sequence[tuple[str, str]]) -> None:
        """A picture of commands and what they wrote: pairs of what was typed and its output."""
        console = recorder(COLUMNS)
        for number, (words, output) in enumerate(commands):
            blank = "\n" if number else ""
            console.print(f"{blank}[bold]$ celery -A proj {words}[/bold]")
            console.print(Text.from_ansi(output), soft_wrap=True)
        photograph_console(self._browser, console, path)

"""What the demo shows: colours on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

WIDTH = 88
_WORD = re.compile(r"(\S*)(\s)")


class Screen:
    """Writes to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._width = min(self._console.width, WIDTH) - 4
        self._word = ""
        self._column = -1  # of the text, -1 before a line is begun

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something is going on, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(f" [dim]{text}[/]", spinner="dots"):
            yield

    def ready(self, name: str, shown: str, seconds: float) -> None:
        took = f"{seconds:.1f} s" if seconds else ""
        self._line(("  ✓ ", "green"), (f"{name:<8}", "bold"), (f"{shown:<52}", ""), (took, "dim"))

    def question(self, text: str) -> None:
        self._console.print()
        self._line(("  ▸ ", "bold cyan"), (text, "bold"))
        self._console.print()

    def words(self, text: str) -> None:
        """More of the answer; lines break between words."""
        self._word += text
        while match := _WORD.match(self._word):
            self._word = self._word[match.end() :]
            self._put(match[1])
            self._space(match[2])

    def end_of_words(self) -> None:
        if self._word:
            self._put(self._word)
        self._word = ""
        self._end_line()

    @contextlib.contextmanager
    def mark(self, begins: str, ends: str) -> Iterator[None]:
        """An event in the middle of the answer, which continues below at the same column."""
        column = self._column
        self._end_line()
        self._out("  ┊ ── ", "yellow")
        self._out(begins, "yellow")
        yield
        self._out(f" {ends} ──\n", "yellow")
        if column > 0:
            self._begin_line()
            self._out(" " * column)
            self._column = column

    def table(self, rows: Sequence[tuple[str, str, bool]]) -> None:
        self._console.print()
        for name, value, good in rows:
            sign = ("  ✓ ", "green") if good else ("  ✗ ", "bold red")
            self._line(sign, (f"{name:<16}", "dim"), (value, "" if good else "bold red"))
        self._console.print()

    def stopping(self) -> None:
        self._end_line()
        if self._console.is_terminal:
            self._out("\n")  # the terminal has shown ^C
        self.say("Stopping.")

    def say(self, text: str) -> None:
        self._line(("  " + text, "dim"))

    def invite(self, url: str, streams_page: str, agent_page: str = "") -> None:
        self._line(("  Open ", "bold"), (url, f"bold cyan underline link {url}"))
        if agent_page:
            words = "  An agent that waits for your approval: "
            self._line((words, "dim"), (agent_page, f"cyan link {agent_page}"))
        self._line(("  All streams: ", "dim"), (streams_page, f"cyan link {streams_page}"))
        self._line(("  Ctrl-C ends everything.", "dim"))

    def fail(self, text: str) -> None:
        self._end_line()
        self._console.print()
        first, _, rest = text.partition("\n")
        self._line(("  ✗ ", "bold red"), (first, "bold"))
        for line in rest.splitlines():
            self._line(("    " + line, ""))

    def _put(self, word: str) -> None:
        size = cell_len(word)
        if self._column > 0 and self._column + size > self._width:
            self._end_line()
        if self._column < 0:
            self._begin_line()
        self._out(word)
        self._column += size

    def _space(self, space: str) -> None:
        if space == "\n":
            self._end_line()
        elif 0 <= self._column < self._width:
            self._out(" ")
            self._column += 1

    def _begin_line(self) -> None:
        self._out("  │ ", "dim")
        self._column = 0

    def _end_line(self) -> None:
        if self._column >= 0:
            self._out("\n")
        self._column = -1

    def _out(self, text: str, style: str | None = None) -> None:
        self._console.out(text, end="", style=style, highlight=False)
        self._console.file.flush()

    def _line(self, *parts: tuple[str, str]) -> None:
        self._console.print(Text.assemble(*parts), soft_wrap=True)

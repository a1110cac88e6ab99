"""One answer, requested from the page and read from the relay server, and the checks on it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import httpx

from .reader import Json, ReadFailed, Reading, read_live, replay, words_of
from .screen import Screen

QUESTION = "What happens when I reload the page in the middle of an answer?"
CUT_AFTER = 80  # chunks
AWAY_SECONDS = 0.8


@dataclass
class Proof:
    """The measured claims.

    Attributes:
        route_ms: until the web route had answered.
        first_ms: from the same moment until the first chunk had been read.
        seconds: from the same moment until the end had been read.
        live: the chunks read live, with one cut connection.
        again: the same stream read again afterwards, from the start.
        stopped: another answer, which was stopped.
        stop_ms: from asking to stop that one until its end had been read.
    """

    route_ms: float
    first_ms: float
    seconds: float
    live: Reading
    again: Reading
    stopped: Reading
    stop_ms: float

    @property
    def holds(self) -> bool:
        return all(good for _, _, good in self.rows())

    def rows(self) -> list[tuple[str, str, bool]]:
        """The rows to show: name, value, whether it is as expected."""
        live, again = self.live, self.again
        text_equal = bool(live.text) and live.text == live.sent_text
        again_equal = again.chunks == live.chunks and again.end_reason == live.end_reason
        text = "equal to what the model sent" if text_equal else "NOT what the model sent"
        replay = "equal to what was read live" if again_equal else "NOT what was read live"
        return [
            ("route answered", f"{self.route_ms:.1f} ms", True),
            (
                "first chunk",
                f"{self.first_ms:.1f} ms" if live.first_at else "none",
                live.first_at > 0,
            ),
            ("chunks", f"{len(live.chunks)} in {self.seconds:.1f} s", bool(live.chunks)),
            ("reconnects", f"{live.connections - 1}, forced", live.connections > 1),
            ("text", f"{len(live.text):,} characters, {text}", text_equal),
            ("replay", f"{len(again.chunks)} chunks from the start, {replay}", again_equal),
            (
                "end reason",
                f"{live.end_reason} {live.error}".rstrip(),
                live.end_reason == "completed",
            ),
            (
                "stop",
                f"another answer: {self.stopped.end_reason}" + f" after {self.stop_ms:.0f} ms",
                self.stopped.end_reason == "stopped",
            ),
        ]


class Browser:
    """Asks the page's routes as a browser does."""

    def __init__(self, page_url: str) -> None:
        # Django's development server answers 40 ms late on a connection that it keeps.
        headers = {"connection": "close"}
        self._http = httpx.Client(base_url=page_url, headers=headers, timeout=30.0, trust_env=False)
        token = re.search('name="csrf-token" content="(.*?)"', self._http.get("/").text)
        self._http.headers["x-csrftoken"] = token[1] if token else ""

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, prompt: str) -> Json:
        ref: Json = self._post("/chat", {"prompt": prompt}).json()
        return ref

    def stop(self, ref: Json) -> None:
        self._post(f"/streams/{ref['stream_id']}/stop", {})

    def _post(self, path: str, body: Json) -> httpx.Response:
        response = self._http.post(path, json=body)
        if not response.is_success:
            raise ReadFailed(f"the page answered {response.status_code}: {response.text}")
        return response


def prove(page_url: str, screen: Screen) -> Proof:
    """Ask the page as a browser does, and read the answer in the terminal.

    Raises:
        ReadFailed: the page refused, or the relay did not hand out the stream.
        httpx.HTTPError: the page or the relay did not answer.
    """
    with Browser(page_url) as browser:
        # First, so that the other's times are those of processes with open connections.
        stopped, stop_ms = stop_an_answer(browser)
        screen.question(QUESTION)
        began = time.perf_counter()
        ref = browser.ask(QUESTION)
        answered = time.perf_counter()
    live = read_live(
        ref,
        on_chunk=lambda chunk: screen.words(words_of(chunk)),
        cut_after=CUT_AFTER,
        on_cut=lambda reading: stay_away(reading, screen),
    )
    screen.end_of_words()
    return Proof(
        route_ms=(answered - began) * 1000,
        first_ms=(live.first_at - began) * 1000,
        seconds=live.last_at - began,
        live=live,
        again=replay(ref),
        stopped=stopped,
        stop_ms=stop_ms,
    )


def stop_an_answer(browser: Browser) -> tuple[Reading, float]:
    """Ask for an answer and stop it after its first words; how it ended, and how fast."""
    asked_at = 0.0

    def stop(chunk: Json) -> None:
        nonlocal asked_at
        if not asked_at and words_of(chunk):
            asked_at = time.perf_counter()
            browser.stop(ref)

    ref = browser.ask(QUESTION)
    reading = read_live(ref, on_chunk=stop)
    return reading, (time.perf_counter() - asked_at) * 1000 if asked_at else 0.0


def stay_away(reading: Reading, screen: Screen) -> None:
    """What a lost network does to a reader."""
    with screen.mark(
        f"connection cut after chunk {len(reading.chunks)},", f"back {AWAY_SECONDS} s later"
    ):
        time.sleep(AWAY_SECONDS)

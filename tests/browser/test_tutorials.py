"""The tutorials, followed in an empty folder: files as they stand, commands as they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from example_project.demo.stack import answers
from tests.browser.engines import Tab, firefox, webkit
from tests.conftest import ROOT, RedisServer, eventually, free_port

TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
BIN = Path(sys.executable).parent
AT_THE_END = " (at the end)"
SERVERS = re.compile(r" worker -l INFO$| streams relay$|^flask |^uvicorn | runserver$")
REDIS = "redis://localhost:6379/0"


class Follower:
    """Does what a tutorial says.

    Args:
        text: the tutorial.
        folder: an empty one.
        redis_url: instead of the Redis of whoever reads it.
    """

    def __init__(self, text: str, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.page_port, self.relay_port, self.model_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.page_port}"
        self._text = text
        # The addresses of a machine on which there is nothing else yet.
        self._instead = {
            REDIS: redis_url,
            "http://127.0.0.1:8000/relay": f"{self.url}/relay",
            "CELERY={": f'CELERY={{"stream_public_url": "http://127.0.0.1:{self.relay_port}", ',
            "CELERY_BROKER_URL =": f'CELERY_STREAM_PUBLIC_URL = "http://127.0.0.1:{self.relay_port}"\n'
            "CELERY_BROKER_URL =",
        }  # fmt: skip
        self._environment = {
            **os.environ,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.model_port}/v1",
            "MODEL_TOKENS_PER_SECOND": "120",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def follow(self) -> None:
        """Every block, from the first to the last."""
        model = f"example_project.model_server --port {self.model_port}"
        self._start([sys.executable, "-m", *model.split()], ROOT)
        for language, title, body in BLOCK.findall(self._text):
            if title:
                self._write(title, body)
            else:
                assert language == "console", body
                for line in body.splitlines():
                    self._run(line.removeprefix("$ "))
        eventually(lambda: " ready." in self.logs(), timeout=90)
        eventually(answers(self.url), timeout=90)

    def logs(self) -> str:
        """What all processes have written."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _write(self, title: str, body: str) -> None:
        for theirs, ours in self._instead.items():
            body = body.replace(theirs, ours)
        path = self.folder / title.removesuffix(AT_THE_END)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if title.endswith(AT_THE_END) else ""
        path.write_text(before + body)

    def _run(self, line: str) -> None:
        program, *words = line.split()
        if program == "pip":
            assert "streamstraight-celery[" in line
            return
        command = [sys.executable if program == "python" else str(BIN / program), *words]
        if SERVERS.search(line):
            self._start(command + self._address(line), self.folder)
            return
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _address(self, line: str) -> list[str]:
        if " worker " in line:
            return ["-c", "1"]
        if line.endswith(" relay"):
            return ["--port", str(self.relay_port)]
        if line.endswith(" runserver"):
            return ["--noreload", str(self.page_port)]
        return ["--port", str(self.page_port)]

    def _start(self, command: list[str], folder: Path) -> None:
        with (self.folder / f"{len(self._processes)}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command, cwd=folder, env=self._environment, stdout=log, stderr=log,
                    start_new_session=True,
                )
            )  # fmt: skip


@pytest.fixture(params=TUTORIALS, ids=lambda path: path.stem)
def follower(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer
) -> Iterator[Follower]:
    follower = Follower(request.param.read_text(), tmp_path, redis_server.new_database())
    try:
        follower.follow()
        yield follower
    finally:
        follower.close()


def answer_of(tab: Page) -> str:
    return tab.locator("#answer").inner_text()


def ask(tab: Page, prompt: str) -> None:
    before = answer_of(tab)
    tab.get_by_role("textbox").fill(prompt)
    tab.get_by_role("button", name="Ask").click()
    eventually(lambda: before != answer_of(tab) and len(answer_of(tab)) > 100, timeout=60)


@pytest.mark.slow
def test_a_tutorial_ends_with_a_page_that_streams(follower: Follower, tab: Page) -> None:
    stop = tab.get_by_role("button", name="Stop")
    tab.goto(follower.url)
    ask(tab, "How does this work?")
    tab.reload()
    stop.wait_for(state="visible")
    stop.wait_for(state="hidden")
    whole = answer_of(tab)
    assert len(whole) > 500, follower.logs()
    tab.reload()
    eventually(lambda: answer_of(tab) == whole, timeout=60)

    ask(tab, "How does this work?")
    stop.click()
    stop.wait_for(state="hidden")
    assert 100 < len(answer_of(tab)) < len(whole)
    eventually(lambda: "'end_reason': 'stopped'" in follower.logs(), timeout=60)
    # Somebody else has no token for it.
    stream_id = tab.evaluate("sessionStorage.stream")
    assert httpx.get(f"{follower.url}/streams/{stream_id}/token").status_code == 404


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_tutorial_s_page_in_firefox_and_webkit(follower: Follower) -> None:
    for browser in (firefox, webkit):
        with browser() as tab:
            read_and_reload(tab, follower.url)


def read_and_reload(tab: Tab, url: str) -> None:
    """Ask, reload in the middle, and have the whole answer."""
    length = "(document.querySelector('#answer')?.textContent.length ?? 0)"
    tab.go(url)
    tab.run(
        "(document.querySelector('[name=prompt]').value = 'How does this work?',"
        " document.querySelector('form button').click())"
    )
    eventually(lambda: tab.run(length) > 50, timeout=90)
    tab.reload()
    running = "!document.querySelector('#stop').hidden"
    eventually(lambda: tab.run(f"{length} > 500 && !({running})"), timeout=120)

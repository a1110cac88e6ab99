"""The samples of `docs/readers.md` for plain SSE, with the packages they are for, in Chromium."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT
from tests.peers.processes import Dictation
from tests.peers.web import Web
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SAMPLES = dict(
    re.findall(
        r"```js\n// ([\w-]+)\.js\n(.*?)```", (ROOT / "docs/readers.md").read_text(), re.DOTALL
    )
)
PAGE = """() => {
  globalThis.got = [];
  globalThis.page = {
    show: (chunk) => got.push(["show", chunk]),
    clear: () => got.push(["clear"]),
    done: () => got.push(["done"]),
    fail: (message) => got.push(["fail", message]),
    renew,
  };
}"""


@pytest.fixture(scope="session")
def scripts(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each sample, bundled with its package, as a script that makes `read` global."""
    folder = tmp_path_factory.mktemp("samples")
    found = {}
    (folder / "package.json").write_text("{}")
    for name, text in SAMPLES.items():
        (folder / f"{name}.js").write_text(f"{text}\nglobalThis.read = read;\n")
        done = subprocess.run(
            [node_modules / ".bin/esbuild", f"{name}.js", "--bundle", "--format=iife"],
            cwd=folder, env={**os.environ, "NODE_PATH": str(node_modules)},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[name] = done.stdout
    return found


class Sample:
    """A page that reads the dictated stream with one of the samples."""

    def __init__(self, tab: Page, dictation: Dictation, ttl: float | None) -> None:
        self._tab = tab
        self.requests: list[str] = []
        self._handle = dictation.begin()
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.expose_function("renew", self._handle.sse_url)
        tab.evaluate(PAGE)
        tab.evaluate("url => void read(url, page)", self._handle.sse_url(ttl=ttl))

    def until(self, count: int) -> list[Any]:
        """What the page was told, once it is so much."""
        self._tab.wait_for_function("count => got.length >= count", arg=count)
        got: list[Any] = self._tab.evaluate("got")
        return got

    def until_asked(self, count: int) -> None:
        """Return when there were so many requests for the stream."""
        while len([url for url in self.requests if "/v1/" in url]) < count:
            self._tab.wait_for_event("request")

    def is_over(self) -> bool:
        """No request is made in the next minute."""
        before = len(self.requests)
        self._tab.clock.fast_forward(60_000)
        self._tab.evaluate("fetch('/')")  # later than what the clock let go
        return [url for url in self.requests[before:] if "/v1/" in url] == []


@pytest.fixture(params=["event-source", "fetch-event-source", "react-native-sse"])
def begin(
    request: pytest.FixtureRequest, tab: Page, web: Web, scripts: dict[str, str],
    dictation: Dictation,
) -> Callable[..., Sample]:  # fmt: skip
    tab.clock.install()
    tab.goto(web.origin)
    tab.add_script_tag(content=scripts[request.param])
    return lambda ttl=None: Sample(tab, dictation, ttl)


def test_each_chunk_once_over_a_cut_connection_then_silence(
    begin: Callable[..., Sample], proxy: Proxy, dictation: Dictation
) -> None:
    sample = begin()
    dictation.say({"n": 1}, {"n": 2})
    sample.until(2)
    proxy.cut()
    dictation.say({"n": 3})
    sample.until(3)
    dictation.end()
    got = sample.until(4)
    assert got == [*(["show", {"n": n}] for n in (1, 2, 3)), ["done"]]
    assert sample.is_over()


def test_a_failure_is_told_once_then_silence(
    begin: Callable[..., Sample], dictation: Dictation
) -> None:
    sample = begin()
    dictation.say("a start")
    sample.until(1)
    dictation.fail("the model is out of words")
    assert sample.until(2) == [["show", "a start"], ["fail", "the model is out of words"]]
    assert sample.is_over()
    assert json.dumps(sample.until(2)).count("fail") == 1


def test_a_token_that_expires_in_mid_answer_is_renewed(
    begin: Callable[..., Sample], dictation: Dictation
) -> None:
    sample = begin(ttl=3)
    dictation.say(1)
    sample.until(1)
    sample.until_asked(2)
    dictation.say(2)
    dictation.end()
    assert sample.until(3) == [["show", 1], ["show", 2], ["done"]]


def test_a_new_attempt_starts_over(begin: Callable[..., Sample], dictation: Dictation) -> None:
    sample = begin()
    dictation.say("old")
    sample.until(1)
    dictation.retry()
    dictation.say("new")
    dictation.end()
    assert sample.until(4) == [["show", "old"], ["clear"], ["show", "new"], ["done"]]

"""Chromium, Firefox and WebKit behind one small interface, each driven by its own protocol."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import websocket
from playwright.sync_api import Page

from tests.conftest import eventually, free_port, missing

MINI_BROWSERS = "/usr/lib/*/webkit2gtk-4*/MiniBrowser"
PATIENCE = 60


class Tab(Protocol):
    """One tab of a browser."""

    def go(self, url: str) -> None: ...

    def run(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, or of its promise."""

    def reload(self) -> None: ...

    def back(self) -> None: ...

    def forward(self) -> None: ...


class ChromiumTab:
    """By Playwright."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.go = page.goto
        self.run = page.evaluate
        self.reload = page.reload
        self.back = page.go_back
        self.forward = page.go_forward


class FirefoxTab:
    """By WebDriver BiDi, which Firefox itself speaks."""

    def __init__(self, url: str) -> None:
        # Firefox refuses connections of web pages, which have an origin.
        self._socket = websocket.create_connection(url, suppress_origin=True, timeout=PATIENCE)
        self._last = 0
        self._call("session.new", capabilities={})
        (first,) = self._call("browsingContext.getTree")["contexts"]
        self._context = first["context"]

    def go(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, expression: str) -> Any:
        answer = self._call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify({{value: await ({expression})}}))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"]).get("value")

    def reload(self) -> None:
        self._call("browsingContext.reload", context=self._context, wait="complete")

    def back(self) -> None:
        self._call("browsingContext.traverseHistory", context=self._context, delta=-1)

    def forward(self) -> None:
        self._call("browsingContext.traverseHistory", context=self._context, delta=1)

    def close(self) -> None:
        self._socket.close()

    def _call(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._last:
                assert answer["type"] == "success", answer
                return answer["result"]


class WebKitTab:
    """By WebDriver."""

    def __init__(self, driver: str, browser: str) -> None:
        self._http = httpx.Client(base_url=driver, timeout=PATIENCE, trust_env=False)
        options = {"binary": browser, "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        self._session = ""
        self._session = f"/session/{self._call('/session', wanted)['sessionId']}"

    def go(self, url: str) -> None:
        self._call("/url", {"url": url})

    def run(self, expression: str) -> Any:
        script = (
            "const done = arguments[arguments.length - 1];"
            f"(async () => done(JSON.stringify({{value: await ({expression})}})))();"
        )
        return json.loads(self._call("/execute/async", {"script": script, "args": []})).get("value")

    def reload(self) -> None:
        self._call("/refresh", {})

    def back(self) -> None:
        self._call("/back", {})

    def forward(self) -> None:
        self._call("/forward", {})

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()

    def _call(self, path: str, body: Any) -> Any:
        answer = self._http.post(self._session + path, json=body)
        assert answer.is_success, answer.text
        return answer.json()["value"]


@contextlib.contextmanager
def firefox() -> Iterator[FirefoxTab]:
    """A tab of Firefox, with a profile of this test's own."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        missing("Firefox (Debian: firefox-esr)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        log = Path(home) / "log"
        command = [path, "--headless", "--no-remote", "--profile", home]
        with _running([*command, "--remote-debugging-port", "0"], log, HOME=home):
            told = re.compile(r"BiDi listening on (ws://\S+)")
            eventually(lambda: told.search(log.read_text()), timeout=PATIENCE)
            found = told.search(log.read_text())
            assert found is not None
            with contextlib.closing(FirefoxTab(f"{found[1]}/session")) as tab:
                yield tab


@contextlib.contextmanager
def webkit() -> Iterator[WebKitTab]:
    """A tab of WebKitGTK's own small browser, on a display that nobody sees."""
    driver, server = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browser = next((str(path) for path in Path("/").glob(MINI_BROWSERS[1:])), None)
    if driver is None or browser is None or server is None:
        missing("WebKit (Debian: webkit2gtk-driver, xvfb)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folder = Path(home)
        reading, writing = os.pipe()
        # The display names itself: a number that is free.
        command = [server, "-displayfd", str(writing), "-screen", "0", "1280x900x24"]
        with _running(command, folder / "display.log", pass_fds=(writing,)):
            os.close(writing)
            with open(reading) as told:  # noqa: PTH123
                display = f":{told.readline().strip()}"
            port = free_port()
            words = [driver, f"--port={port}"]
            with _running(words, folder / "driver.log", DISPLAY=display, HOME=home):
                url = f"http://127.0.0.1:{port}"
                eventually(lambda: _is_ready(url), timeout=PATIENCE)
                with contextlib.closing(WebKitTab(url, browser)) as tab:
                    yield tab


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/status", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, pass_fds: tuple[int, ...] = (), **env: str
) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **env},
            pass_fds=pass_fds,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)

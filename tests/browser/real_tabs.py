"""Real tabs of one Chromium window: only the one in front is visible, as for a person.

Playwright shows every page as visible and focused, so this speaks the DevTools protocol itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

from tests.conftest import CHROMIUM_ARGUMENTS, chromium_path, eventually, missing

PATIENCE = 60


class Tab:
    """One tab; `run` and `go` are those of the other engines' tabs."""

    def __init__(self, window: Window, target: str) -> None:
        self._window = window
        self._target = target
        attached = window.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str = attached["sessionId"]

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        eventually(lambda: self.run("document.title === 'ready'"), timeout=PATIENCE)

    def run(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, or of its promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show(self) -> None:
        """Bring it to the front, which hides the one that was there."""
        self._window.call("Target.activateTarget", targetId=self._target)
        eventually(lambda: self.run("document.visibilityState") == "visible", timeout=PATIENCE)

    def close(self) -> None:
        self._window.call("Target.closeTarget", targetId=self._target)

    def crash(self) -> None:
        """End its process, as the system does when memory is short."""
        with contextlib.suppress(AssertionError):
            self._window.call("Page.crash", self._session, patience=False)

    def call(self, method: str, **params: Any) -> Any:
        return self._window.call(method, self._session, **params)


class Window:
    """A browser window, and a profile of its own."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, suppress_origin=True, timeout=PATIENCE)
        self._last = 0

    def tab(self, url: str) -> Tab:
        """A new tab in front, when its page is ready."""
        tab = Tab(self, self.call("Target.createTarget", url="about:blank")["targetId"])
        tab.go(url)
        tab.show()
        return tab

    def close(self) -> None:
        self._socket.close()

    def call(
        self, method: str, session: str = "", patience: bool = True, **params: Any
    ) -> dict[str, Any]:
        self._last += 1
        asked = {"id": self._last, "method": method, "params": params}
        self._socket.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while patience:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
        return {}


@contextlib.contextmanager
def window() -> Iterator[Window]:
    """A Chromium of this test's own."""
    path = chromium_path()
    if path is None:
        missing("Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        log = Path(home) / "log"
        command = [path, "--headless=new", *CHROMIUM_ARGUMENTS, "--remote-debugging-port=0"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, f"--user-data-dir={home}", "about:blank"], stdout=out, stderr=out
            )
        try:
            told = re.compile(r"DevTools listening on (ws://\S+)")
            eventually(lambda: told.search(log.read_text()), timeout=PATIENCE)
            found = told.search(log.read_text())
            assert found is not None
            with contextlib.closing(Window(found[1])) as made:
                yield made
        finally:
            process.terminate()
            process.wait(30)

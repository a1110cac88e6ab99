"""The recipe of docs/how-to/save-chats.md as it stands there: SQLite, a worker, and reloads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import _state
from celery._state import get_current_app
from playwright.sync_api import BrowserContext, Page, expect
from werkzeug.serving import make_server

from streamstraight_celery.runtime import Runtime
from tests.browser.site import CLIENT, Site, bundle, running
from tests.conftest import ROOT, eventually
from tests.tasks.conftest import close_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = f"""
import {{ StrictMode }} from "react";
import {{ createRoot }} from "react-dom/client";
import {{ SavedChat }} from "{CLIENT}/examples/saved.tsx";

const saved = await (await fetch("/api/chat/c1")).json();
const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(<StrictMode><SavedChat id="c1" saved={{saved}} /></StrictMode>);
"""


# What the application has beside the recipe: its settings, and a model that the test dictates.
MORE = """
import os
import time
import redis

app.conf.update(json.loads(os.environ["SAVED_CONF"]))
DATABASE = os.environ["SAVED_DATABASE"]
told = redis.Redis.from_url(app.conf.broker_url, decode_responses=True)


def ask_the_model(question):
    while (word := told.blpop("words", timeout=60)[1]) != "END":
        yield word


kept = save


def save(chat_id, message):
    while message["role"] == "assistant" and told.exists("hold"):
        time.sleep(0.1)
    kept(chat_id, message)
"""


class Recipe:
    """The server of the recipe, whose model says what it is told to.

    Attributes:
        module: what `chat.py` defines.
        told: the Redis in which the model finds its `words`, up to END; while there is a `hold`, no
            answer is saved.
    """

    def __init__(self, site: Site, folder: Path, sdk: str) -> None:
        name = f"saved_{sdk}"
        docs = (ROOT / "docs/how-to/save-chats.md").read_text()
        code = re.search(r"```python\n# chat.py\n(.*?)```", docs, re.DOTALL)
        assert code is not None
        (folder / f"{name}.py").write_text(code[1] + MORE)
        conf = {**site.conf, "task_default_queue": name}
        self._env = {"SAVED_CONF": json.dumps(conf), "SAVED_DATABASE": str(folder / "chat.db")}
        self._env["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
        self._command = [sys.executable, "-m", "celery", "-A", name, "worker", "-c", "1"]
        self._log = folder / "worker.log"
        self._before = get_current_app(), _state.default_app
        self.module: Any = ModuleType(name)
        os.environ.update(self._env)
        exec(code[1] + MORE, self.module.__dict__)
        for key in self._env:
            del os.environ[key]
        self.told = self.module.told
        self.told.delete("words", "hold")
        for statement in self.module.SCHEMA.strip().split(";\n"):
            self.module.query(statement.rstrip(";"))
        web, script = self.module.web, bundle(PAGE, folder, **{"@ai-sdk/react": sdk})
        web.add_url_rule("/", "page", lambda: "<script type=module src=/page.js></script>")
        web.add_url_rule(
            "/page.js", "script", lambda: (script, {"Content-Type": "text/javascript"})
        )
        self._server = make_server("127.0.0.1", 0, web, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.told.close()
        Runtime.of(self.module.app).close()
        close_app(self.module.app)
        current, default = self._before
        current.set_current()
        _state.set_default_app(default)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker that runs from here to the end of the block."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._command, cwd=ROOT, env={**os.environ, **self._env}, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            self.told.rpush("words", "END")
            process.terminate()
            process.wait(60)

    def say(self, word: str) -> None:
        self.told.rpush("words", word)

    def saved(self) -> list[str]:
        rows = self.module.query("SELECT message FROM messages ORDER BY rowid")
        return [text for (text,) in rows]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: object) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(params=["chat7", "chat6", "chat5"])
def recipe(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Recipe]:
    with closing(Recipe(site, tmp_path, request.param)) as recipe:
        yield recipe


def expect_chat(page: Page, *texts: str) -> None:
    """The messages on the page, questions and answers by turns."""
    expect(page.locator("main p")).to_have_text(list(texts))


def test_a_chat_is_reloaded_at_every_moment(recipe: Recipe, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(recipe.url)
    page.get_by_role("button", name="Say hi").click()
    # Before: no worker has begun.
    expect(page.locator("small")).to_have_text("Waiting for a worker …")
    for _ in range(2):
        page.reload()
        expect(page.locator("small")).to_have_text("Waiting for a worker …")
        expect_chat(page, "Hi")
    recipe.told.set("hold", 1)
    with recipe.worker():
        recipe.say("One")
        expect_chat(page, "Hi", "One")
        # During, twice.
        for number in range(2):
            page.reload()
            recipe.say(f" {number}")
            expect_chat(page, "Hi", f"One 0{' 1' if number else ''}")
        recipe.say("END")
        expect(page.locator("main")).to_have_attribute("data-status", "ready")
        # After the end, before the answer is saved.
        for _ in range(2):
            page.reload()
            expect_chat(page, "Hi", "One 0 1")
            expect(page.locator("main")).to_have_attribute("data-status", "ready")
        assert len(recipe.saved()) == 1
        recipe.told.delete("hold")
        eventually(lambda: len(recipe.saved()) == 2, timeout=60)
        # After it is saved: the page says that it has it, and nothing is replayed.
        for _ in range(2):
            with page.expect_response(lambda each: "/stream?have=" in each.url) as latest:
                page.reload()
            assert latest.value.status == 204
            expect_chat(page, "Hi", "One 0 1")
        # The next answer, and a reload with both.
        page.get_by_role("button", name="Say hi").click()
        recipe.say("Two")
        expect_chat(page, "Hi", "One 0 1", "Hi", "Two")
        page.reload()
        expect_chat(page, "Hi", "One 0 1", "Hi", "Two")
        # Stopped: what there was stays, also in the database.
        page.get_by_role("button", name="Stop").click()
        eventually(lambda: len(recipe.saved()) == 4, timeout=60)
        expect(page.locator("main")).to_have_attribute("data-status", "ready")
        page.reload()
        expect_chat(page, "Hi", "One 0 1", "Hi", "Two")
        recipe.say("END")

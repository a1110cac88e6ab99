"""The browser's examples in the docs are the files that are tested; the task's are run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from celery._state import get_current_app
from pydantic_ai.models.test import TestModel

from streamstraight_celery.relays.requests import Read
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT

PAGES = ("clients.md", "how-to/save-chats.md", "conversations.md")
DOCS = "".join((ROOT / "docs" / name).read_text() for name in PAGES)
EXAMPLES = ROOT / "client/examples"


def block(name: str) -> str:
    """The code block whose first line names the file."""
    found = re.search(rf"```\w+\n(?:#|//) {re.escape(name)}\n(.*?)```", DOCS, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_browsers_examples_are_those_that_run_in_chromium() -> None:
    shown = re.findall(r"```(?:js|ts|tsx)\n// (\S+)\n", DOCS)
    assert sorted(shown) == sorted(path.name for path in EXAMPLES.iterdir())
    assert len(re.findall(r"```(?:js|ts|tsx)\n", DOCS)) == len(shown)
    for name in shown:
        assert block(name) == (EXAMPLES / name).read_text(), name


@pytest.fixture
def celery_app() -> Iterator[Celery]:
    app = Celery("docs", set_as_current=False)
    app.conf.update(stream_relay_url="memory://docs-chat", task_always_eager=True)
    before = get_current_app()
    app.set_current()
    yield app
    before.set_current()
    Runtime.of(app).close()


def test_the_tasks_example(celery_app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    tasks: Any = ModuleType("tasks")
    exec(block("tasks.py"), tasks.__dict__)
    monkeypatch.setitem(sys.modules, "tasks", tasks)
    web: dict[str, Any] = {"__name__": "web"}
    exec(block("web.py"), web)
    client = web["app"].test_client()
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    body = {"id": "c1", "trigger": "submit-message", "messages": [message]}

    assert client.get("/api/chat/c1/stream").status_code == 204
    with tasks.agent.override(model=TestModel(custom_output_text="Hello")):
        ref = client.post("/api/chat", json=body).get_json()
    assert client.get("/api/chat/c1/stream").get_json()["stream_id"] == ref["stream_id"]

    page = Runtime.of(celery_app).relay.read(Read(ref["stream_id"], 0, 0, 100))
    assert page is not None
    parts = [json.loads(text) for entry in page.entries for text in entry.data.split(b"\n")]
    deltas = [part["delta"] for part in parts if part["type"] == "text-delta"]
    assert "".join(deltas) == "Hello"
    assert page.state.end == "completed"

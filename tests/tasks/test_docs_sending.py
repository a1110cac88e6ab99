"""The recipes of docs/how-to/sending.md, each run as it stands there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamstraight_celery.testing import StreamTester
from tests.conftest import ROOT
from tests.frameworks.models import ANSWER, Models
from tests.frameworks.sources import need

PAGE = (ROOT / "docs/how-to/sending.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def recipe(name: str) -> Any:
    """The task of that name."""
    (block,) = (block for block in BLOCKS if f"def {name}(" in block)
    found: dict[str, Any] = {"__name__": f"sending_{name}"}
    exec(block, found)
    return found[name]


@pytest.mark.parametrize(
    ("name", "argument", "chunks"),
    [
        (
            "research",
            "tea",
            [
                {"type": "tool", "name": "search", "query": "tea"},
                {"type": "answer", "text": "Nothing about tea."},
            ],
        ),
        (
            "workflow",
            ["boil"],
            [
                {"type": "step", "name": "boil"},
                {"type": "workflow_finished", "status": "completed"},
            ],
        ),
        (
            "agent",
            ["hot"],
            [{"type": "text", "text": "hot"}, {"type": "finished", "status": "completed"}],
        ),
        (
            "fan_out",
            ["tea"],
            [
                {"type": "plan", "searches": 1},
                {"type": "searching", "query": "tea"},
                {"type": "found", "text": "TEA"},
            ],
        ),
    ],
)
def test_a_recipe_sends_what_it_says(name: str, argument: Any, chunks: list[Any]) -> None:
    with StreamTester() as streams:
        assert streams.run(recipe(name), argument).completed() == chunks


@pytest.mark.slow
def test_langchain_calls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    need("langchain_openai")
    with Models() as models, StreamTester() as streams:
        monkeypatch.setenv("OPENAI_API_BASE", f"{models.url}/v1")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{models.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        run = streams.run(recipe("chain"), "How is the weather?")
        text = "".join(chunk["text"] for chunk in run.completed())
    assert text == run.result == ANSWER

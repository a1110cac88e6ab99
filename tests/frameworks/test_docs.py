"""Each recipe of docs/agents.md, as it stands, with a model on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamstraight_celery import StreamTask
from streamstraight_celery.testing import StreamTester
from tests.frameworks.models import WORDS, Models
from tests.frameworks.sources import need

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
RECIPES = {re.search(r"def (\w+)", block)[1]: block for block in BLOCKS}  # type: ignore[index]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    with Models() as models:
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            monkeypatch.setenv(name, f"{models.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", models.url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", models.url)
        monkeypatch.setenv("OLLAMA_HOST", models.url)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
            monkeypatch.setenv(name, "sk-canary")
        yield models


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_and_is_short(name: str, models: Models) -> None:
    recipe = RECIPES[name]
    assert len([line for line in recipe.splitlines() if line.strip()]) <= 10
    for module in re.findall(r"^(?:from|import) ([\w.]+)", recipe, re.MULTILINE):
        need(module)
    found: dict[str, Any] = {"__name__": f"recipes_{name}"}
    exec(recipe, found)
    task = found[name]
    assert isinstance(task, StreamTask)
    with StreamTester() as streams:
        run = streams.run(task, "How is the weather?")
        chunks = run.completed()
    if name == "speech":
        assert b"".join(chunks) == b"RIFF\xff\x00"
        return
    sent = json.dumps(chunks)
    assert all(word.strip() in sent for word in WORDS)
    assert "secretive" not in sent
    assert "canary" not in sent

"""The Python examples of docs/clients.md, each run as it stands there."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import pytest

from tests.clients.ways import Site
from tests.conftest import ROOT
from tests.server.producer import Producer

PYTHON = (ROOT / "docs/clients.md").read_text().partition("\n## Python\n")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```python\n(.*?)```", PYTHON, re.DOTALL)
# What each prints, and what it leaves in its variables.
SHOWN: list[tuple[str, dict[str, Any]]] = [
    ("Hello", {}),
    ("Hello", {}),
    ("", {"text": "Hello"}),
    ("Hello", {}),
    ("", {"first": {"text": "Hel"}, "rest": [{"text": "lo"}]}),
    ("", {}),
    ("completed\n", {"parts": ["Hel", "lo"]}),
    ("2 closed\n", {}),
    ("", {}),
]


@pytest.fixture
def given(site: Site) -> dict[str, Any]:
    """What the examples take for granted: a stream that says `Hello`."""
    producer = Producer(site.relay)
    producer.create().claim()
    producer.append({"text": "Hel"}, {"text": "lo"}, end="completed")
    ref = site.ref(producer)
    site.app.conf.stream_public_url = ref["url"].partition("/v1/")[0]
    return {"ref": ref, "url": ref["url"], "stream_id": producer.stream_id, "app": site.app}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(given: dict[str, Any], number: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = dict(given)
    exec(EXAMPLES[number], names)
    if inspect.iscoroutinefunction(names.get("show")):
        asyncio.run(names["show"](given["ref"]))
    if "events" in names:
        assert list(names["events"]()) == [
            f'data: {{"text": "{text}"}}\n\n' for text in ("Hel", "lo")
        ]
    said, kept = SHOWN[number]
    assert capsys.readouterr().out == said
    assert {name: names[name] for name in kept} == kept


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == len(SHOWN)

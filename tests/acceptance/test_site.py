"""What the documentation's landing page and the agent skill say is so."""

from __future__ import annotations

import re

import pytest

import streamstraight_celery
from streamstraight_celery.cli import streams
from tests.conftest import ROOT

INDEX = (ROOT / "docs/index.md").read_text()
SKILL = (ROOT / "client/skills/streamstraight-celery/SKILL.md").read_text()
FRAMEWORKS = ["Django", "Flask", "FastAPI"]
COMMAND = re.compile(r"^ *\$ (.*)$", re.MULTILINE)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_quick_start_is_the_tutorial_s(framework: str) -> None:
    tab = INDEX.partition(f'=== "{framework}"\n')[2].partition('\n=== "')[0]
    tab = tab.partition("\nNothing on the page?")[0]
    tutorial = (ROOT / f"docs/tutorials/{framework.lower()}.md").read_text()
    commands = COMMAND.findall(tab)
    with_pip = [line for line in commands if not line.startswith("uv ")]
    assert with_pip == COMMAND.findall(tutorial)
    (with_uv,) = (line for line in commands if line.startswith("uv "))
    assert with_uv == f"uv {with_pip[0]}"


def test_the_skill_names_what_there_is() -> None:
    head = SKILL.split("---\n")[1]
    assert re.search(r"^name: streamstraight-celery$", head, re.MULTILINE)
    (description,) = re.findall(r"^description: (.*)$", head, re.MULTILINE)
    assert 100 < len(description) < 1024
    assert "`stream_secret`" in SKILL
    for name in re.findall(r"^ *from streamstraight_celery import (.*)$", SKILL, re.MULTILINE):
        assert hasattr(streamstraight_celery, name)
    for command in re.findall(r"celery -A proj streams (\w+)", SKILL):
        assert command in streams.commands
    from streamstraight_celery.testing import StreamTester

    assert StreamTester.__name__ in SKILL

"""docs/command-line.md names the commands and options that there are, and no others."""

from __future__ import annotations

import re

import click

from streamstraight_celery.cli import streams
from streamstraight_celery.ids import INSPECT_COMMAND, STOP_COMMAND
from tests.conftest import ROOT

DOCS = (ROOT / "docs/command-line.md").read_text()
# How a server is run is told where that is explained.
ELSEWHERE = {"--host", "--port", "--log-level", "--access-log", "--no-access-log"}


def options() -> set[str]:
    return {
        name
        for command in streams.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in [*parameter.opts, *parameter.secondary_opts]
    }


def test_every_command_is_told_of() -> None:
    asked = set(re.findall(r"celery -A proj streams ([a-z]+)", DOCS))
    assert asked <= set(streams.commands)
    assert set(streams.commands) <= set(re.findall(r"`(?:celery -A proj streams )?([a-z]+)", DOCS))
    assert f"celery -A proj inspect {INSPECT_COMMAND}" in DOCS
    assert f"celery -A proj control {STOP_COMMAND}" in DOCS


def test_every_option_is_told_of() -> None:
    told = set(re.findall(r"(?<!-)--[a-z][a-z-]*", DOCS)) - {"--help"}
    assert told == options() - ELSEWHERE - {"--help"}

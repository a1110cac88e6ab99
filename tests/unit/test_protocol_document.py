"""`docs/protocol.md` and the code that cites it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import streamstraight_celery
from streamstraight_celery.relays.end_reasons import EndReason
from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs/protocol.md").read_text()
SECTIONS = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", DOCUMENT, re.MULTILINE))
_CITED = re.compile(r"protocol\.md,\s+(?:sections? )?(\d[\d., \n]*(?:(?:to|and) \d[\d.]*)?)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def cited() -> set[str]:
    """The sections that the package's modules name."""
    package = Path(streamstraight_celery.__file__).parent
    text = "\n".join(path.read_text() for path in package.rglob("*.py"))
    return {number for found in _CITED.findall(text) for number in _NUMBER.findall(found)}


def test_what_the_code_cites_is_there() -> None:
    assert len(cited()) >= 10
    assert cited() <= SECTIONS


def test_what_the_document_refers_to_is_there() -> None:
    assert set(re.findall(r"\((\d\.\d)\)", DOCUMENT)) <= SECTIONS


def test_every_end_reason_is_in_the_table_of_ends() -> None:
    for section in ("### 3.3", "### 7.4"):
        text = DOCUMENT.split(section)[1].split("\n#")[0]
        assert [reason for reason in get_args(EndReason) if f"`{reason}`" not in text] == []

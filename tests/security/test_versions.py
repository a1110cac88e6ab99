"""The lowest versions that are allowed exclude known faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

if sys.version_info < (3, 11):
    pytest.skip("needs tomllib; the versions are the same for all Pythons", allow_module_level=True)
import tomllib

FAULTY = {
    "python-engineio": ["4.12.3", "4.13.1"],  # CVE-2026-48802: unbounded pongs
    "python-socketio": ["5.13.0"],  # CVE-2025-61765: unpickles what Redis holds
    "starlette": ["0.40.0", "0.48.0", "0.49.0"],  # CVE-2025-62727: quadratic Range
    "pyjwt": ["2.10.0"],  # CVE-2024-53861: issuers are compared as substrings
}
NEEDED = {
    "python-engineio": ["streamstraight"],
    "python-socketio": ["streamstraight"],
    "starlette": ["fastapi"],
    "pyjwt": [""],
}
PROJECT = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


@pytest.mark.parametrize("name", FAULTY)
def test_known_faults_are_excluded_where_they_are_needed(name: str) -> None:
    for extra in NEEDED[name]:
        named = [each for each in map(Requirement, EXTRAS[extra]) if each.name.lower() == name]
        assert named, f"{extra or 'the package'} does not say which {name} it needs"
        for version in FAULTY[name]:
            assert not any(each.specifier.contains(version) for each in named)

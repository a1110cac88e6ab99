"""Stops of streams at the hosted service, noted in a directory of this machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from streamstraight_celery.relays.streamstraight.stop_notes import StopNotes


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_all_processes_of_the_machine_see_a_note() -> None:
    StopNotes("https://one", 60).add("s")
    assert StopNotes("https://one", 60).has("s")
    assert not StopNotes("https://one", 60).has("other")
    assert not StopNotes("https://other", 60).has("s")


def test_a_note_that_is_removed_or_too_old_does_not_count() -> None:
    notes = StopNotes("https://one", 60)
    notes.add("s")
    assert not StopNotes("https://one", 0).has("s")
    notes.remove("s")
    assert not notes.has("s")


def test_a_directory_that_was_tidied_away_is_made_again(temporary: Path) -> None:
    notes = StopNotes("https://one", 60)
    notes.add("s")
    for directory in temporary.iterdir():
        shutil.rmtree(directory)
    assert not notes.has("s")
    notes.add("s")
    assert notes.has("s")

"""The soak, for a little while; `make soak` runs it for minutes."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from streamstraight_celery.errors import StreamClosedError
from tests.faults.faults import Fault
from tests.faults.ledger import Ledgers, LedgerWriter
from tests.faults.processes import ROOT
from tests.faults.soak import Death, schedule


def test_the_seed_is_the_schedule() -> None:
    assert list(islice(schedule(3), 100)) == list(islice(schedule(3), 100))
    assert list(islice(schedule(3), 100)) != list(islice(schedule(4), 100))


def test_every_fault_comes_round() -> None:
    kinds = {strike.fault for strike in islice(schedule(1), len(Fault) + 2 * len(Death))}
    assert kinds == {*Fault, *Death}


@pytest.mark.slow
def test_a_short_soak_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak", "--minutes", "0.2", "--seed", "11"],
        cwd=ROOT, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    figures = re.search(
        r"soak seed=11: (\d+) streams, (\d+) chunks checked, (\d+) faults \(.+\), 0 violations",
        done.stdout,
    )
    assert figures, done.stdout
    assert all(int(figure) > 0 for figure in figures.groups())


def test_an_end_that_its_producer_did_not_live_to_note_is_found(tmp_path: Path) -> None:
    ledgers = Ledgers()
    ledger = LedgerWriter(tmp_path / "ledger")
    ledgers.follow(tmp_path / "ledger")
    ledger.note("claimed", "s", attempt=1, nonce="aaaaaaaa")
    ledger.note("failed", "s", error="busy: held")
    assert not ledgers.update()["s"].found_ended
    ledger.note("failed", "s", error=StreamClosedError.code + ": stream 's' has ended")
    assert ledgers.update()["s"].found_ended

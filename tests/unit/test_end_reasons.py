"""The table of end reasons, and what else lists them."""

from __future__ import annotations

import re
from typing import get_args

from streamstraight_celery.relays.end_reasons import (
    ENDS,
    EXPIRED,
    GOOD_ENDS,
    LOST,
    WRITTEN_OVER_HTTP,
    EndReason,
)
from tests.conftest import ROOT


def test_the_table_has_every_reason() -> None:
    assert set(ENDS) == set(get_args(EndReason))
    assert {"completed", "stopped"} == GOOD_ENDS
    assert [reason for reason, end in ENDS.items() if bool(end.message) is end.good] == []
    assert [reason for reason, end in ENDS.items() if not end.written_by] == []
    assert WRITTEN_OVER_HTTP == ("completed", "stopped", "producer-error")


def test_a_service_that_does_not_know_a_reason_gets_one_it_knows() -> None:
    known = {"completed", "producer-error", "producer-disconnected", "inactivity-timeout"}
    assert {end.stream_v1 for end in ENDS.values()} <= known
    assert all(ENDS[end.stream_v1].good is end.good for end in ENDS.values())  # type: ignore[index]


def test_errors_for_readers_are_json() -> None:
    message = "The answer was interrupted. Please try again."
    assert f'{{"code":"producer-disconnected","message":"{message}"}}' == LOST
    assert EXPIRED.startswith('{"code":"expired","message":"')


def test_the_client_knows_the_same_reasons() -> None:
    types = (ROOT / "client/src/types.ts").read_text()
    union = types.split("export type EndReason =")[1].split(";")[0]
    assert set(re.findall(r'"([a-z-]+)"', union)) == set(ENDS)
    # What ends the iteration without an error.
    protocol = (ROOT / "client/src/protocol.ts").read_text()
    good = protocol.split("function ended(")[1].split("return")[0]
    assert set(re.findall(r'reason === "([a-z-]+)"', good)) == GOOD_ENDS

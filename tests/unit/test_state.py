"""What `handle.state()` says a stream is doing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from streamstraight_celery.relays.base import StreamState, StreamStatus

RUNNING = StreamState(
    attempt=1, nonce="aaaaaaaa", last=3, lineage=(), end="", error="", stop_asked=False,
    released=False, owner="task", kind="json", size=9, lease_left=5000, now=100, created=1,
    first_chunk=2, ended=0,
)  # fmt: skip
STATES: dict[str, dict[str, Any]] = {
    "streaming": {},
    "queued": {"attempt": 0},
    "stalled": {"lease_left": -1},
    "retrying": {"released": True, "lease_left": -1},
    "waiting": {"released": True, "suspended": True},
    "open": {"http_written": True},
    "ended": {"end": "completed", "lease_left": -1},
}


@pytest.mark.parametrize("status", STATES)
def test_status(status: str) -> None:
    assert replace(RUNNING, **STATES[status]).status == status


def test_every_status_is_tested() -> None:
    assert set(STATES) == set(get_args(StreamStatus))

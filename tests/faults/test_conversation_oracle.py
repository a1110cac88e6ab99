"""The oracle of conversations finds each kind of wrong; and the soak runs, for a little while."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.conversation_oracle import Conversation, judge_conversation
from tests.faults.processes import ROOT


def note(at: float, kind: str, stream: str = "a") -> dict[str, Any]:
    return {"at": at, "kind": kind, "stream": stream}


def told(kind: str, stream: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "stream_id": stream, **fields}


LOG = [
    told("stream", "a"), told("stream", "b"), told("stream", "c", parent="a"), told("ended", "c"),
    told("ended", "a"), told("ended", "b"),
]  # fmt: skip
GOOD = Conversation(
    inputs=[0, 1, 2], tasks=["a", "b"], chunks={"a": [0, 1], "b": [2]},
    ends={"a": ("completed", 10.0), "b": ("completed", 20.0)}, log=LOG, readers=[LOG, LOG],
    notes=[
        note(1, "began"), note(2, "suspended"), note(3, "began"), note(4, "received"),
        note(5, "suspended"), note(6, "began"), note(7, "received"), note(11, "began", "b"),
    ],
)  # fmt: skip
FOR_NOTHING = [note(1, "began"), note(2, "suspended"), note(3, "began"), note(4, "suspended")]


def test_all_is_well() -> None:
    assert judge_conversation(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"chunks": {"a": [0, 0, 1], "b": [2]}}, "were received as"),
        ({"chunks": {"a": [0], "b": [2]}}, "were received as"),
        ({"chunks": {"a": [1, 0], "b": [2]}}, "were received as"),
        ({"notes": [note(11, "began"), note(9, "began", "b")]}, "before a had ended"),
        ({"ends": {"b": ("completed", 20.0)}}, "has not ended"),
        ({"ends": {**GOOD.ends, "b": ("producer-disconnected", 20.0)}}, "b ended as"),
        ({"notes": FOR_NOTHING}, "woken for nothing"),
        ({"log": LOG[:-1]}, "ended 0 times"),
        ({"log": [*LOG, told("ended", "a")]}, "ended 2 times"),
        ({"log": LOG[1:]}, "a parent that is not there"),
        ({"readers": [LOG, LOG[::-1]]}, "or others"),
    ],
)
def test_what_is_wrong_is_found(wrong: dict[str, Any], found: str) -> None:
    assert found in "\n".join(judge_conversation(replace(GOOD, **wrong)))


def test_a_fault_may_wake_a_task_for_nothing() -> None:
    assert judge_conversation(replace(GOOD, notes=FOR_NOTHING, strikes=[(1.5, 2.5)])) == []


@pytest.mark.slow
def test_a_short_soak_with_conversations_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.conversation_soak", "--minutes", "0.2", "--seed", "5"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* conversations.* [1-9]\d* waits, .* 0 violations", done.stdout)

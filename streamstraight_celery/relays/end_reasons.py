"""Why streams end: the one table of end reasons."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple, cast

EndReason = Literal[
    "completed",
    "producer-error",
    "producer-disconnected",
    "inactivity-timeout",
    "stopped",
    "too-large",
    "expired",
]
# `task`: the generator's process; `worker`: the worker's parent process; `store`: a script, also
# when the relay server asks for it; `http`: who writes a stream over HTTP, in its own words.
WrittenBy = Literal["task", "worker", "store", "http"]


class End(NamedTuple):
    """What an end reason means.

    Attributes:
        message: what readers are told when the end brings no message.
        written_by: who ends a stream with it.
        stream_v1: what a Streamstraight service that does not know it gets instead.
        good: what readers got is a complete answer.
    """

    message: str
    written_by: frozenset[WrittenBy]
    stream_v1: str
    good: bool = False


ENDS: dict[EndReason, End] = {
    "completed": End("", frozenset({"task", "http"}), "completed", good=True),
    "stopped": End("", frozenset({"task", "worker", "store", "http"}), "completed", good=True),
    "producer-error": End(
        "The answer could not be completed. Please try again.",
        frozenset({"task", "worker", "http"}), "producer-error",
    ),
    "producer-disconnected": End(
        "The answer was interrupted. Please try again.",
        frozenset({"task", "worker", "store"}), "producer-disconnected",
    ),
    "inactivity-timeout": End(
        "The answer was interrupted. Please try again.",
        frozenset({"store"}), "inactivity-timeout",
    ),
    "too-large": End(
        "The answer is too long.", frozenset({"task", "store"}), "producer-error",
    ),
    "expired": End(
        "The answer was not started in time. Please try again.",
        frozenset({"worker", "store"}), "producer-error",
    ),
}  # fmt: skip


def end_of(reason: str) -> End | None:
    """The table's entry; None for a reason of a writer that is not ours."""
    return ENDS.get(cast(EndReason, reason))


GOOD_ENDS = frozenset(reason for reason, end in ENDS.items() if end.good)
FAILURES = frozenset(ENDS) - GOOD_ENDS
WRITTEN_OVER_HTTP = tuple(reason for reason, end in ENDS.items() if "http" in end.written_by)


def error_json(code: str, message: str) -> str:
    """An error as readers get it."""
    return json.dumps({"code": code, "message": message}, separators=(",", ":"))


def error_of(reason: EndReason) -> str:
    """The error that ends a stream for that reason, when nobody knows more of it."""
    return error_json(reason, ENDS[reason].message)


LOST = error_of("producer-disconnected")
EXPIRED = error_of("expired")

"""What the events of agent frameworks become: deltas, tool calls and their progress, usage, ends.

Never instructions, the model's input, history, headers or keys. One module for each framework.
They know its classes by name, so that nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reducer = Callable[[Any], Any]
# The top package of a class, and the codec for its events.
CODECS: dict[str, str] = {}


def codec_hint(kind: type) -> str:
    """Return the name of the codec for objects of this class's package, or `""`."""
    return next((CODECS[root] for root in _roots(kind) if root in CODECS), "")


def framework_reducer(kind: type) -> Reducer | None:
    """Return what an event of a known framework becomes, or None for any other class."""
    return None


def _roots(kind: type) -> list[str]:
    return [base.__module__.partition(".")[0] for base in kind.__mro__]

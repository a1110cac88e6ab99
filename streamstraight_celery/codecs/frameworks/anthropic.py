"""Events of the Anthropic SDK, and of its stream helper without its snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import wire, without

_HELPERS = "anthropic.lib.streaming"
_REPEATED = frozenset({"snapshot", "content_block", "message", "parsed_output"})
_UNSEEN = frozenset({"snapshot", "signature", "encrypted_content", "encrypted_index"})


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What the default codec sends of such objects, where that is not the provider's JSON."""
    if kind.__module__.startswith(_HELPERS) and hasattr(kind, "to_json"):
        return lambda event: without(wire(event), _REPEATED)
    return None


def project(event: Any) -> Any:
    """What `codec="anthropic"` sends: no signatures, which only the provider can read."""
    if not type(event).__module__.startswith("anthropic.") or not hasattr(event, "to_json"):
        return event
    data = wire(event)
    if type(event).__module__.startswith(_HELPERS):
        data = without(data, _REPEATED)
    delta = data.get("delta")
    if data.get("type") == "signature" or (delta or {}).get("type") == "signature_delta":
        return None
    return without(data, _UNSEEN)

"""Events of the OpenAI SDK: the Responses API, Chat Completions, and their stream helpers.

The default codec sends the provider's JSON. It leaves out what holds the prompt (`instructions`,
the prose of tool definitions, keys of remote tools) and the helpers' snapshots of the text so far.
`codec="openai"` also leaves out what a page can do without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .picking import pick, wire, without

_HELPERS = "openai.lib.streaming"
_PROMPTED = frozenset({"response", "session", "instructions", "tools"})
_REPEATED = frozenset({"snapshot", "parsed", "parsed_arguments"})
_UNSEEN = frozenset(
    {"obfuscation", "logprobs", "encrypted_content", "system_fingerprint", "service_tier"}
) | _REPEATED  # fmt: skip
_PROSE = frozenset({"headers", "authorization", "server_url", "instructions", "prompt"})
_RESPONSE = ("id", "object", "status", "model", "created_at", "usage", "error")
_WHY = ("incomplete_details",)


def reducer(kind: type) -> Callable[[Any], Any] | None:
    """What the default codec sends of such objects, where that is not the provider's JSON."""
    if not hasattr(kind, "to_json"):
        return None
    if any(base.__module__.startswith(_HELPERS) for base in kind.__mro__):
        return lambda event: redact(_without_repeats(wire(event)))
    if _PROMPTED & set(getattr(kind, "model_fields", ())):
        return lambda event: redact(wire(event))
    return None


def project(event: Any) -> Any:
    """What `codec="openai"` sends."""
    if not type(event).__module__.startswith("openai.") or not hasattr(event, "to_json"):
        return event
    return slim(wire(event))


def slim(data: dict[str, Any]) -> dict[str, Any]:
    """An event, as JSON values, without what a page can do without."""
    data = _without_repeats(data)
    if isinstance(response := data.get("response"), dict):
        data["response"] = pick(response, *_RESPONSE, *_WHY)
    if isinstance(item := data.get("item"), dict):
        # The list of a remote server's tools has their descriptions.
        data["item"] = without(item, frozenset({"tools"}))
    slimmed: dict[str, Any] = _without_nulls(without(data, _UNSEEN))
    return slimmed


def redact(data: dict[str, Any]) -> dict[str, Any]:
    """The provider's JSON without what holds the prompt."""
    for holder in (data, data.get("response"), data.get("session")):
        if not isinstance(holder, dict):
            continue
        for name in ("instructions", "prompt"):
            if holder.get(name):
                holder[name] = None
        if isinstance(tools := holder.get("tools"), list):
            holder["tools"] = [_undescribed(tool) for tool in tools]
    return data


def _undescribed(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _undescribed(each) for key, each in value.items() if key not in _PROSE}
        if isinstance(kept.get("description"), str):
            kept["description"] = None
        return kept
    if isinstance(value, list):
        return [_undescribed(each) for each in value]
    return value


def _without_repeats(data: dict[str, Any]) -> dict[str, Any]:
    if data.get("type") == "tool_calls.function.arguments.delta":
        data.pop("arguments", None)
    kept: dict[str, Any] = without(data, _REPEATED)
    return kept


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value

"""Taking named values out of a framework's objects, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any


def get(source: Any, name: str) -> Any:
    """Return a key of a mapping or an attribute of an object, or None."""
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)


def pick(source: Any, *names: str, **more: Any) -> dict[str, Any]:
    """Return those named values, and `more`, that are not None."""
    found = {name: get(source, name) for name in names}
    found.update(more)
    return {name: value for name, value in found.items() if value is not None}


def without(value: Any, names: frozenset[str]) -> Any:
    """Return JSON values without the named keys, at any depth."""
    if isinstance(value, dict):
        return {key: without(each, names) for key, each in value.items() if key not in names}
    if isinstance(value, list):
        return [without(each, names) for each in value]
    return value


def each_of(source: Any, name: str) -> Iterable[Any]:
    """Return a list of an object's, or nothing."""
    return get(source, name) or ()


def wire(event: Any) -> dict[str, Any]:
    """Return an SDK's event as the provider's JSON."""
    found: dict[str, Any] = json.loads(event.to_json(indent=None, warnings=False))
    return found


def binary(data: bytes, media_type: str | None) -> dict[str, Any]:
    """Return binary data as it is sent inside a chunk."""
    found = {"type": "bytes", "base64": base64.b64encode(data).decode()}
    return {**found, "media_type": media_type} if media_type else found


def class_names(kind: type) -> list[str]:
    """Return the names of a class and its bases."""
    return [base.__name__ for base in kind.__mro__]

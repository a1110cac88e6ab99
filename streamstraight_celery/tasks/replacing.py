"""Who goes on with a stream when its task hands its place over (`self.replace()`)."""

from __future__ import annotations

from typing import Any

from ..ids import STREAM_ID_HEADER


def heir_of(signature: Any) -> Any:
    """The signature that gets the replaced task's id; None when a task of Celery's own does."""
    kind = signature.get("subtask_type")
    if kind == "chord":
        return heir_of(signature["kwargs"]["body"])
    if kind == "chain":
        tasks = signature["kwargs"]["tasks"]
        return heir_of(tasks[-1]) if tasks else None
    return None if kind == "group" else signature


def goes_on(heir: Any, stream_id: str) -> bool:
    """Tell the heir, a stream task, which stream is its; False when it has one of its own."""
    options = heir["options"]
    options["headers"] = headers = dict(options.get("headers") or {})
    return bool(headers.setdefault(STREAM_ID_HEADER, stream_id) == stream_id)

"""Which conversation a task that is enqueued belongs to, and whose child it is: in its headers."""

from __future__ import annotations

from typing import Any

from celery._state import get_current_task

from ..ids import CONVERSATION_HEADER, PARENT_HEADER
from .events import stream_began


def header_of(request: Any, name: str) -> str | None:
    """A header of a task's message; Celery also makes attributes of them."""
    found = (request.headers or {}).get(name) or getattr(request, name, None)
    return None if found is None else str(found)


def inherit(headers: dict[str, Any], stream_id: str) -> None:
    """Give a stream the conversation of the stream task that runs here, as that one's child.

    Of another conversation, it is not its child. What takes its place stays its parent's child.
    """
    task: Any = get_current_task()
    if task is None or task.request.called_directly:
        return
    name = header_of(task.request, CONVERSATION_HEADER)
    if name is None or headers.setdefault(CONVERSATION_HEADER, name) != name:
        return
    parent = getattr(task, "stream_id", None)
    if parent is None or parent == stream_id:
        parent = header_of(task.request, PARENT_HEADER)
    if parent is not None:
        headers.setdefault(PARENT_HEADER, parent)


def began_event(
    stream_id: str, task: Any, task_id: str, headers: dict[str, Any], title: str | None
) -> bytes:
    """The event that a task's stream began."""
    return stream_began(
        stream_id, task=task.name, task_id=task_id, title=title, parent=headers.get(PARENT_HEADER)
    )

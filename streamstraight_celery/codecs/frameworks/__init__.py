"""What the events of agent frameworks become: deltas, tool calls and their progress, usage, ends.

Never instructions, the model's input, history, headers or keys. One module for each framework; they
know its classes by name and import nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import (
    anthropic,
    google_genai,
    langchain,
    litellm,
    llama_index,
    ollama,
    openai,
    openai_agents,
    pydantic_ai,
)

Reducer = Callable[[Any], Any]
# The codec of each framework, and what its events become.
PROJECTIONS: dict[str, Callable[[Any], Any]] = {
    "anthropic": anthropic.project,
    "google-genai": google_genai.project,
    "langchain": langchain.project,
    "litellm": litellm.project,
    "llama-index": llama_index.project,
    "ollama": ollama.project,
    "openai": openai.project,
    "openai-agents": openai_agents.project,
    "pydantic-ai": pydantic_ai.project,
}
# The top package of a class: its module here, and its codec.
_PACKAGES: dict[str, tuple[ModuleType, str]] = {
    "agents": (openai_agents, "openai-agents"),
    "anthropic": (anthropic, "anthropic"),
    "google": (google_genai, "google-genai"),
    "langchain": (langchain, "langchain"),
    "langchain_core": (langchain, "langchain"),
    "langgraph": (langchain, "langchain"),
    "litellm": (litellm, "litellm"),
    "llama_index": (llama_index, "llama-index"),
    "ollama": (ollama, "ollama"),
    "openai": (openai, "openai"),
    "pydantic_ai": (pydantic_ai, "pydantic-ai"),
    "workflows": (llama_index, "llama-index"),
}


def codec_hint(kind: type) -> str:
    """Return the name of the codec for objects of this class's package, or `""`."""
    return next((_PACKAGES[root][1] for root in _roots(kind) if root in _PACKAGES), "")


def framework_reducer(kind: type) -> Reducer | None:
    """Return what an event of a known framework becomes by default; None for other classes.

    It returns None for an event of which nothing is sent, and raises `ValueError` for an object
    of the framework that is not an event.
    """
    for root in _roots(kind):
        if root in _PACKAGES:
            found: Reducer | None = _PACKAGES[root][0].reducer(kind)
            return found
    return None


def container_reducer(chunk: Any) -> Reducer | None:
    """Return what a tuple or dictionary becomes that a framework yields as an event."""
    return langchain.container_reducer(chunk)


def framework_event(event: Any) -> tuple[str, Any]:
    """Return the codec's name for a framework's event, and what is sent of it; or `""` and it."""
    name = codec_hint(type(event))
    if not name and container_reducer(event) is not None:
        name = "langchain"
    if not name and type(event) in (dict, tuple):
        # What LangGraph yields for a single stream mode has no mark.
        shown = langchain.project(event)
        return ("", event) if shown is event else ("langchain", shown)
    return (name, PROJECTIONS[name](event)) if name else ("", event)


def _roots(kind: type) -> list[str]:
    return [base.__module__.partition(".")[0] for base in kind.__mro__]

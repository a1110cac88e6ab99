"""The elements of a JSON array as values and as texts."""

from __future__ import annotations

import json
import re
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")


def after_space(text: str, index: int) -> int:
    """The index of the first character from `index` on that is no white space of JSON."""
    match = _SPACE.match(text, index)
    assert match is not None
    return match.end()


def array_elements(text: str, decoder: json.JSONDecoder) -> list[tuple[Any, str]]:
    """The elements of a JSON array, each with its own text.

    Raises:
        ValueError: the text is not one JSON array.
        RecursionError: it is nested too deeply.
    """
    index = after_space(text, 0)
    if text[index : index + 1] != "[":
        raise ValueError("not an array")
    elements: list[tuple[Any, str]] = []
    index = after_space(text, index + 1)
    if text[index : index + 1] != "]":
        while True:
            value, end = decoder.raw_decode(text, index)
            elements.append((value, text[index:end]))
            index = after_space(text, end)
            if text[index : index + 1] != ",":
                break
            index = after_space(text, index + 1)
    if text[index : index + 1] != "]" or after_space(text, index + 1) != len(text):
        raise ValueError("not an array")
    return elements

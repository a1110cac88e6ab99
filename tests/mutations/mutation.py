"""What a mutation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One change for the worse.

    Attributes:
        name: what is taken away.
        file: in the package.
        old: text of that file, which occurs once.
        new: what takes its place.
        tests: files or tests, at least one of which must go red.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

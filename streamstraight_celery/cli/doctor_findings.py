"""What the checks of `streams doctor` report."""

from __future__ import annotations

from typing import Literal, NamedTuple

Grade = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One line of the doctor's report; `advice` is empty when all is well."""

    check: str
    grade: Grade
    found: str
    advice: str = ""

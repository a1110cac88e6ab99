"""What the checks of `streams doctor` report."""

from __future__ import annotations

from typing import Literal, NamedTuple

Grade = Literal["ok", "warning", "error", "not checked"]


class Finding(NamedTuple):
    """One row of the doctor's report; `advice` is empty when all is well."""

    check: str
    grade: Grade
    found: str
    advice: str = ""

"""What was measured: groups of rows, one row a subject, one value a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.stats import Target, median, ratio


@dataclass
class Group:
    """One measure of one case, taken of several subjects."""

    case: str
    title: str
    unit: str
    reference: str
    targets: dict[str, Target] = field(default_factory=dict)
    rounds: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    subjects: list[str] = field(default_factory=list)
    """The rows, in their order."""

    def add(self, subject: str, value: float) -> None:
        self.row(subject)
        self.rounds.setdefault(subject, []).append(value)

    def row(self, subject: str) -> None:
        """Have a row for the subject, with or without a value."""
        if subject not in self.subjects:
            self.subjects.append(subject)

    def note(self, subject: str, text: str) -> None:
        notes = self.notes.setdefault(subject, [])
        if text not in notes:
            notes.append(text)

    def value(self, subject: str) -> float | None:
        values = self.rounds.get(subject)
        return median(values) if values else None

    def spread(self, subject: str) -> tuple[float, float] | None:
        values = self.rounds.get(subject)
        return (min(values), max(values)) if values else None

    def to_reference(self, subject: str) -> float | None:
        value, reference = self.value(subject), self.value(self.reference)
        return None if value is None or reference is None else ratio(value, reference)

    def reached(self, subject: str) -> bool | None:
        """Whether the subject's target is met; None without a target or without values."""
        target, value = self.targets.get(subject), self.value(subject)
        if target is None or value is None:
            return None
        return target.reached(value, self.value(target.of) if target.of else None)

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "title": self.title,
            "unit": self.unit,
            "reference": self.reference,
            "rows": [
                {
                    "subject": subject,
                    "median": self.value(subject),
                    "rounds": self.rounds.get(subject, []),
                    "to_reference": self.to_reference(subject),
                    "target": _target(self.targets.get(subject)),
                    "reached": self.reached(subject),
                    "notes": self.notes.get(subject, []),
                }
                for subject in self.subjects
            ],
        }


def _target(target: Target | None) -> dict[str, Any] | None:
    if target is None:
        return None
    return {"bound": target.bound, "at_most": target.at_most, "of": target.of}

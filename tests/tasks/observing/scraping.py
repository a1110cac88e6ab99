"""Reads metrics as Prometheus does."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with these labels; 0 when there is none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == f"streamstraight_{name}" and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, Any]]:
        return [s.labels for s in self._samples if s.name == f"streamstraight_{name}"]


def scrape(port: int) -> Scrape:
    """Scrape a worker."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return Scrape(answer.read().decode())

"""What a stream is found by: its task and its labels. No I/O."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..errors import ConfigurationError

# Parts of the index: streams that have not ended, and all that are kept.
ACTIVE = "active"
RECENT = "recent"
# Where a store that is one Redis keeps the index; a cluster spreads it over so many slots.
ONE_PLACE = ("0",)
PLACES = tuple(str(number) for number in range(16))
MAX_LABELS = 10
MAX_VALUE = 200  # characters

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class About:
    """What the application says of a stream.

    Attributes:
        task: the name of its task.
        labels: pairs of names and values, by name.
        ttl: ms that it is kept after its end; 0: as the store keeps streams.
    """

    task: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ttl: int = 0

    @classmethod
    def of(cls, task: str, labels: object = None, ttl: object = None) -> About:
        """Check what an application says.

        Args:
            labels: a mapping of strings to strings, or None.
            ttl: seconds, or None.

        Raises:
            ConfigurationError: something else.
        """
        return cls(task, tuple(sorted(check_labels(labels).items())), check_ttl(ttl))

    @property
    def terms(self) -> tuple[str, ...]:
        """The parts of the index in which it stands; it leaves the first when it ends."""
        return _terms(self.task, self.labels)

    @property
    def labels_json(self) -> str:
        """The labels as text; `""` for none."""
        return _json(self.labels)


@lru_cache(1024)
def _terms(task: str, labels: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    tasks = (task_term(task),) if task else ()
    return (ACTIVE, RECENT, *tasks, *(label_term(*each) for each in labels))


@lru_cache(1024)
def _json(labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(labels), separators=(",", ":")) if labels else ""


UNKNOWN = About()


class Workplace(NamedTuple):
    """Where an attempt runs: the worker's name, and the queue from which its task came."""

    worker: str = ""
    queue: str = ""


NOWHERE = Workplace()


def task_term(task: str) -> str:
    """The part of the index with a task's streams."""
    return f"task:{task}"


def label_term(name: str, value: str) -> str:
    """The part with a label's streams. Values may be long, and are nobody's business."""
    text = f"{name}={value}".encode("utf-8", "surrogatepass")
    return f"label:{hashlib.sha256(text).hexdigest()[:24]}"


def check_labels(labels: object) -> dict[str, str]:
    """Return labels as they are kept.

    Raises:
        ConfigurationError: they are no mapping of short strings.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping) or len(labels) > MAX_LABELS:
        raise ConfigurationError(
            f"labels={labels!r}: use a dict of at most {MAX_LABELS} strings, such as "
            "{'user': str(user.pk)}"
        )
    for name, value in labels.items():
        if not isinstance(name, str) or _NAME.match(name) is None:
            raise ConfigurationError(
                f"label name {name!r}: use 1 to 64 letters, digits and _ . -, beginning with a "
                "letter"
            )
        if not isinstance(value, str) or not 0 < len(value) <= MAX_VALUE:
            raise ConfigurationError(
                f"label {name}={value!r}: use a string of 1 to {MAX_VALUE} characters"
            )
    return dict(labels)


def check_ttl(ttl: object) -> int:
    """Return how long a stream is to be kept, ms; 0 for None.

    Raises:
        ConfigurationError: no possible time.
    """
    if ttl is None:
        return 0
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl < math.inf:
        raise ConfigurationError(f"ttl={ttl!r}: use seconds, more than 0")
    return max(1, round(ttl * 1000))

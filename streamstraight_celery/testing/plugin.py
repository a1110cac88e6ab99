"""The pytest plugin: the fixture `stream_tester`. Loaded by every pytest run, so light."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .tester import StreamTester


@pytest.fixture
def stream_tester() -> Iterator[StreamTester]:
    """A relay in memory for the streams of the current Celery app, during one test."""
    from .tester import StreamTester

    with StreamTester() as tester:
        yield tester

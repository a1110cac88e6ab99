"""The pytest plugin: the fixture `stream_tester`.

Every pytest run of an environment loads it, also of projects that have no use for it. So it stands
beside the package, whose import loads Celery and redis-py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from streamstraight_celery.testing import StreamTester


@pytest.fixture
def stream_tester() -> Iterator[StreamTester]:
    """A relay in memory for the streams of the current Celery app, during one test."""
    from streamstraight_celery.testing import StreamTester

    with StreamTester() as tester:
        yield tester

"""What all tests of the command line take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.streams import Streams


@pytest.fixture
def streams(redis_url: str) -> Iterator[Streams]:
    found = Streams(redis_url)
    yield found
    found.relay.close()

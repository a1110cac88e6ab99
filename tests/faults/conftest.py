"""One stage for all cases: what a case leaves behind must not harm the next one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import missing
from tests.faults.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if shutil.which("redis-server") is None:
        missing("redis-server")
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()

"""A generator that blocks the event loop is named in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamstraight_celery.producing.driver import Driver
from tests.conftest import eventually
from tests.unit.test_driver import Written


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstraight_celery.producing.loop_watch.BLOCKED_AFTER", 0.2)
    monkeypatch.setattr("streamstraight_celery.producing.loop_watch.LOOK_INTERVAL", 0.05)


def test_a_generator_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def blocks() -> AsyncIterator[str]:
        yield "one"
        eventually(lambda: caplog.messages)

    name = "task proj.answer[blocks]"
    Driver(str, lambda: None, name=name).run(blocks(), Written())  # type: ignore[arg-type]
    (message,) = caplog.messages
    assert message.startswith(f"{name} has blocked the event loop for ")
    assert "in eventually" in message


def test_one_that_waits_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def waits() -> AsyncIterator[str]:
        await asyncio.sleep(0.5)
        yield "one"

    Driver(str, lambda: None, name="waits").run(waits(), Written())  # type: ignore[arg-type]
    assert caplog.messages == []

"""Test stream tasks in memory: no worker, no broker, no Redis.

    from streamstraight_celery.testing import StreamTester

    def test_the_answer_greets():
        with StreamTester() as streams:
            assert streams.run(answer, "Ada").completed() == ["Hello, ", "Ada"]

With pytest, the fixture `stream_tester` is such a tester.
"""

from __future__ import annotations

from .clock import FakeClock
from .tester import StreamRun, StreamTester

__all__ = ["FakeClock", "StreamRun", "StreamTester"]

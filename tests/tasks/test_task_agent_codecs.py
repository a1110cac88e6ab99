"""pydantic-ai's adapters in a worker: UI messages and AG-UI events through a stream."""

from __future__ import annotations

import pytest
from celery import Celery

from streamstraight_celery.errors import AgentFailedError
from tests.tasks.apps import agents
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("prefork")

ANSWER = " ".join(agents.WORDS)


def test_an_answer_as_ui_messages(app: Celery) -> None:
    log = ended_log(app, agents.chat.stream("Hi").id)
    assert log.end == "completed"
    assert [log.chunks[0]["type"], log.chunks[-1]["type"]] == ["start", "finish"]
    deltas = [chunk["delta"] for chunk in log.chunks if chunk["type"] == "text-delta"]
    assert "".join(deltas) == f"1: {ANSWER}"


def test_a_failed_attempt_is_replaced_by_the_next(app: Celery) -> None:
    stream = agents.chat.stream("Hi", failures=1)
    log = ended_log(app, stream.id)
    assert (log.end, log.state.attempt) == ("completed", 2)
    deltas = [chunk["delta"] for chunk in log.chunks if chunk["type"] == "text-delta"]
    assert "".join(deltas) == f"2: {ANSWER}"


def test_the_last_failure_is_told_without_its_text(app: Celery) -> None:
    stream = agents.ag_ui.stream("Hi", failures=9)
    log = ended_log(app, stream.id)
    assert log.end == "producer-error"
    assert log.error == {"code": "agent-failed", "message": "The answer could not be completed."}
    assert "RUN_ERROR" not in {chunk["type"] for chunk in log.chunks}
    assert agents.SECRET not in str(log.chunks)
    with pytest.raises(AgentFailedError):
        stream.result.get(timeout=PATIENCE)


def test_an_answer_as_ag_ui_events(app: Celery) -> None:
    log = ended_log(app, agents.ag_ui.stream("Hi").id)
    assert log.end == "completed"
    assert [log.chunks[0]["type"], log.chunks[-1]["type"]] == ["RUN_STARTED", "RUN_FINISHED"]
    said = [each["delta"] for each in log.chunks if each["type"] == "TEXT_MESSAGE_CONTENT"]
    assert "".join(said) == f"1: {ANSWER}"

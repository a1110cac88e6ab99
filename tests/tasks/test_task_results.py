"""What a task returns: known to be storable before readers are told `completed`."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from streamstraight_celery.errors import EncodeError
from tests.tasks.apps import failing, forms, results
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("prefork")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("model", {"text": "hi", "tags": ["a"]}),
        ("models", {"answers": [{"text": "hi", "tags": []}]}),
        ("set", [1]),
        ("number", 7),
    ],
)
def test_models_and_the_usual_types_are_stored_as_data(app: Celery, name: str, stored: Any) -> None:
    stream = results.returning_value.stream(name)
    assert stream.result.get(timeout=PATIENCE) == stored
    assert ended_log(app, stream.id).end == "completed"


def test_a_chain_goes_on_with_a_model(app: Celery) -> None:
    last = (results.returning_value.s("model") | forms.continued.s("then")).apply_async()
    last.get(timeout=PATIENCE)
    assert ended_log(app, last.id).chunks[0] == {"text": "hi", "tags": ["a"]}


def test_a_result_that_cannot_be_stored_fails_task_and_stream(app: Celery) -> None:
    stream = results.returning_value.stream("object")
    with pytest.raises(EncodeError, match=r"result\.calls\[0\]\.function: builtin_function"):
        stream.result.get(timeout=PATIENCE)
    log = ended_log(app, stream.id)
    assert (log.chunks, log.end) == (["one"], "producer-error")


def test_a_result_that_is_not_kept_may_be_anything(app: Celery) -> None:
    assert ended_log(app, results.ignored_value.stream("object").id).end == "completed"


@pytest.mark.parametrize("how", ["group", "cause"])
def test_a_public_error_shows_from_within_another(app: Celery, how: str) -> None:
    log = ended_log(app, failing.frank_within.stream(how).id)
    assert log.error == {"code": "quota", "message": "Too many questions"}


@pytest.mark.parametrize("how", ["group", "cause"])
def test_autoretry_for_matches_within_another(app: Celery, how: str) -> None:
    log = ended_log(app, failing.flaky_within.stream(how).id)
    assert (log.end, log.state.attempt, log.chunks) == ("completed", 2, ["1"])

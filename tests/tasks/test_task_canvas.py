"""Stream tasks in Celery's canvas: each part is a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.canvas import Signature

from streamstraight_celery import PublicError, StreamTask
from tests.tasks.apps import failing, forms
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, read_log
from tests.tasks.processes import PATIENCE, wait_until

pytestmark = pytest.mark.usefixtures("prefork")


def test_a_chain_hands_results_on_and_each_part_streams(app: Celery) -> None:
    last = chain(
        forms.returning.s("one two"), forms.continued.s("then"), forms.continued.s()
    ).apply_async()

    assert last.get(timeout=PATIENCE) == "{'words': 2} then end"
    first, second = last.parent.parent, last.parent
    assert ended_log(app, first.id).chunks == ["one", "two"]
    assert ended_log(app, second.id).chunks == [{"words": 2}, "then"]
    assert ended_log(app, last.id).chunks == ["{'words': 2} then", "end"]


def test_a_chain_hands_the_summary_on_when_a_generator_returns_nothing(app: Celery) -> None:
    last = (forms.bare.s("one two") | forms.continued.s()).apply_async()

    last.get(timeout=PATIENCE)

    summary = ended_log(app, last.id).chunks[0]
    assert (summary["stream_id"], summary["chunks"]) == (last.parent.id, 2)


def test_a_stream_task_may_stand_between_plain_ones(app: Celery) -> None:
    last = chain(forms.plain.s(), forms.continued.s("streamed"), forms.joined.s()).apply_async()

    assert last.get(timeout=PATIENCE) == "joined plain streamed"
    assert ended_log(app, last.parent.id).chunks == ["plain", "streamed"]


def test_a_chain_ends_with_the_part_that_fails(app: Celery) -> None:
    last = chain(failing.frank.s("why"), forms.continued.s()).apply_async()

    assert ended_log(app, last.parent.id).error["code"] == "question-too-long"
    with pytest.raises(PublicError):
        last.get(timeout=PATIENCE)
    assert read_log(app, last.id) is None


def test_each_task_of_a_group_streams(app: Celery) -> None:
    results = group(forms.returning.s("one"), forms.asynchronous.s("two three")).apply_async()

    values = results.get(timeout=PATIENCE)

    assert values[0] == {"words": 1}
    assert values[1]["chunks"] == 2
    assert [ended_log(app, result.id).chunks for result in results] == [["one"], ["two", "three"]]


def test_a_chord_s_body_gets_the_results_of_its_streams(app: Celery) -> None:
    body = chord([forms.returning.s("a b"), forms.returning.s("c")])(forms.joined.s())

    assert body.get(timeout=PATIENCE) == "joined [{'words': 2}, {'words': 1}]"


def test_a_chord_s_body_may_stream(app: Celery) -> None:
    body = chord([forms.returning.s("a b"), forms.returning.s("c")])(forms.continued.s("sum"))

    body.get(timeout=PATIENCE)

    assert ended_log(app, body.id).chunks == [[{"words": 2}, {"words": 1}], "sum"]


def test_link_is_called_with_the_result(app: Celery, mark: str) -> None:
    forms.returning.apply_stream(("one two",), link=forms.note.s(mark))

    wait_until(lambda: marks(mark), "the callback runs")
    assert marks(mark) == ["{'words': 2}"]


def test_link_is_called_when_the_task_was_retried(app: Celery, mark: str) -> None:
    stream = failing.flaky.apply_stream(("why",), link=forms.note.s(mark))

    wait_until(lambda: marks(mark), "the callback runs")
    assert len(marks(mark)) == 1
    assert stream.id in marks(mark)[0]


def test_link_error_is_called_with_the_error(app: Celery, mark: str) -> None:
    failing.broken.apply_stream(("why",), link_error=forms.note_error.s(mark=mark))

    wait_until(lambda: marks(mark), "the callback runs")
    assert marks(mark) == ["cannot answer 'why'"]


def test_a_stamped_signature_streams(app: Celery) -> None:
    signature = forms.bare.s("one two")
    signature.stamp(tenant="t1")

    result = signature.apply_async()

    assert ended_log(app, result.id).chunks == ["one", "two"]


def test_a_signature_sent_as_json_streams(app: Celery) -> None:
    signature = Signature.from_dict(dict(forms.bare.s("one two")), app=app)

    result = signature.apply_async()

    assert ended_log(app, result.id).chunks == ["one", "two"]


def test_a_signature_may_name_its_stream_in_a_header(app: Celery, mark: str) -> None:
    signature = forms.bound.s("hello").set(headers={"stream_id": f"chat-{mark}"})

    result = signature.apply_async()

    who = ended_log(app, f"chat-{mark}").chunks[0]
    assert (who["stream"], who["task"]) == (f"chat-{mark}", result.id)


def test_a_task_that_takes_anothers_place_writes_the_same_stream(app: Celery) -> None:
    handle = forms.replacing.stream("one two")

    wait_until(lambda: handle.state().end, "the stream has ended")
    log = read_log(app, handle.id)
    assert (log.chunks, log.state.attempt, log.state.end) == (["one", "two"], 2, "completed")


@pytest.mark.parametrize(
    "heir",
    [
        pytest.param(forms.bare.s("one two"), id="task"),
        pytest.param(chain(forms.plain.s(), forms.continued.s("two")), id="chain"),
        pytest.param(chord([forms.plain.s()], forms.continued.s("two")), id="chord"),
    ],
)
def test_a_named_stream_is_gone_on_with_by_who_takes_the_place(
    app: Celery, mark: str, heir: Signature
) -> None:
    handle = forms.replacing_by.apply_stream((dict(heir),), stream_id=f"chat-{mark}")

    log = ended_log(app, handle.id)
    assert (log.chunks[-1], log.state.attempt, log.end) == ("two", 2, "completed")
    assert log.state.owner == handle.task_id


@pytest.mark.parametrize(
    "heir",
    [
        pytest.param(forms.plain.s(), id="task"),
        pytest.param(chain(forms.bare.s("other"), forms.joined.s()), id="chain"),
        pytest.param(group(forms.bare.s("other"), forms.plain.s()), id="group"),
    ],
)
def test_a_stream_ends_when_its_task_s_place_is_taken_by_one_that_writes_none(
    app: Celery, heir: Signature
) -> None:
    handle = forms.replacing_by.stream(dict(heir))

    log = ended_log(app, handle.id)
    assert (log.chunks, log.state.attempt, log.end) == (["a first try"], 1, "completed")
    assert handle.result.get(timeout=PATIENCE)


def test_a_stream_ends_when_its_task_could_not_be_replaced(
    app: Celery, another_app: Callable[..., Celery], mark: str
) -> None:
    # As when the broker is away; Celery cannot replace an eager task at all.
    other = another_app(task_always_eager=True, stream_relay_url=f"memory://{mark}")

    @other.task(base=StreamTask, bind=True, shared=False, name="replaced-in-vain")
    def replaced_in_vain(self: StreamTask[Any]) -> Iterator[str]:
        yield "a first try"
        self.replace(other.signature("replaced-in-vain"))

    handle = replaced_in_vain.stream()

    assert handle.result.state == "FAILURE"
    assert handle.state().end == "producer-error"

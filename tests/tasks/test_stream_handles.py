"""What `.stream()` and `.apply_stream()` give to a web route. Most of it needs no worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest
from celery import Celery
from celery.result import AsyncResult

from streamstraight_celery import StreamHandle, StreamNotFoundError, get_stream
from streamstraight_celery.errors import ConfigurationError, StreamExistsError, TokenError
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.tokens import Grant
from tests.tasks.apps import forms
from tests.tasks.log import ended_log, read_log
from tests.tasks.processes import PATIENCE, Worker

MakeApp = Callable[..., Celery]


def queued(stream_id: str | None = None) -> StreamHandle:
    """A stream whose task waits in a queue that nobody consumes."""
    return forms.bare.apply_stream(("one two",), stream_id=stream_id, queue="nobody")


def grant_of(app: Celery, token: str) -> Grant:
    return Runtime.of(app).tokens.verify(token)


def test_a_handle_names_stream_and_task(app: Celery) -> None:
    handle = queued()

    assert handle.id == handle.task_id == handle.result.id
    assert isinstance(handle.result, AsyncResult)
    assert repr(handle) == f"<StreamHandle {handle.id}>"


def test_a_named_stream_has_another_id_than_its_task(app: Celery, mark: str) -> None:
    handle = queued(f"chat-{mark}")

    assert handle.id == f"chat-{mark}"
    assert handle.task_id == handle.result.id != handle.id


def test_a_named_stream_is_written_under_its_name_alone(
    app: Celery, prefork: Worker, mark: str
) -> None:
    handle = forms.bare.apply_stream(kwargs={"text": "one two"}, stream_id=f"chat-{mark}")

    assert ended_log(app, f"chat-{mark}").chunks == ["one", "two"]
    assert read_log(app, handle.task_id) is None
    assert handle.result.get(timeout=PATIENCE)["stream_id"] == f"chat-{mark}"


def test_celery_s_options_pass_through(app: Celery, prefork: Worker, mark: str) -> None:
    handle = forms.bound.apply_stream(
        ("hello",), stream_id=f"chat-{mark}", task_id=f"task-{mark}", headers={"tenant": "t1"}
    )

    who = ended_log(app, handle.id).chunks[0]
    assert handle.task_id == f"task-{mark}"
    assert (who["stream"], who["task"]) == (f"chat-{mark}", f"task-{mark}")


def test_a_stream_is_known_to_the_relay_before_any_worker_runs(app: Celery) -> None:
    handle = queued()

    state = handle.state()

    assert (state.status, state.attempt, state.last, state.end) == ("queued", 0, 0, "")
    assert state.owner == handle.task_id


def test_the_state_of_an_unknown_stream_is_a_clear_error(app: Celery) -> None:
    handle = StreamHandle(app, Runtime.of(app), "never-was", AsyncResult("never-was", app=app))

    with pytest.raises(StreamNotFoundError, match="never-was"):
        handle.state()
    assert handle.stop() is False


def test_two_streams_of_the_same_name_are_refused_while_the_first_waits(
    app: Celery, mark: str
) -> None:
    queued(f"chat-{mark}")

    with pytest.raises(StreamExistsError, match=f"'chat-{mark}' is active already"):
        queued(f"chat-{mark}")


def test_the_second_of_two_streams_is_not_enqueued(app: Celery, mark: str) -> None:
    with app.connection_for_read() as connection:
        waiting = connection.default_channel.client.llen
        queued(f"chat-{mark}")
        before = waiting("nobody")
        with pytest.raises(StreamExistsError):
            queued(f"chat-{mark}")
        assert waiting("nobody") == before


def test_two_streams_of_the_same_name_are_refused_when_the_first_has_ended(
    app: Celery, mark: str
) -> None:
    queued(f"chat-{mark}").stop()

    with pytest.raises(StreamExistsError, match=r"has ended \(stopped\) already: give each its"):
        queued(f"chat-{mark}")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "a\n", "ä", "{a}", "a" * 201, "?x", 7])
def test_a_name_that_cannot_stand_in_a_url_is_refused(app: Celery, name: str) -> None:
    with pytest.raises(ConfigurationError, match="use 1 to 200 letters"):
        queued(name)


def test_the_url_is_the_relay_s_with_the_id_quoted(app: Celery) -> None:
    handle = queued("user:7@example~1")

    url = urlsplit(handle.url)

    assert f"{url.scheme}://{url.netloc}" == "https://relay.example"
    assert url.path == "/v1/stream/user%3A7%40example~1"
    assert unquote(url.path).endswith("/user:7@example~1")


def test_the_url_of_plain_events_carries_a_token_that_only_reads(app: Celery) -> None:
    handle = queued("user:8@example")

    base, _, token = handle.sse_url(ttl=60).partition("?token=")

    assert base == handle.sse_base_url == "https://relay.example/v1/sse/user%3A8%40example"
    grant = grant_of(app, token)
    assert (grant.stream_id, grant.scopes) == (handle.id, {"read"})
    assert grant.expires_at <= time.time() + 60


def test_a_slash_at_the_end_of_the_public_url_is_not_doubled(another_app: MakeApp) -> None:
    other = another_app(stream_public_url="https://example.com/streams/")

    handle = other.tasks[forms.bare.name].apply_stream(("x",), queue="nobody", stream_id="slashed")

    assert handle.url == "https://example.com/streams/v1/stream/slashed"


def test_ref_is_what_a_client_needs_as_json(app: Celery) -> None:
    handle = queued()

    ref = json.loads(json.dumps(handle.ref()))

    assert set(ref) == {"stream_id", "url", "token", "expires_at"}
    assert ref["stream_id"] == handle.id
    assert ref["url"] == handle.url
    grant = grant_of(app, ref["token"])
    assert grant.stream_id == handle.id
    assert grant.scopes == {"read", "stop"}
    assert grant.expires_at == ref["expires_at"]


def test_a_ref_takes_scopes_and_a_time_to_live(app: Celery) -> None:
    before = time.time()

    ref = queued().ref(scopes=["read"], ttl=60)

    assert grant_of(app, ref["token"]).scopes == {"read"}
    assert before + 59 <= ref["expires_at"] <= time.time() + 60


@pytest.mark.parametrize("scopes", [("read",), ("stop",), ("read", "stop"), ()])
def test_a_token_allows_what_it_was_issued_for(app: Celery, scopes: tuple[str, ...]) -> None:
    token = queued().token(scopes=scopes)

    assert grant_of(app, token).scopes == set(scopes)


def test_an_unknown_scope_is_refused(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown token scope \['admin'\]"):
        queued().token(scopes=["read", "admin"])


def test_a_token_of_another_secret_is_not_accepted(app: Celery, another_app: MakeApp) -> None:
    other = another_app(stream_secret="quite-another-secret")

    with pytest.raises(TokenError):
        grant_of(other, queued().token())


def test_without_a_secret_a_public_relay_gets_no_token(another_app: MakeApp) -> None:
    other = another_app(stream_secret="")
    handle = other.tasks[forms.bare.name].apply_stream(("x",), queue="nobody")

    with pytest.raises(ConfigurationError, match="stream_secret is not set"):
        handle.ref()


def test_stop_ends_a_stream_once(app: Celery) -> None:
    handle = queued()

    assert handle.stop() is True
    assert handle.stop() is False
    assert handle.state().end == "stopped"


# -- the handle of a stream that was asked for earlier


def test_a_stream_is_found_again_by_its_id(app: Celery, prefork: Worker, mark: str) -> None:
    asked = forms.returning.apply_stream(("one two",), stream_id=f"chat-{mark}")

    found = get_stream(f"chat-{mark}")

    assert (found.id, found.task_id, found.url) == (asked.id, asked.task_id, asked.url)
    assert grant_of(app, found.ref()["token"]).stream_id == asked.id
    assert found.result.get(timeout=PATIENCE) == {"words": 2}


def test_a_stream_that_was_found_again_can_be_stopped(app: Celery) -> None:
    asked = queued()

    assert get_stream(asked.id, app=app).stop() is True

    assert asked.state().end == "stopped"


def test_a_stream_that_never_was_is_not_found(app: Celery, mark: str) -> None:
    with pytest.raises(StreamNotFoundError, match=mark):
        get_stream(mark)


def test_a_stream_is_looked_for_on_the_app_that_is_named(
    app: Celery, another_app: MakeApp, mark: str
) -> None:
    other = another_app(stream_relay_url=f"memory://{mark}")
    asked = queued()

    assert get_stream(asked.id).id == asked.id
    with pytest.raises(StreamNotFoundError):
        get_stream(asked.id, app=other)

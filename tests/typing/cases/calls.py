"""What type checkers say of calls. Each line that they must refuse says so at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from typing_extensions import assert_type

from streamstraight_celery import (
    Publication,
    StreamHandle,
    StreamRef,
    StreamTask,
    active_stream,
    get_stream,
    latest_stream,
    publish,
    stream_ref,
    stream_task,
    tee,
)


@stream_task
def answer(prompt: str, temperature: float = 1.0, *, model: str = "small") -> Iterator[str]:
    yield f"{prompt} {temperature} {model}"


@stream_task(queue="llm", acks_late=True)
def optioned(prompt: str) -> Iterator[dict[str, str]]:
    yield {"prompt": prompt}


@stream_task()
async def asynchronous(prompt: str) -> AsyncIterator[str]:
    yield prompt


@stream_task(bind=True)
def bound(self: StreamTask[Any], prompt: str) -> Iterator[str]:
    yield f"{self.stream_id} {prompt}"


@stream_task(bind=True, max_retries=3)
async def bound_asynchronous(self: StreamTask[Any], prompt: str) -> AsyncIterator[str]:
    yield f"{self.stream_id} {prompt}"


@stream_task(bind=False)
def not_bound(prompt: str) -> Iterator[str]:
    yield prompt


class CountDown(StreamTask[[int]]):
    def run(self, start: int) -> Iterator[int]:
        yield from range(start, 0, -1)


# -- right

assert_type(answer.stream("hi"), StreamHandle)
answer.stream("hi", 0.5, model="large")
answer.stream(prompt="hi", temperature=1)
optioned.stream("hi")
asynchronous.stream("hi")
bound.stream("hi")
bound_asynchronous.stream(prompt="hi")
not_bound.stream("hi")
CountDown().stream(3)
assert_type(answer.apply_stream(("hi",), {"model": "large"}, countdown=3), StreamHandle)
answer.apply_stream(("hi",), stream_id="chat-7", queue="llm")
answer("hi")
assert_type(answer.conversation("chat-42", if_active="join").stream("hi", model="x"), StreamHandle)
assert_type(answer.stream_on_commit("hi"), StreamHandle)
answer.apply_stream(("hi",), key="chat-42", if_active="replace", on_commit="other")
assert_type(active_stream("chat-42"), StreamHandle | None)
assert_type(latest_stream("chat-42"), StreamHandle | None)
assert_type(publish(iter(["a"]), stream_id="one", encoder=str), Publication)
assert_type(list(tee(iter(["a"]))), list[Any])

# -- wrong arguments

answer.stream(1)  # error
answer.stream()  # error
answer.stream("hi", "warm")  # error
answer.stream("hi", 0.5, "large")  # error
answer.stream(promt="hi")  # error
answer.stream("hi", mode="large")  # error
optioned.stream(1)  # error
asynchronous.stream(b"hi")  # error
bound.stream(1)  # error
bound.stream()  # error
bound.stream(bound, "hi")  # error
bound_asynchronous.stream(bound_asynchronous, "hi")  # error
not_bound.stream(1)  # error
CountDown().stream("three")  # error
answer(1)  # error
answer.apply_stream("hi", stream_id=7)  # error
answer.conversation("chat-42", if_active="ignore")  # error
answer.conversation("chat-42").stream(1)  # error
answer.stream_on_commit()  # error
answer.apply_stream(("hi",), key=42)  # error
publish(iter(["a"]), stream_ids="one")  # error
publish(["a"])  # error

# -- what a handle gives

handle = answer.stream("hi")
assert_type(handle.id, str)
assert_type(handle.task_id, str)
assert_type(handle.url, str)
assert_type(handle.token(), str)
assert_type(handle.token(scopes=["read"], ttl=60), str)
assert_type(handle.stop(), bool)
assert_type(get_stream("chat-7"), StreamHandle)
assert_type(stream_ref("job-7", scopes=["write"]), StreamRef)
ref = handle.ref()
assert_type(ref, StreamRef)
assert_type(ref["stream_id"], str)
assert_type(ref["url"], str)
assert_type(ref["token"], str)
assert_type(ref["expires_at"], int)

# -- wrong uses of a handle

ref["nonce"]  # error
number: int = ref["url"]  # error
handle.ref(scope="read")  # error
handle.token(scopes=7)  # error
handle.stopp()  # error
get_stream(7)  # error
stream_ref("job-7", ["write"])  # error

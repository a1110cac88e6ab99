"""What type checkers say of tasks that send. Each line that they must refuse says so at its end."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import assert_type

from streamstraight_celery import StreamHandle, StreamTask, current_stream, stream_task

Ending = Literal[
    "stopped", "time-limit", "revoked", "shutdown", "terminated", "failed", "suspended"
]


@stream_task(sends=True)
def plain(prompt: str) -> dict[str, int]:
    current_stream().send(prompt)
    return {"words": 1}


@stream_task(sends=True, bind=True, retry="before-first-chunk")
async def coroutine(self: StreamTask[Any], prompt: str) -> str:
    await self.stream.asend({"text": prompt})
    assert_type(self.stream.ending, Ending | None)
    return prompt


class Sends(StreamTask[[str]]):
    sends = True

    def run(self, prompt: str) -> None:
        self.stream.send(prompt)


def not_generator(prompt: str) -> str:
    return prompt


# -- right

assert_type(plain.stream("hi"), StreamHandle)
assert_type(coroutine.stream("hi"), StreamHandle)
assert_type(Sends().stream("hi"), StreamHandle)

# -- wrong

plain.stream(7)  # error
coroutine.stream()  # error
stream_task(sends=False)(not_generator)  # error
stream_task(retry="never")(not_generator)  # error

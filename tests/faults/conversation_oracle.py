"""Judges a conversation afterwards: inputs, waits, turns, and what its readers were given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Event = Mapping[str, Any]
# Clocks of Redis and of Python show the same, but for a rounded millisecond.
CLOCKS = 0.005


@dataclass
class Conversation:
    """What happened.

    Attributes:
        inputs: the values that were sent, in the order in which the log has them.
        tasks: the streams that take their turns, in the order in which they were enqueued.
        chunks: what each of them has said: the values that it received.
        ends: the end reason of each stream, and when (seconds since 1970).
        log: the events.
        notes: what tasks noted, in order.
        strikes: from when to when faults struck or workers were lost.
        readers: what each reader of the log got.
    """

    inputs: Sequence[Any]
    tasks: Sequence[str]
    chunks: Mapping[str, Sequence[Any]]
    ends: Mapping[str, tuple[str, float]]
    log: Sequence[Event]
    notes: Sequence[Event] = ()
    strikes: Sequence[tuple[float, float]] = ()
    readers: Sequence[Sequence[Event]] = field(default_factory=list)


def judge_conversation(it: Conversation) -> list[str]:
    """Everything that is wrong; nothing when all promises were kept."""
    return [*_inputs(it), *_turns(it), *_waits(it), *_log(it), *_readers(it)]


def _inputs(it: Conversation) -> Iterable[str]:
    """Each input once and in order, over all attempts of all tasks."""
    received = [value for task in it.tasks for value in it.chunks.get(task, ())]
    if received != list(it.inputs):
        yield f"inputs {list(it.inputs)} were received as {received}"


def _turns(it: Conversation) -> Iterable[str]:
    """A task begins when the one before it has ended."""
    began: dict[str, float] = {}
    for note in it.notes:
        if note["kind"] == "began":
            began.setdefault(note["stream"], note["at"])
    for before, after in pairwise(it.tasks):
        reason, ended = it.ends.get(before, ("", 0.0))
        if not reason:
            yield f"{before} has not ended"
        elif after in began and began[after] < ended - CLOCKS:
            yield f"{after} began {ended - began[after]:.3f} s before {before} had ended"


def _waits(it: Conversation) -> Iterable[str]:
    """No task is forgotten, and none is woken for nothing."""
    for task in it.tasks:
        if it.ends.get(task, ("", 0.0))[0] != "completed":
            yield f"{task} ended as {it.ends.get(task)!r}: {it.chunks.get(task)}"
    notes: dict[str, list[Event]] = defaultdict(list)
    for note in it.notes:
        notes[note["stream"]].append(note)
    for stream, events in notes.items():
        waits = [index for index, note in enumerate(events) if note["kind"] == "suspended"]
        for first, second in pairwise(waits):
            between = events[first + 1 : second]
            since, until = events[first]["at"], events[second]["at"]
            struck = any(start < until and since < end for start, end in it.strikes)
            if not struck and not any(note["kind"] == "received" for note in between):
                yield f"{stream} was woken for nothing: {events[first : second + 1]}"


def _log(it: Conversation) -> Iterable[str]:
    """Each stream begins once and ends once, and children have parents."""
    began = Counter(each["stream_id"] for each in it.log if each["type"] == "stream")
    ended = Counter(each["stream_id"] for each in it.log if each["type"] == "ended")
    for stream, times in (began | ended).items():
        if (began[stream], ended[stream]) != (1, 1):
            yield f"{stream} began {began[stream]} and ended {ended[stream]} times: {times}"
    for each in it.log:
        if each["type"] == "stream" and each.get("parent", each["stream_id"]) not in began:
            yield f"{each['stream_id']} has a parent that is not there: {each['parent']}"


def _readers(it: Conversation) -> Iterable[str]:
    for number, events in enumerate(it.readers):
        if list(events) != list(it.log):
            yield f"reader {number} got {len(events)} of {len(it.log)} events, or others"
